"""A round's penalties, augmentation and spectral vectors by hand, and what its compiled program leaves out."""

import dataclasses
import itertools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import PartitionSpec

from common import random
from common.data.spec import RowType
from common.layers.spectral import SpectralNorm
from common.parallel import make_mesh
from experiments import build_algorithm
from gan.augment.augmentation import Augmentation
from gan.losses import AdversarialLoss
from gan.networks.interface import DiscriminatorOutput, Latents
from tests.tiny import batch_of, config_of, dataset_of, with_networks

SGD = {"name": "sgd", "learning_rate": 0.5}
RNG = jax.random.fold_in(jax.random.key(1), 0)  # of the round's first update
WASSERSTEIN = {"name": "wasserstein"}


@pytest.mark.parametrize(
  ("prior", "bound", "variance"), [("normal", np.inf, 1.0), ("uniform", 1.0, 1 / 3), ("standard_uniform", 3**0.5, 1.0)]
)
def test_latents_have_the_distribution_of_their_prior(prior, bound, variance):
  z = np.asarray(Latents(100, prior).draw(jax.random.key(0), jnp.arange(400)))
  assert np.var(z) == pytest.approx(variance, rel=0.02) and abs(np.mean(z)) < 0.02
  assert np.abs(z).max() < bound and np.abs(z).max() > min(0.999 * bound, 3.0)


class LinearGenerator(nn.Module):
  @nn.compact
  def __call__(self, z, *, train):
    return nn.Dense(64)(z).reshape(-1, 8, 8, 1)


class LinearCritic(nn.Module):
  spectral_norm: bool = False

  @nn.compact
  def __call__(self, x, *, train, keys):
    h = x.reshape(x.shape[0], -1)
    if self.spectral_norm:
      h = jnp.sin(SpectralNorm(nn.Dense(8, use_bias=False))(h))
    return DiscriminatorOutput(logits=nn.Dense(1, use_bias=False)(h)[:, 0], features=h)


def game(**changes):
  """Changes of a config's game."""
  return {f"game__{key}": value for key, value in changes.items()}


def linear_round(spectral_norm=False, augment=None, **changes):
  """(gan, state, batch, state after a round, metrics) of linear networks under SGD."""
  variant = "gan:digits,tiny"
  config = config_of(variant, generator_optim=SGD, discriminator_optim=SGD, z_dim=4, **changes)
  gan = build_algorithm(config, dataset_of(variant).spec)
  gan = with_networks(gan, LinearGenerator(), LinearCritic(spectral_norm))
  gan = dataclasses.replace(gan, augment=augment or gan.augment)
  batch = batch_of(dataset_of(variant), (gan.batches_per_step, 16))
  state = jax.jit(gan.init)(jax.random.key(0), batch)
  after, metrics = jax.jit(gan.train_step)(state, batch, jax.random.key(1))
  return gan, state, batch, after, metrics


def fake_of(gan, state, batch):
  z = gan.prior_sample(state, RNG, batch["index"][0])
  return z, gan.generator.module.apply({"params": state.generator.params}, z, train=True)


def flat(x):
  return np.asarray(x, np.float64).reshape(16, -1)


def weights(state, player="discriminator"):
  """The kernel of a linear network."""
  return np.asarray(getattr(state, player).params["Dense_0"]["kernel"], np.float64)


def test_g_waits_before_its_first_updates_and_before_every_third():
  """As in Arjovsky et al.'s code: updates 0, 1, 3 and 6 of G come after four of D, two a round; others after two."""
  changes = game(n_critic=2, warmup=3, warmup_first=2, warmup_every=3, order="alternating")
  gan, state, batch, after, _ = linear_round(**changes)
  step, states = jax.jit(gan.train_step), [after]
  for k in range(2, 12):
    states.append(step(states[-1], batch, jax.random.key(k))[0])
  assert [int(s.generator.updates) for s in states] == [0, 1, 1, 2, 3, 3, 4, 5, 6, 6, 7]
  assert [int(s.discriminator.updates) for s in states] == list(range(2, 24, 2))
  for before, s in itertools.pairwise([state, *states]):
    stands = np.all(weights(before, "generator") == weights(s, "generator"))
    assert stands == (before.generator.updates == s.generator.updates)


