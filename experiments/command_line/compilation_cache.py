"""The persistent compilation cache: what one start compiled, the next reads, to the same bits.

Of two starts at once each reads what it finds and writes what it lacks. JAX's own bound on the size needs a package
more and a lock that a kill can leave without its files, so old entries are deleted here, at a start.
"""

import hashlib
import importlib.metadata
import os
import platform
import time
import warnings
import zlib
from pathlib import Path

from absl import flags

from common.training.log import Status

NAME = "jax-image-generation"  # as in pyproject.toml
MAX_BYTES = 2**30
YOUNG_SECONDS = 60.0  # a file that was written to this recently may be another process's, half done


def directory() -> Path | None:
  """--compilation_cache, else JAX's own variable, else the user's cache; None where it is switched off.

  Entries lie in a folder for each version of JAX and kind of processor: code for another one could not run.
  """
  given = flags.FLAGS.compilation_cache
  if given is None:
    given = os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(user_cache())
  if not given:
    return None
  return Path(given).expanduser().absolute() / folder()


def folder() -> str:
  """The name of the entries' own folder, by the version of JAX and the processor."""
  return f"jax-{importlib.metadata.version('jax')}-{_processor()}"


def user_cache() -> Path:
  """Where this project keeps what can be made again: in $XDG_CACHE_HOME or ~/.cache."""
  return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / NAME


def start(status: Status) -> None:
  """Points JAX at `directory`, or switches the cache off."""
  import jax

  place = directory()
  if place is None:
    jax.config.update("jax_enable_compilation_cache", False)  # the environment may have switched it on
  else:
    use(place, status)


def use(place: Path, status: Status) -> None:
  """Points JAX at the cache in ``place``; where nothing can be written, it goes on without and says so.

  Small entries too, and those that compile fast: of a start's dozen functions most are such, and reading one takes a
  quarter of the time.
  """
  import jax

  try:
    place.mkdir(mode=0o700, parents=True, exist_ok=True)  # JAX runs what lies there: nobody else may write
    if not os.access(place, os.W_OK | os.X_OK):
      raise PermissionError(f"{place} cannot be written to")
    _tidy(place)
  except OSError as error:
    status.line(f"compiling without a cache: {error}; --compilation_cache=DIR names another place, empty for none")
    jax.config.update("jax_enable_compilation_cache", False)
    return
  # An entry that another process is writing, or a disk that is full: it compiles, and the run is the same.
  warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache entry")
  jax.config.update("jax_compilation_cache_dir", str(place))
  jax.config.update("jax_enable_compilation_cache", True)
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
  jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _processor() -> str:
  """The architecture and a hash of the features that XLA compiles for, where Linux lists them."""
  try:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
  except OSError:
    lines = []
  listed = [line.partition(":")[2] for line in lines if line.startswith(("flags", "Features", "model name"))]
  features = " ".join(sorted(set(" ".join(listed).split())))
  return f"{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:8]}"


def _tidy(place: Path) -> None:
  """Deletes entries that a kill or a full disk cut off, and the least recently used beyond MAX_BYTES.

  Each entry is decompressed once in its life, at the first start after the one that made it.
  """
  now, stamp = time.time(), place / "checked"
  checked = stamp.stat().st_mtime if stamp.exists() else 0.0
  used: list[tuple[float, int, Path]] = []
  for entry in place.glob("*-cache"):
    try:
      found = entry.stat()
      if checked <= found.st_mtime < now - YOUNG_SECONDS and not _is_whole(entry):
        entry.unlink(missing_ok=True)
        continue
    except FileNotFoundError:  # another process tidies too
      continue
    used.append((max(found.st_atime, found.st_mtime), found.st_size, entry))
  total = sum(size for _, size, _ in used)
  for _, size, entry in sorted(used, key=lambda item: item[0]):
    if total <= MAX_BYTES:
      break
    entry.unlink(missing_ok=True)
    total -= size
  stamp.touch()
  os.utime(stamp, (now, now - YOUNG_SECONDS))


def _is_whole(entry: Path) -> bool:
  content = entry.read_bytes()
  if content[:1] != b"\x78":  # zstandard, which JAX takes where it is installed: its frames say when they end early
    return bool(content)
  try:
    zlib.decompress(content)
  except zlib.error:
    return False
  return True
