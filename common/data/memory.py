"""Refuses what does not fit into memory before the machine swaps."""

from pathlib import Path

from common.errors import ConfigError

_CGROUP = Path("/sys/fs/cgroup")  # of a container, which may have less than its machine


def available() -> int | None:
  """Returns how many bytes can be taken before this machine or container swaps; None where the system does not say."""
  try:
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
  except (OSError, StopIteration, ValueError):
    return None
  try:
    limit, used = (int((_CGROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
    stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
    return min(free, limit - used + int(stat["inactive_file"]))
  except (OSError, ValueError, KeyError):  # no limit, which reads "max", or another kind of system
    return free


def check_memory(needed: int, subject: str, way_out: str) -> None:
  """Raises a ConfigError if ``needed`` bytes are more than are free; ``subject`` names the field and its value."""
  free = available()
  if free is not None and needed > free:
    raise ConfigError(
      f"{subject} needs {needed / 2**20:,.0f} MB of memory, and {free / 2**20:,.0f} MB are free; {way_out}"
    )
