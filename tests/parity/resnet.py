"""SNGAN's residual networks in PyTorch, in the form of kwotsin/mimicry sngan_32, of one width.

The 1x1 convolutions of the shortcuts are on the side of the smaller image, which is the same function for less work.
"""

import math
from collections.abc import Callable

import torch.nn.functional as F  # noqa: N812 - its name everywhere
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from tests.parity.networks import Settings, Shape, ToImage, batch_norm, chain

Norm = Callable[[nn.Module], nn.Module]


class UpBlock(nn.Module):
  """[B, C, H, W] -> [B, C, 2H, 2W]; ``index`` counts the generator's blocks."""

  def __init__(self, index: int, settings: Settings):
    super().__init__()
    width = settings["width"]
    self.shortcut = chain((f"Conv_{3 * index}", nn.Conv2d(width, width, 1)), nn.Upsample(scale_factor=2))
    self.residual = chain(
      (f"BatchNorm_{2 * index}", batch_norm(nn.BatchNorm2d, width, settings)),
      nn.ReLU(),
      nn.Upsample(scale_factor=2),
      (f"Conv_{3 * index + 1}", nn.Conv2d(width, width, 3, 1, 1, bias=False)),
      (f"BatchNorm_{2 * index + 1}", batch_norm(nn.BatchNorm2d, width, settings)),
      nn.ReLU(),
      (f"Conv_{3 * index + 2}", nn.Conv2d(width, width, 3, 1, 1)),
    )

  def forward(self, x: Tensor) -> Tensor:
    return self.residual(x) + self.shortcut(x)


class DownBlock(nn.Module):
  """[B, inputs, H, W] -> [B, width, H/2, W/2]; the first meets pixels, which no ReLU must cut."""

  def __init__(self, index: int, inputs: int, width: int, norm: Norm):
    super().__init__()
    first, second, shortcut = (f"Conv_{3 * index + i}" for i in range(3))
    self.residual = chain(
      *([nn.ReLU()] if index else []),
      (first, norm(nn.Conv2d(inputs, width, 3, 1, 1))),
      nn.ReLU(),
      (second, norm(nn.Conv2d(width, width, 3, 1, 1))),
      nn.AvgPool2d(2),
    )
    self.shortcut = chain(nn.AvgPool2d(2), (shortcut, norm(nn.Conv2d(inputs, width, 1))))

  def forward(self, x: Tensor) -> Tensor:
    return self.residual(x) + self.shortcut(x)


class PlainBlock(nn.Module):
  """[B, C, H, W] -> [B, C, H, W]; ``index`` is that of its first convolution."""

  def __init__(self, index: int, width: int, norm: Norm):
    super().__init__()
    self.residual = chain(
      nn.ReLU(),
      (f"Conv_{index}", norm(nn.Conv2d(width, width, 3, 1, 1))),
      nn.ReLU(),
      (f"Conv_{index + 1}", norm(nn.Conv2d(width, width, 3, 1, 1))),
    )

  def forward(self, x: Tensor) -> Tensor:
    return x + self.residual(x)


class SumPixels(nn.Module):
  """[B, C, H, W] -> [B, C], after a ReLU."""

  def forward(self, x: Tensor) -> Tensor:
    return F.relu(x).sum(dim=(2, 3))


def resnet_generator(settings: Settings, shape: Shape, z_dim: int) -> nn.Module:
  """z [B, Z] -> [B, C, H, W] in (-1, 1)."""
  width, stages = settings["width"], int(math.log2(shape[0] / 4))
  return chain(
    ("Dense_0", ToImage(z_dim, (4, 4, width), bias=True)),
    *[UpBlock(i, settings) for i in range(stages)],
    (f"BatchNorm_{2 * stages}", batch_norm(nn.BatchNorm2d, width, settings)),
    nn.ReLU(),
    (f"Conv_{3 * stages}", nn.Conv2d(width, shape[2], 3, 1, 1)),
    nn.Tanh(),
  )


def resnet_discriminator(settings: Settings, shape: Shape) -> nn.Module:
  """[B, C, H, W] -> logits [B]."""
  width, halvings = settings["width"], int(math.log2(shape[0] / 4)) - 1
  norm: Norm = spectral_norm if settings["spectral_norm"] else nn.Identity()
  down = [DownBlock(i, width if i else shape[2], width, norm) for i in range(halvings)]
  plain = [PlainBlock(3 * halvings + 2 * i, width, norm) for i in range(2)]
  return chain(*down, *plain, SumPixels(), ("Dense_0", norm(nn.Linear(width, 1, bias=False))), nn.Flatten(0))
