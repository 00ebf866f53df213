"""The loop: call, log, evaluate, draw, save. It knows the contracts of ``common.algorithm`` and no model family."""

import math
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np

from common.data import images
from common.errors import ConfigError, Interrupted, NonFiniteError
from common.parallel import to_host
from common.training.alarms import Watch
from common.training.checkpoint import Checkpoints, NoCheckpointError
from common.training.clock import Clock
from common.training.log import RunLog, Status, memory_mb
from common.training.profile import Profile
from common.training.program import Program
from common.training.progress import Progress, Totals
from common.training.signals import stop_requests
from common.types import PyTree

MAX_CALLS_IN_FLIGHT = 2  # enough to hide the host; JAX 0.10 on CPU deadlocks with dozens across processes


class Run:
  """One process's run in one workdir, from a restored or fresh state to the last step.

  Args:
    program: what is trained, on its devices.
    workdir: where everything goes.
    status: for lines to a person.
    initial: returns the state to start from, where there is no checkpoint; ``program.init`` if None.
    validate: returns the validation scores of a state by name; called every ``evaluate.every`` steps.
    keep_best: the name of the score whose best checkpoint is kept; empty for none.
    draw: returns pictures of a state by name, uint8 [H, W, C]; called every ``samples.every`` steps.
    profile: (start, stop) of the steps to trace; not used where the run goes on from ``start`` or later.
  """

  def __init__(
    self,
    program: Program,
    workdir: Path,
    status: Status,
    initial: Callable[[], PyTree] | None = None,
    *,
    validate: Callable[[PyTree], dict[str, Any]] | None = None,
    keep_best: str = "",
    draw: Callable[[PyTree], dict[str, np.ndarray]] | None = None,
    profile: tuple[int, int] | None = None,
  ):
    self.program, self.config, self.workdir, self.status = program, program.config, workdir, status
    config, self.writes = program.config, jax.process_index() == 0
    self.checkpoints = Checkpoints(workdir / "checkpoints", keep=config.checkpoint.keep)
    self.best = Checkpoints(workdir / "best", keep=1)
    self.validate, self.keep_best, self.draw = validate, keep_best, draw
    self.step, self.state, self.progress = self._start(initial or program.init)
    self.called, self.doing = False, ""
    self.saved = self.step  # a fresh state costs nothing to make again
    self.log = RunLog(workdir, self.step, enabled=self.writes, whole=not self.progress.totals)
    self.watch = Watch(program.algorithm.alarms, workdir, enabled=self.writes)
    if profile and profile[0] <= self.step:
      status.line(
        f"--profile={profile[0]}:{profile[1]} is not used: the run goes on from step {self.step:,}, and the first call "
        "of a start compiles"
      )
      profile = None
    self.profile = Profile(profile, workdir / "profile", status.line)

  def _start(self, initial: Callable[[], PyTree]) -> tuple[int, PyTree, Progress]:
    try:
      restored = self.checkpoints.restore(self.program.state_shapes())
    except NoCheckpointError:
      with self.status.phase("initialising"):
        return 0, initial(), Progress()
    for reason in restored.skipped:
      self.status.line(f"skipped a damaged checkpoint: {reason}")
    if restored.step % (per_call := self.config.train.steps_per_call):
      fits = math.gcd(restored.step, per_call)
      raise ConfigError(
        f"config.train.steps_per_call={per_call} does not divide step {restored.step}, where the run goes on; "
        f"use the value that it stopped with, or --config.train.steps_per_call={fits}"
      )
    self.status.line(f"resumed from step {restored.step:,} of {self.workdir}")
    return restored.step, restored.state, Progress.from_json(dict(restored.progress))

  def run(self) -> None:
    """Trains to the end.

    Raises:
      Interrupted: after a signal, with everything saved.
      NonFiniteError: see there.
    """
    train, stop_step = self.config.train, self.config.train.num_steps
    in_flight: deque[PyTree] = deque()
    since = Clock(self.step)
    with stop_requests() as stop_requested, self.status.phase(self._describe), self.profile:
      while self.step < stop_step and not self._out_of_patience():
        # Processes agree on one number of a call; steps would jump over it.
        call = self.step // train.steps_per_call
        if stop_requested.is_set() or self.checkpoints.reached_preemption(call):
          self._drain(in_flight)
          self._save(wait=True)
          raise Interrupted
        self._trace(in_flight, since)
        with jax.profiler.StepTraceAnnotation("train_call", step_num=self.step):  # a profile shows it; else it is idle
          inputs = self.program.feed(self.step)
          self.state, metrics = self.program.train_call(self.state, self.program.feed.data, inputs)
        in_flight.append((self.step, metrics))
        self.step += train.steps_per_call
        if not self.called:
          jax.block_until_ready(metrics)
          self.called = True
          self.checkpoints.warm_up()
          if self.step % self.config.log.every:
            since = Clock(self.step)  # compiling is no measure of speed
        since.calls(self._drain(in_flight, leave=MAX_CALLS_IN_FLIGHT))
        self._at_step(in_flight, since)
      since.calls(self._drain(in_flight))
      self._trace(in_flight, since)
      if self.progress.totals:
        self._write_rest(since)
      self._save(wait=True)

  def _at_step(self, in_flight: deque[PyTree], since: Clock) -> None:
    """What is due at this step, in the order that a resumed run can rely on: log, evaluate, draw, save."""
    config, step = self.config, self.step
    if step % config.log.every == 0:
      since.calls(self._drain(in_flight))
      self._judge("train", self._write_line(since))
    if self.validate and step % config.evaluate.every == 0:
      since.calls(self._drain(in_flight))
      with since.pause():
        self._evaluate()
    if self.draw and config.samples.every and step % config.samples.every == 0:
      since.calls(self._drain(in_flight))
      with since.pause():
        self._draw()
    if step % config.checkpoint.every == 0:
      since.calls(self._drain(in_flight))
      with since.pause():
        self._save()

  def _drain(self, in_flight: deque[PyTree], leave: int = 0) -> float:
    """Fetches finished calls' metrics, down to ``leave`` calls; returns the seconds waited.

    Raises:
      NonFiniteError: naming the first step and metric.
    """
    start = time.monotonic()
    while len(in_flight) > leave:
      first, metrics = in_flight.popleft()
      metrics = jax.device_get(metrics)
      for i in range(self.config.train.steps_per_call):
        row = jax.tree.map(lambda x: x[i], metrics)  # noqa: B023 - used at once
        for name, mean in row.items():
          if not np.all(np.isfinite(mean.total)):
            raise NonFiniteError(f"{name} is {_first_bad(mean.total)} at step {first + i + 1}")
        self.progress.totals.add(row)
    return time.monotonic() - start

  def _trace(self, in_flight: deque[PyTree], since: Clock) -> None:
    """Begins or ends the profile, with nothing of other steps in it."""
    if self.profile.due(self.step):
      since.calls(self._drain(in_flight))
      with since.pause():
        self.profile.at(self.step)

  def _write_rest(self, since: Clock) -> None:
    """The last line, of the steps since the one before it.

    Its sums stay in the checkpoint. A run that goes on for more steps takes the line back (`RunLog`) and adds to them,
    so that its lines are those of a run that was to have as many steps from the start.
    """
    kept = self.progress.totals
    self._write_line(since)
    self.progress.totals = kept
    self.log.sync()

  def _write_line(self, since: Clock) -> dict[str, Any]:
    """Writes the means since the last line, which it returns."""
    means, self.progress.totals = self.progress.totals.means(), Totals()
    self.log.write(self.step, "train", means)
    if since.step == self.step:  # only the call that compiled, or none at all: no speed to tell
      return means
    speed = since.lap(self.step, self.config.train.batch_size)
    self.log.timing(self.step, speed)
    left = (self.config.train.num_steps - self.step) / speed["steps_per_second"]
    self.status.line(
      f"step {self.step:,}/{self.config.train.num_steps:,}  {speed['images_per_second']:,.0f} images/s  "
      f"ETA {_duration(left)}  " + "  ".join(f"{name} {means[name]:.4g}" for name in headline(means)) + f"  "
      f"stall {speed['stall']:.0%}  {memory_mb():,.0f} MB  saved {self.saved:,}"
    )
    return means

  def _judge(self, split: str, values: dict[str, Any]) -> None:
    """Tells of the alarms that a line of metrics.jsonl raises."""
    for raised in self.watch(self.step, split, values):
      self.status.line(raised.text)

  def _describe(self) -> str:
    doing = self.doing if self.called else ": compiling"
    return f"step {self.step:,}/{self.config.train.num_steps:,}{doing}"

  def _evaluate(self) -> None:
    """Scores the validation split, keeps the best checkpoint, and counts towards early stopping."""
    config, progress = self.config, self.progress
    assert self.validate
    self.doing = ": evaluating"
    scores = self.validate(self.state)
    self.doing = ""
    for name, score in scores.items():
      if not np.all(np.isfinite(score)):  # as the best so far it would beat everything that follows
        raise NonFiniteError(f"validation {name} is {_first_bad(score)} at step {self.step}")
    self.log.write(self.step, "validation", scores)
    shown = {name: value for name, value in scores.items() if not isinstance(value, list)}
    self.status.line(f"step {self.step:,} validation  " + "  ".join(f"{k} {v:.4g}" for k, v in shown.items()))
    self._judge("validation", scores)
    name = self.keep_best
    if name not in shown:  # none is asked for, or it is a sample score that these pictures lack
      return
    if progress.take(shown[name], self.step, config.checkpoint.best_mode):
      self._check_finite()
      self.best.save(self.step, self.state, {name: shown[name]})
    elif self.step >= config.train.patience_from:
      progress.stale += 1
      if self._out_of_patience():
        self.status.line(
          f"no better {name} in {progress.stale} evaluations; best {progress.best:.6g} at step {progress.best_step:,}"
        )

  def _out_of_patience(self) -> bool:
    return 0 < self.config.train.patience <= self.progress.stale

  def _draw(self) -> None:
    assert self.draw
    for name, picture in self.draw(self.state).items():
      if self.writes:
        png = images.save_png(self.workdir / name / f"{self.step:08d}.png", picture)
        self.log.image(self.step, name, png, picture.shape)

  def _check_finite(self) -> None:
    for path, finite in to_host(self.program.finite(self.state)).items():
      if not finite:
        raise NonFiniteError(f"state{path} is not finite at step {self.step}")

  def _save(self, wait: bool = False) -> None:
    """Saves this step unless it is saved already; a state that is not finite never gets there.

    ``wait`` for what is being written, where a signal can do no harm.
    """
    if self.saved != self.step:
      self._check_finite()
      self.log.sync()
      self.best.wait()  # a checkpoint that counts on the best one must not outlive it
      self.checkpoints.save(self.step, self.state, self.progress.to_json())
      self.saved = self.step
    if wait:
      self.checkpoints.wait()
      self.best.wait()

  def close(self) -> None:
    stopped = sys.exception()  # it stays the error, whatever closing raises
    with ExitStack() as each:
      if stopped:
        each.enter_context(suppress(Exception))
      for closing in (self.best, self.checkpoints, self.log):
        each.callback(closing.close)


def headline(means: Mapping[str, Any]) -> list[str]:
  """The figures that a line for a person has room for: losses first, which the alphabet would leave out."""
  names = [name for name, value in means.items() if not isinstance(value, list) and "norm" not in name]
  return sorted(names, key=lambda name: not name.endswith("loss"))[:6]


def _first_bad(values: Any) -> float:
  values = np.asarray(values).reshape(-1)
  return float(values[~np.isfinite(values)][0])


def _duration(seconds: float) -> str:
  if not math.isfinite(seconds):
    return "?"
  minutes, second = divmod(round(seconds), 60)
  hour, minute = divmod(minutes, 60)
  return f"{hour}:{minute:02d}:{second:02d}"
