"""Tensors of a PyTorch file, read without PyTorch and without trust.

Such a file is a pickle, which can run any code. The unpickler here knows the four names that a dict of tensors takes,
and refuses a file with any other before it calls anything.
"""

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from common.errors import ConfigError

STORAGES: dict[str, np.dtype[Any]] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
LEGACY_MAGIC, LEGACY_VERSION = 0x1950A86A20F9469CFC6C, 1001  # of torch.save before PyTorch 1.6


def read_tensors(data: bytes) -> dict[str, np.ndarray]:
  """The tensors of a file that torch.save made of a flat dict of them, in the format of any PyTorch since 0.4.

  Raises:
    ConfigError: a file of another kind, damaged, or with anything in it but tensors.
  """
  try:
    described, blobs = (_read_zip if data[:2] == b"PK" else _read_legacy)(data)
    if not isinstance(described, dict):
      raise pickle.UnpicklingError(f"it holds a {type(described).__name__}, not a dict of tensors")
    return {name: _array(name, tensor, blobs) for name, tensor in dict.items(described)}
  except Exception as error:  # what is no such file fails in any way
    raise ConfigError(f"it is not a PyTorch file of tensors only ({error or type(error).__name__})") from error


class _Storage(NamedTuple):
  kind: str
  key: str


class _Tensor(NamedTuple):
  """A tensor as the file describes it; `_array` checks all of it."""

  storage: Any
  offset: Any
  size: Any
  strides: Any


Blobs = Callable[[_Storage], bytes]


class _TensorUnpickler(pickle.Unpickler):
  """Knows what a dict of tensors consists of."""

  def find_class(self, module: str, name: str) -> Any:
    if module == "torch" and name in STORAGES:
      return name
    if (module, name) == ("collections", "OrderedDict"):
      return OrderedDict
    if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
      # A function of its own: a pickle can set attributes of what it is given.
      return lambda storage, offset, size, strides, *_: _Tensor(storage, offset, size, strides)
    raise pickle.UnpicklingError(f"it asks for {module}.{name}")

  def persistent_load(self, pid: Any) -> _Storage:
    word, kind, key, _, _, *view = pid
    if word != "storage" or kind not in STORAGES or not isinstance(key, str) or any(view):
      raise pickle.UnpicklingError(f"it describes a storage by {pid!r:.80}")
    return _Storage(kind, key)


def _read_zip(data: bytes) -> tuple[Any, Blobs]:
  """The format since PyTorch 1.6: NAME/data.pkl, and each storage a file NAME/data/KEY that is not compressed."""
  archive = zipfile.ZipFile(io.BytesIO(data))
  if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
    raise pickle.UnpicklingError("it is compressed")
  (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
  root = pickled.removesuffix("data.pkl")
  if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
    raise pickle.UnpicklingError("its numbers are big-endian")
  described = _TensorUnpickler(io.BytesIO(archive.read(pickled))).load()
  return described, lambda storage: archive.read(f"{root}data/{storage.key}")


def _read_legacy(data: bytes) -> tuple[Any, Blobs]:
  """The format before: five pickles, then each storage as the number of its elements and their bytes."""
  stream = io.BytesIO(data)
  magic, version, machine, described, keys = (_TensorUnpickler(stream).load() for _ in range(5))
  if (magic, version, machine["little_endian"]) != (LEGACY_MAGIC, LEGACY_VERSION, True):
    raise pickle.UnpicklingError("it does not begin as torch.save's files do")
  kinds = {tensor.storage.key: tensor.storage.kind for tensor in dict.values(described)}
  blobs = {}
  for key in keys:
    count = int.from_bytes(stream.read(8), "little")
    blobs[key] = stream.read(count * STORAGES[kinds[key]].itemsize)
  return described, lambda storage: blobs[storage.key]


def _array(name: Any, tensor: Any, blobs: Blobs) -> np.ndarray:
  """The numbers of a tensor, checked to lie within its storage."""
  if not isinstance(name, str) or not isinstance(tensor, _Tensor) or not isinstance(tensor.storage, _Storage):
    raise pickle.UnpicklingError(f"{name!r:.80} is a {type(tensor).__name__}, not a tensor")
  dtype = STORAGES[tensor.storage.kind]
  values = np.frombuffer(blobs(tensor.storage), dtype)
  numbers = (tensor.offset, *tensor.size, *tensor.strides)
  whole = len(tensor.size) == len(tensor.strides) and all(type(n) is int and n >= 0 for n in numbers)
  last = tensor.offset + sum((n - 1) * stride for n, stride in zip(tensor.size, tensor.strides, strict=False))
  if not whole or math.prod(tensor.size) > len(values) or last >= len(values):
    raise pickle.UnpicklingError(f"{name} does not lie within its storage of {len(values)} numbers")
  strides = [stride * dtype.itemsize for stride in tensor.strides]
  return np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.size, strides).copy()