def test_a_penalty_is_added_to_the_discriminators_loss():
  """w <- w - lr * (mean fake - mean real + 2 * weight * (|w| - 1) w / |w|), the loss scaled, the penalty not."""
  gan, state, batch, after, metrics = linear_round(
    loss=WASSERSTEIN, penalties={"gradient_penalty": {"weight": 3.0}}, **game(d_loss_scale=0.25)
  )
  w = weights(state)
  norm, real, fake = np.linalg.norm(w), flat(batch["image"][0]), flat(fake_of(gan, state, batch)[1])
  gradient = 0.25 * (fake.mean(0) - real.mean(0))[:, None] + 6.0 * (norm - 1) * w / norm
  np.testing.assert_allclose(weights(after), w - 0.5 * gradient, atol=1e-5)
  np.testing.assert_allclose(metrics["d_gradient_penalty"].total / 16, 3.0 * (norm - 1) ** 2, rtol=1e-5)
  np.testing.assert_allclose(metrics["d_loss"].total / 16, 0.25 * np.mean((fake - real) @ w), atol=1e-6)


def test_a_lazy_penalty_is_a_dense_one_in_the_mean():
  """At every second update of D, doubled, as a term of its loss at the same learning rate."""
  gan, state, batch, after, metrics = linear_round(loss=WASSERSTEIN, penalties={"r1": {"weight": 0.1, "every": 2}})
  second, quiet = jax.jit(gan.train_step)(after, batch, jax.random.key(1))
  w, real = weights(state), flat(batch["image"][0]).mean(0)[:, None]
  slope, next_slope = (0.5 * (flat(fake_of(gan, s, batch)[1]).mean(0)[:, None] - real) for s in (state, after))
  moved = w - 0.5 * (slope + 2 * 0.1 * w)
  np.testing.assert_allclose(weights(after), moved, atol=1e-5)
  np.testing.assert_allclose(weights(second), moved - 0.5 * next_slope, atol=1e-5)
  np.testing.assert_allclose(metrics["d_r1"].total / 16, 2 * 0.1 / 2 * np.sum(w**2), rtol=1e-5)
  assert quiet["d_r1"].total == 0.0


@pytest.mark.parametrize("order", ["alternating", "simultaneous"])
def test_spectral_vectors_move_once_and_in_the_discriminators_update_only(order):
  """A power iteration on the kernel before the update; all images, and then G, meet these vectors."""
  gan, state, batch, after, _ = linear_round(spectral_norm=True, loss=WASSERSTEIN, **game(order=order))
  old, new = (s.discriminator.mutable["spectral"]["SpectralNorm_0"] for s in (state, after))
  w = state.discriminator.params["Dense_0"]["kernel"]
  v = w @ old["u"] / jnp.linalg.norm(w @ old["u"])
  u = v @ w / jnp.linalg.norm(v @ w)
  np.testing.assert_allclose(new["v"], v, atol=1e-5)
  np.testing.assert_allclose(new["u"], u, atol=1e-5)

  def critic(params, vectors, x):
    kernel = params["Dense_0"]["kernel"]
    h = jnp.sin(x.reshape(16, -1) @ kernel / (vectors["v"] @ kernel @ vectors["u"]))
    return (h @ params["Dense_1"]["kernel"])[:, 0]

  z, fake = fake_of(gan, state, batch)
  moved = {"u": u, "v": v}

  def d_loss(params):
    return 0.5 * jnp.mean(critic(params, moved, fake) - critic(params, moved, batch["image"][0]))

  def descended(params, loss):
    return jax.tree.map(lambda p, g: p - 0.5 * g, params, jax.grad(loss)(params))

  def assert_close(actual, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), actual, expected)

  d_params = descended(state.discriminator.params, d_loss)
  assert_close(after.discriminator.params, d_params)
  judge = (d_params, moved) if order == "alternating" else (state.discriminator.params, old)

  def g_loss(params):
    return -jnp.mean(critic(*judge, gan.generator.module.apply({"params": params}, z, train=True)))

  assert_close(after.generator.params, descended(state.generator.params, g_loss))


