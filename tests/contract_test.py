"""What one training step of each family may move, and what the order of a GAN's two updates means.

Every tiny config takes a real step. The GAN's round is then compared, for toy networks with BatchNorm that compile in
a second, with one written out by hand below: whose gradient, at which weights, on which latents, with which statistics.
"""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.ema import by_decay
from common.errors import ConfigError
from common.layers.normalization import BatchNorm
from common.state import NetState
from experiments import build_algorithm
from gan.networks.interface import DiscriminatorOutput
from tests.tiny import CONFIGS, batch_of, config_of, dataset_of, fresh_state, one_step, with_networks


def assert_close(actual, expected, atol=2e-6):
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=atol), actual, expected)


def networks(state):
  return {f.name: v for f in dataclasses.fields(state) if isinstance(v := getattr(state, f.name), NetState)}


@pytest.mark.parametrize("variant", CONFIGS)
def test_a_step_moves_every_parameter_and_counts(variant):
  step = one_step(variant)
  assert int(step.after.step) == 1
  for name, net in networks(step.after).items():
    old = networks(step.before)[name]
    assert int(net.updates) == 1
    new = jax.tree_util.tree_leaves_with_path((net.params, net.mutable))
    for (path, leaf), before in zip(new, jax.tree.leaves((old.params, old.mutable)), strict=True):
      where = f"{name}{jax.tree_util.keystr(path)}"
      assert np.all(np.isfinite(leaf)), where
      assert np.any(leaf != before), f"{where} had no gradient, or no batch"
  for name, mean in step.metrics.items():
    assert np.all(np.isfinite(mean.total)), name
    assert mean.count == (1 if name.endswith("norm") else 16), name


def test_the_average_follows_its_warm_up():
  """At t = 0 TensorFlow's rule averages with decay (1 + 0) / (10 + 0)."""
  step = one_step("classifier:digits,tiny")
  assert step.config.ema.to_dict() == {"name": "decay", "decay": 0.99, "warmup": 10.0, "start": 0}
  expected = jax.tree.map(lambda a, b: 0.1 * a + 0.9 * b, step.before.net.params, step.after.net.params)
  assert_close(step.after.net.ema_params, expected)


def test_a_warm_up_of_zero_is_the_plain_average():
  average, params = {"w": jnp.array([1.0])}, {"w": jnp.array([2.0])}
  np.testing.assert_allclose(by_decay(0.75, 0.0).update(average, params, jnp.array(0))["w"], [1.25])
  assert by_decay(0.0, 10.0).start(params) is None


class ToyGenerator(nn.Module):
  @nn.compact
  def __call__(self, z, *, train):
    h = BatchNorm(momentum=0.5)(nn.Dense(8)(z), train=train)
    return nn.sigmoid(nn.Dense(64)(nn.relu(h))).reshape(-1, 8, 8, 1)


class ToyDiscriminator(nn.Module):
  @nn.compact
  def __call__(self, x, *, train, keys):
    h = BatchNorm(momentum=0.5)(nn.Dense(8)(x.reshape(x.shape[0], -1)), train=train)
    logits = nn.Dense(1)(nn.leaky_relu(h))
    return DiscriminatorOutput(logits=jnp.squeeze(logits, -1), features=h)


LEARNING_RATE = 0.5


@functools.cache
def toy_state():
  """The fresh state, which no choice below changes."""
  return fresh_state(toy_gan(), "gan:digits,tiny")


def toy_gan(loss=None, **changes):
  """A GAN of the toy networks under SGD, with a loss and changes of its game."""
  sgd = {"name": "sgd", "learning_rate": LEARNING_RATE}
  changes = {f"game__{key}": value for key, value in changes.items()} | ({"loss": loss} if loss else {})
  config = config_of(
    "gan:digits,tiny", generator_optim=sgd, discriminator_optim=sgd, z_dim=4, ema__decay=0.9, **changes
  )
  gan = build_algorithm(config, dataset_of("gan:digits,tiny").spec)
  return with_networks(gan, ToyGenerator(), ToyDiscriminator())


