"""The encoder and the decoder of VQGAN beside PyTorch's layers, which the authors' code puts together in this way."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import pytest

from vae.networks import vqgan

torch = pytest.importorskip("torch", reason="the extra [parity] is not installed")
F = torch.nn.functional

SIDE, Z, GROUPS = 8, 4 * 4 * 3, 2
SETTINGS: dict[str, Any] = {
  "image_shape": (SIDE, SIDE, 3),
  "num_stats": lambda z_dim: z_dim,
  "num_params": 1,
  "z_dim": Z,
}
SETTINGS |= {"width": 4, "multipliers": (1, 2), "blocks": 1, "attention": (4,), "channels": 4, "groups": GROUPS}
Layer = Mapping[str, Any]


def conv(x: Any, layer: Layer, padding: int = 1, stride: int = 1) -> Any:
  kernel = np.asarray(layer["kernel"])
  kernel = kernel if kernel.ndim == 4 else kernel[None, None]
  weight = torch.tensor(kernel.transpose(3, 2, 0, 1))
  return F.conv2d(x, weight, torch.tensor(layer["bias"]), padding=padding, stride=stride)


def norm(x: Any, layer: Layer) -> Any:
  return F.group_norm(x, GROUPS, torch.tensor(layer["scale"]), torch.tensor(layer["bias"]), 1e-6)


def activated(x: Any, layer: Layer) -> Any:
  return F.silu(norm(x, layer["GroupNorm_0"]))


def block(x: Any, layer: Layer) -> Any:
  h = conv(activated(x, layer["Activated_0"]), layer["Conv_0"])
  h = conv(activated(h, layer["Activated_1"]), layer["Conv_1"])
  return h + (conv(x, layer["Conv_2"], 0) if "Conv_2" in layer else x)


def attention(x: Any, layer: Layer) -> Any:
  h = norm(x, layer["GroupNorm_0"])
  query, key, value = (conv(h, layer[name], 0).flatten(2) for name in ("query", "key", "value"))
  weights = torch.softmax(query.transpose(1, 2) @ key / query.shape[1] ** 0.5, dim=2)
  return x + conv((value @ weights.transpose(1, 2)).reshape(x.shape), layer["out"], 0)


def encoded(x: Any, p: Layer) -> Any:
  h = block(conv(x, p["Conv_0"]), p["ResidualBlock_0"])
  h = conv(F.pad(h, (0, 1, 0, 1)), p["Conv_1"], 0, 2)
  h = attention(block(h, p["ResidualBlock_1"]), p["Attention_0"])
  h = block(attention(block(h, p["ResidualBlock_2"]), p["Attention_1"]), p["ResidualBlock_3"])
  return conv(conv(activated(h, p["Activated_0"]), p["Conv_2"]), p["Conv_3"], 0)


def decoded(z: Any, p: Layer) -> Any:
  h = conv(conv(z, p["Conv_0"], 0), p["Conv_1"])
  h = block(attention(block(h, p["ResidualBlock_0"]), p["Attention_0"]), p["ResidualBlock_1"])
  for i in (2, 3):
    h = attention(block(h, p[f"ResidualBlock_{i}"]), p[f"Attention_{i - 1}"])
  h = conv(F.interpolate(h, scale_factor=2.0, mode="nearest"), p["Conv_2"])
  h = block(block(h, p["ResidualBlock_4"]), p["ResidualBlock_5"])
  return conv(activated(h, p["Activated_0"]), p["last"])


@pytest.mark.parametrize(
  ("side", "theirs", "shape", "flat"),
  [(vqgan.Encoder, encoded, (SIDE, SIDE, 3), False), (vqgan.Decoder, decoded, (4, 4, 3), True)],
)
def test_both_sides_of_the_autoencoder_are_equal(side: Any, theirs: Any, shape: tuple[int, ...], flat: bool) -> None:
  generator = np.random.default_rng(0)
  x = generator.normal(size=(2, *shape)).astype(np.float32)
  network, inputs = side(**SETTINGS), (x.reshape(2, -1),) if flat else x
  shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), inputs, None, train=True))
  variables = jax.tree.map(lambda leaf: generator.normal(0.0, 0.4, leaf.shape).astype(np.float32), shapes)
  found = jax.jit(lambda: network.apply(variables, inputs, None, train=True))()
  expected = theirs(torch.tensor(x.transpose(0, 3, 1, 2)), variables["params"]).numpy().transpose(0, 2, 3, 1)
  np.testing.assert_allclose(np.reshape(found, expected.shape), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
