"""Files as torch.save writes them, made without PyTorch: for weights, and for what no file of weights should hold."""

import io
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

MAGIC, VERSION, MACHINE = 0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}


def _rebuild_tensor_v2(*_: Any) -> None:
  """Stands for torch._utils._rebuild_tensor_v2 in a pickle."""


class FloatStorage:
  """Stands for torch.FloatStorage."""


class LongStorage:
  """Stands for torch.LongStorage."""


class Tensor:
  """A view of a storage, pickled as PyTorch does; the description may lie."""

  def __init__(
    self, storage: np.ndarray, key: str, offset: Any = 0, size: Any = None, strides: Any = None, part: Any = None
  ):
    self.storage, self.key, self.part = storage, key, part
    size = storage.shape if size is None else size
    strides = tuple(step // storage.itemsize for step in storage.strides) if strides is None else strides
    self.view = (offset, size, strides)

  def __reduce__(self) -> tuple[Any, ...]:
    return _rebuild_tensor_v2, (_Reference(self), *self.view, False, OrderedDict())


class Calls:
  """Pickled, a call of any function: what a planted file does."""

  def __init__(self, function: Any, *arguments: Any):
    self.call = (function, arguments)

  def __reduce__(self) -> tuple[Any, ...]:
    return self.call


class _Reference:
  def __init__(self, tensor: Tensor):
    kind = FloatStorage if tensor.storage.dtype == np.float32 else LongStorage
    self.description = ("storage", kind, tensor.key, "cpu", tensor.storage.size)
    self.part = tensor.part  # where the storage is part of another one


class _Pickler(pickle.Pickler):
  def persistent_id(self, item: Any) -> Any:
    return (*item.description, item.part) if isinstance(item, _Reference) else None


@contextmanager
def _named_as_in_torch() -> Iterator[None]:
  with pytest.MonkeyPatch.context() as patch:
    for module, members in {"torch": (FloatStorage, LongStorage), "torch._utils": (_rebuild_tensor_v2,)}.items():
      stand_in = types.ModuleType(module)
      patch.setitem(sys.modules, module, stand_in)
      for member in members:
        patch.setattr(member, "__module__", module)
        setattr(stand_in, member.__name__, member)
    yield


def _pickled(item: Any) -> bytes:
  stream = io.BytesIO()
  with _named_as_in_torch():
    _Pickler(stream, protocol=2).dump(item)
  return stream.getvalue()


def torch_file(item: Any, storages: Mapping[str, np.ndarray], magic: Any = MAGIC) -> bytes:
  """A file in the format before PyTorch 1.6."""
  head = b"".join(map(_pickled, (magic, VERSION, MACHINE, item, list(storages))))
  return head + b"".join(s.size.to_bytes(8, "little") + s.tobytes() for s in storages.values())


def state_dict_file(arrays: Mapping[str, np.ndarray]) -> bytes:
  """One storage for each array, as in a state dict of PyTorch, which carries its versions as an attribute."""
  state = OrderedDict((name, Tensor(array, str(i))) for i, (name, array) in enumerate(arrays.items()))
  state._metadata = OrderedDict({"": {"version": 1}})
  return torch_file(state, {str(i): array for i, array in enumerate(arrays.values())})
