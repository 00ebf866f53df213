"""Times whole training steps of ten cases: python -m experiments.benchmark --out=DIR

A case is a config with overrides. It runs in its own process, on the device that JAX finds, and calls
`Program.train_call` as experiments.train does. With --against=CHECKOUT another checkout of this project trains the same
cases, in turn with this one, burst by burst, so that other work on the machine slows both alike.
tests/parity/speed.py times the cases beside PyTorch.
"""

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags
from ml_collections import ConfigDict

from common import files
from common.errors import ConfigError, nearest
from experiments import ROOT, build_algorithm
from experiments.command_line import flags as command_line

FLAGS = flags.FLAGS


class Case(NamedTuple):
  """A config, overrides (train.steps_per_call makes a call last 1 to 2 s on two cores), and those of a tiny form."""

  config: str
  overrides: Mapping[str, Any]
  tiny: Mapping[str, Any]


_DCGAN = {"game.fakes": "shared", "z_prior": "normal"}
_TINY_WIDTHS = {"generator.width": 8, "discriminator.width": 8}
_TINY = {**_TINY_WIDTHS, "data.image_size": 16}
_ADAM = {"name": "adam", "learning_rate": 2e-4, "b1": 0.0, "b2": 0.9, "eps": 1e-8}
_SNGAN = {"generator_optim": _ADAM, "discriminator_optim": _ADAM, "game.generator_batches": 1}
_ELBO = {"name": "elbo", "beta": 1.0}
_CONV_VAE = {
  "model.channels": (128, 256, 512, 1024),
  "model.batch_norm": True,
  "data.image_size": 32,
  "data.binarize": "none",
  "train.batch_size": 64,
  "train.steps_per_call": 2,
}

# The PyTorch code that each case mirrors stands beside it.
CASES: dict[str, Case] = {
  # pytorch/examples vae: 784-400-20, Bernoulli on grey values
  "vae_mlp": Case("vae:fashion_mnist,flax", {"model.width": 400, "data.binarize": "none"}, {"model.width": 32}),
  # jmtomczak/vae_vampprior, standard prior: gated 300-300, z of 40; no warm-up, so that the rate has a gradient
  "gated_vae": Case("vae:fashion_mnist,gated", {"objective": _ELBO}, {"model.width": 24, "model.z_dim": 8}),
  # the encoder and decoder of DCGAN as a VAE, as in AntixK/PyTorch-VAE
  "conv_vae": Case("vae:fashion_mnist,conv", _CONV_VAE, {"model.channels": (8, 8), "data.image_size": 16}),
  # eriklindernoren/PyTorch-GAN gan
  "mlp_gan": Case("gan:fashion_mnist,tapered", {}, {"generator.widths": (16, 32), "discriminator.widths": (32, 16)}),
  # pytorch/examples dcgan, at 32x32 with three batch sizes, and at its own 64x64
  "dcgan_32": Case("dcgan:fashion_mnist", {**_DCGAN, "train.steps_per_call": 5}, _TINY),
  "dcgan_32_b128": Case("dcgan:fashion_mnist", {**_DCGAN, "train.batch_size": 128, "train.steps_per_call": 2}, _TINY),
  "dcgan_32_b512": Case("dcgan:fashion_mnist", {**_DCGAN, "train.batch_size": 512, "train.steps_per_call": 1}, _TINY),
  "dcgan_64": Case(
    "dcgan:fashion_mnist",
    {**_DCGAN, "data.image_size": 64, "data.resize": "crop", "train.steps_per_call": 1},
    {**_TINY_WIDTHS, "data.image_size": 32},
  ),
  # eriklindernoren/PyTorch-GAN wgan_gp with convolutions, as in igul222/improved_wgan_training
  "wgan_gp": Case("wgan_gp:fashion_mnist", {"train.steps_per_call": 1}, _TINY),
  # kwotsin/mimicry sngan_32 with width 64
  "sngan": Case("sngan:fashion_mnist", {**_SNGAN, "train.steps_per_call": 1}, _TINY),
}

# Generated images, which train at the same speed, replace a data set that is not installed.
PROCEDURAL = {"data.name": "blobs", "data.train_split": "train", "data.validation_split": "validation"}


def resolve(name: str, *, tiny: bool = False, changes: Mapping[str, Any] | None = None) -> ConfigDict:
  """Returns the locked config of a case with further ``changes`` {dotted path: value}.

  The ``tiny`` form has small networks and trains on procedural images, in batches of 8, one step per call.

  Raises:
    ConfigError: an unknown field, or a value that breaks a rule.
  """
  from experiments.api import load_config  # imports JAX

  case = CASES[name]
  small = {**case.tiny, **PROCEDURAL, "train.batch_size": 8, "train.steps_per_call": 1} if tiny else {}
  return load_config(case.config, {**case.overrides, **small, **(changes or {})})


