"""Times the cases of experiments.benchmark beside PyTorch, burst by burst: python -m tests.parity.speed --out=DIR

Torch has three variants. usual: a DataLoader in this process, plain Adam, losses read at every step, as known examples
have it. memory: the set as one tensor, fused Adam, channels_last for convolutions, losses read at the end, and the lean
step of steps.py. compile: memory with torch.compile. Both sides run in one process, in turn, and an image counts once a
step, also where a step has several discriminator updates. Needs pip install -e '.[parity]'.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from common import files
from experiments import benchmark
from experiments.command_line import flags as command_line
from tests.parity.networks import as_batch, has_convolutions
from tests.parity.steps import build_step, settings_of

VARIANTS = ("usual", "memory", "compile")


class OneImage(Dataset):
  """uint8 [N, H, W, C] -> one float image [C, H, W] in the pixel range a call, as torchvision's sets give them."""

  def __init__(self, images: np.ndarray, pixel_range: tuple[float, float]):
    self._images, self._pixel_range = images, pixel_range

  def __len__(self) -> int:
    return len(self._images)

  def __getitem__(self, index: int) -> Tensor:
    x = torch.from_numpy(self._images[index]).permute(2, 0, 1).float().div(255)
    return x if self._pixel_range == (0.0, 1.0) else (x - 0.5) / 0.5


def load_batches(images: np.ndarray, pixel_range: tuple[float, float], batch_size: int) -> Iterator[Tensor]:
  """Yields shuffled batches without end, by a DataLoader; it drops an epoch's incomplete last batch."""
  loader = DataLoader(OneImage(images, pixel_range), batch_size, shuffle=True, num_workers=0, drop_last=True)
  while True:
    yield from loader


def index_batches(x: Tensor, batch_size: int) -> Iterator[Tensor]:
  """Yields the same from one tensor in memory."""
  while True:
    order = torch.randperm(len(x))
    for start in range(0, len(x) - batch_size + 1, batch_size):
      yield x.index_select(0, order[start : start + batch_size])


class TorchTraining:
  """One of VARIANTS, trained on uint8 ``images`` [N, H, W, C] by the settings of `settings_of`."""

  def __init__(self, settings: Mapping[str, Any], images: np.ndarray, variant: str):
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    self._usual, self._batch_size = variant == "usual", settings["train"]["batch_size"]
    self._step = build_step(settings, images.shape[1:], lean=not self._usual)
    channels_last = not self._usual and any(map(has_convolutions, self._step.nets.values()))
    layout: dict[str, Any] = {"memory_format": torch.channels_last} if channels_last else {}
    for net in self._step.nets.values():
      net.to(**layout)
    if variant == "compile":
      self._step.compile()
    self._step.start(self._adam)
    pixel_range = tuple(settings["data"]["pixel_range"])
    if self._usual:
      self._batches = load_batches(images, pixel_range, self._batch_size)
    else:
      self._batches = index_batches(as_batch(images, pixel_range).to(**layout), self._batch_size)

  def _adam(self, net: nn.Module, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    betas, fused = (settings["b1"], settings["b2"]), None if self._usual else True
    optimizer = torch.optim.Adam(net.parameters(), settings["learning_rate"], betas, settings["eps"], fused=fused)
    if settings["name"] == "normalized_adam":  # each array's gradient to unit norm

      def normalize(*_: Any) -> None:
        for parameter in net.parameters():
          parameter.grad.div_(parameter.grad.norm().add_(settings["norm_eps"]))  # type: ignore[union-attr]

      optimizer.register_step_pre_hook(normalize)
    return optimizer

  def burst(self, images: int) -> tuple[int, float]:
    """Trains on at least ``images``; returns how many there were and the seconds that it took."""
    steps, start = -(-images // self._batch_size), time.perf_counter()
    for _ in range(steps):
      losses = self._step.step([next(self._batches) for _ in range(self._step.batches_per_step)])
      if self._usual:
        [loss.item() for loss in losses.values()]
    [loss.item() for loss in losses.values()]
    return steps * self._batch_size, time.perf_counter() - start


def main() -> int:
  flag = benchmark.FLAGS
  rows = [["case", "batch", "JAX, images/s", *VARIANTS, *(f"JAX / {variant}" for variant in VARIANTS)]]
  results = {}
  for name in flag.cases or benchmark.CASES:
    ours = benchmark.Training(name, tiny=flag.smoke)
    settings, images = settings_of(ours.config, ours.algorithm), ours.dataset.train.arrays()["image"]
    theirs = {variant: TorchTraining(settings, images, variant).burst for variant in VARIANTS}
    bursts = benchmark.in_turn({"jax": ours.burst, **theirs}, flag.rounds, flag.seconds)
    ratios = [f"{benchmark.ratio(bursts['jax'], bursts[variant]):.2f}" for variant in VARIANTS]
    rows.append([name, str(ours.config.train.batch_size), *map(benchmark.speed, bursts.values()), *ratios])
    results[name] = bursts
    print(benchmark.markdown([rows[0], rows[-1]]), flush=True)
  versions = f"{benchmark.machine()}, torch {torch.__version__}"
  print(f"{benchmark.markdown(rows)}\nMedian (quartiles) of {flag.rounds} bursts of {flag.seconds:g} s; {versions}")
  if flag.out:
    command_line.make_directory("out", Path(flag.out))
    files.write(Path(flag.out) / "results.json", json.dumps(results, indent=1) + "\n")
  return 0


if __name__ == "__main__":
  command_line.run(main, __doc__, benchmark.define_flags)
