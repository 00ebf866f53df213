"""A GAN of captions: its vectors, its mismatched pairs, and its penalty by image and caption."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from common.build import build_each
from common.errors import ConfigError
from common.layers.normalization import BatchNorm
from common.layers.text_encoder import TextEncoder
from common.parallel import make_mesh
from experiments import build_algorithm
from gan.conditioning import text
from gan.gan import partners
from gan.networks.captioned import Captioned
from gan.penalties import PENALTIES, Seen
from tests.tiny import batch_of, config_of, dataset_of, filled

TOKENS = np.array([[2, 3, 0], [3, 2, 0], [3, 2, 0], [2, 2, 3], [1, 0, 0], [3, 0, 0], [2, 3, 0], [2, 3, 0]], np.int32)
ENCODER = TextEncoder(4, width=8, layers=1, heads=2)


def test_a_caption_scales_nothing_at_the_start_and_each_by_itself_later():
  x = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
  net = Captioned(BatchNorm(), ENCODER)
  variables = jax.jit(lambda key: net.init(key, x, given=TOKENS, train=True))(jax.random.key(0))
  apply = jax.jit(lambda v, shift: net.apply(v, x, given=TOKENS, shift=shift, train=True, mutable=["batch_stats"])[0])
  zero = jnp.zeros((8, 8))
  plain = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3)
  np.testing.assert_allclose(apply(variables, zero), plain, atol=1e-5)
  table = variables["params"]["network"]["scale"]
  assert table.shape == (9, 5)  # 1 and the sentence vector
  moved = jax.tree.map(lambda p: p, variables)
  moved["params"]["network"]["scale"] = table.at[3].add(1.0)
  assert np.abs(apply(moved, zero) - plain).max(axis=1).min() > 1e-3
  np.testing.assert_allclose(apply(variables, zero.at[0, 0].set(1.0)) - plain, np.eye(8, 1) * plain, atol=1e-5)


def test_the_values_stand_beside_z_where_the_network_takes_none():
  class Echo(BatchNorm):
    def __call__(self, x, *, train):
      return x

  net = Captioned(Echo(), ENCODER, beside_z=True)
  init = jax.jit(lambda key: net.init_with_output(key, np.ones((8, 2)), given=TOKENS, train=False))
  out, variables = init(jax.random.key(0))
  np.testing.assert_allclose(out[:, :3], 1.0)
  np.testing.assert_allclose(out[:, 3:], ENCODER.apply({"params": variables["params"]["encoder"]}, TOKENS), atol=1e-6)


def test_the_partner_is_the_next_row_of_the_global_batch_on_any_number_of_devices():
  batch = {"text": TOKENS, "index": np.arange(8)}
  other, differs = partners(batch, None)
  np.testing.assert_array_equal(other, np.roll(TOKENS, -1, axis=0))
  assert differs.tolist() == [True, False, True, True, True, True, False, False]
  spread = jax.shard_map(
    lambda batch: partners(batch, "data"), mesh=make_mesh(4), in_specs=PartitionSpec("data"),
    out_specs=PartitionSpec("data"),
  )  # fmt: skip
  for ours, expected in zip(jax.jit(spread)(batch), (other, differs), strict=True):
    np.testing.assert_array_equal(ours, expected)


@functools.cache
def example(form="class_batch_norm"):
  """A small GAN of captions, a filled state and a batch of 8, whose second and third row say the same."""
  networks = {
    "generator": {"name": "tapered_mlp", "widths": (4, 4)},
    "discriminator": {"name": "mlp", "width": 4, "pieces": 2, "layers": 1, "input_dropout": 0.0, "hidden_dropout": 0.0},
  }
  forms = {"conditioning__generator": form, "conditioning__discriminator": "projection"}
  config = config_of("text_gan:tiny", **networks, penalties={}, train__batch_size=8, **forms)
  dataset = dataset_of("text_gan:tiny")
  gan = build_algorithm(config, dataset.spec)
  batch = batch_of(dataset, (1, 8))
  batch["text"] = np.array(batch["text"])
  batch["text"][:, 2] = batch["text"][:, 1]
  return gan, filled(jax.eval_shape(lambda: gan.init(jax.random.key(0), batch))), jax.tree.map(lambda x: x[0], batch)


def test_the_vector_of_g_stands_beside_z_on_request():
  """And that of D beside no image."""
  gan, state, batch = example("concat")
  z, given = jnp.zeros((8, 100)), {"text": batch["text"]}
  assert jax.eval_shape(gan.decode, state, z, given).shape == (8, 32, 32, 3)
  assert state.generator.params["network"]["Dense_0"]["kernel"].shape == (100 + 1 + 16, 4)


def test_ds_loss_counts_fakes_and_wrong_captions_half():
  gan, state, batch = example()
  d, fake, rng = state.discriminator, 0.5 * batch["image"], jax.random.key(1)

  @jax.jit
  def look(params):
    def logits(x, tokens):
      keys = jax.random.split(rng, 8)
      return gan.discriminator.module.apply({"params": params}, x, train=True, keys=keys, given=tokens).logits

    wrong = jnp.roll(batch["text"], -1, axis=0)
    parts = [logits(x, t) for x, t in ((batch["image"], batch["text"]), (fake, batch["text"]), (batch["image"], wrong))]
    return gan.d_loss(params, d, batch, fake, rng)[0], parts

  loss, (real, made, wrong) = jax.device_get(look(jax.tree.map(lambda p: 0.3 * p, d.params)))  # logits about 0
  hinge = lambda sign, x: np.maximum(0.0, 1.0 - sign * x)  # noqa: E731
  against = np.where(np.arange(8) == 1, hinge(-1, made), 0.5 * (hinge(-1, made) + hinge(-1, wrong)))
  assert np.abs(wrong - real).max() > 1e-3 and abs(hinge(-1, made[1]) - hinge(-1, real[1])) > 1e-3
  np.testing.assert_allclose(loss, np.mean(hinge(1, real) + against), rtol=1e-5)


def test_both_encoders_learn_each_with_its_own_player():
  gan, state, batch = example()
  after = jax.jit(gan.train_step)(state, jax.tree.map(lambda x: x[None], batch), jax.random.key(2))[0]
  for before, now in ((state.generator, after.generator), (state.discriminator, after.discriminator)):
    for path, change in jax.tree_util.tree_leaves_with_path(
      jax.tree.map(lambda a, b: np.abs(a - b).max(), before.params["encoder"], now.params["encoder"])
    ):
      assert change > 0.0, jax.tree_util.keystr(path)
  assert gan.given == ("text",)


def test_the_matching_aware_penalty_of_a_linear_critic():
  """2 (|a|^2 + |b|^2)^3 for D = <a, x> + <b, s>, as in the authors' code."""
  rng = np.random.default_rng(0)
  x, a, b = rng.normal(size=(3, 2, 2, 1)), 0.5 * rng.normal(size=(2, 2, 1)), 0.5 * rng.normal(size=4)
  seen = Seen(lambda x, half="real", shift=0.0: jnp.sum(x * a, (1, 2, 3)) + shift @ b, x, x, None, None, 4)
  [penalty] = build_each(PENALTIES, {"matching_aware": {"weight": 2.0}}, "penalties").values()
  np.testing.assert_allclose(penalty.weighted(seen, 0), 2.0 * (np.sum(a**2) + np.sum(b**2)) ** 3, rtol=1e-5)
  with pytest.raises(ConfigError, match="power=1.0 must be 2 or more"):
    build_each(PENALTIES, {"matching_aware": {"power": 1.0}}, "penalties")


def test_what_cannot_be_is_refused():
  with pytest.raises(ConfigError, match="width=9 must be even"):
    text(("<pad>",), width=9)
