"""The training loop: call, log, evaluate, draw, save. It knows the contracts of ``common.algorithm`` and no family."""

import datetime
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
from common.training.alarms import Watch, message
from common.training.checkpoint import Checkpoints, NoCheckpointError
from common.training.log import RunLog, Status, memory_mb
from common.training.loop import Clock, Profile, Progress, Totals, stop_requests
from common.training.program import Program
from common.types import PyTree

MAX_CALLS_IN_FLIGHT = 2  # enough to hide the host's work; JAX 0.10 on CPU deadlocks with dozens across processes


class Run:
  """One process's run in one workdir, from a restored or fresh state to the last step.

  Args:
    program: the algorithm on its data and devices.
    workdir: where all files are written.
    status: receives lines for the user.
    initial: returns the state to start from if there is no checkpoint; ``program.init`` if None.
    validate: returns the validation scores of a state by name; called every ``evaluate.every`` steps.
    keep_best: the name of the score whose best checkpoint is kept; empty for none.
    draw: returns pictures of a state by name, uint8 [H, W, C]; called every ``samples.every`` steps.
    profile: (start, stop) of the steps to trace; ignored if the run resumes at ``start`` or later.

  Raises:
    ConfigError: ``train.steps_per_call`` does not divide the step at which the run resumes.
    CheckpointError: no checkpoint is undamaged, or they belong to another model.
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
    self.writes = jax.process_index() == 0
    self.checkpoints = Checkpoints(workdir / "checkpoints", keep=self.config.checkpoint.keep)
    self.best = Checkpoints(workdir / "best", keep=1)
    self.validate, self.keep_best, self.draw = validate, keep_best, draw
    self.step, self.state, self.progress = self._start(initial or program.init)
    self.saved = self.step  # a fresh state need not be saved: it can be made again
    self.in_flight: deque[tuple[int, PyTree]] = deque()  # (first step, metrics) of calls that may still run
    self.clock = Clock(self.step)
    self.called, self.doing = False, ""
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
    return restored.step, restored.state, Progress.from_json(restored.progress)

  def run(self) -> None:
    """Trains to the last step, or until ``train.patience`` runs out.

    Raises:
      Interrupted: after a signal, with everything saved.
      NonFiniteError: a loss, gradient, parameter or score is not finite.
    """
    train = self.config.train
    self.clock = Clock(self.step)
    with stop_requests() as stop_requested, self.status.phase(self._describe), self.profile:
      while self.step < train.num_steps and not self._out_of_patience():
        # The number of the call, not the step: processes agree on one number, and steps would jump over it.
        if stop_requested.is_set() or self.checkpoints.reached_preemption(self.step // train.steps_per_call):
          self._drain()
          self._save(wait=True)
          raise Interrupted(f"stopped by a signal at step {self.step:,}, saved; the same command goes on")
        self._trace()
        with jax.profiler.StepTraceAnnotation("train_call", step_num=self.step):
          inputs = self.program.feed(self.step)
          self.state, metrics = self.program.train_call(self.state, self.program.feed.data, inputs)
        self.in_flight.append((self.step, metrics))
        self.step += train.steps_per_call
        if not self.called:
          jax.block_until_ready(metrics)
          self.called = True
          self.checkpoints.warm_up()
          if self.step % self.config.log.every:
            self.clock = Clock(self.step)  # the time to compile is not part of the speed
        self._drain(leave=MAX_CALLS_IN_FLIGHT)
        self._at_step()
      self._drain()
      self._trace()
      if self.progress.totals:
        self._write_rest()
      self._save(wait=True)

  def _at_step(self) -> None:
    """Does what is due at this step, in the order that a resumed run relies on: log, evaluate, draw, save."""
    config, step = self.config, self.step
    if step % config.log.every == 0:
      self._drain()
      self._report_alarms("train", self._write_line())
    due = []
    if self.validate and step % config.evaluate.every == 0:
      due.append(self._evaluate)
    if self.draw and config.samples.every and step % config.samples.every == 0:
      due.append(self._draw)
    if step % config.checkpoint.every == 0:
      due.append(self._save)
    for action in due:
      self._drain()
      with self.clock.pause():
        action()

  def _drain(self, leave: int = 0) -> None:
    """Fetches the metrics of calls until at most ``leave`` calls are in flight.

    Raises:
      NonFiniteError: naming the first step and metric.
    """
    start = time.monotonic()
    while len(self.in_flight) > leave:
      first, metrics = self.in_flight.popleft()
      metrics = jax.device_get(metrics)
      for i in range(self.config.train.steps_per_call):
        row = jax.tree.map(lambda x: x[i], metrics)  # noqa: B023 - used at once
        for name, mean in row.items():
          if not np.all(np.isfinite(mean.total)):
            raise NonFiniteError(f"{name} is {_first_bad(mean.total)} at step {first + i + 1}")
        self.progress.totals.add(row)
    self.clock.waited += time.monotonic() - start

  def _trace(self) -> None:
    """Begins or ends the profile if that is due, while no other step is running."""
    if self.profile.due(self.step):
      self._drain()
      with self.clock.pause():
        self.profile.switch()

  def _write_rest(self) -> None:
    """Writes the last line, for the steps since the one before it.

    The sums stay in the checkpoint: if the run is continued with more steps, the line is removed (`RunLog`) and the
    sums go on, so that the lines equal those of a run that had that number of steps from the start.
    """
    kept = self.progress.totals
    self._write_line()
    self.progress.totals = kept
    self.log.sync()

  def _write_line(self) -> dict[str, Any]:
    """Writes the means since the last line and returns them."""
    means, self.progress.totals = self.progress.totals.means(), Totals()
    self.log.write(self.step, "train", means)
    if self.clock.step == self.step:  # no call since the one that compiled: there is no speed to report
      return means
    speed = self.clock.lap(self.step, self.config.train.batch_size)
    self.log.timing(self.step, speed)
    left = (self.config.train.num_steps - self.step) / speed["steps_per_second"]
    self.status.line(
      f"step {self.step:,}/{self.config.train.num_steps:,}  {speed['images_per_second']:,.0f} images/s  "
      f"ETA {datetime.timedelta(seconds=round(left))}  "
      + "  ".join(f"{name} {means[name]:.4g}" for name in headline(means))
      + f"  stall {speed['stall']:.0%}  {memory_mb():,.0f} MB  saved {self.saved:,}"
    )
    return means

  def _report_alarms(self, split: str, values: dict[str, Any]) -> None:
    """Reports the alarms that a line of metrics.jsonl raises."""
    for raised in self.watch(self.step, split, values):
      self.status.line(message(raised))

  def _describe(self) -> str:
    return f"step {self.step:,}/{self.config.train.num_steps:,}{self.doing if self.called else ': compiling'}"

  def _evaluate(self) -> None:
    """Scores the validation split, keeps the best checkpoint, and counts towards early stopping."""
    config, progress, name = self.config, self.progress, self.keep_best
    assert self.validate
    self.doing = ": evaluating"
    scores = self.validate(self.state)
    self.doing = ""
    for key, score in scores.items():
      if not np.all(np.isfinite(score)):  # as the best so far, no later score could beat it
        raise NonFiniteError(f"validation {key} is {_first_bad(score)} at step {self.step}")
    self.log.write(self.step, "validation", scores)
    shown = {key: score for key, score in scores.items() if not isinstance(score, list)}
    self.status.line(f"step {self.step:,} validation  " + "  ".join(f"{k} {v:.4g}" for k, v in shown.items()))
    self._report_alarms("validation", scores)
    if name not in shown:  # no best checkpoint is asked for, or its sample score is not defined for these pictures
      return
    if progress.improves(shown[name], self.step, config.checkpoint.best_mode):
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
    """Saves the state, if it is finite, unless this step is saved already; ``wait`` until all writing is complete."""
    if self.saved != self.step:
      self._check_finite()
      self.log.sync()
      self.best.wait()  # a checkpoint that refers to the best one must not be complete before it
      self.checkpoints.save(self.step, self.state, self.progress.to_json())
      self.saved = self.step
    if wait:
      self.checkpoints.wait()
      self.best.wait()

  def close(self) -> None:
    """Closes all files; an exception that is already on its way takes precedence over one raised here."""
    with ExitStack() as stack:
      if sys.exception():
        stack.enter_context(suppress(Exception))
      for closing in (self.best, self.checkpoints, self.log):
        stack.callback(closing.close)


def headline(means: Mapping[str, Any]) -> list[str]:
  """Returns up to six names for the status line, losses first; in alphabetical order a GAN's g_loss would be lost."""
  names = [name for name, value in means.items() if not isinstance(value, list) and "norm" not in name]
  return sorted(names, key=lambda name: not name.endswith("loss"))[:6]


def _first_bad(values: Any) -> float:
  values = np.asarray(values).reshape(-1)
  return float(values[~np.isfinite(values)][0])
