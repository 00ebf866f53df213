"""Augmentation and top-k in a round of the GAN: both players, penalties, the running state, and refused pairs."""

import jax
import jax.numpy as jnp
import numpy as np

from gan.discriminator import Turn
from tests.gan.gan_test import fake_of, linear_round

WASSERSTEIN = {"name": "wasserstein"}


def flat(x):
  return np.asarray(x, np.float64).reshape(16, -1)


def test_both_players_meet_mirrored_images_and_g_through_the_mirror():
  """D's gradient is a difference of mirrored images; G's pixels get that of D mirrored back, scaled by 1 / B."""
  gan, state, batch, after, metrics = linear_round(
    loss=WASSERSTEIN, augment={"name": "flip", "p": 1.0}, update_order="alternating", discriminator_loss_scale=1.0
  )
  z, fake = fake_of(gan, state, batch)
  real = batch["image"][0]
  w = np.asarray(state.discriminator.params["Dense_0"]["kernel"], np.float64)
  moved = w - 0.5 * (flat(fake[:, :, ::-1]) - flat(real[:, :, ::-1])).mean(0)[:, None]
  np.testing.assert_allclose(after.discriminator.params["Dense_0"]["kernel"], moved, atol=1e-5)
  pixel = moved.reshape(8, 8)[:, ::-1].reshape(64)
  kernel = state.generator.params["Dense_0"]["kernel"] + 0.5 * np.outer(np.asarray(z).mean(0), pixel)
  np.testing.assert_allclose(after.generator.params["Dense_0"]["kernel"], kernel, atol=1e-5)
  np.testing.assert_allclose(metrics["d_real_logit"].total, np.sum(flat(real[:, :, ::-1]) @ w), rtol=1e-4)


def test_a_penalty_meets_both_halves_as_the_loss_does():
  """A copy that is not moved costs nothing, whatever T: the same T stands before D in each of its passes."""
  still = {"balanced_consistency": {"reach": 0.0, "flip": False}}
  metrics = linear_round(penalties=still, augment={"name": "diffaugment"})[-1]
  assert abs(metrics["d_balanced_consistency"].total) < 1e-6
  moving = {"balanced_consistency": {"reach": 0.25, "flip": True}}
  metrics = linear_round(penalties=moving, augment={"name": "diffaugment"})[-1]
  assert metrics["d_balanced_consistency"].total > 1e-2


def test_a_real_and_a_generated_image_of_a_row_go_their_own_ways():
  """Each is mirrored half of the time, whatever happens to the other."""
  gan, state, *_ = linear_round(augment={"name": "flip", "p": 0.5})
  x = jnp.zeros((1000, 8, 8, 1)).at[:, :, 0].set(1.0)
  turn = Turn({"index": jnp.arange(1000)}, x, jax.random.key(0), state.discriminator.updates, state.aux)

  def show(x, half):
    return gan.discriminator._augmented(x, half, turn)

  real, fake = (np.asarray(show(x, half))[:, 0, -1, 0] for half in ("real", "fake"))
  assert abs(real.mean() - 0.5) < 0.06 and abs(fake.mean() - 0.5) < 0.06
  assert abs(np.corrcoef(real, fake)[0, 1]) < 0.12
  np.testing.assert_array_equal(show(x, "fake")[:, 0, -1, 0], fake)


def test_adas_p_is_part_of_the_state_and_goes_on_from_it():
  """Saved between two rounds within an interval, and continued, is the same as straight on."""
  ada = {"name": "ada", "interval": 3, "speed_images": 500, "start": 0.5, "target": -0.99, "cutout": 1.0}
  gan, _, batch, after, metrics = linear_round(augment=ada)
  assert metrics["d_augment_p"].total == 0.5 and metrics["d_augment_p"].count == 1
  assert after.aux["augment"]["sign"] == (2 * metrics["d_real_accuracy"].total - 16) / 16
  step = jax.jit(gan.train_step)
  straight, found = after, []
  for k in (2, 3, 4):
    straight, metrics = step(straight, batch, jax.random.key(k))
    found.append(float(metrics["d_augment_p"].total))
  moved = 0.5 + 16 * 3 / 500
  np.testing.assert_allclose(found, [0.5, 0.5, moved], rtol=1e-6)
  kept = jax.tree.map(jnp.asarray, jax.device_get(after))
  for k in (2, 3, 4):
    kept, _ = step(kept, batch, jax.random.key(k))
  jax.tree.map(np.testing.assert_array_equal, kept, straight)


def test_g_learns_from_the_best_fakes():
  top_k = {"name": "constant", "value": 0.25}
  gan, state, batch, after, metrics = linear_round(loss=WASSERSTEIN, top_k=top_k)
  rng = jax.random.fold_in(jax.random.key(1), 0 if gan.fakes == "shared" else 1)
  judge = after if gan.update_order == "alternating" else state
  w = np.asarray(judge.discriminator.params["Dense_0"]["kernel"], np.float64)
  z = gan.prior_sample(state, rng, batch["index"][0])
  fake = gan.generator.apply({"params": state.generator.params}, z, train=True)
  logits = (flat(fake) @ w)[:, 0]
  best = np.argsort(-logits)[:4]
  kernel = state.generator.params["Dense_0"]["kernel"] + 0.5 * np.outer(np.asarray(z)[best].mean(0), w[:, 0])
  np.testing.assert_allclose(after.generator.params["Dense_0"]["kernel"], kernel, atol=1e-5)
  np.testing.assert_allclose(metrics["g_loss"].total / 4, -logits[best].mean(), rtol=1e-4)
  assert metrics["g_loss"].count == 4


def test_adas_sign_is_about_the_losss_boundary():
  """Logits of a critic of zeros lie below 1/2, and least squares counts them as fake."""
  ada = {"name": "ada", "interval": 100}
  _, state, _, after, _ = linear_round(loss={"name": "least_squares"}, augment=ada, discriminator_loss_scale=1e-6)
  assert state.aux["augment"]["sign"] == 0.0
  assert after.aux["augment"]["sign"] < 0.0