def test_a_penalty_reads_the_vectors_of_the_pass_and_leaves_them():
  """With them the critic under the penalty is the one under the loss: a slope of |a / sigma(W)| where sin is steep."""
  gan, state, batch, after, metrics = linear_round(
    spectral_norm=True, loss=WASSERSTEIN, penalties={"gradient_penalty": {"weight": 1.0, "target": 0.0}}
  )
  new = after.discriminator.mutable["spectral"]["SpectralNorm_0"]
  kernel, last = (state.discriminator.params[f"Dense_{i}"]["kernel"] for i in (0, 1))
  kernel = kernel / (new["v"] @ kernel @ new["u"])
  mix = random.uniform(random.row_keys(random.stream(RNG, "gradient_penalty"), jnp.arange(16)), (1,))
  real, fake = batch["image"][0].reshape(16, -1), fake_of(gan, state, batch)[1].reshape(16, -1)
  h = (mix * real + (1 - mix) * fake) @ kernel
  slopes = (jnp.cos(h) * last[:, 0]) @ kernel.T
  expected = np.mean(np.sum(np.asarray(slopes) ** 2, axis=1))
  np.testing.assert_allclose(metrics["d_gradient_penalty"].total / 16, expected, rtol=1e-4)


def test_both_players_meet_augmented_images_and_g_learns_through_the_augmentation():
  """D's gradient is a difference of mirrored images; G's pixels get that of D mirrored back, scaled by 1 / B."""
  mirror = Augmentation(lambda x, keys, updates: x[:, :, ::-1])
  gan, state, batch, after, metrics = linear_round(
    loss=WASSERSTEIN, augment=mirror, **game(order="alternating", d_loss_scale=1.0)
  )
  z, fake = fake_of(gan, state, batch)
  w, real, fake = weights(state), flat(batch["image"][0][:, :, ::-1]), flat(fake[:, :, ::-1])
  moved = w - 0.5 * (fake - real).mean(0)[:, None]
  np.testing.assert_allclose(weights(after), moved, atol=1e-5)
  pixel = moved.reshape(8, 8)[:, ::-1].reshape(64)
  expected = weights(state, "generator") + 0.5 * np.outer(np.asarray(z).mean(0), pixel)
  np.testing.assert_allclose(weights(after, "generator"), expected, atol=1e-5)
  np.testing.assert_allclose(metrics["d_real_logit"].total, np.sum(real @ w), rtol=1e-4)


def test_a_penalty_meets_each_half_augmented_as_the_loss_does():
  """Each image is scaled by a draw u of its own, that of a fake one its own too: slopes are u |w|, logits u w x."""
  scale = Augmentation(lambda x, keys, updates: x * random.uniform(keys, (1, 1, 1)))
  penalties = {"r1": {"weight": 2.0}, "r2": {"weight": 2.0}}
  gan, state, batch, _, metrics = linear_round(loss=WASSERSTEIN, augment=scale, penalties=penalties)
  w = weights(state)
  for half, name, x in (("real", "r1", batch["image"][0]), ("fake", "r2", fake_of(gan, state, batch)[1])):
    keys = random.row_keys(random.stream(RNG, f"augment {half}"), jnp.arange(16))
    u = np.asarray(random.uniform(keys, (1,)))
    np.testing.assert_allclose(metrics[f"d_{half}_logit"].total, np.sum(u * (flat(x) @ w)), rtol=1e-4)
    np.testing.assert_allclose(metrics[f"d_{name}"].total, np.sum(u**2) * np.sum(w**2), rtol=1e-4)


