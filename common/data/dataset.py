"""The data set of a config: three splits of uint8 images, read on first use, and its spec."""

import dataclasses
import functools
import hashlib
import math
import re
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from common.data.catalogue import open_source
from common.data.memory import check_memory
from common.data.picture_folder import Say
from common.data.resize import fit, size_note, target_shape
from common.data.source import Rows, Source, check_examples
from common.data.spec import RowType, Spec
from common.data.tokenizer import Tokenizer, cut_note, encode, open_tokenizer
from common.data.window import seen_shape, window
from common.errors import ConfigError, nearest

_WAYS_OUT = "take fewer, --config.data.train_split=train[:10000], or stream them, --config.data.resident_mb=0"
_CHUNK = 1024  # examples decoded and resized at a time; limits the extra memory
_SPLIT = re.compile(r"(\w+)(?:\[(-?\d+)?:(-?\d+)?\])?")  # "train", "train[:50000]", "train[-5000:]"


class Split:
  """A range of a source's split at the config's shape; images are read on the first `arrays` or `rows`.

  Args:
    source: provides the examples.
    part: (name of the source's split, first example, one past the last).
    shape: (height, width, channels) of an image.
    resize: a mode of `common.data.resize.fit`.
    binarize_after: the splits that are binarized before this one, from the same random stream; None: no binarization.
    tokenizer: makes the row "text" of the captions; None: there is none.
  """

  def __init__(
    self,
    source: Source,
    part: tuple[str, int, int],
    shape: tuple[int, int, int],
    resize: str,
    binarize_after: "tuple[Split, ...] | None" = None,
    tokenizer: Tokenizer | None = None,
  ):
    self._source = source
    self._name, self._start, self._stop = part
    self._shape = shape
    self._resize = resize
    self._binarize_after = binarize_after
    self._tokenizer = tokenizer
    self._arrays: Rows | None = None
    self._lock = threading.Lock()  # grain's threads read, in batches.py

  def __len__(self) -> int:
    return self._stop - self._start

  @property
  def row_types(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """{name: (shape, dtype)} of one example's entries."""
    image = np.dtype(np.float32 if self._source.kind == "points" else np.uint8)
    rows: dict[str, tuple[tuple[int, ...], np.dtype]]
    rows = {"image": (self._shape, image), "label": ((), np.dtype(np.int32))}
    return rows | ({"text": ((self._tokenizer.length,), np.dtype(np.int32))} if self._tokenizer else {})

  @property
  def nbytes(self) -> int:
    """Size of `arrays`, in bytes."""
    return len(self) * sum(math.prod(shape) * dtype.itemsize for shape, dtype in self.row_types.values())

  def arrays(self) -> Rows:
    """Reads the whole split and keeps it in RAM; do not write to it."""
    with self._lock:
      if self._arrays is None:
        what = f'the {len(self):,} examples of "{self._source.name}" {self._name}'
        check_memory(2 * self.nbytes, what, _WAYS_OUT)  # the other copy is that on the devices
        self._arrays = self._read_all()
        if self._binarize_after is not None:
          self._arrays["image"] = self._binarized(self._arrays["image"])
      return self._arrays

  def labels(self) -> np.ndarray | None:
    """Returns all labels, int32 [N]; None if collecting them would take too long."""
    labels = self._source.labels(self._name)
    return None if labels is None else labels[self._start : self._stop]

  def captions(self) -> list[str] | None:
    """Returns all captions, [N]; None if the set has none."""
    captions = self._source.captions(self._name)
    return None if captions is None else list(map(str, captions[self._start : self._stop]))

  def sha8(self) -> str:
    """Reads all rows and returns the first eight digits of their sha256."""
    digest, labels = hashlib.sha256(f"{len(self)} {self._shape}".encode()), []
    for first in range(0, len(self), _CHUNK):
      rows = self.rows(np.arange(first, min(first + _CHUNK, len(self))))
      digest.update(np.ascontiguousarray(rows["image"]).data)
      digest.update(rows["text"].data if "text" in rows else b"")
      labels.append(rows["label"].astype(np.int32))
    digest.update(np.concatenate(labels).data)
    return digest.hexdigest()[:8]

  def rows(self, indices: np.ndarray) -> Rows:
    """Reads the examples ``indices`` [n] of the split, and no others if the source allows it."""
    indices = np.asarray(indices)
    if len(indices) and not 0 <= indices.min() <= indices.max() < len(self):
      raise IndexError(f"indices {indices.min()} .. {indices.max()} of a split of {len(self)} examples")
    if self._arrays is None and not self._source.in_memory and self._binarize_after is None:
      return self._read(indices)
    return {name: values[indices] for name, values in self.arrays().items()}

  def _read(self, indices: np.ndarray) -> Rows:
    rows = self._source.read(self._name, self._start + indices)
    check_examples(self._source, self._name, len(indices), rows, self._shape[:2])
    images = fit(rows["image"], self._shape, self._resize) if self._source.kind == "images" else rows["image"]
    text = {"text": encode(self._tokenizer, rows["text"])} if self._tokenizer else {}
    return {"image": np.asarray(images), "label": np.asarray(rows["label"]), **text}

  def _read_all(self) -> Rows:
    whole = {name: np.empty((len(self), *shape), dtype) for name, (shape, dtype) in self.row_types.items()}
    for first in range(0, len(self), _CHUNK):
      chunk = slice(first, min(first + _CHUNK, len(self)))
      rows = self._read(np.arange(chunk.start, chunk.stop))
      for name, array in whole.items():
        array[chunk] = rows[name]
    return whole

  def _binarized(self, images: np.ndarray) -> np.ndarray:
    """Binarizes once to 0 or 255, as Norouzi et al. 2020 (Exemplar VAE) do: seed 777, validation first."""
    generator = np.random.RandomState(777)
    # Black pixels do not advance the generator, so its state for a later split depends on the earlier split's images.
    for earlier in self._binarize_after or ():
      generator.binomial(1, earlier._read_all()["image"] / 255)
    return generator.binomial(1, images / 255).astype(np.uint8) * np.uint8(255)


@dataclasses.dataclass(frozen=True)
class Dataset:
  """Three splits; opening reads headers only, ``spec`` reads the train split (or a part of a large one).

  ``image_shape`` is that of the splits' images, of which models see a window where the config crops.
  """

  train: Split
  validation: Split
  test: Split
  source: Source
  image_shape: tuple[int, int, int]
  pixel_range: tuple[float, float]
  resize: str
  tokenizer: Tokenizer | None = None
  crop: int = 0
  seen_shape: tuple[int, int, int] | None = None  # what the degradation leaves

  @functools.cached_property
  def spec(self) -> Spec:
    """Properties of the set that a model depends on."""
    seen = [RowType("seen", self.seen_shape, "float32")] if self.seen_shape else []
    return Spec(
      image_shape=window(self.image_shape, self.crop),
      num_classes=self.source.num_classes,
      num_examples=len(self.train),
      kind=self.source.kind,
      pixel_range=self.pixel_range,
      fingerprint=self._fingerprint(),
      classes=self._classes,
      class_names=tuple(self.source.class_names),
      rows=(
        *(RowType(name, shape, dtype.name) for name, (shape, dtype) in self.train.row_types.items() if name != "image"),
        *seen,
      ),
      vocabulary=self.tokenizer.vocabulary if self.tokenizer else (),
    )

  @property
  def notes(self) -> list[str]:
    """Notes for the user on how the set is read, one line each."""
    sized = size_note(self.source.native_shape, self.image_shape, self.resize) if self.source.kind == "images" else ""
    found = ", ".join(map(str, self._classes[:20])) + (", ..." if len(self._classes) > 20 else "")
    occur = f"of the labels 0 .. {self.source.num_classes - 1} the train split has {found} only; no others are sampled"
    cut = cut_note(self.tokenizer, self.train.captions() or []) if self.tokenizer else ""
    return [*self.source.notes, *filter(None, [sized, occur if found else "", cut])]

  @functools.cached_property
  def _labels(self) -> np.ndarray | None:
    """The training labels; None if there are none, or if collecting them would take too long."""
    return self.train.labels() if self.source.num_classes else None

  @property
  def _classes(self) -> tuple[int, ...]:
    """The labels that occur in training; empty if all of them do, or if the labels were not collected."""
    occurring = np.arange(self.source.num_classes) if self._labels is None else np.unique(self._labels)
    return () if len(occurring) == self.source.num_classes else tuple(occurring.tolist())

  @functools.cached_property
  def mean_image(self) -> np.ndarray:
    """The mean of all training images, of their middle where they are cropped, [H, W, C] in pixel_range."""
    low, high = self.pixel_range
    height, width, _ = window(self.image_shape, self.crop)
    top, left = (self.image_shape[0] - height) // 2, (self.image_shape[1] - width) // 2
    images = self.train.arrays()["image"][:, top : top + height, left : left + width]
    return low + (high - low) * np.asarray(images.mean(axis=0, dtype=np.float64)) / 255

  def _fingerprint(self) -> str:
    """Hashes the training images, or the first and last 16 if reading is slow, and then labels and captions used."""
    digest = hashlib.sha256(f"{self.source.name} {len(self.train)} {self.image_shape}".encode())
    if self.source.in_memory:
      rows = self.train.arrays()
    else:
      rows = self.train.rows(np.unique(np.r_[:16, -16:0] % len(self.train)))
    digest.update(np.ascontiguousarray(rows["image"]).data)  # hashes the buffer without a copy
    labels = rows["label"] if self._labels is None else self._labels
    rest = labels.astype(np.int32).tobytes() if self.source.num_classes else b""
    rest += "\n".join(self.train.captions() or ()).encode() if self.tokenizer else b""
    return digest.hexdigest()[:16] + (hashlib.sha256(rest).hexdigest()[:16] if rest else "")


def open_dataset(data: Any, say: Say | None = None) -> Dataset:
  """Opens the data set of config.data; configs/schema.py has its keys, catalogue.py the places that are searched.

  Raises:
    ConfigError: the set is missing or cannot be read, or it does not allow these settings.
  """
  source = open_source(data, say)
  if len(source.native_shape) != 3:
    raise ConfigError(f'"{source.name}": native_shape={source.native_shape} must be (height, width, channels)')
  _check(data, source.kind)
  low, high = data.pixel_range
  shape = target_shape(source.native_shape, (data.image_size, data.image_width), data.channels, data.resize)
  seen = seen_shape(data, shape)
  train = split_range(data.train_split, source.sizes, "config.data.train_split")
  validation = split_range(data.validation_split, source.sizes, "config.data.validation_split")
  test = split_range(data.test_split, source.sizes, "config.data.test_split")
  once = data.binarize == "dynamic"  # the train split is binarized anew at each use, by preprocess.py
  tokenizer = open_tokenizer(data, Split(source, train, shape, data.resize).captions)
  validation_split = Split(source, validation, shape, data.resize, () if once else None, tokenizer)
  return Dataset(
    train=Split(source, train, shape, data.resize, None, tokenizer),
    validation=validation_split,
    test=Split(source, test, shape, data.resize, (validation_split,) if once else None, tokenizer),
    source=source,
    image_shape=shape,
    pixel_range=(float(low), float(high)),
    resize=data.resize,
    tokenizer=tokenizer,
    crop=data.crop,
    seen_shape=seen,
  )


def split_range(text: str, sizes: Mapping[str, int], field: str) -> tuple[str, int, int]:
  """Parses a split in the config's notation -> (name, start, stop), the range of its examples.

  Args:
    text: such as "train[-5000:]".
    sizes: number of examples of each split of the source.
    field: path of the config's key, for errors.

  Raises:
    ConfigError: the text is not a split, the source lacks it, or its range is invalid or empty.
  """
  match = _SPLIT.fullmatch(text)
  if not match:
    raise ConfigError(f'{field}="{text}" is not a split: write e.g. "train", "train[:50000]" or "train[-5000:]"')
  name, low, high = match.groups()
  if name not in sizes:
    raise ConfigError(f'{field}="{text}": the set has {", ".join(sizes)}{nearest(name, sizes)}')
  size = sizes[name]
  # Unlike Python's slices, bounds beyond the end are errors, so that a split is never silently shorter.
  bounds = [default if bound is None else int(bound) for bound, default in ((low, 0), (high, size))]
  start, stop = (bound + size if bound < 0 else bound for bound in bounds)
  wrong = "out of range" if not (0 <= start <= size and 0 <= stop <= size) else "empty" if start >= stop else ""
  if wrong:
    raise ConfigError(f'{field}="{text}" is {wrong}: "{name}" has {size} examples; --{field}={name} is all of them')
  return name, start, stop


def _check(data: Any, kind: str) -> None:
  """Raises ConfigError for settings that contradict each other or the kind of data."""
  if data.dequantize and data.binarize != "none":
    raise ConfigError(
      "config.data.dequantize=True and config.data.binarize contradict each other; "
      "set --config.data.dequantize=False or --config.data.binarize=none"
    )
  changes = {"crop": 0, "rotate": False, "flip": False, "dequantize": False, "binarize": "none", "degradation": ()}
  images_only = {"image_size": 0, "channels": 0, **changes}
  given = {key: unset for key, unset in images_only.items() if data[key] != unset}
  if kind == "points" and given:
    fields = " and ".join(f"config.data.{key}" for key in given)
    unset = " and ".join(f"--config.data.{key}={value}" for key, value in given.items())
    raise ConfigError(f'{fields}: "{data.name}" has points, not images; set {unset}')
