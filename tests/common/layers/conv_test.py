"""The canonical convolution against lax: values, three derivatives, scan and vmap; on devices, see parallel_test.py."""

import itertools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from common.errors import ConfigError
from common.layers.conv import Conv, ConvTranspose
from common.layers.conv_maps import Geometry, forward, input_gradient, kernel_gradient

EXPLICIT = ((2, 1), (0, 3))
SIZES = ((7, 6), (6, 9))
CANONICAL = "[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"


def geometries():
  for kernel, stride, padding in itertools.product(range(1, 6), (1, 2), ("SAME", "VALID", EXPLICIT)):
    size = SIZES[(kernel + stride) % 2]
    pads = lax.padtype_to_pads(size, (kernel,) * 2, (stride,) * 2, padding) if isinstance(padding, str) else padding
    yield Geometry(size, (kernel, kernel), (stride, stride), tuple(map(tuple, pads)))
  yield Geometry((8, 7), (2, 3), (2, 1), ((0, 1), (3, 0)))
  yield Geometry((5, 5), (1, 2), (3, 4), ((0, 0), (1, 0)))
  # Kernels that tile the image, and those that would without their padding.
  for padding in (((0, 0), (0, 0)), ((0, 1), (0, 2)), ((1, 0), (0, 0)), ((0, 0), (1, 1)), ((1, -1), (0, 0))):
    yield Geometry((6, 9), (2, 3), (2, 3), padding)


