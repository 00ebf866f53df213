"""Images of a VAE's latents: reconstructions, traversals of single units, and the plane of two."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from common import random
from common.data.dataset import Dataset
from common.data.preprocess import preprocess
from common.errors import ConfigError
from common.given import given_of
from common.types import Batch, Given
from experiments.loading import TrainedRun
from vae.gaussian import unit_kl
from vae.vae import VAE

SPREAD = 3.0  # standard deviations of N(0, 1) to each side
LOOKED_AT = 1000  # images over which the rates are averaged


def reconstructions(run: TrainedRun, dataset: Dataset, rows: int, columns: int) -> np.ndarray:
  """Returns ``columns`` / 2 test images a row, each beside its reconstruction from a draw of z: [N, H, W, C]."""
  batch, rng = _images(run, dataset, rows * (columns // 2))
  return np.asarray(jax.jit(_vae(run).visualize)(run.state, batch, rng)["reconstructions"])


def traversals(run: TrainedRun, dataset: Dataset, rows: int, columns: int) -> tuple[np.ndarray, list[str]]:
  """Moves one unit of the first test image's posterior mean from -3 to 3 in each row, the units of highest rate first.

  A model that is given rows receives those of that image.

  Returns:
    [rows * columns, H, W, C], and for each row a line with the unit and its rate KL(q(z_i|x) || N(0, 1)) in nats, the
    mean over 1,000 images.
  """
  vae = _vae(run)
  if not vae.normal_latents:
    raise ConfigError("--show=traversals needs one layer of latents under the standard normal prior")
  batch, _ = _images(run, dataset, LOOKED_AT)
  mean, log_var = jax.jit(vae.posterior_moments)(run.state, batch)
  rate = np.asarray(jnp.mean(unit_kl(mean, log_var), axis=0))
  units = np.argsort(-rate)[:rows]
  z = np.tile(np.asarray(mean[0]), (len(units), columns, 1))
  z[np.arange(len(units)), :, units] = np.linspace(-SPREAD, SPREAD, columns)
  lines = [f"row {row}: unit {unit}, {rate[unit]:.3f} nats" for row, unit in enumerate(units)]
  given = jax.tree.map(lambda x: jnp.repeat(x[:1], columns * len(units), axis=0), given_of(batch, vae.given))
  return _decode(run, z.reshape(-1, z.shape[-1]), given), lines


def manifold(run: TrainedRun, columns: int) -> np.ndarray:
  """Returns E[x|z] over a grid of two latents at equally spaced normal quantiles (Kingma & Welling 2013, Fig. 4)."""
  vae = _vae(run)
  if not vae.normal_latents or run.config.model.z_dim != 2:
    raise ConfigError("--show=manifold is for two latents under N(0, I); train with --config.model.z_dim=2")
  if vae.given:
    raise ConfigError(
      "--show=manifold: each label has a plane of its own; see --labels, --interpolate or --show=traversals"
    )
  at = np.asarray(jax.scipy.special.ndtri((np.arange(columns) + 0.5) / columns))
  y, x = np.meshgrid(at[::-1], at, indexing="ij")
  return _decode(run, np.stack([x.ravel(), y.ravel()], axis=-1).astype(np.float32))


def _vae(run: TrainedRun) -> VAE:
  if not isinstance(run.algorithm, VAE):
    raise ConfigError(f"a {run.config.family} has no posterior to show; take the run of a VAE, or --show=samples")
  return run.algorithm


def _images(run: TrainedRun, dataset: Dataset, num: int) -> tuple[Batch, Any]:
  """Returns the first ``num`` test images, prepared as in evaluation, and the key of the draws."""
  rng = random.stream(jax.random.key(run.config.seed), "show")
  raw = dataset.test.rows(np.arange(min(num, len(dataset.test))))
  raw = jax.tree.map(jnp.asarray, {**raw, "index": np.arange(len(raw["label"]), dtype=np.int32)})
  return preprocess(raw, rng, run.spec, run.config.data, train=False), rng


def _decode(run: TrainedRun, z: np.ndarray, given: Given = None) -> np.ndarray:
  vae = _vae(run)
  decode: Callable[..., Any] = jax.jit(lambda state, z, given: vae.decode(state, (z,), given))
  return np.asarray(decode(run.state, jnp.asarray(z), given))
