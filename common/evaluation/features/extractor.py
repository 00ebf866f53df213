"""Feature extractors, which turn images into features, and their names.

A name ends in the first eight digits of the weights' sha256, so that scores with other weights never have the same one.
Each constructor imports its own network: pixels need no classifier, and a classifier no InceptionV3.
"""

import dataclasses
import hashlib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from common.errors import ConfigError, nearest
from common.types import Array, PyTree

Apply = Callable[[PyTree, Array], tuple[Array, Array | None]]


@dataclasses.dataclass(frozen=True)
class Extractor:
  """A frozen network, or any other function of one image.

  Attributes:
    name: its name in scores, such as "classifier:fashion_mnist-1a2b3c4d".
    variables: the arrays that ``apply`` takes.
    apply: (variables, prepared [B, ...]) -> features float32 [B, D], and logits [B, K] or None; pure, each row alone.
    prepare: uint8 [B, H, W, C] (points: float32 [B, 1, 1, 2]) -> the input of ``apply``; it is not compiled.
    num_classes: K; 0 without logits.
    channels: number of channels that the logits classify separately, one after the other.
    accuracy: a classifier's accuracy on the test split of its own data, at its own size; None otherwise.
    resize: how it resizes images of the given size, for a score's protocol, or "none".
  """

  name: str
  variables: PyTree
  apply: Apply
  prepare: Callable[[np.ndarray], Any] = lambda images: images
  num_classes: int = 0
  channels: int = 1
  accuracy: float | None = None
  resize: str = "none"


@dataclasses.dataclass(frozen=True)
class Context:
  """The images that an extractor is for (shape, kind, data set), and the directory of large weights."""

  image_shape: tuple[int, int, int]
  kind: str
  dataset: str
  cache: Path | None = None


def sha8(variables: PyTree) -> str:
  """Returns the first eight digits of the sha256 of all arrays with their names, shapes and types."""
  digest = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
    leaf = np.ascontiguousarray(leaf)
    digest.update(f"{jax.tree_util.keystr(path)} {leaf.shape} {leaf.dtype.str}".encode())
    digest.update(leaf.data)
  return digest.hexdigest()[:8]


PIXELS = "--config.evaluate.features=pixels"  # for a way out


def _pixels(argument: str, context: Context) -> Extractor:
  """Returns the pixels in [0, 1], or the coordinates of points."""
  if argument:
    raise ConfigError(f'"pixels:{argument}": pixels takes no argument; use {PIXELS}')
  scale = 1.0 if context.kind == "points" else 1.0 / 255.0

  def apply(variables: PyTree, images: Array) -> tuple[Array, None]:
    return images.reshape(len(images), -1).astype(jnp.float32) * scale, None

  return Extractor("pixels", {}, apply)


def _random(argument: str, context: Context) -> Extractor:
  """Builds a convolutional network with random weights from a seed: random, or random:SEED."""
  if argument and not argument.isdigit():
    raise ConfigError(
      f'"random:{argument}" has no seed; use --config.evaluate.features=random:0, or another whole number'
    )
  if context.kind == "points":
    raise ConfigError(f'"random" embeds images, and these are points; use {PIXELS}')
  from common.evaluation.features.random_network import random_network

  variables, apply = random_network(context.image_shape, seed=int(argument or 0))
  return Extractor(f"random:{argument or 0}-{sha8(variables)}", variables, apply)


def _classifier(argument: str, context: Context) -> Extractor:
  """Loads a classifier of this project: for the data set, for a named one, or from a .safetensors file.

  If a data set has several, it is the one whose training images are nearest in size.
  """
  if context.kind == "points":
    raise ConfigError(f'"classifier" is of images, and these are points; use {PIXELS}')
  from common.evaluation.features import classifier_file
  from common.evaluation.features.classifier import embed

  file = classifier_file.find(argument or context.dataset, context.image_shape)
  if file is None:
    shipped = ", ".join(classifier_file.shipped())
    raise ConfigError(
      f'no classifier of "{argument or context.dataset}" is known: there are {shipped}; train one '
      "(python -m experiments.train --config=classifier:...), write it to a file (python -m "
      "experiments.export_classifier) and name that, classifier:FILE.safetensors; or use "
      f"--config.evaluate.features=random or {PIXELS}"
    )
  trained = classifier_file.load(file)
  height, width, channels = trained.spec.image_shape
  if channels != context.image_shape[2]:
    raise ConfigError(
      f"the classifier {file.stem} takes pictures of {channels} channels, and these have {context.image_shape[2]}; "
      "use one that was trained on such, or random, pixels or inception"
    )
  same = context.image_shape == trained.spec.image_shape
  low, high = trained.spec.pixel_range

  def apply(variables: PyTree, images: Array) -> tuple[Array, Array]:
    x = images.astype(jnp.float32)
    if not same:
      x = jax.image.resize(x, (len(x), height, width, channels), "bilinear")
    return embed(trained.network, variables, low + (high - low) / 255.0 * x)

  return Extractor(
    name=f"classifier:{file.stem}-{sha8(trained.variables)}",
    variables=trained.variables,
    apply=apply,
    num_classes=trained.spec.num_classes,
    accuracy=trained.accuracy,
    resize="none" if same else f"antialiased bilinear to {height}x{width}",
  )