class Training:
  """The training of experiments.train after its first call, without logs, scores, pictures and checkpoints."""

  def __init__(self, name: str, *, tiny: bool = False):
    from common import parallel
    from common.data.dataset import open_dataset
    from common.training.program import Program

    config = resolve(name, tiny=tiny)
    try:
      dataset = open_dataset(config.data)
    except ConfigError:
      config = resolve(name, tiny=tiny, changes=PROCEDURAL)
      dataset = open_dataset(config.data)
    algorithm = build_algorithm(config, dataset.spec, parallel.axis_name_of(config.parallel.mode))
    self.config, self.algorithm, self.dataset = config, algorithm, dataset
    self._steps_per_call, self._step = config.train.steps_per_call, 0
    self._program = Program(algorithm, dataset, config, parallel.make_mesh())
    self._state = self._program.init()
    self._train(calls=1)

  def burst(self, images: int) -> tuple[int, float]:
    """Trains on at least ``images`` in whole calls; returns their number and the seconds."""
    images_per_call = self.config.train.batch_size * self._steps_per_call
    calls = -(-images // images_per_call)
    start = time.perf_counter()
    self._train(calls)
    return calls * images_per_call, time.perf_counter() - start

  def _train(self, calls: int) -> None:
    """Runs the trainer's loop: a few calls are in flight, and metrics are fetched late."""
    import jax

    from common.training.trainer import MAX_CALLS_IN_FLIGHT

    in_flight: deque[Any] = deque()
    feed = self._program.feed
    for _ in range(calls):
      self._state, metrics = self._program.train_call(self._state, feed.data, feed(self._step))
      in_flight.append(metrics)
      self._step += self._steps_per_call
      while len(in_flight) > MAX_CALLS_IN_FLIGHT:
        jax.device_get(in_flight.popleft())
    jax.device_get(list(in_flight))


Burst = Callable[[int], Sequence[float]]  # trains on at least N images -> (images, seconds)


def in_turn(sides: Mapping[str, Burst], rounds: int, seconds: float) -> dict[str, list[list[float]]]:
  """Runs bursts of about ``seconds`` of each side, round by round; returns {side: [[images, seconds], ...]}."""
  sizes = {}
  for name, burst in sides.items():
    images, took = burst(1)  # may still compile
    images, took = burst(max(1, round(0.25 * seconds * images / took)))
    sizes[name] = max(1, round(seconds * images / took))
  orders = [list(sides), list(sides)[::-1]]  # by turns: the first of a round may find the processor slower
  measured = [{name: list(sides[name](sizes[name])) for name in orders[number % 2]} for number in range(rounds)]
  return {name: [bursts[name] for bursts in measured] for name in sides}


def speed(bursts: Sequence[Sequence[float]]) -> str:
  """Formats images per second: the median and quartiles of the bursts."""
  values = [images / seconds for images, seconds in bursts]
  low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
  return f"{middle:,.0f} ({low:,.0f}-{high:,.0f})"


def ratio(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> float:
  """Computes the median over the rounds of our speed divided by theirs in the same round."""
  return statistics.median(a / b * (d / c) for (a, b), (c, d) in zip(ours, theirs, strict=True))


def markdown(rows: Sequence[Sequence[str]]) -> str:
  """Formats a table whose first row is the heading."""
  heading, *body = rows
  return "".join(f"| {' | '.join(row)} |\n" for row in (heading, ["---"] * len(heading), *body))


@contextlib.contextmanager
def in_a_process(checkout: Path, name: str, tiny: bool, cache: Path) -> Iterator[tuple[Burst, float, str]]:
  """Trains a case in its own process, with the code of ``checkout`` and its own ``cache`` of compiled code.

  Yields:
    A function that requests a burst, the seconds from the start to the end of the first call, and the `machine`.

  Raises:
    ConfigError: the case cannot be trained there.
  """
  command = [sys.executable, "-m", "experiments.benchmark", f"--serve={name}", f"--smoke={tiny}"]
  if (checkout / "experiments/benchmark/worker.py").is_file():  # checkouts up to commit 449b13f
    spec = {"side": "jax", "case": name, "tiny": tiny, "devices": 0, "changes": {}}
    command[2:] = ["experiments.benchmark.worker", json.dumps(spec)]
  environment = {**os.environ, "PYTHONPATH": str(checkout), "JAX_COMPILATION_CACHE_DIR": str(cache)}
  start, pipe = time.monotonic(), subprocess.PIPE
  with subprocess.Popen(command, cwd=checkout, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
    to_it, from_it = process.stdin, process.stdout
    assert to_it and from_it

    def result() -> Any:
      reply = json.loads(from_it.readline() or '{"error": "its process ended"}')
      if "error" in reply:
        raise ConfigError(f"{name} does not train in {checkout}: {reply['error']}")
      return reply["result"]

    def burst(images: int) -> Sequence[float]:
      print(json.dumps({"command": "burst", "images": images}), file=to_it, flush=True)
      figures = result()
      return figures["images"], figures["seconds"]

    try:
      runs_on = result()
      yield burst, time.monotonic() - start, runs_on
    finally:
      process.kill()


def serve(name: str, tiny: bool) -> None:
  """Answers `in_a_process` with one line of JSON when training is ready, and then one for each burst."""
  with os.fdopen(os.dup(1), "w") as parent:
    os.dup2(2, 1)  # libraries may print, which must not come between the answers
    training = Training(name, tiny=tiny)
    print(json.dumps({"result": machine()}), file=parent, flush=True)
    for line in sys.stdin:
      images, seconds = training.burst(json.loads(line)["images"])
      print(json.dumps({"result": {"images": images, "seconds": seconds}}), file=parent, flush=True)


def machine() -> str:
  """Describes the devices, the processor and the versions in one line."""
  import jax

  cpuinfo = Path("/proc/cpuinfo")
  lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
  model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
  devices = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
  return f"{devices}; {model}, {os.cpu_count()} cores; Python {platform.python_version()}, jax {jax.__version__}"


def define_flags() -> None:
  flags.DEFINE_list("cases", [], f"some of {', '.join(CASES)}; all of them if empty")
  flags.DEFINE_integer("rounds", 7, "bursts of each side", lower_bound=1)
  flags.DEFINE_float("seconds", 2.0, "length of a burst", lower_bound=0.0)
  flags.DEFINE_string("against", "", "another checkout of this project to time in turn with this one")
  flags.DEFINE_string("out", "", "directory for results.json and table.md; empty only prints")
  flags.DEFINE_bool("smoke", False, "tiny networks and images: shows that everything runs")
  flags.DEFINE_string("serve", "", "used by --against: trains this case and reads requests from standard input")


def main() -> int:
  if FLAGS.serve:
    serve(FLAGS.serve, FLAGS.smoke)
    return 0
  for name in FLAGS.cases:
    if name not in CASES:
      raise ConfigError(f'--cases: "{name}" is not one of {", ".join(CASES)}{nearest(name, CASES)}')
  checkouts = {"this": ROOT} | ({"other": Path(FLAGS.against).absolute()} if FLAGS.against else {})
  if not all((checkout / "experiments").is_dir() for checkout in checkouts.values()):
    raise ConfigError(f"--against={FLAGS.against} is not a checkout of this project: it has no folder experiments")
  if FLAGS.out:
    command_line.make_directory("out", Path(FLAGS.out))
  speeds, starts = (f"images/s, {side}" for side in checkouts), (f"s to first step, {side}" for side in checkouts)
  rows = [["case", "batch", *speeds, *starts, *(["this / other"] if FLAGS.against else [])]]
  results: dict[str, Any] = {"rounds": FLAGS.rounds, "seconds": FLAGS.seconds, "cases": {}}
  for name in FLAGS.cases or CASES:
    bursts, seconds, results["machine"] = measure(name, checkouts)
    results["cases"][name] = {"bursts": bursts, "seconds_to_first_step": seconds}
    batch_size = resolve(name, tiny=FLAGS.smoke).train.batch_size
    ratios = [f"{ratio(bursts['this'], bursts['other']):.3f}"] if FLAGS.against else []
    rows.append([name, str(batch_size), *map(speed, bursts.values()), *(f"{s:.1f}" for s in seconds.values()), *ratios])
    print(*rows[-1], file=sys.stderr, flush=True)
  print(f"{markdown(rows)}\nMedian (quartiles) of {FLAGS.rounds} bursts of {FLAGS.seconds:g} s; {results['machine']}")
  if FLAGS.out:
    files.write(Path(FLAGS.out) / "results.json", json.dumps(results, indent=1) + "\n")
  return 0


def measure(name: str, checkouts: Mapping[str, Path]) -> tuple[dict[str, list[list[float]]], dict[str, float], str]:
  """Returns the bursts of each checkout, its seconds to the first step with an empty cache, and the machine."""
  with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch, contextlib.ExitStack() as stack:
    sides = {
      side: stack.enter_context(in_a_process(checkout, name, FLAGS.smoke, Path(scratch) / side))
      for side, checkout in checkouts.items()
    }
    bursts = in_turn({side: burst for side, (burst, _, _) in sides.items()}, FLAGS.rounds, FLAGS.seconds)
    return bursts, {side: seconds for side, (_, seconds, _) in sides.items()}, sides["this"][2]


if __name__ == "__main__":
  command_line.run(main, __doc__, define_flags)