def test_means_of_logits_are_those_of_all_devices():
  gan, state, batch, after, metrics = linear_round(loss={"name": "relativistic_average"}, **game(order="alternating"))
  sharded = dataclasses.replace(gan, axis_name="data")

  def step(state, batch):
    state, metrics = sharded.train_step(state, batch, jax.random.key(1))
    return state, lax.psum(metrics, "data")

  specs = PartitionSpec(), PartitionSpec(None, "data")
  mapped = jax.shard_map(step, mesh=make_mesh(8), in_specs=specs, out_specs=PartitionSpec(), check_vma=False)
  there, found = jax.jit(mapped)(state, batch)
  for player in ("discriminator", "generator"):
    np.testing.assert_allclose(weights(there, player), weights(after, player), atol=1e-5)
  for name in ("d_loss", "g_loss"):
    np.testing.assert_allclose(found[name].total, metrics[name].total, rtol=1e-5)


def test_g_restores_what_is_seen_and_compares_with_the_image_of_its_row():
  """A linear G of seen and z, a critic of the pair; the term of pixels counts with its weight in G's update alone."""
  changes = {"conditioning": {"name": "seen"}, "generator": {"name": "unet"}, "z_dim": 2}
  changes |= {"content__l2": {"weight": 3.0}, **game(order="alternating", fakes="fresh", d_loss_scale=0.25)}
  config = config_of("gan:digits,tiny", generator_optim=SGD, discriminator_optim=SGD, loss=WASSERSTEIN, **changes)
  spec = dataset_of("gan:digits,tiny").spec
  spec = dataclasses.replace(spec, rows=(*spec.rows, RowType("seen", spec.image_shape, "float32")))
  gan = with_networks(build_algorithm(config, spec), PixelGenerator(), LinearCritic())
  batch = batch_of(dataset_of("gan:digits,tiny"), (1, 16))
  batch |= {"seen": batch["image"][:, :, ::-1]}
  state = jax.jit(gan.init)(jax.random.key(0), batch)
  after, metrics = jax.jit(gan.train_step)(state, batch, jax.random.key(1))
  real, seen, index = batch["image"][0], batch["seen"][0], batch["index"][0]

  def generate(params, rng):
    z = gan.prior_sample(state, rng, index)[:, None, None, :]
    return seen * params["kernel"][0] + z @ params["kernel"][1:]

  def critic(params, x):
    return (jnp.concatenate([x, seen], axis=-1).reshape(16, -1) @ params["Dense_0"]["kernel"])[:, 0]

  def d_loss(params):
    fake = generate(state.generator.params, jax.random.fold_in(jax.random.key(1), 0))
    return 0.25 * jnp.mean(critic(params, fake) - critic(params, real))

  def g_loss(params, weight=3.0):
    fake = generate(params, jax.random.fold_in(jax.random.key(1), 1))
    return jnp.mean(weight * (fake - real) ** 2) - jnp.mean(critic(after.discriminator.params, fake))

  for player, loss in (("discriminator", d_loss), ("generator", g_loss)):
    old, new = (getattr(s, player).params for s in (state, after))
    expected = jax.tree.map(lambda p, g: p - 0.5 * g, old, jax.grad(loss)(old))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), new, expected)
  found = metrics["g_l2"].total / 16
  expected = g_loss(state.generator.params) - g_loss(state.generator.params, 0.0)
  np.testing.assert_allclose(found, expected, rtol=1e-4)
  shown = gan.visualize(after, jax.tree.map(lambda x: x[0], batch), jax.random.key(2))["restored"]
  np.testing.assert_array_equal(shown[0::3], seen)
  np.testing.assert_array_equal(shown[2::3], real)
  z = gan.prior_sample(after, jax.random.key(2), index)
  np.testing.assert_allclose(shown[1::3], gan.decode(after, z, {"seen": seen}), atol=1e-6)
  rows = {**jax.tree.map(lambda x: x[0], batch), "mask": jnp.ones(16)}
  judged = jax.jit(gan.eval_step)(after, rows, jax.random.key(2))
  other = gan.prior_sample(after, random.stream(jax.random.key(2), "other"), index)
  apart = 8.0 * jnp.abs((z - other) @ after.generator.params["kernel"][1:, 0])  # the same at each of 8x8 pixels
  np.testing.assert_allclose(judged["draw_distance"].total, jnp.sum(apart), rtol=1e-4)
  assert "validation/draw_distance" in {name for alarm in gan.alarms for name in alarm.metrics}