def by_hand(gan, state, batch, rng):
  """A round of the toy GAN from flax and the papers' formulas: D's and G's (params, statistics) after it.

  The loss is Goodfellow's; without a boundary it is that of pairs, -log sigmoid(D(x) - D(G(z))).
  """
  pairs, game = gan.loss.boundary is None, gan.game

  def generate(params, stats, turn, times=1):
    z = gan.prior_sample(state, jax.random.fold_in(rng, turn), jnp.arange(times * batch["index"].shape[1]))
    fake, new = gan.generator.module.apply({"params": params, **stats}, z, train=True, mutable=["batch_stats"])
    return fake, new

  def judge(params, stats, real, fake):
    def apply(stats, x):
      output, new = gan.discriminator.module.apply(
        {"params": params, **stats}, x, train=True, keys=None, mutable=["batch_stats"]
      )
      return output.logits, new

    on_real, stats = apply(stats, real)
    on_fake, stats = apply(stats, fake)
    return on_real, on_fake, stats

  def descend(params, grads):
    return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, grads)

  g, d = state.generator, state.discriminator
  d_params, d_stats = d.params, d.mutable
  for turn in range(game.n_critic):
    fake, _ = generate(g.params, g.mutable, turn)

    def d_loss(params, stats=d_stats, fake=fake, real=batch["image"][turn]):
      on_real, on_fake, new = judge(params, stats, real, fake)
      log_d = jax.nn.log_sigmoid(on_real - on_fake) if pairs else jax.nn.log_sigmoid(on_real)
      log_not_d = 0.0 if pairs else jax.nn.log_sigmoid(-on_fake)
      return -game.d_loss_scale * jnp.mean(log_d + log_not_d), new

    grads, d_stats = jax.grad(d_loss, has_aux=True)(d_params)
    d_params = descend(d_params, grads)

  at = (d.params, d.mutable) if game.order == "simultaneous" else (d_params, d_stats)
  turn = game.n_critic - 1 if game.fakes == "shared" else game.n_critic

  def g_loss(params):
    fake, new = generate(params, g.mutable, turn, game.generator_batches)
    real = batch["image"][game.n_critic if game.generator_reals == "fresh" else game.n_critic - 1]
    on_real, on_fake, _ = judge(*at, real, fake)
    return -jnp.mean(jax.nn.log_sigmoid(on_fake - on_real if pairs else on_fake)), new

  grads, g_stats = jax.grad(g_loss, has_aux=True)(g.params)
  return (d_params, d_stats), (descend(g.params, grads), g_stats)


CHOICES = {  # changes of the game {"order": "simultaneous", "fakes": "shared", "d_loss_scale": 0.5}
  "as Goodfellow": {},
  "alternating": {"order": "alternating"},
  "fresh": {"fakes": "fresh"},
  "two batches of G": {"order": "alternating", "fakes": "fresh", "generator_batches": 2},
  "three critics": {"order": "alternating", "fakes": "fresh", "n_critic": 3},
  "three critics, shared": {"order": "alternating", "n_critic": 3},
  "reals of G's own": {"fakes": "fresh", "generator_reals": "fresh"},
  "pairs, reals of G's own": {
    "loss": {"name": "relativistic_pairing"},
    "order": "alternating",
    "fakes": "fresh",
    "generator_reals": "fresh",
    "n_critic": 2,
  },
}


@pytest.fixture(scope="module")
def rounds():
  """{choice: (state before, state after, the same by hand)}."""
  found = {}
  for name, changes in CHOICES.items():
    gan, state = toy_gan(**changes), toy_state()
    batch = batch_of(dataset_of("gan:digits,tiny"), (gan.batches_per_step, 16))
    after, _ = jax.jit(gan.train_step)(state, batch, jax.random.key(1))
    hand = jax.jit(lambda s, b, gan=gan: by_hand(gan, s, b, jax.random.key(1)))
    found[name] = (state, after, hand(state, batch))
  return found


