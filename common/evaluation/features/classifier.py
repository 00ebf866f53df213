"""A small convolutional classifier: a family of its own, and the feature extractor of metrics."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from common import random
from common.build import build, within
from common.data.spec import Spec
from common.ema import Ema, build_ema
from common.errors import ConfigError
from common.layers.basic import Dropout
from common.layers.conv import Conv
from common.layers.normalization import BatchNorm, BatchNormed
from common.optim import OPTIMIZERS, build_optimizer
from common.state import NetState, apply_gradients, init_network
from common.types import Array, Batch, Images, Mean, Metrics, PyTree


class ClassifierState(flax.struct.PyTreeNode):
  """The network, and the number of steps so far."""

  step: Array
  net: NetState


class ConvNet(nn.Module):
  """Blocks of (3x3 convolution, BatchNorm, ReLU) x 2 and 2x2 max pooling, then a hidden layer with dropout.

  Attributes:
    num_classes: number of classes in the data.
    channels: channels of each block.
    hidden: units of the hidden layer, which are the features.
    dropout: share of hidden units that training sets to 0.
    bn_momentum: BatchNorm's running statistics become momentum * running + (1 - momentum) * batch.
    bn_epsilon: added to BatchNorm's variance.
    bn_axis_name: the device axis over which BatchNorm is synchronised, or None.
    dtype: floating-point type of convolutions.
  """

  num_classes: int
  channels: tuple[int, ...] = (32, 64)
  hidden: int = 128
  dropout: float = 0.5
  bn_momentum: float = 0.9
  bn_epsilon: float = 1e-5
  bn_axis_name: str | None = None
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: Images, *, train: bool, keys: Array) -> tuple[Array, Array]:
    """Maps [B, H, W, C] to logits [B, classes] and features [B, hidden]."""
    for channels in self.channels:
      for _ in range(2):
        x = Conv(channels, (3, 3), use_bias=False, dtype=self.dtype)(x)
        x = BatchNorm(momentum=self.bn_momentum, epsilon=self.bn_epsilon, axis_name=self.bn_axis_name)(x, train=train)
        x = nn.relu(x)
      x = nn.max_pool(x, (2, 2), (2, 2), padding="SAME")
    features = nn.relu(nn.Dense(self.hidden)(x.reshape(x.shape[0], -1).astype(jnp.float32)))
    return nn.Dense(self.num_classes)(Dropout(self.dropout)(features, keys, train=train)), features


class WhitenedNet(BatchNormed):
  """A fixed whitening layer, blocks of two 3x3 convolutions with BatchNorm and GELU, and global max pooling.

  The shape is that of Jordan 2024 (arXiv:2404.00498), narrower. There the first filters are the principal components of
  2x2 patches of the training images, and a scale makes their variances 1. Here they are the cosine transform of 2x2
  pixels and their colors, which is close to that for any pictures, and BatchNorm makes the variances 1. As there,
  evaluation takes the mean over an image and its mirror image, here of their features, so that the two have the same.

  Attributes:
    num_classes: number of classes in the data.
    channels: channels of each block; the first of its convolutions is followed by 2x2 max pooling.
    translate: training images move by up to this many pixels, and reflected ones come in.
    dtype: floating-point type of convolutions.
  """

  num_classes: int
  channels: tuple[int, ...] = (32, 128, 128)
  translate: int = 2
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: Images, *, train: bool, keys: Array) -> tuple[Array, Array]:
    """Maps [B, H, W, C] to logits [B, classes] and features [B, channels[-1]]."""
    if train and self.translate:
      x = _translated(x, keys, self.translate)
    if not train:
      x = jnp.concatenate([x, x[:, :, ::-1]])
    x = lax.conv_general_dilated(
      x, _cosines(x.shape[-1]), (1, 1), ((0, 1), (0, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    x = self.norm(x, train=train, use_scale=False, use_bias=False)
    x = nn.gelu(jnp.concatenate([x, -x], axis=-1))
    for channels in self.channels:
      x = Conv(channels, (3, 3), use_bias=False, dtype=self.dtype)(x)
      x = nn.max_pool(x, (2, 2), (2, 2), padding="SAME")
      x = nn.gelu(self.norm(x, train=train))
      x = nn.gelu(self.norm(Conv(channels, (3, 3), use_bias=False, dtype=self.dtype)(x), train=train))
    features = jnp.max(x, axis=(1, 2)).astype(jnp.float32)
    if not train:
      features = jnp.mean(features.reshape(2, -1, features.shape[-1]), axis=0)
    return nn.Dense(self.num_classes)(features), features


def _translated(x: Images, keys: Array, reach: int) -> Images:
  """Moves each image by whole pixels, uniform in [-reach, reach] along both sides."""
  start = jnp.floor(random.uniform(keys, (2,)) * (2 * reach + 1)).astype(jnp.int32)
  padded = jnp.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="reflect")
  return jax.vmap(lambda image, at: lax.dynamic_slice(image, (at[0], at[1], 0), x.shape[1:]))(padded, start)


def _cosines(channels: int) -> Array:
  """Returns the kernel [2, 2, C, 4 C] of the orthonormal cosine transform (DCT-II) of 2x2 pixels of C channels."""

  def basis(size: int) -> np.ndarray:
    frequency, place = np.ogrid[:size, :size]
    rows = np.cos(np.pi * frequency * (place + 0.5) / size)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)

  kernel = np.einsum("ah,bw,kc->hwcabk", basis(2), basis(2), basis(channels))
  return jnp.asarray(kernel.reshape(2, 2, channels, 4 * channels), jnp.float32)


NETWORKS = {"conv": ConvNet, "whitened": WhitenedNet}
TABLES = {"model": NETWORKS, "optim": OPTIMIZERS}


@dataclasses.dataclass(frozen=True)
class Classifier:
  """Softmax regression on the network's features, by maximum likelihood."""

  spec: Spec
  network: nn.Module
  tx: optax.GradientTransformation
  ema: Ema
  axis_name: str | None

  batches_per_step = None
  alarms = ()

  def init(self, rng: Array, batch: Batch) -> ClassifierState:
    """Returns a fresh network; only the shapes of ``batch`` (leaves [B, ...]) matter."""
    keys = random.row_keys(rng, batch["index"])
    with within("model"):
      net = init_network(self.network, self.tx, self.ema, rng, batch["image"], train=True, keys=keys)
    return ClassifierState(step=jnp.zeros((), jnp.int32), net=net)

  def train_step(self, state: ClassifierState, batch: Batch, rng: Array) -> tuple[ClassifierState, Metrics]:
    """Takes one step on the mean cross-entropy of the batch."""
    net, keys = state.net, random.row_keys(rng, batch["index"])

    def loss_fn(params: Any) -> tuple[Array, Any]:
      variables = {"params": params, **net.mutable}
      (logits, _), mutable = self.network.apply(
        variables, batch["image"], train=True, keys=keys, mutable=["batch_stats"]
      )
      losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
      return jnp.mean(losses), (losses, logits, mutable)

    grads, (losses, logits, mutable) = jax.grad(loss_fn, has_aux=True)(net.params)
    net, norms = apply_gradients(net, grads, self.tx, self.ema, mutable=mutable, axis_name=self.axis_name)
    return ClassifierState(step=state.step + 1, net=net), {
      **_scores(losses, logits, batch["label"]),
      **norms,
    }

  def eval_step(self, state: ClassifierState, batch: Batch, rng: Array) -> Metrics:
    variables, keys = state.net.variables(ema=True), random.row_keys(rng, batch["index"])
    logits, _ = self.network.apply(variables, batch["image"], train=False, keys=keys)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
    return _scores(losses, logits, batch["label"], batch["mask"])

  def summarize(self, means: Mapping[str, Any]) -> dict[str, float]:
    return {}


