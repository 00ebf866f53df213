"""The settings and sizes that the encoders and decoders of all architectures share."""

from collections.abc import Callable

import flax.linen as nn

from common.errors import ConfigError


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