def _stacked(argument: str, context: Context) -> Extractor:
  """Applies a classifier of grey images to each channel separately: stacked:NAME, for stacked digits."""
  channels = context.image_shape[2]
  grey = _classifier(argument, dataclasses.replace(context, image_shape=(*context.image_shape[:2], 1)))

  def apply(variables: PyTree, images: Array) -> tuple[Array, Array]:
    planes = jnp.moveaxis(images, 3, 1).reshape(len(images) * channels, *images.shape[1:3], 1)
    features, logits = grey.apply(variables, planes)
    assert logits is not None
    return features.reshape(len(images), -1), logits.reshape(len(images), -1)

  name, num_classes = f"stacked-{grey.name}", grey.num_classes * channels
  return dataclasses.replace(grey, name=name, apply=apply, num_classes=num_classes, channels=channels)


def _inception(argument: str, context: Context) -> Extractor:
  """Loads InceptionV3 of 2015-12-05, whose Frechet distance is the FID, from a file or from the cache."""
  if context.kind == "points":
    raise ConfigError(f'"inception" is of images, and these are points; use {PIXELS}')
  from common.evaluation.features.inception import InceptionV3, prepare
  from common.evaluation.features.inception_weights import inception_path, load_inception

  variables, digest = load_inception(inception_path(argument, context.cache))
  network = InceptionV3()

  def apply(variables: PyTree, images: Array) -> tuple[Array, Array]:
    heads = network.apply(variables, images)
    return heads["2048"], heads["logits_unbiased"]

  return Extractor(
    name=f"inception-{digest[:8]}",
    variables=variables,
    apply=apply,
    prepare=prepare,
    num_classes=1008,
    resize="TF1 bilinear to 299x299",
  )


def _lpips(argument: str, context: Context) -> Extractor:
  """Loads LPIPS, lpips:TRUNK.pth,HEADS.pth, whose value for a pair is the squared distance of these features."""
  if context.kind == "points":
    raise ConfigError(f'"lpips" is of images, and these are points; use {PIXELS}')
  from common.evaluation.features import lpips

  name, trunk, variables = lpips.load(argument, context.image_shape)

  def apply(variables: PyTree, images: Array) -> tuple[Array, None]:
    return lpips.embed(trunk, variables, images), None

  return Extractor(f"lpips:{name}-{sha8(variables)}", variables, apply)


EXTRACTORS: dict[str, Callable[[str, Context], Extractor]] = {
  "classifier": _classifier,
  "inception": _inception,
  "lpips": _lpips,
  "pixels": _pixels,
  "random": _random,
  "stacked": _stacked,
}


def open_extractor(text: str, context: Context) -> Extractor:
  """Opens the extractor that ``text`` names: NAME or NAME:ARGUMENT from EXTRACTORS, or a function of your own.

  The latter is written "module:function". It receives the `Context` and returns an `Extractor`, whose name should
  identify its weights (`sha8`).

  Raises:
    ConfigError: an unknown name, missing weights, or images that the extractor cannot take.
  """
  name, _, argument = text.partition(":")
  if name in EXTRACTORS:
    return EXTRACTORS[name](argument, context)
  hint = nearest(name, EXTRACTORS)
  if not argument:
    raise ConfigError(f'features "{text}" is not one of {", ".join(EXTRACTORS)}, nor "module:function"{hint}')
  try:
    make = getattr(importlib.import_module(name), argument)
  except (ImportError, AttributeError) as error:
    raise ConfigError(f'features "{text}" cannot be imported: {error}{hint}') from error
  extractor = make(context)
  if not isinstance(extractor, Extractor):
    raise ConfigError(
      f'features "{text}" made a {type(extractor).__name__}, not a common.evaluation.features.extractor.Extractor'
    )
  return extractor
