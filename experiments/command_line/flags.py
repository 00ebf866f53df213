"""Parses the command line of a command, and its config, with short errors."""

import math
import os
import re
import runpy
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

import configs
from common.errors import ConfigError, nearest
from configs import schema
from experiments.command_line.failures import EXIT_CTRL_C, exit_code
from experiments.command_line.overrides import apply_overrides

CONFIGS = Path(configs.__file__).parent

flags.DEFINE_bool("help", False, "show this help, with the fields of --config where one is given", short_name="h")
flags.DEFINE_string(
  "compilation_cache",
  None,
  "directory that keeps compiled functions for later starts (1 GB at most); empty for none; "
  "default: $JAX_COMPILATION_CACHE_DIR, or jax-image-generation in $XDG_CACHE_HOME or ~/.cache",
)


def run(main: Callable[[], int], doc: str, define_flags: Callable[[], None], *, takes_config: bool = False) -> None:
  """Parses the command line, runs ``main`` and exits with its code; errors end as `failures.exit_code` says."""
  forget()
  define_flags()
  code = exit_code(lambda: _help_or_run(main, doc, takes_config))
  if code == EXIT_CTRL_C:
    os._exit(code)  # a thread that still compiles would crash an orderly end
  sys.exit(code)


def _help_or_run(main: Callable[[], int], doc: str, takes_config: bool) -> int:
  if any(word in ("--help", "-h", "-help", "--helpshort", "--helpfull") for word in sys.argv[1:]):
    _print_help(doc, takes_config)
    return 0
  parse(sys.argv, takes_config)
  return main()


def _print_help(doc: str, takes_config: bool) -> None:
  from experiments.command_line.help import config_text, help_text  # imports JAX

  print(help_text(doc, sys.argv[0]))
  if not takes_config:
    return
  print("  --config: a config, as in dcgan or configs/dcgan.py:fashion_mnist\n")
  words = [word for word in joined_words(sys.argv[1:]) if word.startswith(("--config=", "--config."))]
  named = [word for word in words if word.startswith("--config=")]
  if not named:
    print(f"configs: {', '.join(config_names())}; --config=NAME --help lists the fields of one")
    return
  parse([sys.argv[0], *words], takes_config=True)
  print(config_text(find_config(named[0].partition("=")[2].partition(":")[0]), flags.FLAGS.config))


def forget() -> None:
  """Removes the flags of an earlier command in this process."""
  for name in list(flags.FLAGS):
    module = flags.FLAGS.find_module_defining_flag(name) or ""
    if name.partition(".")[0] == "config" or (module.startswith("experiments.") and module != __name__):
      delattr(flags.FLAGS, name)
  flags.FLAGS.unparse_flags()


def parse(argv: list[str], takes_config: bool) -> None:
  """Fills absl's flags, with ``FLAGS.config`` where the command takes one.

  Raises:
    ConfigError: an unknown flag, field, variant or file, a value of the wrong type, or a word that is no flag.
  """
  argv = [_at_home(word) for word in argv]
  if takes_config:
    if "config" not in flags.FLAGS:
      flags.DEFINE_string("config", None, "for errors before the config is loaded: the command has one")
    config, words = _load_named_config(argv[1:])
    delattr(flags.FLAGS, "config")
    argv = [argv[0], *words]
    config_flags.DEFINE_config_dict("config", config, "the fields of the config", sys_argv=argv)
  try:
    rest = flags.FLAGS(argv)
  except (flags.Error, AttributeError) as error:
    raise ConfigError(_in_plain_words(str(error).replace("\n", " "))) from None
  if len(rest) > 1:
    also = ", or --config.section.key=value" if takes_config else ""
    raise ConfigError(f'"{rest[1]}" is not a flag; write --name=value{also}')
  for name in flags.FLAGS:
    value = flags.FLAGS[name].value
    if isinstance(value, float) and not math.isfinite(value):
      raise ConfigError(f"--{name}={value} must be a finite number")


def _in_plain_words(text: str) -> str:
  """Rewords absl's errors about values of the wrong type, which quote Python's."""
  for pattern, rule in (
    (r"invalid literal for int.*", "a whole number"),
    (r"could not convert string to float.*", "a number"),
    (r"\('Non-boolean argument.*", "true or false"),
  ):
    text = re.sub(rf"^flag (--\S*): {pattern}", rf"\1 must be {rule}", text)
  return text


def _at_home(word: str) -> str:
  """Expands the home directory in --name=~/x,~/y; the shell does so only at the beginning of a word."""
  name, equals, value = word.partition("=")
  return name + equals + ",".join(map(os.path.expanduser, value.split(",")))


def required(name: str) -> None:
  """Raises ConfigError if the flag is not given."""
  if not flags.FLAGS[name].value:
    raise ConfigError(f"--{name}=... is missing; --help lists the flags")


