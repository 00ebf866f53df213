"""The networks in PyTorch, as its users write them. A module that has parameters is named as in the Flax tree.

So conversion.py needs no table. Numbers come from the resolved config, so that both sides have the same.
"""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

Shape = tuple[int, int, int]  # (height, width, channels) of an image
Settings = Mapping[str, Any]


def chain(*layers: nn.Module | tuple[str, nn.Module]) -> nn.Sequential:
  """Layers one after the other; those with parameters as (name, layer)."""
  net = nn.Sequential()
  for i, layer in enumerate(layers):
    name, module = layer if isinstance(layer, tuple) else (f"f{i}", layer)
    net.add_module(name, module)
  return net


class ToImage(nn.Linear):
  """[B, inputs] -> [B, C, H, W]."""

  def __init__(self, inputs: int, shape: Shape, bias: bool):
    self.shape = shape
    super().__init__(inputs, math.prod(shape), bias=bias)

  def forward(self, x: Tensor) -> Tensor:
    height, width, channels = self.shape
    return super().forward(x).view(-1, channels, height, width)


class FromImage(nn.Linear):
  """[B, C, H, W] -> [B, outputs]."""

  def __init__(self, shape: Shape, outputs: int):
    self.shape = shape
    super().__init__(math.prod(shape), outputs)

  def forward(self, x: Tensor) -> Tensor:
    return super().forward(x.flatten(1))


def _stages(shape: Shape) -> int:
  return int(math.log2(shape[0] / 4))


def batch_norm(kind: type[nn.Module], features: int, settings: Settings) -> nn.Module:
  """BatchNorm1d or 2d with the momentum and epsilon of a network's settings."""
  return kind(features, eps=settings["bn_epsilon"], momentum=1.0 - settings["bn_momentum"])


