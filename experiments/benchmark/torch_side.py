"""PyTorch's side: the loop around a step, in three variants.

usual: a Dataset of one image a call behind a DataLoader in this process, plain Adam, the losses read at every step.
memory: the set as one float tensor, batches by index, fused Adam, channels_last for convolutions, a lean step (see
torch_steps.py), losses read at the end of a burst. compile: memory with torch.compile.
"""

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import flop_registry

from experiments.benchmark.torch_networks import as_batch, has_convolutions
from experiments.benchmark.torch_steps import build_step

VARIANTS = ("usual", "memory", "compile")


class OneImage(Dataset):
  """uint8 [N, H, W, C] -> one float image [C, H, W] in the pixel range a call, as torchvision's sets give them."""

  def __init__(self, images: np.ndarray, pixel_range: tuple[float, float]):
    self._images, (self._low, self._high) = images, pixel_range

  def __len__(self) -> int:
    return len(self._images)

  def __getitem__(self, index: int) -> Tensor:
    x = torch.from_numpy(self._images[index]).permute(2, 0, 1).float().div(255)
    return x if (self._low, self._high) == (0.0, 1.0) else (x - 0.5) / 0.5


def load_batches(images: np.ndarray, pixel_range: tuple[float, float], batch_size: int) -> Iterator[Tensor]:
  """Shuffled batches without end, by a DataLoader; an epoch's incomplete last batch is dropped."""
  loader = DataLoader(OneImage(images, pixel_range), batch_size, shuffle=True, num_workers=0, drop_last=True)
  while True:
    yield from loader


def index_batches(x: Tensor, batch_size: int) -> Iterator[Tensor]:
  """The same from one tensor in memory."""
  while True:
    order = torch.randperm(len(x))
    for start in range(0, len(x) - batch_size + 1, batch_size):
      yield x.index_select(0, order[start : start + batch_size])


class OperationCount(TorchDispatchMode):
  """Adds up what PyTorch's own formulas say of each operation.

  Its FlopCounterMode has the same formulas, but follows modules by hooks that do not allow for a gradient penalty.
  """

  total = 0

  def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
    result = func(*args, **(kwargs or {}))
    formula = flop_registry.get(func._overloadpacket)
    self.total += formula(*args, **(kwargs or {}), out_val=result) if formula else 0
    return result


def _normalize(net: nn.Module, eps: float) -> None:
  """Each array's gradient to unit norm, g / (|g| + eps)."""
  for parameter in net.parameters():
    assert parameter.grad is not None
    parameter.grad.div_(parameter.grad.norm().add_(eps))


class TorchSide:
  """A step with its batches and optimizers, past its first update.

  Args:
    config: the resolved config as a plain mapping.
    images: uint8 [N, H, W, C].
    variant: one of VARIANTS.

  Attributes:
    losses: those last read.
  """

  def __init__(self, config: Mapping[str, Any], images: np.ndarray, variant: str):
    torch.manual_seed(config["seed"])
    if torch.get_num_threads() != (os.cpu_count() or 1):
      torch.set_num_threads(os.cpu_count() or 1)
    self._settings = config
    self._usual, self._batch_size = variant == "usual", config["train"]["batch_size"]
    self._step = build_step(config, images.shape[1:], lean=not self._usual)
    layout = any(map(has_convolutions, self._step.nets.values())) and not self._usual
    if layout:
      for net in self._step.nets.values():
        net.to(memory_format=torch.channels_last)
    self._note = self._step.compile() if variant == "compile" else ""
    self._step.start(self._adam)
    pixel_range = tuple(config["data"]["pixel_range"])
    if self._usual:
      self._batches = load_batches(images, pixel_range, self._batch_size)
    else:
      x = as_batch(images, pixel_range)
      x = x.to(memory_format=torch.channels_last) if layout else x
      self._batches = index_batches(x, self._batch_size)
    self._train(steps=1)

  def _adam(self, net: nn.Module, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    betas = (settings["b1"], settings["b2"])
    options: dict[str, Any] = {} if self._usual else {"fused": True}
    rate, eps = settings["learning_rate"], settings["eps"]
    optimizer = torch.optim.Adam(net.parameters(), rate, betas=betas, eps=eps, **options)
    if settings["name"] == "normalized_adam":
      optimizer.register_step_pre_hook(lambda *_: _normalize(net, settings["norm_eps"]))
    return optimizer

  def burst(self, images: int) -> dict[str, float]:
    """Trains on at least ``images``: {"images", "seconds"}."""
    steps = -(-images // self._batch_size)
    start = time.perf_counter()
    self._train(steps)
    return {"images": steps * self._batch_size, "seconds": time.perf_counter() - start}

  def sample(self, images: int) -> dict[str, float]:
    """Draws ``images`` pictures without gradients, in batches of 64: {"images", "seconds"}, the pictures in NumPy."""
    net, z_dim = self._step.nets["generator"], self._settings["z_dim"]
    start = time.perf_counter()
    net.eval()
    with torch.no_grad():
      counts = [min(64, images - first) for first in range(0, images, 64)]
      np.concatenate([net(torch.randn(count, z_dim)).numpy() for count in counts])
    net.train()
    return {"images": images, "seconds": time.perf_counter() - start}

  def _train(self, steps: int) -> None:
    for _ in range(steps):
      losses = self._step.step([next(self._batches) for _ in range(self._step.batches_per_step)])
      if self._usual:
        self.losses = {name: loss.item() for name, loss in losses.items()}
    if not self._usual:
      self.losses = {name: loss.item() for name, loss in losses.items()}

  def note(self) -> str:
    """What could not be compiled, or an empty string."""
    return self._note

  def flops(self) -> int:
    """Floating-point operations of matrix products and convolutions in one step, a multiply-add as two."""
    with OperationCount() as count:
      self._train(steps=1)
    return count.total

  @staticmethod
  def peak_gflops(size: int) -> float:
    """The best of several float32 products of two [size, size] matrices, in 10^9 multiply-adds x 2 a second."""
    a = torch.ones(size, size)
    best = float("inf")
    for _ in range(8):
      start = time.perf_counter()
      a @ a
      best = min(best, time.perf_counter() - start)
    return 2e-9 * size**3 / best
