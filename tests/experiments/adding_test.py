"""README's "Adding to it" is followed: its steps are enough to train, to score and to ask for help."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import ConfigError
from experiments import ROOT, family

FAMILY = '''
"""Reconstruction from a linear bottleneck."""
import dataclasses
import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from common.build import build
from common.types import Array, Mean
from common.data.spec import Spec
from common.ema import NO_EMA, Ema
from common.state import NetState, apply_gradients, init_network

class State(flax.struct.PyTreeNode):
  step: Array
  net: NetState

@dataclasses.dataclass(frozen=True)
class Linear:
  spec: Spec
  network: nn.Module
  tx: optax.GradientTransformation
  axis_name: str | None
  batches_per_step = None
  ema: Ema = NO_EMA
  alarms = ()

  def init(self, rng, batch):
    return State(jnp.zeros((), jnp.int32), init_network(self.network, self.tx, self.ema, rng, self.flat(batch)))

  def flat(self, batch):
    return batch["image"].reshape(len(batch["image"]), -1)

  def errors(self, params, batch):
    return jnp.sum((self.network.apply({"params": params}, self.flat(batch)) - self.flat(batch)) ** 2, axis=-1)

  def train_step(self, state, batch, rng):
    loss, grads = jax.value_and_grad(lambda params: jnp.mean(self.errors(params, batch)))(state.net.params)
    net, norms = apply_gradients(state.net, grads, self.tx, self.ema, axis_name=self.axis_name)
    return State(state.step + 1, net), {"loss": Mean.of(self.errors(state.net.params, batch)), **norms}

  def eval_step(self, state, batch, rng):
    return {"loss": Mean.of(self.errors(state.net.params, batch), batch["mask"])}

  def summarize(self, means):
    return {}

class Narrow(nn.Module):
  """A bottleneck.

  Attributes:
    width: units of the bottleneck.
  """
  pixels: int
  width: int

  @nn.compact
  def __call__(self, x):
    return nn.Dense(self.pixels)(nn.Dense(self.width)(x))

TABLES = {"model": {"narrow": Narrow}}

def from_config(config, spec, axis_name=None):
  pixels = spec.image_shape[0] * spec.image_shape[1] * spec.image_shape[2]
  network = build(TABLES["model"], config.model, "model", pixels=pixels)
  return Linear(spec, network, optax.adam(1e-2), axis_name)
'''

LINEAR = """
from configs import recipes, schema

def get_config(argument=""):
  dataset, words = recipes.variants(argument, ("digits",))
  config = schema.get_config("linear")
  recipes.use_dataset(config, dataset)
  config.model = {"name": "narrow", "width": 4}
  return recipes.finish(config, words)
"""

PAPER = """
from configs import recipes, schema

def get_config(argument=""):
  _, words = recipes.variants(argument, ("digits",))
  config = schema.get_config("gan")
  config.data.update({"name": "stripes", "image_size": 8})
  config.z_dim, config.loss = 4, {"name": "squared", "scale": 2.0}
  config.generator = {"name": "flat", "start": 0.1}
  config.discriminator = {"name": "mlp", "width": 8}
  config.discriminator_optim = config.generator_optim = recipes.adam(1e-3)
  config.evaluate.update({"metrics": {"grey": {"shift": 1.0}}, "num_samples": 20})
  return recipes.finish(config, words)
"""

ADDED = {  # what the user writes in the code: a new file, or lines before an entry of a table
  "configs/others.py": PAPER,
  "gan/losses.py": (
    "LOSSES = {",
    "def squared(scale: float) -> AdversarialLoss:\n"
    "  return AdversarialLoss(lambda real, fake: scale * (fake - real) ** 2, lambda real, fake: -fake)\n\n",
    '  "hinge": hinge,',
    '  "squared": squared,\n',
  ),
  "gan/networks/flat.py": """
import flax.linen as nn
import jax.numpy as jnp

class Generator(nn.Module):
  image_shape: tuple[int, int, int]
  pixel_range: tuple[float, float]
  start: float = 0.5

  @nn.compact
  def __call__(self, z, *, train):
    grey = self.param("grey", lambda rng: jnp.full((), self.start))
    return jnp.broadcast_to(grey, (len(z), *self.image_shape))
