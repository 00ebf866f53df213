"""Four seeds of a model in one program, against four runs one after another in one process."""

from collections.abc import Callable, Mapping
from typing import Any

from experiments.benchmark import report
from experiments.benchmark.rounds import Contest, Plan, in_turn

CASES = {"vae_mlp": "vmap", "dcgan_32": "map"}  # convolutions with batched kernels fall off the fast path
SEEDS = 4


def run(plan: Plan) -> dict[str, Any]:
  """Images a second over all seeds, both ways in turn in one worker."""
  rows = [["case", f"{SEEDS} runs one after another, images/s", f"{SEEDS} seeds in one program", "how", "ratio"]]
  figures = {}
  for case, how in CASES.items():
    with Contest(case, plan) as contest:
      worker = contest.side("seeds:SeedsSide")
    try:
      bursts = in_turn({"jax": (worker, "together"), "apart": (worker, "apart")}, plan)
    finally:
      worker.close()
    summary = report.summarize(bursts)
    apart, together = (summary["images_per_second"][side]["median"] for side in ("apart", "jax"))
    rows.append([case, f"{apart:,.0f}", f"{together:,.0f}", how, f"{summary['ratios']['apart']:.2f}"])
    figures[case] = bursts
  return {"table": rows, "bursts": figures}


class SeedsSide:
  """States and keys of SEEDS seeds, and the two ways to train them; the order of the data is the same for all."""

  def __init__(self, spec: Mapping[str, Any]):
    import jax
    import jax.numpy as jnp
    from jax import lax

    from common import parallel, random
    from common.data.batches import gather
    from common.data.dataset import open_dataset
    from common.data.preprocess import preprocess
    from common.training.program import Program, make_state
    from experiments import build_algorithm
    from experiments.benchmark.cases import resolve

    name = spec["case"]
    config = resolve(name, tiny=spec["tiny"], **spec["changes"])
    dataset = open_dataset(config.data)
    algorithm = build_algorithm(config, dataset.spec)
    self._feed = Program(algorithm, dataset, config, parallel.make_mesh()).feed
    self._images = SEEDS * config.train.batch_size * config.train.steps_per_call
    self._steps_per_call, self._step = config.train.steps_per_call, 0

    def train(state: Any, key: Any, data: Any, inputs: Any) -> tuple[Any, Any]:
      """steps_per_call steps of one seed, as common.training.program has them for sets without random preprocessing."""

      def step(state: Any, inputs: Any) -> tuple[Any, Any]:
        rng = jax.random.fold_in(key, state.step)
        raw = gather(data, inputs)
        batch = preprocess(raw, rng, spec=dataset.spec, flip=False, dequantize=False, binarize="none", train=True)
        return algorithm.train_step(state, batch, random.stream(rng, "step"))

      return lax.scan(step, state, inputs)

    def mapped(states: Any, keys: Any, data: Any, inputs: Any) -> tuple[Any, Any]:
      if CASES[name] == "vmap":
        return jax.vmap(train, in_axes=(0, 0, None, None))(states, keys, data, inputs)
      return lax.map(lambda pair: train(pair[0], pair[1], data, inputs), (states, keys))

    self._keys = [jax.random.key(seed) for seed in range(SEEDS)]
    make = jax.jit(lambda: [make_state(algorithm, dataset.spec, seed) for seed in range(SEEDS)])
    self._states, self._all_keys = make(), jnp.stack(self._keys)
    self._stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *make())
    options = parallel.compiler_options()
    self._one: Callable[..., Any] = jax.jit(train, donate_argnums=0, compiler_options=options)
    self._all: Callable[..., Any] = jax.jit(mapped, donate_argnums=0, compiler_options=options)
    self.together(1)

  def together(self, images: int) -> dict[str, float]:
    """{"images", "seconds"} over all seeds, all in one call."""

    def calls(inputs: Any) -> Any:
      self._stacked, metrics = self._all(self._stacked, self._all_keys, self._feed.data, inputs)
      return metrics

    return self._burst(images, calls)

  def apart(self, images: int) -> dict[str, float]:
    """The same, a call a seed."""

    def calls(inputs: Any) -> Any:
      results = [
        self._one(state, key, self._feed.data, inputs) for state, key in zip(self._states, self._keys, strict=True)
      ]
      self._states = [state for state, _ in results]
      return [metrics for _, metrics in results]

    return self._burst(images, calls)

  def _burst(self, images: int, calls: Callable[[Any], Any]) -> dict[str, float]:
    import time

    import jax

    count = -(-images // self._images)
    start = time.perf_counter()
    for _ in range(count):
      metrics = calls(self._feed(self._step))
      self._step += self._steps_per_call
      jax.device_get(metrics)
    return {"images": count * self._images, "seconds": time.perf_counter() - start}
