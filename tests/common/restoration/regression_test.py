"""The regression: what a step compares with what, its figures, and what it refuses."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common import random
from common.algorithm import Generative
from common.data.degradations import build_degradation
from common.data.degradations.resize import resized
from common.data.spec import RowType, Spec
from common.errors import ConfigError
from experiments import build_algorithm
from tests.tiny import config_of

# Many pixels are black or white, where a result leaves the pixel range.
IMAGES = np.clip(np.random.default_rng(0).uniform(-1.0, 2.0, (6, 12, 8, 3)), 0.0, 1.0).astype(np.float32)


def spec_of(config, shape=(12, 8, 3)):
  seen = build_degradation(config.data.degradation, True).shape(shape)
  rows = RowType("label", (), "int32"), RowType("seen", seen, "float32")
  return Spec(shape, 0, 6, "images", (0.0, 1.0), "", rows=rows)


def model_of(variant, **changes):
  config = config_of(variant, **changes)
  return build_algorithm(config, spec_of(config))


def batch_of(config, images=IMAGES):
  index = jnp.arange(len(images), dtype=jnp.int32)
  keys = random.row_keys(jax.random.key(0), index)
  seen = build_degradation(config.data.degradation, True)(jnp.asarray(images), keys)
  return {"image": jnp.asarray(images), "seen": seen, "index": index}


SGD = {"optim": {"name": "sgd", "learning_rate": 1.0}}


@pytest.fixture(scope="module")
def trained():
  """A model of scale 2 after one step, and the state before it."""
  config = config_of("edsr:photos,quick,tiny", **SGD)
  model, batch = model_of("edsr:photos,quick,tiny", **SGD), batch_of(config)
  state = jax.jit(model.init)(jax.random.key(0), batch)
  after, metrics = jax.jit(model.train_step)(state, batch, jax.random.key(1))
  return model, batch, state, after, metrics


def test_a_step_descends_on_the_mean_absolute_error(trained):
  model, batch, before, after, metrics = trained

  def loss(params):
    return jnp.mean(jnp.abs(model.network.apply({"params": params}, batch["seen"]) - batch["image"]))

  value, grads = jax.value_and_grad(loss)(before.net.params)
  moved = jax.tree.map(lambda a, b: a - b, before.net.params, after.net.params)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), moved, grads)
  assert metrics["loss"].total / metrics["loss"].count == pytest.approx(float(value), rel=1e-5)
  assert int(after.step) == 1


def test_a_model_that_is_given_what_is_seen_and_has_no_latents(trained):
  model, batch, _, after, _ = trained
  assert isinstance(model, Generative) and model.given == ("seen",)
  z = model.prior_sample(after, jax.random.key(0), batch["index"])
  assert z.shape == (6, 0)
  restored = model.decode(after, z, {"seen": batch["seen"]})
  averaged = {"params": after.net.ema_params}
  np.testing.assert_allclose(restored, model.network.apply(averaged, batch["seen"]), atol=1e-6)
  raw = model.decode(after, z, {"seen": batch["seen"]}, ema=False)
  np.testing.assert_allclose(raw, model.network.apply({"params": after.net.params}, batch["seen"]), atol=1e-6)
  assert np.abs(raw - restored).max() > 1e-6


def test_the_psnr_of_a_split_is_the_mean_over_its_pictures(trained):
  """Clipped, in decibels of the pixel range, and without the padding of the last batch."""
  model, batch, _, after, _ = trained
  restored = np.clip(model.decode(after, None, {"seen": batch["seen"]}), 0, 1)
  errors = ((restored - batch["image"]) ** 2).mean(axis=(1, 2, 3))
  mask = jnp.asarray([1.0, 1, 1, 1, 0, 0])
  metrics = model.eval_step(after, {**batch, "mask": mask}, jax.random.key(0))
  assert metrics["psnr"].total / 4 == pytest.approx(np.mean(-10 * np.log10(errors[:4])), rel=1e-5)
  perfect = {**batch, "image": jnp.asarray(restored), "mask": mask}
  assert model.eval_step(after, perfect, jax.random.key(0))["psnr"].total / 4 == pytest.approx(100.0)


def test_pictures_show_what_is_seen_the_result_and_the_image(trained):
  model, batch, _, after, _ = trained
  shown = model.visualize(after, batch, jax.random.key(0))["restored"]
  np.testing.assert_allclose(shown[0::3], resized(batch["seen"], 12, 8), atol=1e-6)
  np.testing.assert_allclose(shown[1::3], model.decode(after, None, {"seen": batch["seen"]}), atol=1e-6)
  np.testing.assert_array_equal(shown[2::3], batch["image"])


def test_noise2noise_compares_with_other_noise_and_never_with_the_image():
  config = config_of("dncnn:photos,noise2noise,quick,tiny", **SGD)
  model, batch = model_of("dncnn:photos,noise2noise,quick,tiny", **SGD), batch_of(config)
  one, two = (model._target(batch, jax.random.key(seed)) for seed in (1, 2))
  noise = np.asarray(one - batch["image"]) * 255
  assert 5 < noise.std() < 55 and np.abs(noise - np.asarray(two - batch["image"]) * 255).max() > 1
  assert np.corrcoef(noise.ravel(), np.asarray(batch["seen"] - batch["image"]).ravel())[0, 1] < 0.1
  again = model._target({**batch, "image": batch["image"][3:], "index": batch["index"][3:]}, jax.random.key(1))
  np.testing.assert_allclose(again, one[3:], atol=1e-6)  # a row's noise depends on its index only
  clean = model_of("dncnn:photos,clean,quick,tiny")
  assert clean._target(batch, jax.random.key(1)) is batch["image"]


class Scale(nn.Module):
  """The input times a number."""

  @nn.compact
  def __call__(self, seen, *, train):
    return seen * self.param("factor", nn.initializers.constant(0.5), ())


def slopes(variant, count=400, **changes):
  """(mean, its standard error) of the loss's slope in the factor, over the steps of ``count`` keys."""
  config = config_of(variant, **SGD, **changes)
  model, batch = dataclasses.replace(model_of(variant, **SGD, **changes), network=Scale()), batch_of(config)
  state = model.init(jax.random.key(0), batch)
  step = lambda key: model.train_step(state, batch, key)[0].net.params["factor"]  # noqa: E731
  found = 0.5 - np.asarray(jax.jit(jax.vmap(step))(jax.random.split(jax.random.key(1), count)), np.float64)
  return found.mean(), found.std() / np.sqrt(count)


