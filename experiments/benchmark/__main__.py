"""Times this project's train steps beside PyTorch's on this machine's CPU: python -m experiments.benchmark --out=DIR

For each case, a config of this project and the PyTorch code that one would otherwise run, of the same architecture,
batch and data. First both get the same parameters, batch and noise, and losses and gradients must agree. Then each
side trains in a process of its own, in turn, burst by burst. Torch has three variants: usual (the known examples'
loop), memory (the set in memory, fused Adam, channels_last, cross-entropy from logits) and compile (that with
torch.compile). Without torch (pip install -e '.[benchmark]') the JAX side runs alone. Exit code 1: a case is not equal
or failed.
"""

import importlib.util
import json
import tempfile
from pathlib import Path
from typing import Any

from absl import flags

from common import files
from common.errors import ConfigError, nearest
from experiments.benchmark import extras, report, startup
from experiments.benchmark.cases import CASES
from experiments.benchmark.processes import SideError
from experiments.benchmark.rounds import PEAK_SIZE, Contest, Plan
from experiments.command_line import flags as command_line

VARIANTS = ("usual", "memory", "compile")
TOLERANCE = 1e-4  # of a loss and, relative to the global norm, of gradients

FLAGS = flags.FLAGS


def define_flags() -> None:
  flags.DEFINE_list("cases", [], f"which of {', '.join(CASES)}; empty for all, none for the extras alone")
  flags.DEFINE_list("variants", list(VARIANTS), "torch's variants; empty for the JAX side alone")
  flags.DEFINE_list("extras", [], f"further comparisons: {', '.join(extras.EXTRAS)}")
  flags.DEFINE_integer("rounds", 7, "bursts of each side", lower_bound=1)
  flags.DEFINE_float("seconds", 2.0, "length of a burst", lower_bound=0.0)
  flags.DEFINE_string("out", "", "directory for results.json, table.md and plot.png; empty only prints")
  flags.DEFINE_bool("startup", False, "measure seconds from process start to the first step too, cold and warm")
  flags.DEFINE_bool("check_only", False, "compare losses and gradients only")
  flags.DEFINE_bool("smoke", False, "tiny networks and images, one short round: shows that all of it runs")


def main() -> int:
  cases = [] if FLAGS.cases == ["none"] else _chosen("cases", FLAGS.cases or list(CASES), CASES)
  variants, chosen = _chosen("variants", FLAGS.variants, VARIANTS), _chosen("extras", FLAGS.extras, extras.EXTRAS)
  if FLAGS.out:
    command_line.make_directory("out", Path(FLAGS.out))

  from common.training.log import Status

  status = Status(enabled=True)
  if (variants or FLAGS.check_only) and importlib.util.find_spec("torch") is None:
    if FLAGS.check_only:
      raise ConfigError("--check_only needs torch: pip install -e '.[benchmark]'")
    status.line("torch is not installed (pip install -e '.[benchmark]'): the JAX side runs alone")
    variants = []
  with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
    plan = Plan(
      variants=tuple(variants),
      rounds=1 if FLAGS.smoke else FLAGS.rounds,
      seconds=0.05 if FLAGS.smoke else FLAGS.seconds,
      tiny=FLAGS.smoke,
      startup=FLAGS.startup,
      scratch=Path(scratch),
      say=status.line,
    )
    results: dict[str, Any] = {"machine": report.machine(), "protocol": [], "cases": {}, "extras": {}}
    text = ""
    for kind, names in (("cases", cases), ("extras", chosen)):
      for name in names:
        with status.phase(f"measuring {name}"):
          run = _run(name, plan, check_only=FLAGS.check_only) if kind == "cases" else extras.run(name, plan)
        results[kind][name] = run
        _finish(results, plan)
        text = _write(results, Path(FLAGS.out) if FLAGS.out else None, status.line)  # a kill loses one of them
  print(text)
  return int(any("failed" in case or not case["equal"] for case in results["cases"].values()))