def make_directory(name: str, path: Path) -> None:
  """Makes the directory that a flag names; raises ConfigError if it cannot be made or written to."""
  try:
    path.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise ConfigError(
      f"--{name}={flags.FLAGS[name].value} cannot be made: {error.strerror}; name another place"
    ) from None
  check_writable(name, path, "name another place")


def check_writable(name: str, path: Path, way_out: str) -> None:
  """Raises ConfigError if the directory that a flag names cannot be written to."""
  if path.is_dir() and not os.access(path, os.W_OK):
    raise ConfigError(f"--{name}={flags.FLAGS[name].value} cannot be written to; allow it, or {way_out}")


def check_out(out: Path, *endings: str) -> None:
  """Raises ConfigError if the file ``out``, from --out or its default, cannot be written or has another ending."""
  if out.suffix not in endings:
    raise ConfigError(f"--out={out} must end in {' or '.join(endings)}")
  if out.is_dir():
    raise ConfigError(f"--out={out} is a directory; name a file")
  if flags.FLAGS.out:
    make_directory("out", out.parent)
  check_writable("workdir", out.parent, f"name another place: --out={out.name}")


def checked(config: ConfigDict) -> ConfigDict:
  """Locks and returns a config.

  Raises:
    ConfigError: shared keys break their rules; the text names three of them at most.
  """
  if problems := schema.problems(config):
    more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
    raise ConfigError("\n".join(problems[:3]) + more)
  return config.lock()


def thaw(record: Mapping[str, Any]) -> ConfigDict:
  """Turns the content of config.json into a locked config, with tuples in place of JSON's lists."""

  def restore(value: Any) -> Any:
    if isinstance(value, Mapping):
      return {key: restore(item) for key, item in value.items()}
    return tuple(restore(item) for item in value) if isinstance(value, list) else value

  return ConfigDict(restore(record)).lock()


def _load_named_config(words: list[str]) -> tuple[ConfigDict, list[str]]:
  """Loads the config of --config=NAME[:variant] with its overrides; returns it and the words that are left for absl."""
  rest: list[str] = []
  overrides: dict[str, str] = {}
  config = None
  for word in joined_words(words):
    name = word.lstrip("-").partition("=")[0]
    if word.startswith("-") and name == "config":
      if config is not None:
        raise ConfigError(f"{word} is the second --config; keep one")
      path, _, variant = word.partition("=")[2].partition(":")
      config = load_config(find_config(path), variant)
      continue
    if word.startswith("-") and name.startswith("noconfig."):
      raise ConfigError(f"{word} is not a flag; write --{name.removeprefix('no')}=False")
    if word.startswith("-") and name.startswith("config."):
      if config is None:
        raise ConfigError(f"{word} must follow --config=...")
      path = name.removeprefix("config.")
      if path in overrides:
        raise ConfigError(f"{word} sets what {overrides[path]} sets; keep one")
      overrides[path] = word
      continue
    rest.append(word)
  if config is None:
    raise ConfigError(f"--config=NAME[:variant] is missing; there are {', '.join(config_names())}")
  return config, apply_overrides(config, overrides) + rest


def joined_words(words: list[str]) -> list[str]:
  """Joins ``--config dcgan``, which absl allows, to ``--config=dcgan``."""
  joined: list[str] = []
  for word in words:
    if joined and joined[-1] in ("--config", "-config"):
      joined[-1] += f"={word}"
    else:
      joined.append(word)
  return joined


def find_config(path: str) -> Path:
  """Returns the file of --config, which is a path or a bare name in configs/.

  Raises:
    ConfigError: there is no such file.
  """
  names, given = config_names(), Path(path)
  if given.is_file() and given.suffix == ".py":
    return given.resolve()
  # A mistyped path to a user's own file must not lead to one of these.
  if given.stem in names and given.suffix in ("", ".py") and str(given.parent) in (".", "configs"):
    return CONFIGS / f"{given.stem}.py"
  raise ConfigError(
    f"--config={path} is not a file or a name: there are {', '.join(names)}{nearest(Path(path).stem, names)}"
  )


def config_names() -> list[str]:
  """Returns the bare names that --config takes."""
  others = ("__init__", "recipes", "schema")
  return sorted(file.stem for file in CONFIGS.glob("*.py") if file.stem not in others)


def load_config(file: Path, variant: str) -> ConfigDict:
  """Runs the file's ``get_config(variant)``.

  Raises:
    ConfigError: an unknown variant, or a file that does not run.
  """
  try:
    return runpy.run_path(str(file))["get_config"](variant)
  except Exception as error:  # a user's file may fail in any way
    raise ConfigError(f"--config={file.stem}{':' + variant if variant else ''}: {error}") from error