def lax_conv(geometry, x, w):
  return lax.conv_general_dilated(x, w, geometry.strides, geometry.padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def lax_input_gradient(geometry, g, w):
  shape = (len(g), *geometry.input_size, w.shape[2])
  return jax.linear_transpose(lambda x: lax_conv(geometry, x, w), jnp.zeros(shape))(g)[0]


def lax_kernel_gradient(geometry, x, g):
  shape = (*geometry.kernel_size, x.shape[-1], g.shape[-1])
  return jax.linear_transpose(lambda w: lax_conv(geometry, x, w), jnp.zeros(shape))(g)[0]


def normal(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def operands(geometry):
  """x, w and g of a geometry, standard normal."""
  x, w = normal(3, *geometry.input_size, 2), normal(*geometry.kernel_size, 2, 4, seed=1)
  g = normal(*jax.eval_shape(lambda x, w: lax_conv(geometry, x, w), x, w).shape, seed=2)
  return jnp.asarray(x), jnp.asarray(w), jnp.asarray(g)


def derivatives(fn, order):
  """(a, b) -> the values of fn and gradients of up to ``order`` of nonlinear functions of it."""
  if order == 0:
    return lambda *args: [fn(*args)]

  def energy(*args):
    return sum(jnp.sum(jnp.sin(leaf / (1.0 + jnp.sqrt(leaf.size)))) for leaf in jax.tree.leaves(fn(*args)))

  return lambda *args: [fn(*args), *derivatives(jax.grad(energy, argnums=(0, 1)), order - 1)(*args)]


def variables_of(module, x):
  """Parameters of the module, bias and all, standard normal; by numpy, since XLA compiles for seconds to draw them."""
  shapes = jax.eval_shape(module.init, jax.random.key(0), x)
  return jax.tree.map(lambda leaf: normal(*leaf.shape, seed=1), shapes)


def assert_close(actual, expected, message=""):
  for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
    assert (a.shape, a.dtype) == (e.shape, e.dtype)
    np.testing.assert_allclose(a, e, rtol=0, atol=1e-5 * max(1e-3, float(np.max(np.abs(e)))), err_msg=message)


MAPS = {
  "forward": (forward, lax_conv, (0, 1)),
  "input_gradient": (input_gradient, lax_input_gradient, (2, 1)),
  "kernel_gradient": (kernel_gradient, lax_kernel_gradient, (0, 2)),
}


@pytest.mark.parametrize("name", MAPS)
def test_values_and_two_derivatives_equal_lax(name):
  fn, reference, places = MAPS[name]
  cases = [(geometry, [operands(geometry)[i] for i in places]) for geometry in geometries()]

  def run(fn):
    return jax.jit(lambda: [derivatives(lambda a, b, s=s: fn(s, a, b), 2)(*args) for s, args in cases])()

  for (geometry, _), actual, expected in zip(cases, run(fn), run(reference), strict=True):
    assert_close(actual, expected, str(geometry))


GEOMETRY = Geometry((7, 6), (4, 3), (2, 2), ((1, 2), (0, 1)))


def test_the_third_derivative_equals_lax_and_all_are_canonical():
  """The speed rests on the layout; the same search finds others in autodiff's form."""
  x, w, _ = operands(GEOMETRY)

  def compiled(fn):
    lowered = jax.jit(derivatives(lambda x, w: fn(GEOMETRY, x, w), 3)).lower(x, w)
    layouts = set(re.findall(r"dim_numbers = (\S.*?\]->\[.*?\])", lowered.as_text()))
    return lowered.compile()(x, w), layouts

  (actual, ours), (expected, others) = compiled(forward), compiled(lax_conv)
  assert_close(actual, expected)
  assert ours == {CANONICAL} and len(others) > 1


def test_scan_and_vmap():
  """Descent in a scan equals the unrolled loop of lax, for a batch of kernels at once."""
  x, w, _ = operands(GEOMETRY)
  ws = jnp.stack([w, -0.5 * w])

  def descend(fn, w):
    def step(w, shift):
      return w - 0.1 * jax.grad(lambda w: jnp.mean(jnp.tanh(fn(GEOMETRY, x + shift, w))))(w), None

    return lax.scan(step, w, jnp.arange(3.0))[0]

  actual = jax.jit(jax.vmap(lambda w: descend(forward, w)))(ws)
  expected = jax.jit(lambda: jnp.stack([descend(lax_conv, w) for w in ws]))()
  assert_close(actual, expected)
  xs = jnp.stack([x, 2.0 * x])  # with a batch axis on both operands, a convolution becomes a grouped one
  both = jax.jit(jax.vmap(derivatives(lambda x, w: forward(GEOMETRY, x, w), 1)))(xs, ws)
  one = jax.jit(derivatives(lambda x, w: lax_conv(GEOMETRY, x, w), 1))
  assert_close(both, jax.tree.map(lambda *leaves: jnp.stack(leaves), one(xs[0], ws[0]), one(xs[1], ws[1])))


def test_conv_equals_flax():
  x = normal(2, 9, 8, 3)
  variables = variables_of(Conv(5, (3, 4)), x)
  assert jax.tree.map(np.shape, variables["params"]) == {"kernel": (3, 4, 3, 5), "bias": (5,)}

  def run(layer, **form):
    layers = [layer(5, (3, 4), (2, 1), padding, **form) for padding in ("SAME", "VALID", EXPLICIT, 1)]
    return jax.jit(lambda variables: [layer.apply(variables, x) for layer in layers])(variables)

  expected = run(nn.Conv)
  for form in ("canonical", "lax"):
    assert_close(run(Conv, form=form), expected)


def scattered(x, kernel, stride, low, output_size):
  """The definition of a transposed convolution: each pixel of x adds a multiple of the kernel to the output."""
  reach = max(output_size) + low + kernel.shape[0] + stride * max(x.shape[1:3])
  y = np.zeros((x.shape[0], reach, reach, kernel.shape[2]), np.float32)
  for i, j, a, b in np.ndindex(*x.shape[1:3], *kernel.shape[:2]):
    y[:, i * stride + a, j * stride + b] += x[:, i, j] @ kernel[a, b].T
  return y[:, low : low + output_size[0], low : low + output_size[1]]


def test_conv_transpose_is_that_of_pytorch():
  x = normal(2, 4, 3, 3)
  # Kernel, stride, padding, output_padding, and (n - 1) * stride - 2 * padding + kernel + output_padding of n = 4, 3.
  cases = [(4, 2, 1, 0, (8, 6)), (5, 2, 2, 1, (8, 6)), (3, 2, 0, 0, (9, 7)), (3, 1, 1, 0, (4, 3))]
  cases += [(2, 3, "VALID", 2, (13, 10)), (4, 1, "VALID", 0, (7, 6))]
  for form in ("canonical", "lax"):
    modules = [ConvTranspose(2, k, s, p, extra, use_bias=False, form=form) for k, s, p, extra, _ in cases]
    variables = [variables_of(module, x) for module in modules]
    outputs = jax.jit(lambda v, m=modules: [module.apply(one, x) for module, one in zip(m, v, strict=True)])(variables)
    for (kernel, stride, padding, _, size), v, y in zip(cases, variables, outputs, strict=True):
      assert v["params"]["kernel"].shape == (kernel, kernel, 2, 3)
      low = 0 if padding == "VALID" else padding
      assert_close(y, scattered(x, v["params"]["kernel"], stride, low, size))


def test_same_conv_transpose_multiplies_the_size():
  x = normal(2, 3, 4, 3)
  cases = [(1, 1), (1, 2), (2, 2), (3, 2), (4, 2), (5, 2), (5, 3), (3, 1)]
  variables = [variables_of(ConvTranspose(2, kernel), x) for kernel, _ in cases]

  def run(variables):
    flip = lambda p: jnp.flip(p, (0, 1)).swapaxes(2, 3) if p.ndim == 4 else p  # noqa: E731
    pairs = list(zip(cases, variables, strict=True))
    ours = [ConvTranspose(2, k, s).apply(v, x) for (k, s), v in pairs]
    return ours, [nn.ConvTranspose(2, (k, k), (s, s)).apply(jax.tree.map(flip, v), x) for (k, s), v in pairs]

  ours, flax = jax.jit(run)(variables)
  assert [y.shape for y in ours] == [(2, 3 * stride, 4 * stride, 2) for _, stride in cases]
  assert_close(ours, flax)


@pytest.mark.parametrize("resample", ["double", "halve"])
def test_resampling_is_part_of_the_convolution(resample):
  x, tall = normal(2, 6, 4, 3), normal(2, 4, 6, 3)
  cases = [(3, x), (5, tall), (1, x), ((3, 1), tall)]
  modules = {f: [Conv(2, k, resample=resample, form=f) for k, _ in cases] for f in ("canonical", "lax")}
  variables = [variables_of(module, x) for module, (_, x) in zip(modules["lax"], cases, strict=True)]

  def literal(k, v, x):
    conv = nn.Conv(2, (k, k) if isinstance(k, int) else k)
    if resample == "double":
      return conv.apply(v, jnp.repeat(jnp.repeat(x, 2, 1), 2, 2))
    return nn.avg_pool(conv.apply(v, x), (2, 2), (2, 2))

  def run(fns):
    energies = [lambda v, x, f=f: jnp.sum(jnp.sin(f(v, x))) for f in fns]
    pairs = list(zip(fns, energies, variables, [x for _, x in cases], strict=True))
    return jax.jit(lambda: [(f(v, x), jax.grad(e, argnums=(0, 1))(v, x)) for f, e, v, x in pairs])()

  expected = run([lambda v, x, k=k: literal(k, v, x) for k, _ in cases])
  for form in modules:
    assert_close(run([module.apply for module in modules[form]]), expected)


@pytest.mark.parametrize("groups", [2, 3, 6])
def test_groups_are_convolutions_of_parts(groups):
  """Values, and first and second derivatives by image and kernel, of either form."""
  x, width = jnp.asarray(normal(2, 6, 5, 6)), 12 // groups
  for settings in ({}, {"strides": 2, "padding": ((2, 1), (0, 1))}):
    module = Conv(12, 3, groups=groups, **settings)
    variables = variables_of(module, x)
    assert variables["params"]["kernel"].shape == (3, 3, 6 // groups, 12)

    def literal(v, x, settings=settings):
      kernels, biases = (jnp.split(v["params"][name], groups, -1) for name in ("kernel", "bias"))
      parts = zip(jnp.split(x, groups, -1), kernels, biases, strict=True)
      conv = Conv(width, 3, form="lax", **settings)
      return jnp.concatenate([conv.apply({"params": {"kernel": w, "bias": b}}, x) for x, w, b in parts], -1)

    expected = jax.jit(derivatives(literal, 2))(variables, x)
    for form in ("canonical", "lax"):
      assert_close(jax.jit(derivatives(module.clone(form=form).apply, 2))(variables, x), expected)


def test_bfloat16_computes_and_float32_stays():
  x = normal(2, 4, 4, 3)
  for module in (Conv(2, 3, dtype=jnp.bfloat16), ConvTranspose(2, 4, 2, dtype=jnp.bfloat16)):
    variables = variables_of(module, x)
    assert jax.eval_shape(module.apply, variables, x).dtype == jnp.bfloat16
    gradient = jax.eval_shape(jax.grad(lambda v, m=module: jnp.sum(m.apply(v, x)).astype(jnp.float32)), variables)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
  ("module", "message"),
  [
    (Conv(2, 3, padding="FULL"), "padding=FULL is not"),
    (Conv(2, 3, padding=(1, 1)), "is not"),
    (Conv(2, 3, form="fast"), 'form="fast" is not one of'),
    (Conv(2, 5, padding="VALID"), "does not fit"),
    (Conv(2, 3, resample="treble"), "is not one of none, double, halve"),
    (Conv(2, 4, resample="double"), "an odd kernel_size"),
    (Conv(2, 3, strides=2, resample="halve"), "goes with strides=1"),
    (Conv(3, 3, groups=2), "groups=2 does not divide 3 channels and 3 features"),
    (Conv(3, 3, groups=3, resample="halve"), "goes with strides=1.*groups=1"),
    (ConvTranspose(2, 3, 2, output_padding=1), "give the padding in numbers"),
    (ConvTranspose(2, 3, 2, padding=1, output_padding=2), "not below strides"),
  ],
)
def test_errors(module, message):
  with pytest.raises(ConfigError, match=message):
    jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 4, 4, 3)))
