"""Every config in every variant: locked, complete, described, used, and buildable, without a compilation."""

import ast
import importlib
import inspect
import itertools
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from common.algorithm import Generative
from common.data.spec import RowType, Spec
from common.data.window import seen_shape, window
from common.errors import ConfigError
from common.schedules import build_schedule
from common.training.program import make_state
from common.training.workdir import flatten
from configs import recipes, schema
from experiments import build_algorithm
from experiments.command_line.flags import config_names
from experiments.command_line.help import choice_doc

ROOT = Path(__file__).parents[1]
CODE = [path for folder in ("common", "gan", "vae", "experiments") for path in (ROOT / folder).rglob("*.py")]

DATASETS = (*recipes.DATASETS, "latents")
FIELDS = schema.EVERY_KEY


def allowed_words(name: str) -> list[str]:
  """The variants of a config, as its own error for a wrong one lists them."""
  with pytest.raises(ValueError, match="is unknown: there are") as error:
    importlib.import_module(f"configs.{name}").get_config("?")
  return str(error.value).partition("there are ")[2].split("; ")[0].split(", ")


def all_variants() -> list[str]:
  """Each data set, with and without ``tiny``, with none of the other words and with each."""
  found = []
  for name in config_names():
    words = allowed_words(name)
    datasets = [word for word in words if word in DATASETS and word not in recipes.COLOR[1:]]
    others = ["", *(word for word in words if word not in (*DATASETS, "tiny"))]
    for dataset, tiny, other in itertools.product(datasets, ("", "tiny"), others):
      found.append(f"{name}:" + ",".join(word for word in (dataset, other, tiny) if word))
  return found


def traced_variants() -> list[tuple[str, bool]]:
  """(variant, whether its step is traced too, which takes seconds): each config with each of its words.

  The step is traced on a config's first set of data and with each word there; the networks on every shape of data.
  """
  found = []
  for name in config_names():
    first, *words = (word for word in allowed_words(name) if word not in ("mnist", "stacked_mnist"))  # as Fashion-MNIST
    found.append((f"{name}:{first}", True))
    found += [(f"{name}:{word}", False) for word in words if word in DATASETS and word not in recipes.COLOR[1:]]
    found += [(f"{name}:{first},{word}", True) for word in words if word not in (*DATASETS, "tiny")]
  return found


def load(variant: str) -> ConfigDict:
  name, _, argument = variant.partition(":")
  return importlib.import_module(f"configs.{name}").get_config(argument)


def spec_of(config: ConfigDict) -> Spec:
  """What opening the data set would say, without the data set."""
  data = config.data
  points = data.name in ("gaussians8", "latents")
  size = data.image_size or 8
  stored = (1, 2, 1) if points else (size, size, data.channels)
  seen, text = seen_shape(data, stored), data.text.name != "none"
  return Spec(
    image_shape=window(stored, data.crop),
    rows=(
      RowType("label", (), "int32"),
      *([RowType("text", (20,), "int32")] if text else []),
      *([RowType("seen", seen, "float32")] if seen else []),
    ),
    vocabulary=("<pad>", "<unk>", "man") if text else (),
    num_classes={"celeb_a": 0, "gaussians8": 8}.get(data.name, 10),
    num_examples=1400,
    kind="points" if points else "images",
    pixel_range=data.pixel_range,
    fingerprint="",
  )


VARIANTS = all_variants()


@pytest.mark.parametrize("name", config_names())
def test_the_docstring_names_every_variant_the_command_and_the_time(name):
  doc = inspect.getdoc(importlib.import_module(f"configs.{name}"))
  listed = doc.partition("Variants:")[2].partition("Command:")[0]
  assert not [word for word in allowed_words(name) if word not in listed and word not in recipes.COLOR]
  assert f"--config=configs/{name}.py:" in doc
  assert "Number to expect:" in doc and "\nTime: " in doc


