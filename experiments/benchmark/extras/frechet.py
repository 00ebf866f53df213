"""The Frechet distance on a classifier's features of 10,000 images a side, beside a no_grad loop that does the same."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.benchmark import report
from experiments.benchmark.rounds import Contest, Plan

IMAGES, BATCH = 10000, 100
CONFIG = "classifier:fashion_mnist"


def run(plan: Plan) -> dict[str, Any]:
  """Seconds from images in memory to the distance; moments and roots are the same code in NumPy on both sides."""
  images = 400 if plan.tiny else IMAGES
  names = {"jax": "frechet:JaxFrechet", **({"torch": "frechet:TorchFrechet"} if plan.variants else {})}
  with Contest("vae_mlp", plan) as contest:
    workers = {name: contest.side(side, pictures=str(plan.scratch / "images.npy")) for name, side in names.items()}
  bursts: dict[str, list[list[float]]] = {name: [] for name in names}
  try:
    for _ in range(plan.rounds):
      for name, worker in workers.items():
        burst = worker.ask("score", images=images)
        bursts[name].append([burst["images"], burst["seconds"]])
  finally:
    for worker in workers.values():
      worker.close()
  summary = report.summarize(bursts)
  rows = [["side", f"seconds for 2 x {images:,} images", "JAX's speed / this"]]
  for name in names:
    seconds = 2 * images / summary["images_per_second"][name]["median"]
    rows.append([name, f"{seconds:.2f}", f"{summary['ratios'][name]:.2f}" if name != "jax" else "-"])
  return {"table": rows, "bursts": bursts}


def _timed(features: Any, pictures: np.ndarray, images: int) -> dict[str, float]:
  """Distance of the first ``images`` to the next: {"images", "seconds"}; ``features`` takes uint8 [BATCH, H, W, C]."""
  from common.evaluation.metrics.frechet import Moments, frechet_distance

  start = time.perf_counter()
  sides = []
  for first in (0, images):
    moments = None
    for i in range(first, first + images, BATCH):
      rows = features(pictures[i : i + BATCH])
      moments = moments or Moments(rows.shape[1])
      moments.add(rows)
    assert moments is not None
    sides.append(moments.gaussian())
  distance = frechet_distance(*sides)
  assert np.isfinite(distance)
  return {"images": 2 * images, "seconds": time.perf_counter() - start}


class JaxFrechet:
  """`common.evaluation.features.classifier` with fresh weights."""

  def __init__(self, spec: Mapping[str, Any]):
    import jax
    import jax.numpy as jnp

    from common import parallel
    from common.data.spec import Spec
    from common.training.program import make_state
    from experiments import build_algorithm
    from experiments.benchmark.cases import load

    self._pictures = np.load(spec["pictures"])
    config = load(CONFIG, {})
    shape = self._pictures.shape[1:]
    data = Spec(shape, 10, len(self._pictures), "images", (0.0, 1.0), fingerprint="")
    algorithm: Any = build_algorithm(config, data)
    state = jax.jit(lambda: make_state(algorithm, data, 0))()

    def features(state: Any, x: Any) -> Any:
      return algorithm.features(state, x.astype(jnp.float32) / 255)

    compiled = jax.jit(features, compiler_options=parallel.compiler_options())
    self._features = lambda x: np.asarray(compiled(state, x))
    self.score(BATCH)

  def score(self, images: int) -> dict[str, float]:
    return _timed(self._features, self._pictures, images)


class TorchFrechet:
  """The same network in PyTorch, channels_last, in evaluation mode."""

  def __init__(self, spec: Mapping[str, Any]):
    import torch
    from torch import nn

    from experiments.benchmark.torch_networks import as_batch

    torch.manual_seed(0)
    self._pictures = np.load(spec["pictures"])
    height, width, channels = self._pictures.shape[1:]
    layers: list[Any] = []
    for outputs in (32, 64):
      for inputs in (channels, outputs):
        layers += [nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(True)]
      layers.append(nn.MaxPool2d(2, 2, ceil_mode=True))
      channels, height, width = outputs, -(-height // 2), -(-width // 2)
    layers += [nn.Flatten(), nn.Linear(channels * height * width, 128), nn.ReLU(True)]
    net: Any = nn.Sequential(*layers)
    net = net.eval().to(memory_format=torch.channels_last)

    def features(x: np.ndarray) -> np.ndarray:
      with torch.no_grad():
        return net(as_batch(x, (0.0, 1.0)).to(memory_format=torch.channels_last)).numpy()

    self._features = features
    self.score(BATCH)

  def score(self, images: int) -> dict[str, float]:
    return _timed(self._features, self._pictures, images)
