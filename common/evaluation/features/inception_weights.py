"""The weights of InceptionV3: from the published PyTorch file to one of safetensors, and from that to arrays."""

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from common import files
from common.errors import ConfigError, nearest
from common.evaluation.features.inception import SIZE, InceptionV3
from common.evaluation.features.torch_file import read_tensors
from common.types import PyTree

FILE_NAME = "inception-2015-12-05.safetensors"
PUBLISHED = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"  # sha256, eight digits in its name
SOURCES = (
  "weights-inception-2015-12-05-6726825d.pth (release v0.2.0 of torch-fidelity) or "
  "pt_inception-2015-12-05-6726825d.pth (release fid_weights of pytorch-fid), which are one file"
)
AGAIN = "make it anew (python -m experiments.convert_inception --help)"
MAX_BYTES = 2**28
TORCH_NAMES = {  # of a ConvUnit's arrays
  "kernel": "conv.weight",
  "scale": "bn.weight",
  "bias": "bn.bias",
  "mean": "bn.running_mean",
  "var": "bn.running_var",
}


def inception_path(given: str, cache: Path | None) -> Path:
  """The file of weights: the given one, or FILE_NAME in the directory ``cache``.

  Raises:
    ConfigError: there is none; how to come by it.
  """
  if not given and cache is None:
    raise ConfigError("no cache directory is named, so name the file of Inception's weights: inception:FILE")
  path = Path(given).expanduser() if given else Path(cache or "") / FILE_NAME
  if path.suffix == ".pth":
    raise ConfigError(
      f"{path} is PyTorch's; convert it once: python -m experiments.convert_inception --weights={path}, "
      "and name the file that this writes"
    )
  if not path.is_file():
    raise ConfigError(
      f"Inception's weights are not at {path}: download {SOURCES}, and run "
      f"python -m experiments.convert_inception --weights=FILE.pth{f' --out={given}' if given else ''}"
    )
  return path


def convert(source: Path, out: Path, *, other_weights: bool = False) -> str:
  """Writes PyTorch's file as safetensors, whole or not at all.

  Args:
    source: a .pth file of either name in SOURCES, or of as many tensors of the same names and shapes.
    out: the file to write.
    other_weights: admits weights other than the published ones.

  Returns:
    sha256 of ``source`` in hexadecimal, which ``out`` records.

  Raises:
    ConfigError: another file, one that is damaged, or one that holds more than tensors.
  """
  from safetensors.numpy import save as to_bytes

  try:
    if source.stat().st_size > MAX_BYTES:
      raise ConfigError(f"{source} is of {source.stat().st_size:,} bytes; Inception's weights are of 95,628,359")
    data = source.read_bytes()
  except OSError as error:
    raise ConfigError(f"{source} cannot be read ({error.strerror}); it should be {SOURCES}") from error
  digest = hashlib.sha256(data).hexdigest()
  if digest != PUBLISHED and not other_weights:
    raise ConfigError(
      f"{source} has sha256 {digest}, the published weights {PUBLISHED}: download it again, or admit "
      "weights of your own by --other_weights"
    )
  try:
    arrays = from_torch(read_tensors(data))
  except ConfigError as error:
    raise ConfigError(f"{source} is refused: {error}") from error
  about = {"source_sha256": digest, "arrays_sha256": _digest(arrays)}
  files.write(out, to_bytes(arrays, metadata={"inception": json.dumps(about)}))
  return digest


def load_inception(path: Path) -> tuple[PyTree, str]:
  """Reads what `convert` wrote.

  Returns:
    variables of `InceptionV3` in float32 on the host, and the sha256 of the PyTorch file that they come from.

  Raises:
    ConfigError: a file that is damaged, or of something else.
  """
  from safetensors import SafetensorError, safe_open

  try:
    with safe_open(path, framework="numpy") as file:
      about = json.loads((file.metadata() or {})["inception"])
      arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    digest, recorded = str(about["source_sha256"]), about["arrays_sha256"]
  except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
    raise ConfigError(f"{path} is not Inception's weights ({error!r}); {AGAIN}") from error
  if recorded != _digest(arrays):
    raise ConfigError(f"{path} is damaged: its arrays are not those that were written; {AGAIN}")
  try:
    _check(arrays, {"/".join(key): shape for key, shape in _shapes().items()})
  except ConfigError as error:
    raise ConfigError(f"{path} is of another network: {error}; {AGAIN}") from error
  return {"params": traverse_util.unflatten_dict(arrays, sep="/")}, digest


def torch_shapes() -> dict[str, tuple[int, ...]]:
  """Names and shapes of the tensors in PyTorch's file, but for counters, which it may have or not."""
  named: dict[str, tuple[int, ...]] = {}
  for key, shape in _shapes().items():
    order = _torch_order(len(shape))
    named[_torch_name(key)] = tuple(shape[i] for i in order)
  return named


def from_torch(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """PyTorch's tensors -> those of `InceptionV3`, "Mixed_5b/branch1x1/kernel" by name.

  Raises:
    ConfigError: a name that is missing or not known, another shape or type, or values that are not finite.
  """
  counters = {name.removesuffix("weight") + "num_batches_tracked" for name in torch_shapes() if "bn.weight" in name}
  tensors = {name: tensor for name, tensor in tensors.items() if name not in counters}
  _check(tensors, torch_shapes())
  arrays = {}
  for key in _shapes():
    tensor = tensors[_torch_name(key)]
    arrays["/".join(key)] = np.ascontiguousarray(tensor.transpose(np.argsort(_torch_order(tensor.ndim))))
  return arrays


@functools.cache
def _shapes() -> dict[tuple[str, ...], tuple[int, ...]]:
  images = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
  params = jax.eval_shape(InceptionV3().init, jax.random.key(0), images)["params"]
  return {key: leaf.shape for key, leaf in traverse_util.flatten_dict(params).items()}


def _torch_name(key: tuple[str, ...]) -> str:
  if len(key) == 1:
    return {"fc_kernel": "fc.weight", "fc_bias": "fc.bias"}[key[0]]
  return ".".join((*key[:-1], TORCH_NAMES[key[-1]]))


def _torch_order(ndim: int) -> tuple[int, ...]:
  """Which axes of this project's array make PyTorch's: HWIO -> OIHW, IO -> OI."""
  return {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[ndim]


def _check(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> None:
  """Raises ConfigError unless these are finite float32 arrays of just these names and shapes."""
  if missing := sorted(set(shapes) - set(arrays)):
    raise ConfigError(f"{len(missing)} of {len(shapes)} tensors are missing, first {missing[0]}")
  if unknown := sorted(set(arrays) - set(shapes)):
    raise ConfigError(f"{len(unknown)} tensors are not known, first {unknown[0]}{nearest(unknown[0], shapes)}")
  for name, shape in shapes.items():
    array = arrays[name]
    if (array.shape, array.dtype) != (shape, np.float32):
      raise ConfigError(f"{name} is {array.dtype} {array.shape}, not float32 {shape}")
    if not np.all(np.isfinite(array)):
      raise ConfigError(f"{name} is not finite")


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
  """sha256 of all arrays with their names, shapes and types."""
  digest = hashlib.sha256()
  for name in sorted(arrays):
    digest.update(f"{name} {arrays[name].shape} {arrays[name].dtype.str}".encode())
    digest.update(np.ascontiguousarray(arrays[name]).data)
  return digest.hexdigest()