""",
  "gan/networks/__init__.py": (
    "from gan.networks import",
    "from gan.networks.flat import Generator as Flat\n",
    '  "mlp": mlp.Generator,',
    '  "flat": Flat,\n',
  ),
  "common/data/stripes.py": """
import numpy as np
from common.data.source import ArraySource

def load(split):
  images = np.tile(np.arange(8, dtype=np.uint8) * 30, (96, 8, 1))[..., None]
  return {"image": images, "label": np.zeros(96, np.int32)}

def stripes():
  return ArraySource("stripes", (8, 8, 1), 1, {"train": 96, "validation": 96, "test": 96}, load)
""",
  "common/data/catalogue.py": (
    '  if data.name == "digits":',
    '  if data.name == "stripes":\n    from common.data.stripes import stripes\n\n    return stripes()\n',
  ),
  "common/evaluation/metrics/grey.py": """
import dataclasses
import numpy as np
from common.evaluation.metrics.score import Score

@dataclasses.dataclass(frozen=True)
class Grey:
  shift: float = 0.0
  needs = frozenset({"images"})
  better = {"grey": ""}

  def least(self):
    return 1, 1

  def __call__(self, real, fake, seed):
    return {"grey": Score(float(np.mean(fake.images)) + self.shift, 0.0, "nothing")}
""",
  "common/evaluation/metrics/catalogue.py": ('  "frechet": ', '  "grey": "grey:Grey",\n'),
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
  root = tmp_path_factory.mktemp("copy")
  for package in ("common", "gan", "vae", "configs", "experiments"):
    shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__", "*.png", "weights"))
  for path, what in ADDED.items():
    if isinstance(what, str):
      (root / path).write_text(what)
      continue
    text = (root / path).read_text()
    for before, lines in zip(what[::2], what[1::2], strict=True):
      assert before in text, f"{path} has no {before}"
      text = text.replace(before, lines + before, 1)
    (root / path).write_text(text)
  return root


def command(place: Path, root: Path, *words: object) -> str:
  """Runs a command of the code in ``root`` from the folder ``place``; returns what it prints."""
  env = {**os.environ, "PYTHONPATH": str(root)}
  call = [sys.executable, "-m", *map(str, words)]
  done = subprocess.run(call, cwd=place, env=env, capture_output=True, text=True, timeout=400)
  assert done.returncode == 0, done.stderr
  return done.stdout


def lines_of(workdir: Path, split: str) -> list[dict[str, float]]:
  lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
  return [line for line in lines if line["split"] == split]


def test_a_family_and_its_config_in_a_folder_of_their_own(tmp_path):
  (tmp_path / "linear.py").write_text(FAMILY)
  (tmp_path / "bottleneck.py").write_text(LINEAR)
  train = ("experiments.train", "--config=bottleneck.py:tiny", f"--workdir={tmp_path / 'run'}")
  command(tmp_path, ROOT, *train)
  for split in ("train", "validation"):
    first, *_, last = lines_of(tmp_path / "run", split)
    assert last["step"] == 40 and last["loss"] < first["loss"]
  out = command(tmp_path, ROOT, *train, "--help")
  assert "--config.model.name: str = 'narrow'  one of narrow: A bottleneck." in out
  assert "--config.model.width: int = 4  units of the bottleneck." in out


def test_a_loss_a_network_a_data_set_and_a_metric_in_a_copy_of_the_code(copy):
  workdir = copy / "runs" / "others"
  command(copy, copy, "experiments.train", "--config=others:tiny", f"--workdir={workdir}")
  assert lines_of(workdir, "train")[-1]["step"] == 40
  assert lines_of(workdir, "validation")[-1]["grey"] == pytest.approx(1.0 + 0.1 * 255, abs=10.0)
  out = command(copy, copy, "experiments.train", "--config=others:tiny", "--help")
  assert "--config.loss.scale: float = 2.0" in out and "hinge" in out and "squared, " in out


def test_a_family_that_is_no_module_is_refused(tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(tmp_path)
  (tmp_path / "without.py").touch()
  (tmp_path / "broken.py").write_text("import a_module_that_is_missing")
  for name, text in {"gna": 'did you mean "gan"?', "a b": "is not a family", "without": "lacks the function"}.items():
    with pytest.raises(ConfigError, match=f'config.family="{name}"') as error:
      family(name)
    assert text in str(error.value)
  with pytest.raises(ModuleNotFoundError, match="a_module_that_is_missing"):
    family("broken")
