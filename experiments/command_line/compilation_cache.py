"""The persistent compilation cache: a start reads what earlier starts compiled; results are equal to the bit.

JAX's own limit on the size needs a further package, and a kill can leave its lock behind, so `use` deletes old entries.
"""

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import warnings
from pathlib import Path

from absl import flags

from common.training.log import Status

NAME = "jax-image-generation"  # as in pyproject.toml
MAX_BYTES = 2**30


def user_cache() -> Path:
  """Returns the directory for files of this project that can be made again: in $XDG_CACHE_HOME or ~/.cache."""
  return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / NAME


def directory() -> Path | None:
  """Returns --compilation_cache, else JAX's own variable, else the user's cache; None if it is switched off."""
  given = flags.FLAGS.compilation_cache
  if given is None:
    given = os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(user_cache())
  return Path(given).expanduser().absolute() / folder() if given else None


def folder() -> str:
  """Names the entries' folder by the version of JAX and the processor, on whose features compiled code depends."""
  cpuinfo = Path("/proc/cpuinfo")
  lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
  features = sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
  digest = hashlib.sha256("\n".join(features).encode()).hexdigest()[:8]
  return f"jax-{importlib.metadata.version('jax')}-{platform.machine()}-{digest}"


def start(status: Status) -> None:
  """Points JAX at `directory`, or switches the cache off."""
  import jax

  place = directory()
  if place is None:
    jax.config.update("jax_enable_compilation_cache", False)  # the environment may have switched it on
  else:
    use(place, status)


def use(place: Path, status: Status) -> None:
  """Points JAX at the cache in ``place``; if it cannot be written to, compiles without one and says so."""
  import jax

  try:
    place.mkdir(mode=0o700, parents=True, exist_ok=True)  # JAX runs the code in it: nobody else may write
    if not os.access(place, os.W_OK | os.X_OK):
      raise PermissionError(f"{place} cannot be written to")
    _delete_least_used(place)
  except OSError as error:
    status.line(f"compiling without a cache: {error}; --compilation_cache=DIR names another place, empty for none")
    jax.config.update("jax_enable_compilation_cache", False)
    return
  # Raised for a damaged entry, one that another process is writing, or a full disk; JAX then compiles.
  warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache entry")
  jax.config.update("jax_compilation_cache_dir", str(place))
  jax.config.update("jax_enable_compilation_cache", True)
  # Most of the dozen functions of a start are small and compile fast, but reading one takes a quarter of the time.
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
  jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _delete_least_used(place: Path) -> None:
  """Deletes the least recently used entries beyond MAX_BYTES."""
  entries = []
  for path in place.glob("*-cache"):
    with contextlib.suppress(FileNotFoundError):  # another process deletes entries too
      stat = path.stat()
      entries.append((max(stat.st_atime, stat.st_mtime), stat.st_size, path))
  total = 0
  for _, size, path in sorted(entries, reverse=True):
    total += size
    if total > MAX_BYTES:
      path.unlink(missing_ok=True)
