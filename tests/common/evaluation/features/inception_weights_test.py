"""Weights on their way from PyTorch's file: what passes, to the bit, and what is refused."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from flax import traverse_util

from common.errors import ConfigError
from common.evaluation.features import classifier_file, inception_weights
from common.evaluation.features.inception_weights import FILE_NAME, convert, from_torch, inception_path, load_inception
from experiments.command_line import compilation_cache
from tests.common.evaluation.features.inception_reference import state_dict
from tests.common.evaluation.features.torch_saving import Calls, state_dict_file, torch_file
from tests.experiments import runs


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
  """A file of all tensors and counters and the cache that the command writes to."""
  directory = tmp_path_factory.mktemp("weights")
  source = directory / "weights.pth"
  counters = {
    name.replace("weight", "num_batches_tracked"): np.array(0) for name in state_dict() if "bn.weight" in name
  }
  assert len(state_dict()) == 472 and len(counters) == 94
  source.write_bytes(state_dict_file(state_dict() | counters))
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("XDG_CACHE_HOME", str(directory))
    assert runs.call("convert_inception", f"--weights={source}", "--other_weights") == 0
    return source, compilation_cache.user_cache()


def test_the_command_keeps_every_number_and_records_where_they_are_from(converted: tuple[Path, Path]):
  source, cache = converted
  assert os.listdir(cache) == [FILE_NAME]
  variables, digest = load_inception(inception_path("", cache))
  assert digest == hashlib.sha256(source.read_bytes()).hexdigest()
  arrays = traverse_util.flatten_dict(variables["params"], sep="/")
  tensors = state_dict()
  np.testing.assert_array_equal(
    arrays["Mixed_6b/branch7x7_2/kernel"], np.einsum("oihw->hwio", tensors["Mixed_6b.branch7x7_2.conv.weight"])
  )
  np.testing.assert_array_equal(arrays["fc_kernel"], tensors["fc.weight"].T)
  np.testing.assert_array_equal(arrays["Conv2d_1a_3x3/var"], tensors["Conv2d_1a_3x3.bn.running_var"])
  assert sorted(map(_sum, arrays.values())) == pytest.approx(sorted(map(_sum, tensors.values())))


def _sum(array: np.ndarray) -> float:
  return float(array.sum(dtype=np.float64))


def test_weights_that_are_not_the_published_ones_must_be_asked_for(
  converted: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
  (source, cache), out = converted, tmp_path / "a.safetensors"
  digest = hashlib.sha256(source.read_bytes()).hexdigest()
  with pytest.raises(
    ConfigError, match=f"has sha256 {digest}, the published weights 6726825d0af5f729.*--other_weights"
  ):
    convert(source, out)
  assert not out.exists()
  monkeypatch.setattr(inception_weights, "PUBLISHED", digest)
  assert convert(source, out) == digest
  assert out.read_bytes() == (cache / FILE_NAME).read_bytes()


def test_a_damaged_file_is_refused(converted: tuple[Path, Path], tmp_path: Path):
  data, damaged = bytearray((converted[1] / FILE_NAME).read_bytes()), tmp_path / "a.safetensors"
  data[-5] ^= 1
  damaged.write_bytes(data)
  with pytest.raises(ConfigError, match="a.safetensors is damaged"):
    load_inception(damaged)
  damaged.write_bytes(data[:-1000])
  with pytest.raises(ConfigError, match="a.safetensors is not Inception's weights"):
    load_inception(damaged)


def test_a_file_of_something_else_is_refused(tmp_path: Path):
  with pytest.raises(ConfigError, match=r"digits.safetensors is not Inception's weights \(KeyError"):
    load_inception(classifier_file.WEIGHTS / "digits.safetensors")
  arrays, other = {"Conv_0/kernel": np.zeros(3, np.float32)}, tmp_path / "other.safetensors"
  about = {"source_sha256": "0", "arrays_sha256": inception_weights._digest(arrays)}
  other.write_bytes(safetensors.numpy.save(arrays, metadata={"inception": json.dumps(about)}))
  with pytest.raises(ConfigError, match="other.safetensors is of another network: 472 of 472 tensors are missing"):
    load_inception(other)


def test_files_that_are_not_there_are_named_with_where_to_get_them(tmp_path: Path, monkeypatch):
  with pytest.raises(
    ConfigError, match=f"not at {tmp_path / FILE_NAME}: .*-6726825d.pth .*convert_inception .*=FILE.pth$"
  ):
    inception_path("", tmp_path)
  given = tmp_path / "mine.safetensors"
  with pytest.raises(ConfigError, match=f"not at {given}: .* --out={given}$"):
    inception_path(str(given), tmp_path)
  given.touch()
  assert inception_path(str(given), None) == given
  monkeypatch.setenv("HOME", str(tmp_path))  # the shell leaves the ~ of --features=inception:~/FILE as it is
  assert inception_path("~/mine.safetensors", None) == classifier_file.find("~/mine.safetensors", (8, 8)) == given
  with pytest.raises(ConfigError, match=r"a.pth is PyTorch's; convert it once: .* --weights=a.pth"):
    inception_path("a.pth", tmp_path)
  with pytest.raises(ConfigError, match="inception:FILE"):
    inception_path("", None)


def test_what_the_command_cannot_read_or_write_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
  planted = tmp_path / "planted.pth"
  planted.write_bytes(torch_file({"a": Calls(os.mkdir, str(tmp_path / "ran"))}, {}))
  for words, error in [
    ((), "--weights=... is missing"),
    ((f"--weights={planted}", "--out=a.npz"), "--out=a.npz must end in .safetensors"),
    (("--weights=nowhere.pth", f"--out={tmp_path}/a.safetensors"), "nowhere.pth cannot be read (No such file"),
    (
      (f"--weights={planted}", f"--out={tmp_path}/a.safetensors", "--other_weights"),
      "planted.pth is refused: it is not",
    ),
  ]:
    assert runs.call("convert_inception", *words) == 2
    assert error in capsys.readouterr().err
  assert os.listdir(tmp_path) == ["planted.pth"]


def test_a_file_far_larger_than_the_weights_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
  monkeypatch.setattr(inception_weights, "MAX_BYTES", 4)
  (tmp_path / "a.pth").write_bytes(b"large")
  with pytest.raises(ConfigError, match="a.pth is of 5 bytes; Inception's weights are of 95,628,359"):
    convert(tmp_path / "a.pth", tmp_path / "a.safetensors")


def _changed(name: str, tensor: np.ndarray | None) -> dict[str, np.ndarray]:
  tensors = state_dict() | ({} if tensor is None else {name: tensor})
  return {key: value for key, value in tensors.items() if tensor is not None or key != name}


@pytest.mark.parametrize(
  ("name", "tensor", "error"),
  [
    ("fc.bias", None, "1 of 472 tensors are missing, first fc.bias"),
    ("AuxLogits.fc.bias", np.zeros(1), "1 tensors are not known, first AuxLogits.fc.bias"),
    ("fc.num_batches_tracked", np.array(0), "1 tensors are not known, first fc.num_batches_tracked"),
    ("fc.bias", np.zeros(1000, np.float32), r"fc.bias is float32 \(1000,\), not float32 \(1008,\)"),
    ("fc.bias", np.zeros(1008), r"fc.bias is float64 \(1008,\), not float32 \(1008,\)"),
    ("fc.bias", np.full(1008, np.nan, np.float32), "fc.bias is not finite"),
  ],
)
def test_other_names_shapes_types_and_numbers_are_refused(name: str, tensor: np.ndarray | None, error: str):
  with pytest.raises(ConfigError, match=error):
    from_torch(_changed(name, tensor))
