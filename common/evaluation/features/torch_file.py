"""Reads the tensors of a PyTorch file without PyTorch, and without running code from it.

Such a file consists of pickles, which can call any function. The unpickler below admits the four names that a dict of
tensors needs, and refuses a file with any other name before it calls anything. Only the format that torch.save used
before PyTorch 1.6 is read, because InceptionV3's published weights have it.
"""

import io
import math
import pickle
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np

from common.errors import ConfigError

STORAGES: dict[str, np.dtype[Any]] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001


def read_tensors(data: bytes) -> dict[str, np.ndarray]:
  """Returns the tensors of a file that torch.save wrote from a flat dict of them.

  The file has five pickles (the last two are the dict and the keys of its storages), and then for each storage the
  number of its elements and their bytes.

  Raises:
    ConfigError: a file of another kind or format, damaged, or with anything but tensors in it.
  """
  if data[:2] == b"PK":
    raise ConfigError(
      "it has the zip format that PyTorch uses since 1.6; save its tensors again by "
      "torch.save(tensors, FILE, _use_new_zipfile_serialization=False)"
    )
  try:
    stream = io.BytesIO(data)
    magic, version, machine, tensors, keys = (_TensorUnpickler(stream).load() for _ in range(5))
    if (magic, version, machine["little_endian"]) != (MAGIC, VERSION, True):
      raise pickle.UnpicklingError("it does not begin as torch.save's files do")
    if not isinstance(tensors, dict):
      raise pickle.UnpicklingError(f"it holds a {type(tensors).__name__}, not a dict of tensors")
    kinds = {tensor.storage.key: tensor.storage.kind for tensor in dict.values(tensors) if isinstance(tensor, _Tensor)}
    storages = {}
    for key in keys:
      size = int.from_bytes(stream.read(8), "little") * STORAGES[kinds[key]].itemsize
      storages[key] = np.frombuffer(stream.read(size), STORAGES[kinds[key]])
    return {name: _array(name, tensor, storages) for name, tensor in dict.items(tensors)}
  except Exception as error:  # a file of another kind can fail in any way
    raise ConfigError(f"it is not a PyTorch file of tensors only ({error or type(error).__name__})") from error


class _Storage(NamedTuple):
  kind: str
  key: str


class _Tensor(NamedTuple):
  """A tensor as the file describes it; `_array` checks every field."""

  storage: Any
  offset: Any
  size: Any
  strides: Any


class _TensorUnpickler(pickle.Unpickler):
  """An unpickler that admits only the parts of a dict of tensors."""

  def find_class(self, module: str, name: str) -> Any:
    if module == "torch" and name in STORAGES:
      return name
    if (module, name) == ("collections", "OrderedDict"):
      return OrderedDict
    if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
      # A new function each time, because a pickle can set attributes of the objects that it is given.
      return lambda storage, offset, size, strides, *_: _Tensor(storage, offset, size, strides)
    raise pickle.UnpicklingError(f"it asks for {module}.{name}")

  def persistent_load(self, pid: Any) -> _Storage:
    word, kind, key, _, _, *view = pid
    if word != "storage" or kind not in STORAGES or not isinstance(key, str) or any(view):
      raise pickle.UnpicklingError(f"it describes a storage by {pid!r:.80}")
    return _Storage(kind, key)


def _array(name: Any, tensor: Any, storages: dict[str, np.ndarray]) -> np.ndarray:
  """Returns the numbers of a tensor after checking that it lies within its storage."""
  if not isinstance(name, str) or not isinstance(tensor, _Tensor) or not isinstance(tensor.storage, _Storage):
    raise pickle.UnpicklingError(f"{name!r:.80} is a {type(tensor).__name__}, not a tensor")
  values = storages[tensor.storage.key]
  numbers = (tensor.offset, *tensor.size, *tensor.strides)
  whole = len(tensor.size) == len(tensor.strides) and all(type(n) is int and n >= 0 for n in numbers)
  last = tensor.offset + sum((n - 1) * stride for n, stride in zip(tensor.size, tensor.strides, strict=False))
  if not whole or math.prod(tensor.size) > len(values) or last >= len(values):
    raise pickle.UnpicklingError(f"{name} does not lie within its storage of {len(values)} numbers")
  strides = [stride * values.itemsize for stride in tensor.strides]
  return np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.size, strides).copy()