def dcgan_generator(settings: Settings, shape: Shape, z_dim: int) -> nn.Module:
  """z [B, Z] -> [B, C, H, W] in (-1, 1), by pytorch/examples dcgan: a 4x4 transposed convolution, then doublings."""
  stages, width, kernel = _stages(shape), settings["width"], settings["kernel_size"]
  channels = width * 2 ** (stages - 1)
  layers: list[Any] = [
    nn.Unflatten(1, (z_dim, 1, 1)),
    ("Dense_0", nn.ConvTranspose2d(z_dim, channels, 4, 1, 0, bias=False)),
    ("BatchNorm_0", batch_norm(nn.BatchNorm2d, channels, settings)),
    nn.ReLU(True),
  ]
  for i in range(stages):
    last = i == stages - 1
    outputs = shape[2] if last else channels // 2
    layer = nn.ConvTranspose2d(channels, outputs, kernel, 2, kernel // 2 - 1, bias=last)
    layers += [(f"ConvTranspose_{i}", layer)]
    if not last:
      layers += [(f"BatchNorm_{i + 1}", batch_norm(nn.BatchNorm2d, outputs, settings)), nn.ReLU(True)]
    channels = outputs
  return chain(*layers, nn.Tanh())


def dcgan_discriminator(settings: Settings, shape: Shape) -> nn.Module:
  """[B, C, H, W] -> logits [B]."""
  kernel, inputs, norms = settings["kernel_size"], shape[2], 0
  layers: list[Any] = []
  for stage in range(_stages(shape)):
    outputs = settings["width"] * 2**stage
    normalized = settings["batch_norm"] and stage > 0
    layer = nn.Conv2d(inputs, outputs, kernel, 2, kernel // 2 - 1, bias=not normalized)
    layers.append((f"Conv_{stage}", layer))
    if normalized:
      layers.append((f"BatchNorm_{norms}", batch_norm(nn.BatchNorm2d, outputs, settings)))
      norms += 1
    layers.append(nn.LeakyReLU(settings["slope"], inplace=True))
    inputs = outputs
  return chain(*layers, ("Dense_0", nn.Conv2d(inputs, 1, 4, 1, 0)), nn.Flatten(0))


def mlp_generator(settings: Settings, shape: Shape, z_dim: int) -> nn.Module:
  """z [B, Z] -> [B, C, H, W] in (-1, 1), by PyTorch-GAN gan; no bias where BatchNorm would cancel it."""
  layers: list[Any] = []
  inputs = z_dim
  for i, width in enumerate(settings["widths"]):
    layers.append((f"Dense_{i}", nn.Linear(inputs, width, bias=i == 0)))
    if i:
      layers.append((f"BatchNorm_{i - 1}", batch_norm(nn.BatchNorm1d, width, settings)))
    layers.append(nn.LeakyReLU(settings["slope"], inplace=True))
    inputs = width
  return chain(*layers, (f"Dense_{len(settings['widths'])}", ToImage(inputs, shape, bias=True)), nn.Tanh())


def mlp_discriminator(settings: Settings, shape: Shape) -> nn.Module:
  """[B, C, H, W] -> logits [B]."""
  first, *widths = settings["widths"]
  layers: list[Any] = [("Dense_0", FromImage(shape, first)), nn.LeakyReLU(settings["slope"], inplace=True)]
  for i, (inputs, width) in enumerate(zip([first, *widths], widths, strict=False), 1):
    layers += [(f"Dense_{i}", nn.Linear(inputs, width)), nn.LeakyReLU(settings["slope"], inplace=True)]
  return chain(*layers, (f"Dense_{len(widths) + 1}", nn.Linear([first, *widths][-1], 1)), nn.Flatten(0))


class MlpVae(nn.Module):
  """pytorch/examples vae: one hidden layer of ReLU on each side."""

  def __init__(self, settings: Settings, shape: Shape):
    super().__init__()
    width, z_dim = settings["width"], settings["z_dim"]
    self.encoder = chain(("layers_0", FromImage(shape, width)), nn.ReLU(), ("out", nn.Linear(width, 2 * z_dim)))
    self.decoder = chain(("layers_0", nn.Linear(z_dim, width)), nn.ReLU(), ("out", ToImage(width, shape, bias=True)))


class ConvVae(nn.Module):
  """Strided convolutions with BatchNorm and ReLU down to z, and their mirror image."""

  def __init__(self, settings: Settings, shape: Shape):
    super().__init__()
    height, width, image_channels = shape
    channels, kernel, norm = settings["channels"], 4, settings["batch_norm"]
    factor = 2 ** len(channels)
    base = (height // factor, width // factor, channels[-1])
    padding = kernel // 2 - 1

    def norms(name: str, features: int) -> list[Any]:
      return [(name, batch_norm(nn.BatchNorm2d, features, settings))] if norm else []

    down: list[Any] = []
    for i, (inputs, outputs) in enumerate(zip([image_channels, *channels], channels, strict=False)):
      down.append((f"Conv_{i}", nn.Conv2d(inputs, outputs, kernel, 2, padding, bias=not norm)))
      down += [*norms(f"BatchNorm_{i}", outputs), nn.ReLU(True)]
    self.encoder = chain(*down, ("stats", FromImage(base, 2 * settings["z_dim"])))
    up: list[Any] = [("project", ToImage(settings["z_dim"], base, bias=not norm))]
    widths = [*reversed(channels), image_channels]
    for i, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
      last = i == len(channels) - 1
      up += [*norms(f"BatchNorm_{i}", inputs), nn.ReLU(True)]
      up.append((f"ConvTranspose_{i}", nn.ConvTranspose2d(inputs, outputs, kernel, 2, padding, bias=last or not norm)))
    self.decoder = chain(*up)


class Gated(nn.Module):
  """(x W + b) * sigmoid(x V + c) from two linear layers."""

  def __init__(self, linear: nn.Linear, gate: nn.Linear):
    super().__init__()
    self.linear, self.gate = linear, gate

  def forward(self, x: Tensor) -> Tensor:
    return self.linear(x) * torch.sigmoid(self.gate(x))


class GatedVae(nn.Module):
  """The gated multilayer perceptron of jmtomczak/vae_vampprior, with a layer each for means and log-variances."""

  def __init__(self, settings: Settings, shape: Shape):
    super().__init__()
    width, z_dim = settings["width"], settings["z_dim"]
    encoder: list[Any] = [("GatedDense_0", Gated(FromImage(shape, width), FromImage(shape, width)))]
    decoder: list[Any] = []
    for i in range(settings["layers"]):
      if i:
        encoder.append((f"GatedDense_{i}", Gated(nn.Linear(width, width), nn.Linear(width, width))))
      inputs = width if i else z_dim
      decoder.append((f"GatedDense_{i}", Gated(nn.Linear(inputs, width), nn.Linear(inputs, width))))
    out = [(f"Dense_{i}", nn.Linear(width, z_dim)) for i in range(2)]
    self.encoder = chain(("hidden", chain(*encoder)), ("out", SideBySide(*out)))
    self.decoder = chain(("hidden", chain(*decoder)), ("out", ToImage(width, shape, bias=True)))


class SideBySide(nn.Module):
  """The outputs of named layers, concatenated."""

  def __init__(self, *layers: tuple[str, nn.Module]):
    super().__init__()
    for name, layer in layers:
      self.add_module(name, layer)

  def forward(self, x: Tensor) -> Tensor:
    return torch.cat([layer(x) for layer in self.children()], dim=1)


def has_convolutions(net: nn.Module) -> bool:
  """Whether the layout channels_last can pay."""
  return any(isinstance(module, nn.Conv2d | nn.ConvTranspose2d) for module in net.modules())


def as_batch(images: Any, pixel_range: tuple[float, float]) -> Tensor:
  """uint8 [N, H, W, C] -> float32 [N, C, H, W] in ``pixel_range``."""
  low, high = pixel_range
  x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float()
  return x.div_(255).mul_(high - low).add_(low)
