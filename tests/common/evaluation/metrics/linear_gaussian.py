"""Probabilistic PCA, whose log p(x) and posterior are known, as a model that every likelihood metric can work on."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from scipy import stats

from common import random
from common.data.batches import EvalFeed
from common.data.spec import Spec
from common.errors import ConfigError
from common.evaluation.metrics.likelihood import Model
from common.parallel import make_mesh
from tests.tiny import AS_STORED

RNG = np.random.default_rng(0)
# x = WEIGHTS z + noise e, z and e standard normal. Columns are orthogonal, so the posterior's latents are independent.
WEIGHTS = np.linalg.qr(RNG.normal(size=(4, 2)))[0] * np.array([1.8, 0.9])
IMAGES = RNG.normal(scale=1.5, size=(7, 2, 2, 1)).astype(np.float32)
SPEC = Spec((2, 2, 1), 0, 7, "points", (0.0, 1.0), "")  # floats that are not scaled
CONFIG = ConfigDict(
  {
    "seed": 5,
    "data": AS_STORED,
    "likelihood": {"name": "gaussian"},
    "posterior": {"name": "diagonal_gaussian"},
  }
)


def normal_log_prob(x, mean, covariance):
  log_det = np.linalg.slogdet(2 * np.pi * covariance)[1]
  whitened = (x - mean) @ np.linalg.inv(np.linalg.cholesky(covariance)).T.astype(np.float32)
  return -0.5 * (jnp.sum(whitened**2, -1) + log_det)


@dataclasses.dataclass(frozen=True)
class LinearGaussian:
  """``wrong`` moves q away from the posterior and, above 0, widens it; z is a tuple of one layer."""

  wrong: float = 0.0
  noise: float = 0.7

  given = ()

  @property
  def posterior(self):
    """(covariance, matrix from x to the mean)."""
    covariance = np.linalg.inv(np.eye(2) + WEIGHTS.T @ WEIGHTS / self.noise**2)
    return covariance, covariance @ WEIGHTS.T / self.noise**2

  def exact(self, images=IMAGES):
    """log p(x), [N]."""
    covariance = WEIGHTS @ WEIGHTS.T + self.noise**2 * np.eye(4)
    return stats.multivariate_normal(np.zeros(4), covariance).logpdf(images.reshape(-1, 4))

  def encode(self, batch):
    """Mean [B, 2] and covariance [2, 2] of q."""
    covariance, to_mean = self.posterior
    mean = batch["image"].reshape(-1, 4) @ jnp.asarray(to_mean, jnp.float32).T + 0.3 * self.wrong
    return mean, covariance * (1 + max(0.5 * self.wrong, 0))

  def posterior_sample(self, state, batch, rng, k):
    mean, covariance = self.encode(batch)

    def draw(i):
      noise = random.normal(random.row_keys(jax.random.fold_in(rng, i), batch["index"]), (2,))
      z = mean + noise @ np.linalg.cholesky(covariance).T.astype(np.float32)
      return (z,), normal_log_prob(z, mean, covariance)

    return jax.vmap(draw)(jnp.arange(k))

  def prior_sample(self, state, rng, index, given=None):
    return (random.normal(random.row_keys(rng, index), (2,)),)

  def log_likelihood(self, state, batch, z):
    mean = z[0] @ jnp.asarray(WEIGHTS, jnp.float32).T
    return normal_log_prob(batch["image"].reshape(-1, 4), mean, self.noise**2 * np.eye(4))

  def log_prior(self, state, batch, z):
    return normal_log_prob(z[0], 0.0, np.eye(2))

  def bound_terms(self, state, batch, rng, k):
    z, log_q = self.posterior_sample(state, batch, rng, k)
    return -self.log_likelihood(state, batch, z), {"z": log_q - self.log_prior(state, batch, z)}

  def posterior_moments(self, state, batch):
    mean, covariance = self.encode(batch)
    return mean, jnp.broadcast_to(jnp.log(jnp.diag(covariance)), mean.shape)


LINK = np.array([[0.9], [-0.6]])


class TwoLayers(LinearGaussian):
  """z = (z1, z2) with z2 of one latent and z1 = LINK z2 + e; q(z1|x) is the standard model's, q(z2|z1) is exact."""

  def exact(self, images=IMAGES):
    covariance = WEIGHTS @ (np.eye(2) + LINK @ LINK.T) @ WEIGHTS.T + self.noise**2 * np.eye(4)
    return stats.multivariate_normal(np.zeros(4), covariance).logpdf(images.reshape(-1, 4))

  def _log_priors(self, z):
    mean = z[1] @ jnp.asarray(LINK, jnp.float32).T
    return {"z1": normal_log_prob(z[0], mean, np.eye(2)), "z2": normal_log_prob(z[1], 0.0, np.eye(1))}

  def _infer(self, batch, rng, k):
    (z1,), log_q1 = super().posterior_sample(None, batch, rng, k)
    index = batch["index"]
    variance = 1 / (1 + LINK.T @ LINK)
    mean = z1 @ jnp.asarray(LINK @ variance, jnp.float32)
    keys = jax.vmap(lambda i: random.row_keys(jax.random.fold_in(random.stream(rng, "z2"), i), index))(jnp.arange(k))
    z2 = mean + np.sqrt(variance[0, 0]) * jax.vmap(lambda rows: random.normal(rows, (1,)))(keys)
    return (z1, z2), {"z1": log_q1, "z2": normal_log_prob(z2, mean, variance)}

  def posterior_sample(self, state, batch, rng, k):
    z, log_q = self._infer(batch, rng, k)
    return z, log_q["z1"] + log_q["z2"]

  def prior_sample(self, state, rng, index, given=None):
    z2 = random.normal(random.row_keys(random.stream(rng, "z2"), index), (1,))
    noise = random.normal(random.row_keys(random.stream(rng, "z1"), index), (2,))
    return noise + z2 @ jnp.asarray(LINK, jnp.float32).T, z2

  def log_prior(self, state, batch, z):
    return sum(self._log_priors(z).values())

  def bound_terms(self, state, batch, rng, k):
    z, log_q = self._infer(batch, rng, k)
    log_p = self._log_priors(z)
    return -self.log_likelihood(state, batch, z), {name: log_q[name] - log_p[name] for name in log_q}

  def posterior_moments(self, state, batch):
    raise ConfigError("a hierarchy has no moments in closed form")


@dataclasses.dataclass(frozen=True)
class Points:
  """Images as they are, in the place of `common.data.dataset.Split`."""

  images: np.ndarray

  def __len__(self):
    return len(self.images)

  @property
  def nbytes(self):
    return self.images.nbytes

  @property
  def row_types(self):
    return {"image": (self.images.shape[1:], self.images.dtype)}

  def arrays(self):
    return {"image": self.images}

  def rows(self, indices):
    return {"image": self.images[indices]}


@functools.cache
def mesh_of(devices):
  return make_mesh(devices)


def batch_of(images=IMAGES):
  return {"image": jnp.asarray(images), "index": jnp.arange(len(images))}


def model_of(algorithm, devices=1):
  return Model(algorithm, None, SPEC, CONFIG, mesh_of(devices))


def feed_of(images, devices=1, batch_size=50, resident_mb=100):
  return EvalFeed(Points(images), mesh_of(devices), batch_size=batch_size, resident_mb=resident_mb)


def repeated(count, images=IMAGES):
  """The first image under many indices: independent estimates of one number."""
  return np.repeat(images[:1], count, axis=0)