def test_noise2noise_has_the_slope_of_clean_images_in_the_mean_unless_noise_is_clipped():
  """E[(f - x - n)^2] = (f - x)^2 + E[n^2] for noise n of mean 0 (Lehtinen et al. 2018, Section 2).

  Many pixels are white, where clipped noise can only darken.
  """
  noisy, error = slopes("dncnn:photos,noise2noise,quick,tiny")
  clean, _ = slopes("dncnn:photos,clean,quick,tiny", count=2)
  assert error < 1e-3 * abs(clean) and abs(noisy - clean) < 4 * error
  clipped, error = slopes("dncnn:photos,noise2noise,quick,tiny", data__quantise=True)
  assert abs(clipped - clean) > 20 * error


def test_batch_norm_of_dncnn_keeps_the_statistics_of_training():
  config = config_of("dncnn:photos,tiny")
  model, batch = model_of("dncnn:photos,tiny"), batch_of(config)
  state = jax.jit(model.init)(jax.random.key(0), batch)
  after, _ = jax.jit(model.train_step)(state, batch, jax.random.key(1))
  [before], [now] = (jax.tree.leaves(x.net.mutable["batch_stats"])[:1] for x in (state, after))
  assert np.abs(before - now).max() > 0


@pytest.mark.parametrize(
  ("variant", "shape", "changes", "message"),
  [
    ("edsr:photos,quick,tiny", (12, 8, 3), {"data__degradation": ()}, "config.data.degradation is empty"),
    ("dncnn:photos,quick,tiny", (12, 8, 3), {"data__degradation": ({"name": "resize", "scale": 2},)},
     'config.model.name="dncnn" keeps the size of what is seen, and config.data.degradation shrinks images by 2'),
    ("dncnn:photos,noise2noise,tiny", (12, 8, 3), {"data__degradation": ({"name": "box", "height": 2, "width": 2},)},
     r'config.target="degraded" compares with a second degraded image, whose shape \(12, 8, 4\)'),
    ("edsr:photos,tiny", (12, 8, 3), {"model": {"name": "edrs"}}, "did you mean"),
  ],
)  # fmt: skip
def test_what_cannot_be_restored_is_refused(variant, shape, changes, message):
  config = config_of(variant, **changes)
  spec = spec_of(config, shape)
  if not config.data.degradation:
    spec = Spec(shape, 0, 6, "images", (0.0, 1.0), "")
  with pytest.raises(ConfigError, match=message):
    build_algorithm(config, spec)
