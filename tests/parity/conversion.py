"""Parameters and gradients of Flax -> PyTorch: the trees have the same names, see networks.py."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from tests.parity.networks import FromImage, ToImage

# "original" is the weight under a parametrization.
LEAVES = {"weight": ("kernel", "scale"), "original": ("kernel",), "bias": ("bias",)}


def converted(tree: Mapping[str, Any], net: nn.Module) -> Iterator[tuple[torch.nn.Parameter, torch.Tensor]]:
  """Each parameter of ``net`` with what stands for it in the Flax tree, in the layout of PyTorch.

  Raises:
    ValueError: parameters that the other side does not have, or of another shape.
  """
  found = 0
  for path, module in net.named_modules():
    owner = net.get_submodule(path.removesuffix(".parametrizations.weight"))
    gate = "gate_" if path.endswith(".gate") else ""
    for name, parameter in module.named_parameters(recurse=False):
      layer = _at(tree, path)
      leaf = next((layer[gate + key] for key in LEAVES[name] if gate + key in layer), None)
      if leaf is None:
        raise ValueError(f"{path}.{name} has no counterpart: there are {', '.join(layer)}")
      value = _layout(np.array(leaf), owner)
      if value.shape != parameter.shape:
        raise ValueError(f"{path}.{name} is {tuple(parameter.shape)} here and {value.shape} there")
      found += 1
      yield parameter, torch.from_numpy(np.ascontiguousarray(value))
  total = _count(tree)
  if found != total:
    raise ValueError(f"{total - found} of {total} parameters have no counterpart in PyTorch")


def load_parameters(tree: Mapping[str, Any], net: nn.Module) -> None:
  """Copies the Flax parameters into ``net``."""
  with torch.no_grad():
    for parameter, value in converted(tree, net):
      parameter.copy_(value)


def _at(tree: Mapping[str, Any], path: str) -> Mapping[str, Any]:
  """The layer at ``path``; parts of it that only group layers are skipped."""
  for part in path.split("."):
    tree = tree.get(part, tree)
  return tree


def _count(tree: Any) -> int:
  return sum(map(_count, tree.values())) if isinstance(tree, Mapping) else 1


def _layout(value: np.ndarray, module: nn.Module) -> np.ndarray:
  """A kernel or a vector, to the layout that ``module`` has for it; Flax flattens images as (H, W, C)."""
  if isinstance(module, ToImage):
    order = value.reshape(-1, *module.shape).transpose(0, 3, 1, 2)
    flat = order.reshape(len(order), -1)
    return flat.T if value.ndim == 2 else flat[0]
  if value.ndim == 1:
    return value
  if isinstance(module, FromImage):
    height, width, channels = module.shape
    return value.reshape(height, width, channels, -1).transpose(3, 2, 0, 1).reshape(value.shape[1], -1)
  if isinstance(module, nn.Linear):
    return value.T
  if isinstance(module, nn.ConvTranspose2d):  # (in, out, kh, kw); a dense layer's image is the kernel on one pixel
    height, width = module.kernel_size
    if value.ndim == 2:
      return value.reshape(len(value), height, width, -1).transpose(0, 3, 1, 2)
    return value.transpose(3, 2, 0, 1)  # (kh, kw, out, in), as of the matching convolution
  assert isinstance(module, nn.Conv2d)
  height, width = module.kernel_size
  kernel = value if value.ndim == 4 else value.reshape(height, width, -1, value.shape[-1])
  return kernel.transpose(3, 2, 0, 1)
