"""Adversarial losses by hand, and where probabilities overflow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from scipy.special import expit

from common.errors import ConfigError
from common.parallel import batch_mean, make_mesh
from gan.losses import LOSSES, by_row, least_squares

REAL, FAKE = np.array([-3.0, 0.0, 1.5, 4.0]), np.array([2.0, -1.0, 0.5, -6.0])
UNCENTRED = ("wasserstein", "relativistic_pairing", "relativistic_average")  # they see differences only


S_REAL, S_FAKE = expit(REAL), expit(FAKE)
GOODFELLOW = -np.log(S_REAL) - np.log(1 - S_FAKE)
ABOVE, BELOW = expit(REAL - FAKE.mean()), expit(FAKE - REAL.mean())


def losses(name, real, fake):
  """Those of D and of G on one device."""
  loss = LOSSES[name]()
  compared = loss.compared(real, fake, None)
  return loss.discriminator(*compared), loss.generator(*compared)


@pytest.mark.parametrize(
  ("name", "discriminator", "generator"),
  [
    ("saturating", GOODFELLOW, np.log(1 - S_FAKE)),
    ("non_saturating", GOODFELLOW, -np.log(S_FAKE)),
    ("wasserstein", [5.0, -1.0, -1.0, -10.0], [-2.0, 1.0, -0.5, 6.0]),
    ("hinge", [4.0 + 3.0, 1.0 + 0.0, 0.0 + 1.5, 0.0 + 0.0], [-2.0, 1.0, -0.5, 6.0]),
    ("least_squares", [8.0 + 2.0, 0.5 + 0.5, 0.125 + 0.125, 4.5 + 18.0], [0.5, 2.0, 0.125, 24.5]),
    ("relativistic_pairing", -np.log(expit(REAL - FAKE)), -np.log(expit(FAKE - REAL))),
    (
      "relativistic_average",
      -np.log(ABOVE) - np.log(1 - BELOW),
      -np.log(1 - ABOVE) / 2 - np.log(BELOW) / 2,
    ),
  ],
)
def test_a_loss_by_hand(name, discriminator, generator):
  for found, expected in zip(losses(name, REAL, FAKE), (discriminator, generator), strict=True):
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_means_are_over_the_global_batch_all_patches_and_no_padding():
  """And a gradient passes through them: of mean_i f(r_i - m) with m = mean f_j, -mean f' / B reaches each fake."""
  loss, draw = LOSSES["relativistic_average"](), np.random.default_rng(0)
  real, fake = (jnp.asarray(draw.normal(size=(8, 3, 2)), jnp.float32) for _ in range(2))

  def mean_loss(real, fake, axis_name=None):
    return jnp.mean(by_row(loss.generator(*loss.compared(real, fake, axis_name))))

  value, slope = jax.value_and_grad(mean_loss, 1)(real, fake)
  above, below = real - fake.mean(), fake - real.mean()
  slopes = 0.5 * (expit(below) - 1) / fake.size - 0.5 * np.mean(expit(above)) / fake.size
  np.testing.assert_allclose(slope, slopes, rtol=1e-4)

  def per_device(real, fake):
    value, slope = jax.value_and_grad(mean_loss, 1)(real, fake, "data")
    return batch_mean(value, "data"), slope / 8  # the mean over devices is that of their losses

  spec = PartitionSpec("data")
  mapped = jax.shard_map(
    per_device, mesh=make_mesh(8), in_specs=(spec, spec), out_specs=(PartitionSpec(), spec), check_vma=False
  )
  for found, expected in zip(mapped(real, fake), (value, slope), strict=True):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
  mask = jnp.asarray([1.0] * 5 + [0.0] * 3)
  padded = jnp.where(mask[:, None, None] > 0, fake, jnp.nan)
  for found, expected in zip(
    loss.compared(real, padded, None, mask), loss.compared(real[:5], fake[:5], None), strict=True
  ):
    np.testing.assert_allclose(found[:5], expected, rtol=1e-5)


def test_least_squares_of_the_sigmoid():
  """Lucic et al. 2018: (s(real) - 1)^2 / 2 + s(fake)^2 / 2, (s(fake) - 1)^2 / 2, undecided at logit 0."""
  loss = least_squares(sigmoid=True)
  expected = 0.5 * (S_REAL - 1) ** 2 + 0.5 * S_FAKE**2
  np.testing.assert_allclose(loss.discriminator(REAL, FAKE), expected, rtol=1e-5)
  np.testing.assert_allclose(loss.generator(REAL, FAKE), 0.5 * (S_FAKE - 1) ** 2, rtol=1e-5)
  assert loss.boundary == 0.0
  assert expit(least_squares(a=0.1, b=0.7, sigmoid=True).boundary) == pytest.approx(0.4)
  with pytest.raises(ConfigError, match=r"a=-1\.0 and b=1\.0 must lie in \[0, 1\].*sigmoid=False"):
    least_squares(a=-1.0, b=1.0, c=0.0, sigmoid=True)


def test_least_squares_takes_maos_constants():
  """Eq. 8, a = -1, b = 1, c = 0; and targets in the wrong order are refused."""
  loss = least_squares(a=-1.0, b=1.0, c=0.0)
  np.testing.assert_allclose(loss.discriminator(REAL, FAKE), (REAL - 1) ** 2 / 2 + (FAKE + 1) ** 2 / 2, rtol=1e-6)
  np.testing.assert_allclose(loss.generator(REAL, FAKE), FAKE**2 / 2, rtol=1e-6)
  assert loss.boundary == 0.0
  with pytest.raises(ConfigError, match="a=1.0 must be below b=1.0"):
    least_squares(a=1.0)


@pytest.mark.parametrize("name", LOSSES)
def test_accuracies_count_images_or_pairs(name):
  """They count pairs where a constant added to all logits must not change them."""
  loss, real, fake = LOSSES[name](), jnp.array([2.0, 0.3, -1.0, 0.6]), jnp.array([1.0, 0.4, -2.0, 0.6])
  assert loss.boundary == (None if name in UNCENTRED else 0.5 if name == "least_squares" else 0.0)
  right = loss.accuracies(real, fake)
  if name in UNCENTRED:
    for shift in (0, 5):
      np.testing.assert_allclose(losses(name, real + shift, fake + shift)[0], losses(name, real, fake)[0], rtol=1e-5)
      np.testing.assert_array_equal(loss.accuracies(real + shift, fake + shift)["d_pair_accuracy"], [1, 0, 1, 0])
    assert list(right) == ["d_pair_accuracy"]
  else:
    assert list(right) == ["d_real_accuracy", "d_fake_accuracy"]
    np.testing.assert_array_equal(list(right.values()), [real > loss.boundary, fake < loss.boundary])


@pytest.mark.parametrize(
  ("name", "sure_of_fake"), [("saturating", 0.0), ("non_saturating", -1.0)]
)  # where D is sure, the first gives G no gradient: why the second exists
def test_extreme_logits_stay_finite_and_saturate_as_named(name, sure_of_fake):
  loss, logits = LOSSES[name](), jnp.array([-1e4, 1e4])
  for player in (loss.discriminator, loss.generator):
    value, grads = jax.value_and_grad(lambda r, f, player=player: jnp.sum(player(r, f)), (0, 1))(logits, logits)
    assert np.all(np.isfinite(value)) and np.all(np.isfinite(grads))
  assert jax.grad(lambda f: loss.generator(0.0, f))(-1e4) == sure_of_fake
