"""IS-5000: log p(x) of the gated VAE by importance sampling, beside a no_grad loop that does the same."""

import time
from collections.abc import Mapping
from typing import Any

from experiments.benchmark import report
from experiments.benchmark.rounds import Contest, Plan, in_turn

IMAGES, DRAWS, PASS = 10000, 5000, 500  # PASS draws at once, on both sides


def run(plan: Plan) -> dict[str, Any]:
  """Images a second in turn, and what 10,000 images would take at that speed."""
  names = {"jax": "nll:JaxNll", **({"torch": "nll:TorchNll"} if plan.variants else {})}
  with Contest("gated_vae", plan) as contest:
    workers = {name: contest.side(side) for name, side in names.items()}
  try:
    bursts = in_turn({name: (worker, "score") for name, worker in workers.items()}, plan)
  finally:
    for worker in workers.values():
      worker.close()
  summary = report.summarize(bursts)
  rows = [["side", "images/s", f"minutes for {IMAGES:,} images at that speed", "JAX's speed / this"]]
  for name in names:
    speed = summary["images_per_second"][name]["median"]
    ratio = f"{summary['ratios'][name]:.2f}" if name != "jax" else "-"
    rows.append([name, f"{speed:.1f}", f"{IMAGES / speed / 60:.1f}", ratio])
  return {"table": rows, "bursts": bursts}


class JaxNll:
  """`common.evaluation.metrics.importance` on the test split with a fresh model."""

  def __init__(self, spec: Mapping[str, Any]):
    from common import parallel
    from common.data.batches import EvalFeed
    from common.data.dataset import open_dataset
    from common.evaluation.metrics.importance import ImportanceSampler
    from common.training.program import Program
    from experiments import build_algorithm
    from experiments.benchmark.cases import resolve

    config = resolve(spec["case"], tiny=spec["tiny"], **spec["changes"])
    dataset, mesh = open_dataset(config.data), parallel.make_mesh()
    algorithm: Any = build_algorithm(config, dataset.spec)
    draws = 20 if spec["tiny"] else DRAWS
    self._state = Program(algorithm, dataset, config, mesh).init()
    self._sampler = ImportanceSampler(algorithm, dataset.spec, config, mesh, k=draws, chunk=min(PASS, draws))
    self._batch = 10
    self._feed = EvalFeed(dataset.test, mesh, batch_size=self._batch, resident_mb=config.data.resident_mb)
    self.score(1)

  def score(self, images: int) -> dict[str, float]:
    """{"images", "seconds"} of at least ``images``, in whole batches."""
    batches = min(-(-images // self._batch), len(self._feed))
    start, values = time.perf_counter(), self._sampler.batches(self._state, self._feed)
    count = sum(len(next(values)) for _ in range(batches))
    return {"images": count, "seconds": time.perf_counter() - start}


class TorchNll:
  """The same sum in PyTorch, an image at a time in passes of as many draws."""

  def __init__(self, spec: Mapping[str, Any]):
    import numpy as np
    import torch

    from experiments.benchmark.torch_networks import as_batch
    from experiments.benchmark.torch_steps import build_step

    images = np.load(spec["images"])
    torch.manual_seed(0)
    self._net = build_step(spec["settings"], images.shape[1:], lean=True).nets["net"]
    self._z_dim, self._draws = spec["settings"]["model"]["z_dim"], 20 if spec["tiny"] else DRAWS
    self._x = torch.bernoulli(as_batch(images[:IMAGES], (0.0, 1.0)))
    self.score(1)

  def score(self, images: int) -> dict[str, float]:
    """{"images", "seconds"}."""
    import torch

    start = time.perf_counter()
    with torch.no_grad():
      values = [self._log_likelihood(self._x[i : i + 1]).item() for i in range(images)]
    return {"images": len(values), "seconds": time.perf_counter() - start}

  def _log_likelihood(self, x: Any) -> Any:
    import torch
    import torch.nn.functional as F  # noqa: N812 - its name everywhere

    mean, log_var = self._net.encode(x).chunk(2, dim=1)
    parts = []
    for start in range(0, self._draws, PASS):
      eps = torch.randn(min(PASS, self._draws - start), self._z_dim)
      z = mean + torch.exp(0.5 * log_var) * eps
      logits = self._net.decode(z)
      log_joint = -F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").flatten(1).sum(1)
      # log p(z) - log q(z|x); the constants cancel.
      parts.append(log_joint + 0.5 * (eps.square() + log_var - z.square()).sum(1))
    return torch.logsumexp(torch.cat(parts), 0) - torch.log(torch.tensor(float(self._draws)))
