"""Opens the data source that config.data.name names, or raises one error that lists where it was searched."""

import pathlib
import re
from typing import Any

from common.data import cifar, emoji, idx, procedural, tfds_source
from common.data.digits import digits
from common.data.folder import NAME as FOLDER
from common.data.folder import folder
from common.data.latents import is_latents, latents
from common.data.photos import photos
from common.data.picture_folder import Say
from common.data.prepared import find_prepared
from common.data.source import Source
from common.data.stacked import PREFIX, stacked
from common.errors import ConfigError, nearest

# Debian's dataset-fashion-mnist installs the four IDX files here.
_DEBIAN = {"fashion_mnist": pathlib.Path("/usr/share/datasets/fashion-mnist")}

_PACKED = (".zip", ".tar.gz", ".tgz", ".tar", ".7z", ".rar")
_PICKLED = ("cifar-10-python.tar.gz", "cifar-10-batches-py", "data_batch_1")

# For close matches only; every other set of tfds with a feature "image" can be opened too.
_NAMES = (
  "folder", "digits", "emoji_people", "emoji", "photos", "gaussians8", "blobs", "mnist", "fashion_mnist", "kmnist",
  "emnist", "binarized_mnist",
  "cifar10", "cifar100", "svhn_cropped", "stl10", "celeb_a", "lsun", "imagenet2012", "imagenet_resized/64x64",
  "downsampled_imagenet/32x32", "omniglot", "dsprites", "oxford_flowers102",
)  # fmt: skip


def open_source(data: Any, say: Say | None = None) -> Source:
  """Opens the source that config.data names, from the first of these places that has it.

  ``say`` is told every few seconds how far the reading of a folder is.

  1. A prepared set in ``data.dir``, which experiments.prepare wrote.
  2. ``digits`` and ``emoji_people``, which ship with the code, and what is generated: ``gaussians8``, ``blobs``,
     ``blobs:CLASSES``.
  3. ``folder``: the user's own pictures in ``data.dir``; ``emoji`` and ``photos``: from Debian packages, or copies of
     their files in ``data.dir``.
  4. ``stacked_NAME``: three grey images of the set NAME as the channels of one; ``latents:STEP-HASH``: those
     of a VAE's images, in the workdir ``data.dir`` of its run.
  5. IDX files, or CIFAR-10's binary ones, in ``data.dir`` or in its folder ``data.name``; without ``data.dir``, the
     IDX files of a Debian package.
  6. A tfds set in ``data.dir`` (or tfds' default directory), first prepared there if ``data.download``.

  Raises:
    ConfigError: the set is missing or cannot be read.
  """
  if prepared := find_prepared(data.name, data.dir):
    return prepared
  if data.name == "digits":
    return digits()
  if data.name == "emoji_people":
    return emoji.people()
  if data.name == "emoji":
    return emoji.emoji(data.dir)
  if data.name == "gaussians8":
    return procedural.gaussians()
  if blobs := re.fullmatch(r"blobs(?::(\d+))?", data.name):
    height = data.image_size or 32
    return procedural.Blobs(data.name, (height, data.image_width or height, data.channels or 3), int(blobs[1] or 10))
  if data.name == "photos":
    return photos(data)
  if data.name == FOLDER:
    return folder(data, say)
  if is_latents(data.name):
    return latents(data.dir, data.name)
  if data.name.startswith(PREFIX):
    base = data.copy_and_resolve_references()
    with base.unlocked():
      base.name = data.name.removeprefix(PREFIX)
    return stacked(data.name, open_source(base))
  directories = _directories(data)
  # IDX files cannot belong to a set that is published in another format.
  in_idx = "mnist" in data.name or data.name not in _NAMES
  return (
    (idx.find(data.name, directories) if in_idx else None)
    or cifar.find(data.name, directories)
    or tfds_source.find(data.name, data.dir, data.download)
    or _missing(data, directories)
  )


def _directories(data: Any) -> list[pathlib.Path]:
  if data.dir:
    root = pathlib.Path(data.dir).expanduser()
    return [root, root / data.name]
  return [_DEBIAN[data.name]] if data.name in _DEBIAN else []


def _missing(data: Any, directories: list[pathlib.Path]) -> Source:
  files, pattern = "train-images-idx3-ubyte[.gz]", "train-images*"
  if data.name == "cifar10":
    files = pattern = "data_batch_1.bin"
  places = [f"{files} in {path}" for path in directories[:1]]
  places.append(f"an array_record set in {tfds_source.directory(data.dir) / data.name}")
  if data.dir:
    places[-1] += f"; {_seen(directories[0], pattern)}"
  ways = ["--config.data.download=True (by tfds; needs pip install -e .[tfds-prepare])"]
  if data.name == "cifar10":
    ways.insert(
      0, f"--config.data.dir=DIR with {cifar.FOLDER}, the binary version of www.cs.toronto.edu/~kriz/cifar.html"
    )
  if "mnist" in data.name:
    package = "apt-get install dataset-fashion-mnist, or " if data.name in _DEBIAN else ""
    ways.insert(0, f"{package}--config.data.dir=DIR with the four IDX files")
  raise ConfigError(
    f'config.data.name="{data.name}" was not found{"" if data.name in _NAMES else nearest(data.name, _NAMES)}'
    ' ("digits" needs no files)\n'
    f"  looked for: {', '.join(places)}\n"
    "  get it: " + "\n      or: ".join(ways)
  )


def _seen(root: pathlib.Path, pattern: str) -> str:
  """Describes a directory without files of the ``pattern``, with advice for well-known cases."""
  if not root.is_dir():
    return f"{root} {'is no directory' if root.exists() else 'does not exist'}"
  names = sorted(path.name for path in root.iterdir())
  deeper = (root.glob(f"{'*/' * depth}{pattern}") for depth in (1, 2, 3))
  if inner := next((path for paths in deeper for path in sorted(paths)), None):
    return f"{inner} is there: name its directory, --config.data.dir={inner.parent}"
  if pickled := next((name for name in names if name in _PICKLED), None):
    return (
      f"{root} has {pickled}, the pickled version, which is not read (a pickle can run any code); get the binary one"
    )
  if packed := next((name for name in names if name.endswith(_PACKED)), None):
    return f"{root} has {packed}: unpack it there"
  shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
  return f"{root} has {shown}" if names else f"{root} is empty"