def _chosen(flag: str, words: list[str], choices: Any) -> list[str]:
  """The flag's words.

  Raises:
    ConfigError: one that is not a choice.
  """
  words = [word for word in words if word]
  for word in words:
    if word not in choices:
      raise ConfigError(f'--{flag}: "{word}" is not one of {", ".join(choices)}{nearest(word, choices)}')
  return words


def _run(name: str, plan: Plan, *, check_only: bool) -> dict[str, Any]:
  """All figures of one case; what fails is said, and the next case follows."""
  case: dict[str, Any] = {"mirrors": CASES[name].mirrors, "equal": True}
  try:
    with Contest(name, plan) as contest:
      if plan.variants or check_only:
        case["differences"] = contest.differences()
        case["equal"] = max(case["differences"].values()) <= TOLERANCE
        gap = max(case["differences"].values())
        plan.say(f"{name}: losses and gradients {'agree' if case['equal'] else 'DIFFER'}, by {gap:.0e} at most")
    if check_only or not case["equal"]:
      return case
    case |= contest.measure(plan.variants)
    if plan.startup:
      case["startup"] = startup.measure(contest, tuple(side for side in case["bursts"] if side != "jax"))
  except SideError as error:
    plan.say(f"{name} failed: {error}")
    return {**case, "failed": str(error)}
  case["summary"] = report.summarize(case["bursts"])
  speeds = {side: f"{figures['median']:,.0f}" for side, figures in case["summary"]["images_per_second"].items()}
  plan.say(f"{name}: images/s " + ", ".join(f"{side} {speed}" for side, speed in speeds.items()))
  return case


def _finish(results: dict[str, Any], plan: Plan) -> None:
  """Adds what needs all cases: the machine's peak, the share of it that each used, and how it was measured."""
  peak = max((case["peak_gflops"] for case in results["cases"].values() if "peak_gflops" in case), default=0.0)
  for case in results["cases"].values():
    if "summary" in case:
      flops, batch = case["flops_per_step"], case["batch_size"]
      speeds = {side: figures["median"] for side, figures in case["summary"]["images_per_second"].items()}
      case["utilisation"] = {
        side: report.utilisation(speed, flops, batch, peak) for side, speed in speeds.items() if flops
      }
  machine = results["machine"]
  results["peak_gflops"] = peak
  results["protocol"] = [
    f"{machine['cpu']}, {machine['cores']} cores; Python {machine['python']}, "
    + ", ".join(f"{name} {version}" for name, version in machine["versions"].items()),
    f"median (quartiles) of {plan.rounds} bursts of about {plan.seconds:g} s, the sides in turn; a ratio is the median "
    "of the ratios of rounds; float32; every process has all cores",
    "an image counts once a step, also where a step has several discriminator updates with a batch each",
    "use of peak: matrix products and convolutions of one step of memory, by the formulas of torch.utils.flop_counter, "
    f"a multiply-add as two, over {peak:,.0f} GFLOP/s, the best product of two {PEAK_SIZE}x{PEAK_SIZE} float32 "
    "matrices on either side",
    "s to first step: from the start of the process, with imports and data; JAX is python -m experiments.train up to "
    "its first line of metrics, torch the timed loop alone; warm finds compiled code on the disk",
  ]


def _write(results: dict[str, Any], out: Path | None, say: Any) -> str:
  """The table; writes the files where ``out`` is given."""
  text = report.document(results)
  if out:
    files.write(out / "results.json", json.dumps(results, indent=1) + "\n")
    files.write(out / "table.md", text)
    if any("summary" in case and case["summary"]["best"] for case in results["cases"].values()):
      from experiments.benchmark.plot import draw

      try:
        draw(results["cases"], out / "plot.png")
      except ImportError:
        say("no plot.png: matplotlib is not installed (pip install -e '.[benchmark]')")
  return text


if __name__ == "__main__":
  command_line.run(main, __doc__, define_flags)