def test_the_readme_has_the_best_measured_figure_of_every_config():
  results = (ROOT / "experiments" / "RESULTS.md").read_text("utf-8")
  summary = results.partition("## Summary")[2].partition("\n## ")[0]
  best: dict[str, str] = {}
  for name, figure in re.findall(r"^\| `(\w+)[^|]* \| [^|]* \| ([^|]*) \|", summary, re.M):
    best.setdefault(name, figure)
  rows = re.findall(
    r"^\| \[`(\w+)`\]\(configs/\w+\.py\) \| [^|]* \| ([^|]*) \|", (ROOT / "README.md").read_text("utf-8"), re.M
  )
  assert len(best) > 10
  assert dict(rows) == {name: best.get(name, "-") for name in config_names()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_is_locked_complete_and_described(variant):
  config = load(variant)
  assert config.is_locked
  assert schema.problems(config) == []
  for path, value in flatten(config.to_dict()).items():
    assert value is not None, path
    assert FIELDS[path].doc if path in FIELDS else choice_doc(config, path), f"{path} has no line for --help"


@pytest.mark.parametrize(("variant", "step"), traced_variants())
def test_a_variant_builds_and_its_step_keeps_the_states_shapes(variant, step):
  config = load(variant)
  spec = spec_of(config)
  algorithm = build_algorithm(config, spec)
  state = jax.eval_shape(lambda: make_state(algorithm, spec, 0))
  lead = (config.train.batch_size,) if algorithm.batches_per_step is None else (algorithm.batches_per_step, 4)
  batch = {
    "image": jax.ShapeDtypeStruct((*lead, *spec.image_shape), jnp.float32),
    **{row.name: jax.ShapeDtypeStruct((*lead, *row.shape), row.dtype) for row in spec.rows},
    "index": jax.ShapeDtypeStruct(lead, jnp.int32),
  }
  if step:
    new, metrics = jax.eval_shape(lambda s, b: algorithm.train_step(s, b, jax.random.key(0)), state, batch)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), new) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    assert metrics
  if isinstance(algorithm, Generative) and algorithm.has_prior:
    shapes = {row.name: ((3, *row.shape), row.dtype) for row in spec.rows}
    given = {name: jnp.zeros(*shapes[name]) for name in algorithm.given} or None
    z = jax.eval_shape(lambda s: algorithm.prior_sample(s, jax.random.key(0), jnp.arange(3), given), state)
    images = jax.eval_shape(lambda s, z: algorithm.decode(s, z, given), state, z)
    assert (images.shape, images.dtype) == ((3, *spec.image_shape), jnp.float32)


def test_tiny_needs_no_files_but_a_users_own_folder():
  names = {load(variant).data.name for variant in VARIANTS if variant.endswith("tiny")}
  assert names == {"digits", "emoji_people", "blobs", "blobs:0", "gaussians8", "folder"}


def read_keys() -> set[str]:
  """``section.key`` of every attribute that the code reads; a doc or a comment does not count."""
  nodes = (node for path in CODE for node in ast.walk(ast.parse(path.read_text("utf-8"))))
  chains = [ast.unparse(node).split(".") for node in nodes if isinstance(node, ast.Attribute)]
  return {".".join(chain[-2:]) for chain in chains}


def test_every_shared_key_is_read():
  read = read_keys()
  for path in FIELDS:
    section, _, key = path.rpartition(".")
    aliases = {"data": ("data", "options", "data_options")}.get(section, (section or "config",))
    assert any(f"{alias}.{key}" in read for alias in aliases), f"nothing reads config.{path}"


def test_every_field_is_of_some_config_and_every_shared_key_has_a_field():
  seen = {path for variant in VARIANTS for path in flatten(load(variant).to_dict())}
  assert set(FIELDS) <= seen
  shared = flatten(schema.get_config().to_dict())
  assert not [path for path in shared if path not in FIELDS and not choice_doc(load("vae:tiny"), path)]


