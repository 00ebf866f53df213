"""The settings and sizes that the encoders and decoders of all architectures share."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from common.errors import ConfigError
from common.types import Array


class Network(nn.Module):
  """An encoder or a decoder.

  A network with ``images_only`` does not take points; one that ``makes_map`` needs as many statistics for each latent;
  one that ``takes_maps`` is given images and maps in the place of values.

  Attributes:
    image_shape: (height, width, channels) of the data.
    num_stats: maps the size of a layer of z to the number of statistics that its posterior takes.
    num_params: how many numbers the likelihood takes for each pixel and channel.
    z_dim: size of z; in a hierarchy, of its top layer.
    dtype: number format in which layers compute; outputs are float32.
  """

  image_shape: tuple[int, int, int]
  num_stats: Callable[[int], int]
  num_params: int
  z_dim: int
  dtype: str = "float32"
  images_only = makes_map = takes_maps = False

  @property
  def lower_z_dims(self) -> tuple[int, ...]:
    """Sizes of the layers of z below the top; a hierarchy has some."""
    return ()

  @property
  def output_shape(self) -> tuple[int, int, int]:
    """Shape of the likelihood's parameters for one image, (height, width, channels * num_params)."""
    height, width, channels = self.image_shape
    return height, width, channels * self.num_params

  def halved(self, times: int, setting: str = "") -> tuple[int, int]:
    """Returns height and width of the image after ``times`` halvings, whose number ``setting`` sets.

    Raises:
      ConfigError: a side is not a multiple of 2^times.
    """
    height, width, _ = self.image_shape
    factor = 2**times
    if height % factor or width % factor:
      wanted = height + -height % factor, width + -width % factor
      wide = f" and --config.data.image_width={wanted[1]}" if wanted[1] != wanted[0] else ""
      raise ConfigError(
        f"this network halves the image {times} times, and {height}x{width} is not a multiple of {factor}; "
        f"set --config.data.image_size={wanted[0]}{wide}" + (f", or shorten {setting}" if setting else "")
      )
    return height // factor, width // factor

  def strided(self, kind: type[nn.Module], features: int, **options: object) -> nn.Module:
    """Returns a 4x4 convolution of stride 2, which halves an image, or its transpose, which doubles one."""
    return kind(features, (4, 4), strides=(2, 2), dtype=self.dtype, **options)


class MapNetwork(Network):
  """A network between images and a map of z, where each place sees its surroundings.

  z is the height of the map times its width times the numbers at each place. A decoder names its ``last_layer``.
  """

  images_only = makes_map = True

  @property
  def halvings(self) -> int:
    """Number of times that the image is halved."""
    raise NotImplementedError

  def places(self, setting: str = "halvings") -> tuple[int, int]:
    """Returns height and width of the map; ``setting`` sets `halvings`.

    Raises:
      ConfigError: the image cannot be halved that often, or z does not fill its map.
    """
    height, width = self.halved(self.halvings, setting)
    if self.z_dim % (height * width):
      raise ConfigError(
        f"z_dim={self.z_dim} must be a multiple of the {height}x{width} places of its map; "
        f"take --.z_dim={self.z_dim + -self.z_dim % (height * width)}"
      )
    return height, width

  @property
  def numbers(self) -> int:
    """How many statistics of the posterior each place has."""
    return self.num_stats(self.z_dim) // math.prod(self.places())

  def flat(self, x: Array) -> Array:
    """Flattens the statistics [B, h, w, n D], n for each of D numbers: all first ones, then all second ones."""
    kinds = jnp.split(x.astype(jnp.float32), self.num_stats(self.z_dim) // self.z_dim, axis=-1)
    return jnp.concatenate([kind.reshape(x.shape[0], -1) for kind in kinds], axis=-1)
