"""Labels on their way to each network, what they change there, and which pairs are refused."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.build import build
from common.errors import ConfigError
from common.layers.spectral import SpectralNorm
from experiments import build_algorithm
from gan.conditioning import CONDITIONING
from gan.networks import DISCRIMINATORS, GENERATORS
from gan.networks.interface import DiscriminatorOutput, LabelHead
from tests.tiny import batch_of, config_of, dataset_of, with_networks

RNG = np.random.default_rng(0)
FEATURES, LOGITS = (jnp.asarray(RNG.normal(size=shape), jnp.float32) for shape in ((5, 7), (5,)))
LABELS = jnp.asarray([0, 2, 1, 2, 0])
GLOROT = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")


class Head(nn.Module):
  """The end of a discriminator."""

  head: LabelHead
  spectral_norm: bool = False

  @nn.compact
  def __call__(self, logits, features, labels):
    normalized = SpectralNorm if self.spectral_norm else (lambda layer: layer)
    return self.head(logits, features, labels, GLOROT, normalized)


def judged(form, spectral_norm=False, labels=LABELS):
  module = Head(LabelHead(form, 3), spectral_norm)
  variables = module.init(jax.random.key(0), LOGITS, FEATURES, labels)
  return variables, module.apply(variables, LOGITS, FEATURES, labels)


def test_a_projection_adds_the_product_with_the_labels_embedding():
  variables, output = judged("projection")
  embedding = np.asarray(variables["params"]["label_embedding"]["kernel"])
  assert embedding.shape == (3, 7)
  expected = [logit + embedding[y] @ f for logit, f, y in zip(LOGITS, np.asarray(FEATURES), LABELS, strict=True)]
  np.testing.assert_allclose(output.logits, expected, atol=1e-5)
  assert output.class_logits is None


def test_the_embedding_is_normalized_where_the_discriminator_is():
  variables, output = judged("projection", spectral_norm=True)
  (vectors,) = variables["spectral"].values()
  embedding = np.asarray(variables["params"]["label_embedding"]["kernel"])
  embedding = embedding / (vectors["v"] @ embedding @ vectors["u"])
  np.testing.assert_allclose(output.logits, LOGITS + np.sum(embedding[LABELS] * FEATURES, -1), atol=1e-5)


def test_an_auxiliary_classifier_reads_the_features_and_leaves_the_logits():
  variables, output = judged("auxiliary", labels=None)
  layer = variables["params"]["label_classifier"]
  np.testing.assert_allclose(output.class_logits, FEATURES @ layer["kernel"] + layer["bias"], atol=1e-5)
  np.testing.assert_array_equal(output.logits, LOGITS)


def test_without_a_head_nothing_is_added():
  variables, output = judged("none", labels=None)
  assert not variables
  np.testing.assert_array_equal(output.logits, LOGITS)


def class_output(seed):
  logits = np.random.default_rng(seed).normal(size=(5, 3)).astype(np.float32)
  probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  nll = -np.log(probabilities[np.arange(5), np.asarray(LABELS)])
  return DiscriminatorOutput(logits=LOGITS, features=FEATURES, class_logits=jnp.asarray(logits)), nll


def test_the_class_terms_are_weighted_cross_entropies():
  """Odena: both players, real and fake; Gulrajani: D names real images only. The better named, the smaller for both."""
  (real, nll_real), (fake, nll_fake) = class_output(1), class_output(2)
  section = {"name": "auxiliary", "weight_d": 2.0, "weight_g": 0.5}
  for name_fakes, expected in ((True, 2.0 * (nll_real + nll_fake)), (False, 2.0 * nll_real)):
    conditioning = build(CONDITIONING, {**section, "name_fakes": name_fakes}, "conditioning", num_classes=3)
    terms = conditioning.discriminator_terms(real, fake, LABELS)
    np.testing.assert_allclose(terms["class_loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(conditioning.generator_terms(fake, LABELS)["class_loss"], 0.5 * nll_fake, rtol=1e-5)
  unconditional = build(CONDITIONING, {"name": "none"}, "conditioning", num_classes=3)
  assert not unconditional.discriminator_terms(real, fake, LABELS) and not unconditional.generator_terms(fake, LABELS)


def test_concatenation_gives_the_label_to_inputs():
  concat = build(CONDITIONING, {"name": "concat"}, "conditioning", num_classes=3)
  z, known = concat.generator_inputs(FEATURES, LABELS)
  np.testing.assert_array_equal(z, np.concatenate([FEATURES, np.eye(3)[LABELS]], -1))
  x, also = concat.discriminator_inputs(jnp.ones((5, 2, 2, 1)), LABELS)
  np.testing.assert_array_equal(x[:, 1, 0], np.concatenate([np.ones((5, 1)), np.eye(3)[LABELS]], -1))
  assert not known and not also


class ToyGenerator(nn.Module):
  @nn.compact
  def __call__(self, z, *, train, labels=None):
    weights = self.param("classes", nn.initializers.normal(1.0), (10, 64))
    return nn.sigmoid(nn.Dense(64)(z) + weights[labels]).reshape(-1, 8, 8, 1)


class ToyDiscriminator(nn.Module):
  label_head: LabelHead

  @nn.compact
  def __call__(self, x, *, train, keys, labels=None):
    h = nn.tanh(nn.Dense(8)(x.reshape(x.shape[0], -1)))
    return self.label_head(nn.Dense(1)(h)[:, 0], h, labels, GLOROT)


def toy(section, **changes):
  """A GAN of toy networks under SGD: (gan, state, batch, state after a round, metrics)."""
  variant = "dcgan:digits,tiny"
  sgd = {"name": "sgd", "learning_rate": 0.5}
  config = config_of(variant, generator_optim=sgd, discriminator_optim=sgd, conditioning=section, z_dim=4, **changes)
  gan = build_algorithm(config, dataset_of(variant).spec)
  gan = with_networks(gan, ToyGenerator(), ToyDiscriminator(gan.discriminator.module.label_head))
  images = batch_of(dataset_of(variant), (1, 16))
  batch = {**images, "image": images["image"][:, :, ::2, ::2]}
  state = jax.jit(gan.init)(jax.random.key(0), batch)
  after, metrics = jax.jit(gan.train_step)(state, batch, jax.random.key(1))
  return gan, state, batch, after, metrics


def descended(net, loss):
  return jax.tree.map(lambda p, g: p - 0.5 * g, net.params, jax.grad(loss)(net.params))


def assert_close(actual, expected):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), actual, expected)


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("form", ["projection", "auxiliary"])
def test_a_round_equals_one_by_hand(form, passes):
  """Both players' losses with each image's own label, in one pass over both halves or in two."""
  section = {"name": form, "generator": "class_batch_norm"}
  weight_d, weight_g = 2.0, 0.25
  if form == "auxiliary":
    section |= {"weight_d": weight_d, "weight_g": weight_g}
  gan, state, batch, after, metrics = toy(section, discriminator_passes=passes)
  real, y = batch["image"][0], batch["label"][0]

  def generate(params, turn):
    z = gan.prior_sample(state, jax.random.fold_in(jax.random.key(1), turn), batch["index"][0])
    return gan.generator.module.apply({"params": params}, z, train=True, labels=y)

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
    return jnp.mean(losses + weight_d * (real_class + fake_class))

  d_params = descended(state.discriminator, d_loss)
  assert_close(after.discriminator.params, d_params)

  def g_loss(params):
    logits, named = judge(d_params, generate(params, 1))
    return jnp.mean(jax.nn.softplus(-logits) + weight_g * named)

  assert_close(after.generator.params, descended(state.generator, g_loss))
  assert ("d_class_loss" in metrics) == ("g_class_loss" in metrics) == (form == "auxiliary")


def gan_of(conditioning, variant="dcgan:digits,tiny", **changes):
  return build_algorithm(config_of(variant, conditioning=conditioning, **changes), dataset_of(variant).spec)


@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("form", ["class_batch_norm", "embedding", "concat"])
def test_a_generator_takes_labels_or_is_refused_by_name(generator, form):
  width = {} if "mlp" in generator else {"width": 8}
  section = {"name": generator, **width, **({"attention_size": 16} if generator == "sagan" else {})}
  section |= {"cardinality": 2} if generator == "r3gan" else {}
  conditioning = {"name": "projection", "generator": form}
  own = {"mlp": "", "r3gan": "embedding"}.get(generator, "class_batch_norm")
  if form not in ("concat", own):
    with pytest.raises(ConfigError, match=f'generator="{form}" does not go with config.generator.name="{generator}"'):
      gan_of(conditioning, generator=section)
    return
  gan = gan_of(conditioning, generator=section)
  z, labels = jnp.ones((3, gan.latents.size)), jnp.arange(3)

  def images():
    z_in, known = gan.conditioning.generator_inputs(z, labels)
    return gan.generator.module.init_with_output(jax.random.key(0), z_in, train=False, **known)

  shape, variables = jax.eval_shape(images)
  assert shape.shape == (3, 16, 16, 1)
  kernels = jax.tree.leaves(variables["params"])
  assert any(10 in leaf.shape for leaf in kernels) or form == "concat"


@pytest.mark.parametrize("discriminator", DISCRIMINATORS)
@pytest.mark.parametrize("form", ["projection", "auxiliary"])
def test_every_discriminator_takes_labels(discriminator, form):
  width = {} if discriminator == "tapered_mlp" else {"width": 8}
  section = {"name": discriminator, **width, **({"attention_size": 8} if discriminator == "sagan" else {})}
  section |= {"cardinality": 2} if discriminator == "r3gan" else {}
  gan = gan_of({"name": form, "generator": "concat"}, discriminator=section)
  x, known = gan.conditioning.discriminator_inputs(jnp.ones((3, 16, 16, 1)), jnp.arange(3))

  def judge():
    keys = jax.random.split(jax.random.key(1), 3)
    return gan.discriminator.module.init_with_output(jax.random.key(0), x, train=True, keys=keys, **known)

  output, variables = jax.eval_shape(judge)
  assert output.logits.shape == (3,)
  assert (output.class_logits is None) == (form == "projection")
  name, shape = {
    "projection": ("label_embedding", (10, output.features.shape[1])),
    "auxiliary": ("label_classifier", (output.features.shape[1], 10)),
  }[form]
  assert variables["params"][name]["kernel"].shape == shape


def test_other_errors():
  for section, message in (
    ({"name": "projection", "generator": "sum"}, 'generator="sum" is not one of class_batch_norm, concat, embedding'),
    ({"name": "auxiliary", "weight_d": 0.0}, r"weight_d=0\.0 must be above 0"),
  ):
    with pytest.raises(ConfigError, match=message):
      gan_of(section)