@pytest.mark.parametrize(
  ("variant", "path", "section", "message"),
  [
    ("dcgan:tiny", "generator", {"name": "dcgan", "witdh": 8}, r'config\.generator\.witdh.*did you mean "width"'),
    ("gan:tiny", "loss", {"name": "saturating", "scale": 1.0}, r"config\.loss\.scale is unknown.*takes no arguments"),
    ("gan:tiny", "generator_optim", {"name": "sgd"}, r"config\.generator_optim lacks learning_rate"),
    ("vae:tiny", "model", {"name": "conv", "z_dim": 2, "channel": (8,)}, r'config\.model\.channel .*"channels"'),
    ("vae:tiny", "likelihood", {"name": "gaussian", "sigma": -1.0}, r"config\.likelihood: sigma=-1\.0 must be above 0"),
    (
      "vae:tiny",
      "objective",
      {"name": "elbo", "beta": {"name": "linear", "start": 0.0, "end": 1.0}},
      r"config\.objective\.beta lacks steps, which \"linear\" needs",
    ),
    ("classifier:tiny", "optim", {"name": "adam", "learning_rate": 0.0}, r"config\.optim: learning_rate=0\.0 must"),
  ],
)
def test_a_wrong_section_is_named_with_its_path_and_the_nearest(variant, path, section, message):
  config = load(variant).copy_and_resolve_references()
  with config.unlocked():
    config[path] = section
  with pytest.raises(ConfigError, match=message):
    build_algorithm(config, spec_of(config))


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"train.batch_size": 0}, r"config\.train\.batch_size=0 must be above 0"),
    ({"parallel.mode": "pjit"}, r"config\.parallel\.mode=pjit must be one of jit, shard_map, pmap"),
    ({"train.steps_per_call": 3}, r"config\.train\.num_steps=40 must be a multiple.*steps_per_call=1 "),
    ({"log.every": 15}, r"config\.checkpoint\.every=20 must be a multiple of config\.log\.every=15"),
    ({"ema.decay": 0.99, "ema.warmup": 0.0}, r"config\.ema\.warmup=0\.0 leaves .* 0\.67 .* 40 steps; set --.*=10\.0"),
    (
      {"ema.decay": 0.99, "ema.warmup": 0.0, "ema.start": 1},
      r"config\.ema\.warmup=0\.0 leaves .* step 1 a part of 0\.68",
    ),
    ({"train.patience": 2}, r"config\.train\.patience=2 needs config\.checkpoint\.keep_best"),
  ],
)
def test_a_broken_rule_is_one_line(changes, message):
  config = load("dcgan:tiny")
  for path, value in changes.items():
    section, _, key = path.rpartition(".")
    config[section][key] = value
  assert re.match(message, schema.problems(config)[0])


def test_lengths_that_papers_give_in_epochs():
  """Burda et al. 2016: pass i, at 10^(-i/7) of the rate, has 3^i epochs; Norouzi et al. 2020: 100 of warm-up."""
  config = load("iwae:fashion_mnist").copy_and_resolve_references()
  epoch = 50_000 // config.train.batch_size
  assert epoch == 2500 and config.train.num_steps == 364 * epoch
  rate = build_schedule(config.optim.learning_rate.to_dict(), "")
  for i, first in enumerate((0, 1, 4, 13, 40, 121)):
    last = first + 3**i
    for step in (first * epoch, last * epoch - 1):
      assert float(rate(jnp.asarray(step))) == pytest.approx(1e-3 * 10 ** (-i / 7))
  config = load("vae:fashion_mnist,gated")
  assert config.objective.beta.steps == config.train.patience_from == 100 * 500 and config.train.patience == 51


LEADERS = ("train.num_steps", "game.n_critic", "discriminator.width")  # what other fields follow until they are set


@pytest.mark.parametrize("variant", [variant for variant, step in traced_variants() if step] + ["r3gan:cifar10"])
def test_a_number_that_is_set_moves_no_other_but_those_that_follow_it(variant):
  before = flatten(load(variant).to_dict())
  for path, value in before.items():
    if path not in LEADERS and isinstance(value, int) and not isinstance(value, bool):
      config = load(variant)
      config.update_from_flattened_dict({path: value + 1})
      assert flatten(config.to_dict()) == {**before, path: value + 1}


def test_r3gans_label_embedding_in_d_is_as_wide_as_the_network():
  """As in the authors' train.py."""
  for variant in ("r3gan:cifar10", "r3gan:fashion_mnist", "r3gan:digits,tiny"):
    assert load(variant).discriminator.embedding_dim == load(variant).discriminator.width
  config = load("r3gan:cifar10")
  config.discriminator.width = 96
  assert config.discriminator.embedding_dim == 96


def test_the_capacity_rises_over_half_the_steps_whatever_they_are():
  config = load("beta_vae:fashion_mnist,capacity")
  config.train.num_steps = 600
  assert config.objective.capacity.steps == 300


@pytest.mark.parametrize("variant", ["rae:l2,gradient", "vae:conv,flax", "lucic2018:wgan,vae"])
def test_two_models_are_refused(variant):
  with pytest.raises(ValueError, match="are different models; take one"):
    load(variant)


def test_a_misspelt_key_cannot_be_set():
  with pytest.raises((AttributeError, KeyError), match='Did you mean.*"num_steps"'):
    load("vae:tiny").train.num_step = 1


def test_configs_are_read_without_jax():
  modules = ", ".join(f"configs.{name}" for name in config_names())
  code = f"import sys, {modules}; sys.exit(any(m.split('.')[0] in ('jax', 'flax', 'common') for m in sys.modules))"
  subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
