"""A VAE against a discriminator: its step by hand, what it is to the users of a VAE, and what is refused."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from common.data.spec import Spec
from common.ema import NO_EMA
from common.errors import ConfigError
from common.state import Network
from common.training.checkpoint import Checkpoints
from experiments import build_algorithm
from gan.networks.interface import DiscriminatorOutput
from tests.advice import applied, ways
from tests.common.training.saved import assert_same, shapes_like
from tests.tiny import config_of
from vae.likelihoods import Gaussian
from vae.model import LatentVariableModel
from vae.objectives.reconstruction import Reconstruction
from vae.posteriors import Deterministic
from vae.priors import NoPrior
from vae.samplers.latents import check, shape_of

SPEC = Spec((16, 16, 1), 10, 100, "images", (-1.0, 1.0), "")
X = np.random.default_rng(0).uniform(0.2, 0.8, (4, 4, 4, 1)).astype(np.float32)
BATCH = {"image": X, "index": jnp.arange(4), "label": jnp.zeros(4, jnp.int32)}
A, B, RATE, CONTENT, LARGEST = 0.9, 0.7, 0.01, 3.0, 20.0


class Scale(nn.Module):
  """A layer of one number."""

  start: float

  @nn.compact
  def __call__(self, x):
    return x * self.param("kernel", nn.initializers.constant(self.start), ())


class Encoder(nn.Module):
  """z = x."""

  def __call__(self, x, given, *, train):
    return x.reshape(len(x), -1)


class Decoder(nn.Module):
  """b a z."""

  last_layer = "last"

  @nn.compact
  def __call__(self, z, given, *, train):
    return Scale(B, name="last")(Scale(A, name="first")(z[0])).reshape(-1, *X.shape[1:])


class Judge(nn.Module):
  """A logit v x for each pixel."""

  start: float

  @nn.compact
  def __call__(self, x, *, train, keys):
    return DiscriminatorOutput(Scale(self.start, name="v")(x)[..., 0], jnp.zeros((len(x), 1)))


def config_with(**changes):
  return config_of("vqgan:digits,tiny", **changes)


def toy(v, start):
  """A VAE-GAN of three numbers under plain gradient descent."""
  content = {"l2": {"weight": CONTENT}}
  game = {"name": "adaptive", "weight": 0.8, "start": start, "largest": LARGEST}
  made = build_algorithm(config_with(game=game, content=content), SPEC)
  parts = {"encoder": Encoder(), "decoder": Decoder(), "posterior": Deterministic(), "prior": NoPrior()}
  likelihood = Gaussian(pixel_range=(-1.0, 1.0), sigma=1.0, squash=False)
  network = LatentVariableModel(**parts, likelihood=likelihood, conditioning=made.network.conditioning)
  judges = dataclasses.replace(made.judges, discriminator=Network(Judge(v), optax.sgd(RATE), NO_EMA))
  changes = {"network": network, "objective": Reconstruction(), "tx": optax.sgd(RATE), "judges": judges}
  return dataclasses.replace(made, **changes)


@pytest.mark.parametrize(("v", "start"), [(0.5, 0), (0.5, 1), (0.01, 0)])
def test_a_step_by_hand(v, start):
  """Others: mean_i sum_p e^2 / 2 + 3 mean e^2 with e = b a x - x; adversarial: -v mean(b a x), v after D's own step.

  Their slopes by b, the last layer, give the weight 0.8 |others| / (|adversarial| + 1e-4), the ratio 20 at
  most. A gradient of the weight itself would move a and b otherwise.
  """
  algorithm = toy(v, start)
  with jax.disable_jit():
    state = algorithm.init(jax.random.key(0), BATCH)
  new, metrics = jax.jit(algorithm.train_step)(state, BATCH, jax.random.key(1))

  x, fake = X.astype(np.float64), A * B * X.astype(np.float64)
  per_pixel = (fake - x) * x * (X[0].size + 2 * CONTENT)  # of mean e^2 / 2, by the product a b
  v_after = v - RATE * (fake.mean() - x.mean())  # the hinge is in its linear part
  others, adversarial = A * per_pixel.mean(), -A * v_after * x.mean()
  ratio = min(abs(others) / (abs(adversarial) + 1e-4), LARGEST)
  assert (ratio == LARGEST) == (v < 0.1)
  factor = 0.8 * ratio if start == 0 else 0.0
  assert float(metrics["adversarial_weight"].total) / 4 == pytest.approx(factor, rel=1e-4)
  numbers = {name: float(layer["kernel"]) for name, layer in new.net.params["decoder"].items()}
  slope = per_pixel.mean() - factor * v_after * x.mean()
  assert numbers["last"] == pytest.approx(B - RATE * A * slope, rel=1e-4)
  assert numbers["first"] == pytest.approx(A - RATE * B * slope, rel=1e-4)
  assert float(new.discriminator.params["v"]["kernel"]) == pytest.approx(v_after, rel=1e-4)


def test_a_run_that_is_resumed_ends_as_one_without_a_pause(tmp_path):
  """Over the step at which D is first heard."""
  algorithm = toy(0.5, 1)
  step, rng = jax.jit(algorithm.train_step), jax.random.key(1)
  with jax.disable_jit():
    first = algorithm.init(jax.random.key(0), BATCH)
  paused = step(first, BATCH, rng)[0]
  with Checkpoints(tmp_path, keep=1) as checkpoints:
    checkpoints.save(1, paused, {})
    restored = checkpoints.restore(shapes_like(first)).state
  assert_same(restored, paused)
  assert_same(step(restored, BATCH, rng)[0], step(paused, BATCH, rng)[0])


def test_it_is_a_vae_to_the_priors_of_its_codes():
  algorithm = build_algorithm(config_with(), SPEC)
  assert shape_of(algorithm) == (4, 4, 1)
  check(algorithm, codes=True)
  fsq, kl = (build_algorithm(config_of(f"vqgan:digits,{word},tiny"), SPEC) for word in ("fsq", "kl"))
  assert shape_of(fsq) == (4, 4, 1) and shape_of(kl) == (1, 1, 64)
  check(fsq, codes=True)
  check(kl, codes=False)


ELBO = {"name": "importance_weighted", "draws": 2}
MLP = {"name": "gated_mlp", "z_dim": 64, "width": 8}


@pytest.mark.parametrize(
  ("changes", "spec", "fields", "why"),
  [
    ({"model": MLP, "posterior": {"name": "diagonal_gaussian"}}, {"kind": "points"}, "data.name", "data are points"),
    ({"posterior": {"name": "diagonal_gaussian"}, "objective": ELBO}, {}, "objective.name", "draws several"),
    ({"model": MLP, "posterior": {"name": "diagonal_gaussian"}}, {}, "model.name", "the decoder's last layer"),
    ({"checkpoint__keep_best": "psnr"}, {}, "checkpoint.keep_best", "an adversarial loss is there to avoid"),
    ({"evaluate__features": "random:1"}, {}, "evaluate.features", "what G was trained on"),
    ({}, {"image_shape": (4, 4, 1)}, "discriminator.name", "images of 8 pixels or more"),
  ],
)
def test_what_cannot_be_judged_is_refused_with_a_way_out(changes, spec, fields, why):
  normal = {"prior": {"name": "standard_normal"}} if "posterior" in changes else {}
  config, data = config_with(**changes, **normal), dataclasses.replace(SPEC, **spec)
  if spec.get("image_shape"):
    config.model.z_dim = 4
  with pytest.raises(ConfigError) as error:
    build_algorithm(config, data)
  text = str(error.value)
  assert f"config.{fields}" in text and why in text
  for words in ways(text.rpartition("; take ")[2])[:1]:
    if not words[0].startswith("--config.data."):
      build_algorithm(applied(config, words), data)