@pytest.mark.parametrize("choice", CHOICES)
def test_a_round_equals_one_by_hand(rounds, choice):
  _, after, (discriminator, generator) = rounds[choice]
  assert_close((after.discriminator.params, after.discriminator.mutable), discriminator)
  assert_close((after.generator.params, after.generator.mutable), generator)
  assert int(after.discriminator.updates) == CHOICES[choice].get("n_critic", 1)
  assert int(after.generator.updates) == int(after.step) == 1


def test_the_generators_average_is_sampled_with_its_own_statistics(rounds):
  before, after, _ = rounds["as Goodfellow"]
  gan = toy_gan()
  raw = after.generator.variables()
  expected = jax.tree.map(lambda a, b: 0.1 * a + 0.9 * b, before.generator.variables(), raw)  # its warm-up's first
  assert_close(after.generator.variables(ema=True), expected)
  assert after.discriminator.ema_params is after.discriminator.ema_mutable is None
  z = gan.prior_sample(after, jax.random.key(2), jnp.arange(4))
  for ema, variables in ((True, expected), (False, raw)):
    picture = gan.generator.module.apply(variables, z, train=False)
    np.testing.assert_allclose(gan.decode(after, z, ema=ema), picture, atol=1e-6)


def conditional_gan(**changes):
  """A GAN of perceptrons that see one-hot labels: (gan, state, batch)."""
  variant = "gan:digits,tiny"
  config, dataset = config_of(variant, conditioning={"name": "concat"}, **changes), dataset_of(variant)
  gan = build_algorithm(config, dataset.spec)
  return gan, fresh_state(gan, variant), batch_of(dataset, (gan.batches_per_step, 16))


def test_labels_of_gs_update_are_those_of_its_own_batch():
  """With ``generator_reals`` "fresh", D's batch is the first and G's the last: each player's update has its labels."""
  changes = {"game__generator_reals": "fresh", "game__order": "simultaneous", "game__fakes": "fresh"}
  gan, state, batch = conditional_gan(**changes)
  step = jax.jit(gan.train_step)
  plain, _ = step(state, batch, jax.random.key(1))
  for of_d in (True, False):
    turned = (batch["label"] + np.array([[of_d], [not of_d]])) % 10
    after, _ = step(state, {**batch, "label": turned}, jax.random.key(1))
    for player, its in (("discriminator", of_d), ("generator", not of_d)):
      a, b = (jax.tree.leaves(getattr(s, player).params) for s in (plain, after))
      assert any(np.any(x != y) for x, y in zip(a, b, strict=True)) == its, player


def test_labels_reach_both_networks():
  gan, state, batch = conditional_gan()
  step = jax.jit(gan.train_step)
  after, metrics = step(state, batch, jax.random.key(1))
  _, mislabelled = step(state, {**batch, "label": (batch["label"] + 1) % 10}, jax.random.key(1))
  assert metrics["d_real_logit"].total != mislabelled["d_real_logit"].total
  z = jnp.broadcast_to(gan.prior_sample(after, jax.random.key(2), jnp.arange(1)), (10, gan.latents.size))
  pictures = np.asarray(gan.decode(after, z, {"label": jnp.arange(10)}))
  assert len({picture.tobytes() for picture in pictures}) == 10
  with pytest.raises(ValueError, match="this model is given label, and not nothing"):
    gan.decode(after, z)


@pytest.mark.parametrize("variant", [v for v in CONFIGS if not v.startswith("classifier")])
def test_rows_that_a_model_is_not_given_are_an_error(variant):
  step = one_step(variant)
  z = step.algorithm.prior_sample(step.after, jax.random.key(0), jnp.arange(2))
  with pytest.raises(ValueError, match="this model is given nothing, and not label"):
    step.algorithm.decode(step.after, z, {"label": jnp.zeros(2, jnp.int32)})


def test_a_classifier_needs_labels():
  spec = dataclasses.replace(dataset_of("gan:digits,tiny").spec, num_classes=0)
  with pytest.raises(ConfigError, match="has no labels to classify"):
    build_algorithm(config_of("classifier:digits,tiny"), spec)
