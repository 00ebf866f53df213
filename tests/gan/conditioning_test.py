"""Labels on their way to each network, and what they change there."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.build import build
from common.data.degradations.resize import resized
from common.errors import ConfigError
from common.layers.spectral import SpectralNorm
from experiments import build_algorithm
from gan.conditioning import CONDITIONING
from gan.networks.interface import LabelHead
from tests.tiny import batch_of, config_of, dataset_of, with_networks

RNG = np.random.default_rng(0)
LABELS = jnp.asarray([0, 2, 1, 2, 0])
ONE_HOT = jnp.eye(3)[LABELS]
GLOROT = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")


class NormalizedHead(nn.Module):
  """The end of a discriminator with spectral normalization."""

  @nn.compact
  def __call__(self, logits, features, given):
    return LabelHead("projection")(logits, features, given, GLOROT, SpectralNorm)


def test_the_embedding_is_normalized_where_the_discriminator_is():
  features, logits = (jnp.asarray(RNG.normal(size=shape), jnp.float32) for shape in ((5, 7), (5,)))
  variables = NormalizedHead().init(jax.random.key(0), logits, features, ONE_HOT)
  (vectors,) = variables["spectral"].values()
  embedding = np.asarray(variables["params"]["label_embedding"]["kernel"])
  embedding = embedding / (vectors["v"] @ embedding @ vectors["u"])
  output = NormalizedHead().apply(variables, logits, features, ONE_HOT)
  np.testing.assert_allclose(output.logits, logits + np.sum(embedding[LABELS] * features, -1), atol=1e-5)


def test_concatenation_gives_the_label_to_inputs():
  concat = build(CONDITIONING, {"name": "concat"}, "conditioning", num_classes=3)
  given = concat.vector({"label": LABELS, "index": LABELS})
  z, known = concat.generator_inputs(jnp.ones((5, 7)), given)
  np.testing.assert_array_equal(z, np.concatenate([np.ones((5, 7)), np.eye(3)[LABELS]], -1))
  x, also = concat.discriminator_inputs(jnp.ones((5, 2, 2, 1)), given)
  np.testing.assert_array_equal(x[:, 1, 0], np.concatenate([np.ones((5, 1)), np.eye(3)[LABELS]], -1))
  assert not known and not also


def test_what_is_seen_goes_in_front_of_z_and_behind_the_image():
  """At the image's size; D judges the image alone where it does not see the pair."""
  seen = jnp.asarray(RNG.uniform(size=(2, 3, 4, 2)), jnp.float32)
  x = jnp.asarray(RNG.uniform(size=(2, 6, 8, 1)), jnp.float32)
  pair, alone = (build(CONDITIONING, {"name": "seen", "pair": both}, "conditioning") for both in (True, False))
  assert pair.rows == alone.rows == ("seen",)
  given = pair.vector({"seen": seen, "image": x})
  z = jnp.asarray([[1.0, 2.0], [3.0, 4.0]])
  planes, known = pair.generator_inputs(z, given)
  np.testing.assert_array_equal(planes[..., :2], seen)
  np.testing.assert_array_equal(planes[:, 1, 2, 2:], z)
  np.testing.assert_array_equal(pair.generator_inputs(jnp.zeros((2, 0)), given)[0], seen)
  both, also = pair.discriminator_inputs(x, given)
  np.testing.assert_array_equal(both, np.concatenate([x, resized(seen, 6, 8)], axis=-1))
  same = jnp.zeros((2, 3, 4, 1))
  np.testing.assert_array_equal(pair.discriminator_inputs(same, given)[0][..., 1:], seen)
  np.testing.assert_array_equal(alone.discriminator_inputs(x, given)[0], x)
  assert not known and not also


class ToyGenerator(nn.Module):
  @nn.compact
  def __call__(self, z, *, train, given=None):
    weights = self.param("classes", nn.initializers.normal(1.0), (10, 64))
    return nn.sigmoid(nn.Dense(64)(z) + given @ weights).reshape(-1, 8, 8, 1)