class PixelGenerator(nn.Module):
  """The same linear map of the channels at each pixel."""

  @nn.compact
  def __call__(self, x, *, train):
    return x @ self.param("kernel", nn.initializers.normal(1.0), (x.shape[-1], 1))


def test_a_scheduled_augmentation_goes_by_ds_updates():
  augment = Augmentation(lambda x, keys, updates: x, lambda updates: updates / 4)
  gan, _, batch, after, _ = linear_round(augment=augment, **game(order="alternating"))
  metrics = jax.jit(gan.train_step)(after, batch, jax.random.key(1))[1]
  assert metrics["d_augment_p"].total == 0.25 and metrics["d_augment_p"].count == 1


def small_conv_gan(**changes):
  """A DCGAN of 8x8 pixels and the shapes that its step takes; nothing is run."""
  small = {"generator__width": 4, "discriminator__width": 4, "z_dim": 8, "game__fakes": "shared"}
  config = config_of("dcgan:digits,tiny", **{**small, **changes})
  gan = build_algorithm(config, dataclasses.replace(dataset_of("gan:digits,tiny").spec, pixel_range=(-1.0, 1.0)))
  index = jax.ShapeDtypeStruct((1, 16), jnp.int32)
  batch = {"image": jax.ShapeDtypeStruct((1, 16, 8, 8, 1), jnp.float32), "label": index, "index": index}
  key = jax.eval_shape(lambda: jax.random.key(0))
  return gan, jax.eval_shape(gan.init, key, batch), batch, key


def products(fn, *shapes):
  """The number of convolutions and matrix products in the optimised program."""
  text = jax.jit(fn).lower(*shapes).compile().as_text()
  return len(re.findall(r" (?:convolution|dot|custom-call)\(", text))


def test_shared_fakes_are_generated_once():
  """Where training runs several steps to a call, a step on fresh fakes is longer by G's forward pass alone."""

  def in_a_loop(gan):
    def run(state, batch, key):
      return lax.scan(lambda s, i: gan.train_step(s, batch, jax.random.fold_in(key, i)), state, jnp.arange(3))

    return products(run, *shapes)

  gan, *shapes = small_conv_gan()
  fresh, *_ = small_conv_gan(**game(fakes="fresh"))
  simultaneous, *_ = small_conv_gan(**game(order="simultaneous"))
  forward = products(lambda s, b, k: gan._draw(s.generator, b, k)[0], shapes[0], one(shapes[1]), shapes[2])
  shared = in_a_loop(gan)
  assert forward >= 2
  assert in_a_loop(fresh) == shared + forward
  # Before D has moved, its output on the fakes is available as well.
  assert in_a_loop(simultaneous) < shared


def test_the_generators_update_judges_real_images_only_where_the_loss_asks():
  gan, state, batch, key = small_conv_gan(discriminator__batch_norm=False)
  relativistic = AdversarialLoss(gan.loss.discriminator, lambda real, fake: nn.softplus(real - fake))

  def update(gan):
    def run(s, b, k):
      fake, pullback, _ = gan._draw(s.generator, b, k)
      return pullback(jax.grad(gan.g_loss, has_aux=True)(fake, s.discriminator, b, k)[0])

    return products(run, state, one(batch), key)

  def judge(s, x):
    return gan.discriminator.module.apply({"params": s.discriminator.params}, x, train=True, keys=None).logits

  on_real = products(judge, state, one(batch)["image"])
  assert update(dataclasses.replace(gan, loss=relativistic)) == update(gan) + on_real


def one(batch):
  """The shapes of the first batch of a round."""
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), batch)
