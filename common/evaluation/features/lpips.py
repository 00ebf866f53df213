"""LPIPS (Zhang et al. 2018, arXiv:1801.03924, version 0.1) as features, whose squared distance it is.

LPIPS sums over layers l the mean over places of sum_c w_lc (x_lc / |x_l| - y_lc / |y_l|)^2 (Eq. 1 with the authors'
w squared): the squared distance between the numbers sqrt(w_lc / places) x_lc / |x_l|. Trunks are torchvision's AlexNet,
the authors' choice for scores, and VGG16, theirs for losses; the weights w are those of the package lpips.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from common.errors import ConfigError
from common.evaluation.features.torch_file import read_tensors
from common.types import Array, PyTree

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of pixels in [-1, 1]
TINY = 1e-10  # added to lengths
_HOW = (
  "name the two files of weights, lpips:alexnet-owt-4df8aa71.pth,alex.pth (or vgg16-397923af.pth,vgg.pth): the first "
  "is torchvision's, the second lies in weights/v0.1 of the package lpips"
)


class Trunk(NamedTuple):
  """The convolutions of a network by their numbers in torchvision's ``features``, each followed by a ReLU.

  Attributes:
    convolutions: {number: (stride, padding)}, in order.
    pooled: numbers of those that come after a maximum pool of stride 2.
    window: side of these pools.
    taps: numbers of those whose results are compared.
  """

  convolutions: Mapping[int, tuple[int, int]]
  pooled: tuple[int, ...]
  window: int
  taps: tuple[int, ...]


TRUNKS = {  # by the shape of the first kernel [O, I, h, w]
  (64, 3, 11, 11): (
    "alex",
    Trunk({0: (4, 2), 3: (1, 2), 6: (1, 1), 8: (1, 1), 10: (1, 1)}, (3, 6), 3, (0, 3, 6, 8, 10)),
  ),
  (64, 3, 3, 3): (
    "vgg",
    Trunk(
      dict.fromkeys((0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), (1, 1)), (5, 10, 17, 24), 2, (2, 7, 14, 21, 28)
    ),
  ),
}


def embed(trunk: Trunk, variables: PyTree, images: Array) -> Array:
  """Returns the features [B, D] of images [B, H, W, 1 or 3] with values from 0 to 255.

  Args:
    trunk: one of TRUNKS.
    variables: {"kernel": {number: [h, w, I, O]}, "bias": {number: [O]}, "weight": one [C] for each tap}.
    images: grey is repeated in three channels.

  Raises:
    ConfigError: images that the trunk pools away.
  """
  x = (images.astype(jnp.float32) / 127.5 - 1.0 - jnp.asarray(SHIFT)) / jnp.asarray(SCALE)
  parts = []
  for number, (stride, padding) in trunk.convolutions.items():
    if number in trunk.pooled:
      x = nn.max_pool(x, (trunk.window,) * 2, (2, 2))
    if not min(x.shape[1:3]):
      raise ConfigError(
        f"images of {images.shape[1]}x{images.shape[2]} pixels are too small for LPIPS; take --features=random"
      )
    kernel, bias = variables["kernel"][number], variables["bias"][number]
    pads, order = ((padding, padding),) * 2, ("NHWC", "HWIO", "NHWC")
    exact = lax.Precision.HIGHEST  # a GPU or TPU would otherwise multiply in 10 or 8 bits
    x = nn.relu(
      lax.conv_general_dilated(x, kernel, (stride,) * 2, pads, dimension_numbers=order, precision=exact) + bias
    )
    if number in trunk.taps:
      squares = jnp.sum(x * x, axis=-1, keepdims=True)
      length = jnp.sqrt(jnp.where(squares > 0, squares, 1.0))  # a root of 0 has no gradient
      weight = variables["weight"][trunk.taps.index(number)] / (x.shape[1] * x.shape[2])
      parts.append((jnp.sqrt(weight) * x / (length + TINY)).reshape(len(x), -1))
  return jnp.concatenate(parts, axis=-1)


def load(argument: str, image_shape: tuple[int, int, int]) -> tuple[str, Trunk, PyTree]:
  """Reads the weights of the files TRUNK.pth,HEADS.pth; returns the trunk's name, the trunk, and its variables.

  Raises:
    ConfigError: files that are missing, damaged or belong to other networks, or images that are too small.
  """
  files = [Path(word).expanduser() for word in argument.split(",") if word]
  if len(files) != 2:
    raise ConfigError(f'"lpips{":" if argument else ""}{argument}": {_HOW}')
  first, heads = (_tensors(file) for file in files)
  shape = getattr(first.get("features.0.weight"), "shape", ())
  if shape not in TRUNKS:
    raise ConfigError(f"{files[0]} holds no weights of torchvision's AlexNet or VGG16; {_HOW}")
  name, trunk = TRUNKS[shape]
  variables: dict[str, dict[int, np.ndarray]] = {"kernel": {}, "bias": {}, "weight": {}}
  try:
    for number in trunk.convolutions:
      variables["kernel"][number] = np.ascontiguousarray(first[f"features.{number}.weight"].transpose(2, 3, 1, 0))
      variables["bias"][number] = first[f"features.{number}.bias"]
    for tap, number in enumerate(trunk.taps):
      weight = heads[f"lin{tap}.model.1.weight"].reshape(-1)
      if weight.shape != variables["bias"][number].shape or not (weight >= 0).all():
        raise ConfigError(f"{files[1]} has no weights for {name} in lin{tap}; {_HOW}")
      variables["weight"][tap] = weight
  except KeyError as error:
    raise ConfigError(f"the tensor {error} is missing in {files[0]} or {files[1]}; {_HOW}") from None
  image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
  jax.eval_shape(lambda x: embed(trunk, variables, x), image)
  return name, trunk, variables


def _tensors(file: Path) -> dict[str, np.ndarray]:
  try:
    return read_tensors(file.read_bytes())
  except OSError as error:
    raise ConfigError(f"{file} cannot be read ({error.strerror}); {_HOW}") from None
  except ConfigError as error:
    raise ConfigError(f"{file} is refused: {error}") from error