class ToyDiscriminator(nn.Module):
  label_head: LabelHead

  @nn.compact
  def __call__(self, x, *, train, keys, given=None):
    h = nn.tanh(nn.Dense(8)(x.reshape(x.shape[0], -1)))
    return self.label_head(nn.Dense(1)(h)[:, 0], h, given, GLOROT)


WEIGHTS = {"weight_d": 2.0, "weight_g": 0.25}


@pytest.mark.parametrize("weights", [{}, WEIGHTS, {**WEIGHTS, "name_fakes": False}], ids=str)
def test_a_round_equals_one_by_hand(weights):
  """Both players' losses with each image's own label under SGD; without weights by a projection, else by a classifier.

  In Odena et al. D names generated images too, in Gulrajani et al. real ones only.
  """
  form = "auxiliary" if weights else "projection"
  section = {"name": form, "generator": "class_batch_norm", **weights}
  sgd, variant = {"name": "sgd", "learning_rate": 0.5}, "dcgan:digits,tiny"
  config = config_of(variant, generator_optim=sgd, discriminator_optim=sgd, conditioning=section, z_dim=4)
  gan = build_algorithm(config, dataset_of(variant).spec)
  gan = with_networks(gan, ToyGenerator(), ToyDiscriminator(gan.discriminator.module.label_head))
  batch = batch_of(dataset_of(variant), (1, 16))
  batch["image"] = batch["image"][:, :, ::2, ::2]
  state = jax.jit(gan.init)(jax.random.key(0), batch)
  after, metrics = jax.jit(gan.train_step)(state, batch, jax.random.key(1))
  real, y = batch["image"][0], batch["label"][0]

  def generate(params, turn):
    z = gan.prior_sample(state, jax.random.fold_in(jax.random.key(1), turn), batch["index"][0])
    return gan.generator.module.apply({"params": params}, z, train=True, given=jnp.eye(10)[y])

  def judge(params, x):
    h = jnp.tanh(x.reshape(16, -1) @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"])
    logits = (h @ params["Dense_1"]["kernel"])[:, 0] + params["Dense_1"]["bias"]
    if form == "projection":
      return logits + jnp.sum(params["label_embedding"]["kernel"][y] * h, -1), 0.0
    names = jax.nn.log_softmax(h @ params["label_classifier"]["kernel"] + params["label_classifier"]["bias"])
    return logits, -jnp.take_along_axis(names, y[:, None], 1)[:, 0]

  def d_loss(params):
    (real_logits, real_class), (fake_logits, fake_class) = (
      judge(params, x) for x in (real, generate(state.generator.params, 0))
    )
    losses = jax.nn.softplus(-real_logits) + jax.nn.softplus(fake_logits)
    named = real_class + fake_class * weights.get("name_fakes", True)
    return jnp.mean(losses + weights.get("weight_d", 0.0) * named)

  def g_loss(params):
    logits, named = judge(after.discriminator.params, generate(params, 1))
    return jnp.mean(jax.nn.softplus(-logits) + weights.get("weight_g", 0.0) * named)

  for player, loss in (("discriminator", d_loss), ("generator", g_loss)):
    old, new = (getattr(s, player).params for s in (state, after))
    expected = jax.tree.map(lambda p, g: p - 0.5 * g, old, jax.grad(loss)(old))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), new, expected)
  assert ("d_class_loss" in metrics) == ("g_class_loss" in metrics) == (form == "auxiliary")


@pytest.mark.parametrize(
  ("section", "message"),
  [
    ({"name": "projection", "generator": "sum"}, 'generator="sum" is not one of class_batch_norm, concat, embedding'),
    ({"name": "auxiliary", "weight_d": 0.0}, r"weight_d=0\.0 must be above 0"),
  ],
)
def test_wrong_settings_are_named(section, message):
  with pytest.raises(ConfigError, match=message):
    build(CONDITIONING, section, "conditioning", num_classes=3)
