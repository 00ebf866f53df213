"""Networks that restore, by name: they map what is left of an image, "seen" [B, h, w, c], to the image [B, H, W, C]."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from common.build import build, choose, parameters
from common.data.degradations.resize import resized
from common.data.spec import Spec
from common.errors import ConfigError
from common.restoration.dncnn import DnCNN
from common.restoration.edsr import EDSR
from common.restoration.rrdb import RRDB
from common.restoration.unet import UNet
from common.types import Images

NETWORKS: dict[str, Any] = {"edsr": EDSR, "rrdb": RRDB, "dncnn": DnCNN, "unet": UNet}


def build_network(section: Mapping[str, Any], path: str, spec: Spec, **context: Any) -> nn.Module:
  """Builds the network that a config's section names, for what ``spec`` says is seen of an image.

  Args:
    section: ``{name, **arguments}``.
    path: the section's path in the config, for errors.
    spec: describes the data.
    **context: arguments for the networks that take them.

  Raises:
    ConfigError: nothing is taken from the images, the network does not take what is left, or the section is wrong.
  """
  shapes = {row.name: row.shape for row in spec.rows}
  if "seen" not in shapes:
    raise ConfigError(
      "config.data.degradation is empty, and a network restores what it takes from the images; set one, as in "
      "--config.data.degradation=\"({'name': 'gaussian_noise', 'sigma': 25.0},)\""
    )
  (height, width, channels), (seen_height, seen_width, _) = spec.image_shape, shapes["seen"]
  scale = height // seen_height
  if (seen_height * scale, seen_width * scale) != (height, width):
    raise ConfigError(
      f"config.data.degradation makes {seen_height}x{seen_width} of {height}x{width} pixels, and a network restores "
      "by a whole factor that both sides share"
    )
  constructor = choose(NETWORKS, section.get("name", ""), f"config.{path}.name")
  if scale > 1 and "scale" not in parameters(constructor):
    raise ConfigError(
      f'config.{path}.name="{section["name"]}" keeps the size of what is seen, and config.data.degradation shrinks '
      f"images by {scale}; take --config.{path}=\"{{'name': 'edsr'}}\""
    )
  return build(NETWORKS, section, path, scale=scale, channels=channels, **context)


def triples(seen: Images, restored: Images, image: Images) -> Images:
  """Returns what is seen, enlarged to the image's size, beside the result and the image, [3 B, H, W, C]."""
  _, height, width, channels = image.shape
  shown = jnp.broadcast_to(resized(seen[..., :channels], height, width), image.shape)
  return jnp.stack([shown, restored, image], axis=1).reshape(-1, *image.shape[1:])