def embed(network: nn.Module, variables: PyTree, images: Images) -> tuple[Array, Array]:
  """Applies a trained network to [B, H, W, C] in its pixel range: features [B, hidden] after their ReLU, and logits."""
  keys = random.row_keys(jax.random.key(0), jnp.arange(len(images)))  # for dropout, which is off
  logits, features = network.apply(variables, images, train=False, keys=keys)
  return features, logits


def _scores(losses: Array, logits: Array, labels: Array, mask: Array | None = None) -> Metrics:
  correct = (jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32)
  return {"loss": Mean.of(losses, mask), "accuracy": Mean.of(correct, mask)}


def from_config(config: Any, spec: Spec, axis_name: str | None = None) -> Classifier:
  """Builds the classifier of ``config`` for data of ``spec``, without any arrays.

  Raises:
    ConfigError: a data set without labels, or a section that names no known choice.
  """
  if not spec.num_classes:
    raise ConfigError(
      f'config.data.name="{config.data.name}" has no labels to classify; '
      "take a set that has, as in --config.data.name=digits"
    )
  bn_axis_name = axis_name if config.parallel.sync_batch_norm else None
  network = build(
    NETWORKS, config.model, "model", num_classes=spec.num_classes, bn_axis_name=bn_axis_name, dtype=config.dtype
  )
  return Classifier(
    spec=spec,
    network=network,
    tx=build_optimizer(config.optim, "optim", config.train.grad_clip),
    ema=build_ema(config.ema),
    axis_name=axis_name,
  )
