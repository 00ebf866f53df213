"""PixelCNN: what each position sees, that probabilities are probabilities, and draws that follow them."""

import functools
import itertools

import jax
import numpy as np
import pytest
from scipy import stats

from common.errors import ConfigError
from tests.vae.tiny_model import keys_of
from vae.samplers.autoregressive import PixelCNN

MAPS = np.asarray(list(itertools.product(range(3), repeat=4)), np.float32)  # all maps of 2x2


@functools.cache
def example(side=2, layers=2):
  """A model, and parameters of which the distribution is far from even."""
  module = PixelCNN((side, side, 1), num_codes=3, channels=8, layers=layers)
  shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), np.zeros((1, side**2)), method="log_prob"))
  rng = np.random.default_rng(0)
  return module, jax.tree.map(
    lambda p: (1.2 * rng.normal(size=p.shape) / np.sqrt(np.prod(p.shape[:-1]))).astype(np.float32), shapes
  )


@functools.partial(jax.jit, static_argnums=(0, 1))
def run(module, method, variables, *args):
  return module.apply(variables, *args, method=method)


def seen(module, variables):
  """[place read, place changed] -> whether its logits change with the code there."""
  height, width, _ = module.image_shape
  size = height * width
  base = np.random.default_rng(0).integers(0, module.num_codes, size)
  codes = np.stack([base, *((base + row) % module.num_codes for row in np.eye(size, dtype=int))])
  logits = np.asarray(run(module, "logits", variables, codes.reshape(-1, height, width).astype(np.int32)))
  change = np.abs(logits[1:] - logits[:1]).max(-1).reshape(size, size).T
  assert not np.any((change > 1e-6) & (change < 1e-5))  # rounding, or a dependence
  return change > 1e-5


def test_a_code_depends_on_all_before_and_on_none_after():
  np.testing.assert_array_equal(seen(*example(4, layers=3)), np.tri(16, k=-1, dtype=bool))


def test_a_layer_reaches_as_far_as_it_says():
  """Beside the shifts by one, it sees one row up with one column to each side, and one column to the left."""
  expected = np.zeros((7, 7), bool)
  expected[2:4, 2:5] = True
  expected[4, 1:3] = True
  np.testing.assert_array_equal(seen(*example(7, layers=1))[4 * 7 + 3].reshape(7, 7), expected)


def test_probabilities_sum_to_one_and_samples_follow_them():
  """And a row of them depends on its key only."""
  module, variables = example()
  count, keys = 4000, keys_of(4000)
  codes = np.asarray(run(module, "sample", variables, keys))
  drawn = np.bincount(codes.astype(int) @ [27, 9, 3, 1], minlength=81)
  p = np.exp(np.float64(run(module, "log_prob", variables, MAPS)))
  np.testing.assert_allclose(p.sum(), 1.0, rtol=1e-5)
  assert 0.5 * np.abs(p - 1 / 81).sum() > 0.2  # an even distribution would be noticed
  expected = p / p.sum() * count
  often = expected >= 5
  observed, expected = (np.append(counts[often], counts[~often].sum()) for counts in (drawn, expected))
  assert stats.chisquare(observed, expected).pvalue > 1e-3
  order = np.random.default_rng(0).permutation(count)
  np.testing.assert_array_equal(run(module, "sample", variables, keys[order]), codes[order])


def test_every_parameter_has_a_gradient():
  module, variables = example()
  loss = jax.jit(jax.grad(lambda v: -module.apply(v, MAPS, method="log_prob").mean()))
  for path, grad in jax.tree_util.tree_leaves_with_path(loss(variables)):
    assert np.any(np.asarray(grad) != 0.0), jax.tree_util.keystr(path)


@pytest.mark.parametrize(("name", "value"), [("num_codes", 1), ("layers", 0), ("channels", 0)])
def test_settings_that_mean_nothing_are_refused(name, value):
  with pytest.raises(ConfigError, match=f"{name}={value}"):
    PixelCNN(**{"image_shape": (2, 2, 1), "num_codes": 3, name: value})
