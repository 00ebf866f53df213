"""The U-Net discriminator: weights as in the authors' code, and one by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from gan.networks.unet import Discriminator


def applied(network, x, variables=None):
  if variables is None:
    return network.init_with_output(jax.random.key(0), x, train=True, keys=None)
  return network.apply(variables, x, train=False, keys=None)


def test_weights_as_in_real_esrgans_code():
  shapes = jax.eval_shape(lambda: applied(Discriminator(), jnp.zeros((1, 16, 16, 3)))[1])
  count = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes["params"]))
  up_and_down = (64 * 128 + 128 * 256 + 256 * 512) * (16 + 9)
  assert count == 9 * 3 * 64 + 64 + up_and_down + 2 * 9 * 64 * 64 + 9 * 64 + 1 == 4_376_897


def test_a_network_by_hand():
  """Halved, doubled bilinearly with the outer pixels repeated, and joined to what has the same size."""
  x = jnp.asarray(np.random.default_rng(0).uniform(size=(2, 16, 8, 3)), jnp.float32)
  network = Discriminator(width=2)
  variables = applied(network, x)[1]
  output = applied(network, x, variables)
  params, vectors = variables["params"], variables["spectral"]

  def kernel(number):
    found = params[f"Conv_{number}"]["kernel"]
    if 0 < number < 9:
      v, u = (vectors[f"SpectralNorm_{number - 1}"][name] for name in "vu")
      found = found / (v @ found.reshape(-1, found.shape[-1]) @ u)
    return found

  def conv(x, number, stride=1):
    dimensions = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(x, kernel(number), (stride,) * 2, ((1, 1), (1, 1)), None, None, dimensions)
    return y + params[f"Conv_{number}"].get("bias", 0.0)

  def leaky(x):
    return jnp.where(x > 0, x, 0.2 * x)

  def doubled(x):
    for axis in (1, 2):
      edge = [(1, 1) if i == axis else (0, 0) for i in range(4)]
      wide, size = np.pad(x, edge, mode="edge"), x.shape[axis]
      before, after = (np.take(wide, range(k, k + size), axis) for k in (0, 2))
      pairs = np.stack([0.25 * before + 0.75 * x, 0.75 * x + 0.25 * after], axis + 1)
      x = pairs.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
    return x

  x0 = leaky(conv(x, 0))
  x1 = leaky(conv(x0, 1, 2))
  x2 = leaky(conv(x1, 2, 2))
  x3 = leaky(conv(x2, 3, 2))
  x4 = leaky(conv(doubled(x3), 4)) + x2
  x5 = leaky(conv(doubled(x4), 5)) + x1
  x6 = leaky(conv(doubled(x5), 6)) + x0
  logits = conv(leaky(conv(leaky(conv(x6, 7)), 8)), 9)
  assert output.logits.shape == (2, 16, 8)
  np.testing.assert_allclose(output.logits, logits[..., 0], atol=1e-5)
  assert [layer.shape[1] for layer in output.layers] == [16, 8, 4, 2, 4, 8, 16]
