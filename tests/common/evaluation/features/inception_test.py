"""InceptionV3 against torch-fidelity's, with the same random weights.

Differences are relative to the root mean square of a head, as single features may be 0 after ReLU.
"""

import functools

import jax
import numpy as np
import pytest
from flax import traverse_util

from common.evaluation.features.inception import InceptionV3, prepare
from common.evaluation.features.inception_weights import from_torch
from common.evaluation.features.tf1_resize import tf1_resize
from common.types import PyTree
from tests.common.evaluation.features import inception_reference
from tests.common.evaluation.features.inception_reference import HEADS


@functools.cache
def variables() -> PyTree:
  return {"params": traverse_util.unflatten_dict(from_torch(inception_reference.state_dict()), sep="/")}


@functools.cache
def heads(size: str) -> dict[str, np.ndarray]:
  return jax.device_get(compiled()(variables(), prepare(inception_reference.image(size))))


@functools.cache
def compiled():
  return jax.jit(InceptionV3().apply)


def check(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: float) -> None:
  assert found.keys() == HEADS.keys()
  for name, size in HEADS.items():
    assert found[name].shape == (1, size)
    error = np.max(np.abs(found[name][0] - expected[name])) / np.sqrt(np.mean(np.square(expected[name])))
    assert error < tolerance, f"{name}: {error:.1e}"


def golden(part: str) -> dict[str, np.ndarray]:
  with np.load(inception_reference.GOLDEN) as arrays:
    return {name: arrays[f"{part}/{name}"] for name in HEADS}


@pytest.mark.parametrize("size", inception_reference.SIZES)
def test_every_head_is_torch_fidelitys(size: str):
  check(heads(size), golden(size), 1e-4)


def test_in_float64_they_are_equal_to_rounding():
  pixels = tf1_resize(inception_reference.image(inception_reference.DOUBLE), 299, 299).astype(np.float64)
  with jax.enable_x64(True):
    found = jax.device_get(jax.jit(InceptionV3().apply)(variables(), (pixels - 128) / 128))
  assert found["2048"].dtype == np.float64
  check(found, golden("double"), 1e-12)


def test_logits_differ_by_the_bias_alone():
  bias = inception_reference.state_dict()["fc.bias"]
  assert np.abs(bias).max() > 0.05
  found = heads("32")
  np.testing.assert_allclose((found["logits"] - found["logits_unbiased"])[0], bias, atol=2e-6)


def test_goldens_tell_pictures_apart():
  for name in HEADS:
    first, second = golden("28")[name], golden("32")[name]
    assert np.max(np.abs(first - second)) > 0.05 * np.sqrt(np.mean(np.square(first)))


def test_torch_fidelity_itself():
  if not inception_reference.find_torch_fidelity():
    pytest.skip("the extra [parity] is not installed")
  (expected,) = inception_reference.torch_fidelity_heads([inception_reference.image("64")], double=False)
  check(heads("64"), {name: values[0] for name, values in expected.items()}, 1e-4)


def test_no_accelerator_may_multiply_in_fewer_bits():
  program = jax.make_jaxpr(InceptionV3().apply)(variables(), np.zeros((1, 299, 299, 3), np.float32))
  products = [line for line in program.eqns if line.primitive.name in ("conv_general_dilated", "dot_general")]
  assert len(products) == 95
  assert {str(line.params["precision"]) for line in products} == {str((jax.lax.Precision.HIGHEST,) * 2)}
