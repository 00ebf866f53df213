"""--help: the command's doc and flags, and the fields of the config that it names."""

import ast
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict

from common.training.workdir import flatten
from configs import rules
from experiments.command_line import choices
from experiments.command_line import flags as command_line


def help_text(doc: str, argv: list[str], takes_config: bool) -> str:
  """The command's doc and flags, and the fields of the config that ``argv`` names."""
  lines = [doc.strip(), "", "flags:"]
  by_module = dict(flags.FLAGS.flags_by_module_dict())
  for module in (
    argv[0],
    "__main__",
    "experiments.command_line.flags",
    *(m for m in by_module if m.startswith("experiments.")),
  ):
    for flag in by_module.pop(module, []):
      if not flag.name.startswith("config."):
        default = "" if flag.default in (None, "", False) else f" (default {flag.default})"
        lines.append(f"  --{flag.name}: {flag.help}{default}")
  if not takes_config:
    return "\n".join(lines)
  lines.append("  --config: a config, as in dcgan or configs/dcgan.py:fashion_mnist")
  chosen = [word.partition("=")[2] for word in command_line.joined_words(argv[1:]) if word.startswith("--config=")]
  if not chosen:
    lines += ["", f"configs: {', '.join(command_line.config_names())}; --config=NAME --help lists the fields of one"]
    return "\n".join(lines)
  path, _, variant = chosen[0].partition(":")
  file = command_line.find_config(path)
  config = command_line.load_config(file, variant)
  lines += ["", f"{file}:", "", *(f"  {line}" for line in _module_doc(file)), "", "fields of --config:"]
  return "\n".join(lines + field_lines(config))


def _module_doc(file: Path) -> list[str]:
  return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").splitlines()


def field_lines(config: ConfigDict) -> list[str]:
  """For each field its path, type, value and one line of doc; a section's doc is its constructor's."""
  lines = []
  for path, value in flatten(config.to_dict()).items():
    field = rules.FIELDS.get(path)
    doc = field.doc + (f"; {field.rule}" if field.rule else "") if field else choices.doc(config, path)
    lines.append(f"  --config.{path}: {type(value).__name__} = {value!r}  {doc}")
  return lines
