"""What torch-fidelity 0.4.0 makes of InceptionV3 with shared random weights: the goldens of `inception_test`.

python -m tests.common.evaluation.features.inception_reference writes them anew, where torch-fidelity is installed. The
weights are not kept, as NumPy draws the same ones everywhere: uniformly, so that no platform's logarithm comes into it.
"""

import functools
import hashlib
import importlib.util
import sys
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest import mock

import numpy as np

from common.evaluation.features.inception_weights import torch_shapes

HEADS = {"64": 64, "192": 192, "768": 768, "2048": 2048, "logits_unbiased": 1008, "logits": 1008}
GOLDEN = Path(__file__).parent / "golden" / "inception.npz"
SIZES = {"28": (28, 28, 1), "32": (32, 32, 3), "64": (64, 64, 3), "299": (299, 299, 3), "400": (400, 300, 3)}
DOUBLE = "32"  # the size of the golden in float64
RANGES = {"bn.weight": (0.8, 1.2), "bn.bias": (-0.2, 0.2), "running_mean": (-0.2, 0.2), "running_var": (0.5, 1.5)}


@functools.cache
def state_dict() -> dict[str, np.ndarray]:
  """Weights in PyTorch's layout: kernels of He's variance, statistics about those of a normalized layer."""
  draws = np.random.RandomState(2015)
  tensors = {}
  for name, shape in sorted(torch_shapes().items()):
    bound = np.sqrt(6.0 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
    low, high = next((span for word, span in RANGES.items() if name.endswith(word)), (-bound, bound))
    tensors[name] = (low + (high - low) * draws.random_sample(shape)).astype(np.float32)
  return tensors


def image(size: str) -> np.ndarray:
  """uint8 [1, *SIZES[size]]: a wave with noise."""
  height, width, channels = SIZES[size]
  rows, columns = np.arange(height)[:, None, None], np.arange(width)[:, None]
  wave = 128 + 90 * ((rows // 7 + columns // 5 + np.arange(channels)) % 3 - 1)
  noise = np.random.RandomState(height).randint(-30, 31, (height, width, channels))
  return np.clip(wave + noise, 0, 255).astype(np.uint8)[None]


def find_torch_fidelity() -> bool:
  """Whether it is installed; its files can then be imported one by one.

  The package as a whole imports torchvision, which runs beside the one build of torch that it was made for.
  """
  spec = importlib.util.find_spec("torch_fidelity") if "torch_fidelity" not in sys.modules else None
  if spec is not None:
    sys.modules["torch_fidelity"] = package = ModuleType("torch_fidelity")
    package.__path__ = list(spec.submodule_search_locations or ())
  return "torch_fidelity" in sys.modules


def torch_fidelity_heads(images: list[np.ndarray], *, double: bool) -> list[dict[str, np.ndarray]]:
  """Every head of torch-fidelity's extractor; ``double``: from the float32 resize on in float64."""
  import torch
  from torch_fidelity import feature_extractor_inceptionv3 as reference

  with tempfile.TemporaryDirectory() as directory:
    file = Path(directory) / "weights.pth"
    tensors = {name: torch.from_numpy(array) for name, array in state_dict().items()}
    counters = {n.replace("weight", "num_batches_tracked"): torch.tensor(0) for n in tensors if "bn.weight" in n}
    torch.save(tensors | counters, file)
    extractor = reference.FeatureExtractorInceptionV3("inception", list(HEADS), feature_extractor_weights_path=file)
  resize = reference.interpolate_bilinear_2d_like_tensorflow1x
  patches = []
  if double:  # 0.4.0 takes "float64" for float32, and would round what it returns
    extractor.double()
    doubled = SimpleNamespace(**vars(torch) | {"float32": torch.float64})
    patches = [
      mock.patch.object(reference, "torch", doubled),
      mock.patch.object(
        reference, "interpolate_bilinear_2d_like_tensorflow1x", lambda x, **options: resize(x, **options).double()
      ),
    ]
  heads = []
  for pixels in images:
    pixels = np.repeat(pixels, 3, axis=3) if pixels.shape[3] == 1 else pixels
    for patch in patches:
      patch.start()
    try:
      out = extractor(torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()))
    finally:
      for patch in patches:
        patch.stop()
    heads.append({name: value.numpy() for name, value in zip(HEADS, out, strict=True)})
  return heads


def torch_fidelity_resize(pixels: np.ndarray) -> np.ndarray:
  """float32 [B, 299, 299, C] of torch-fidelity's resize."""
  import torch
  from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

  x = torch.from_numpy(pixels.transpose(0, 3, 1, 2).astype(np.float32))
  return (
    interpolate_bilinear_2d_like_tensorflow1x(x, size=(299, 299), align_corners=False).numpy().transpose(0, 2, 3, 1)
  )


def write_golden() -> None:
  """Heads as float32, for DOUBLE as float64 too, and the sha256 of each resized picture."""
  golden: dict[str, object] = {}
  for size in SIZES:
    golden[f"{size}/resize"] = hashlib.sha256(torch_fidelity_resize(image(size)).tobytes()).hexdigest()
  for size, heads in zip(SIZES, torch_fidelity_heads([image(size) for size in SIZES], double=False), strict=True):
    golden |= {f"{size}/{name}": value[0] for name, value in heads.items()}
  (heads,) = torch_fidelity_heads([image(DOUBLE)], double=True)
  golden |= {f"double/{name}": value[0] for name, value in heads.items()}
  np.savez_compressed(GOLDEN, **golden)
  write_torch_files()


def write_torch_files() -> None:
  """Writes a few tensors, three of which share one storage."""
  import torch

  whole = torch.arange(24.0).reshape(2, 3, 4)
  tensors = {"whole": whole, "transposed": whole.permute(2, 0, 1), "part": whole[1, 1:], "count": torch.tensor(7)}
  torch.save(tensors, GOLDEN.parent / "tensors.pth", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
  find_torch_fidelity()
  write_golden()
