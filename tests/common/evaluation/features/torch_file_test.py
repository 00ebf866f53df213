"""PyTorch's files, and what only looks like one."""

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import ConfigError
from common.evaluation.features.torch_file import read_tensors
from tests.common.evaluation.features.inception_reference import GOLDEN
from tests.common.evaluation.features.torch_saving import Calls, Tensor, state_dict_file, torch_file

SMALL = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b.num_batches_tracked": np.array(7)}


def test_a_file_of_pytorch_itself_is_read():
  tensors = read_tensors((GOLDEN.parent / "tensors.pth").read_bytes())
  whole = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
  expected = {"whole": whole, "transposed": whole.transpose(2, 0, 1), "part": whole[1, 1:], "count": np.array(7)}
  assert list(tensors) == list(expected)
  for name, array in expected.items():
    assert tensors[name].dtype == array.dtype
    np.testing.assert_array_equal(tensors[name], array)


def test_the_tests_files_are_read_as_pytorch_reads_them():
  torch = pytest.importorskip("torch", reason="the extra [parity] is not installed")
  data, again = state_dict_file(SMALL), io.BytesIO()
  loaded = torch.load(io.BytesIO(data), weights_only=True)
  torch.save(loaded, again, _use_new_zipfile_serialization=False)
  for tensors in (read_tensors(data), read_tensors(again.getvalue())):
    assert tensors.keys() == SMALL.keys()
    assert all(np.array_equal(tensors[name], SMALL[name]) for name in SMALL)


def test_the_zip_format_is_refused_with_a_way_to_the_other():
  with pytest.raises(ConfigError, match=r"zip format .* save its tensors again by torch.save\(tensors, FILE, _use_new"):
    read_tensors(b"PK\x03\x04")


@pytest.mark.parametrize("place", ["value", "key", "in a tensor", "instead"])
def test_a_planted_file_is_refused_and_nothing_of_it_runs(place: str, tmp_path: Path):
  proof = tmp_path / "ran"
  evil: Any = Calls(os.mkdir, str(proof))
  weights = SMALL["a"]
  item = {
    "value": {"a": Tensor(weights, "0"), "b": evil},
    "key": {"a": Tensor(weights, "0"), evil: 1},
    "in a tensor": {"a": Tensor(weights, "0", size=evil)},
    "instead": evil,
  }[place]
  with pytest.raises(ConfigError, match=f"a PyTorch file of tensors only .it asks for {os.mkdir.__module__}.mkdir"):
    read_tensors(torch_file(item, {"0": weights}))
  assert not proof.exists()
  pickle.loads(pickle.dumps(evil))
  assert proof.exists()  # a reader that trusts the file does run it


@pytest.mark.parametrize(
  ("data", "error"),
  [
    (torch_file({}, {}, magic=Calls(eval, "1")), "it asks for __builtin__.eval"),
    (torch_file({}, {}, magic=5), "does not begin as torch.save's files do"),
    (torch_file({"a": Calls(getattr, "a", "upper")}, {}), "it asks for __builtin__.getattr"),
    (torch_file({"a": np.zeros(3)}, {}), "it asks for numpy"),
    (torch_file({"a": 3}, {}), "'a' is a int, not a tensor"),
    (torch_file({3: Tensor(SMALL["a"], "0")}, {"0": SMALL["a"]}), "3 is a _Tensor, not a tensor"),
    (torch_file([Tensor(SMALL["a"], "0")], {"0": SMALL["a"]}), "it holds a list, not a dict"),
    (torch_file({"a": Tensor(SMALL["a"], "0")}, {}), "'0'"),
    (torch_file({"a": Tensor(SMALL["a"], "0", part=("1", 0, 6))}, {"0": SMALL["a"]}), "it describes a storage by"),
    (state_dict_file(SMALL)[:-40], "does not lie within its storage"),
    (b"anything", ""),
    (b"", ""),
  ],
  ids=lambda value: value if isinstance(value, str) else "data",
)
def test_files_of_anything_else_are_refused(data: bytes, error: str):
  with pytest.raises(ConfigError, match=f"it is not a PyTorch file of tensors only .*{error}"):
    read_tensors(data)


@pytest.mark.parametrize(
  "view",
  [
    {"offset": 1},
    {"offset": -1, "size": (2,), "strides": (1,)},
    {"offset": 6, "size": (), "strides": ()},
    {"size": (7,), "strides": (1,)},
    {"size": (2, 2), "strides": (1, 5)},
    {"size": (2, 3), "strides": (-3, 1)},
    {"size": (2**40,), "strides": (0,)},
    {"size": (2, 3), "strides": (3,)},
    {"size": (2.0,), "strides": (1,)},
    {"size": (True,), "strides": (1,)},
  ],
)
def test_a_tensor_that_reaches_out_of_its_storage_is_refused(view: dict[str, Any]):
  with pytest.raises(ConfigError, match="a does not lie within its storage of 6 numbers"):
    read_tensors(torch_file({"a": Tensor(SMALL["a"], "0", **view)}, {"0": SMALL["a"]}))
