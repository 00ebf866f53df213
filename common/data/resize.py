"""Resizes stored images to the shape of the config, once, on the host, in uint8."""

from collections.abc import Sequence

import numpy as np

from common.errors import ConfigError

Shape = tuple[int, int, int]
Native = tuple[int | None, int | None, int]  # None if images differ in size


def target_shape(native: Native, size: tuple[int, int], channels: int, resize: str) -> Shape:
  """Returns the (height, width, channels) that `fit` produces.

  Args:
    native: the shape of the stored images.
    size: config.data.image_size and image_width, the height and the width of the result; a width of 0 is the same as
      the height, and a height of 0 keeps the native ones.
    channels: 1 or 3; 0 keeps the native number.
    resize: "pad", "crop" or "stretch".

  Raises:
    ConfigError: the conversion is impossible; raised before any image is read.
  """
  height, width, depth = native
  if depth not in (1, 3) and channels not in (0, depth):
    raise ConfigError(
      f"config.data.channels={channels}: the images have {depth}, only 1 and 3 are converted; "
      "use --config.data.channels=0"
    )
  to_height, to_width = size[0], size[1] or size[0]
  if size[1] and not size[0]:
    raise ConfigError(
      f"config.data.image_width={size[1]} lacks a height, config.data.image_size; set --config.data.image_size="
      f"{size[1]}, for example, or --config.data.image_width=0"
    )
  if to_height == 0:
    if height is None or width is None:
      raise ConfigError(
        "config.data.image_size=0: the images differ in size; set one, as in "
        "--config.data.image_size=64 and --config.data.resize=crop"
      )
    return height, width, channels or depth
  if resize == "pad" and ((height or 0) > to_height or (width or 0) > to_width):
    raise ConfigError(
      f"config.data.image_size={_said(to_height, to_width)} is smaller than the images ({height}x{width}), which "
      'config.data.resize="pad" cannot do; use --config.data.resize=crop or --config.data.resize=stretch'
    )
  return to_height, to_width, channels or depth


def _said(height: int, width: int) -> str:
  return str(height) if height == width else f"{height}x{width}"


def fit(images: np.ndarray | Sequence[np.ndarray], shape: Shape, resize: str) -> np.ndarray:
  """Converts images [N, h, w, c], or a list of [h, w, c], uint8, to ``shape``: uint8 [N, H, W, C].

  ``pad`` centres them on zeros (28 -> 32 puts 2 on each side). ``crop`` resizes the largest central window of the new
  proportions, ``stretch`` the whole image, both with PIL's bilinear filter, which is antialiased when it shrinks. Grey
  becomes RGB by repetition; RGB becomes grey by luma, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), rounded.
  """
  if not isinstance(images, np.ndarray):
    return np.concatenate([fit(image[None], shape, resize) for image in images])
  if images.shape[1:3] != shape[:2]:
    images = _pad(images, *shape[:2]) if resize == "pad" else _bilinear(images, *shape[:2], crop=resize == "crop")
  return _convert(images, shape[2])


def described(native: Native, shape: Shape, resize: str) -> str:
  """Describes how `fit` changes the size: "none", or e.g. "bilinear to 64", "middle square, bilinear to 64".

  Of rectangles it says "middle 48:64, bilinear to 48x64".
  """
  if native[:2] == shape[:2]:
    return "none"
  (height, width, _), (to_height, to_width, _) = native, shape
  size = _said(to_height, to_width)
  if resize == "pad":
    return f"padded to {size}"
  if height is not None and width is not None and height * to_width == width * to_height:
    return f"bilinear to {size}"
  middle = "square" if to_height == to_width else f"{to_height}:{to_width}"
  return f"{f'middle {middle}' if resize == 'crop' else 'stretched'}, bilinear to {size}"


def size_note(native: Native, shape: Shape, resize: str) -> str:
  """Describes for the user how images are resized and which part is lost; "" if they are not."""
  done, (height, width, _) = described(native, shape, resize), native
  if done == "none":
    return ""
  known = height is not None and width is not None
  lost = ""
  if done.startswith("middle"):
    tall, wide = (height or 0) * shape[1], (width or 0) * shape[0]
    share = f" ({1 - min(tall, wide) / max(tall, wide):.0%})" if known else ""
    lost = f'; what lies beside it{share} is cut off, which config.data.resize="stretch" would keep'
  return f'config.data.resize="{resize}": images of {f"{height}x{width}" if known else "several sizes"}: {done}{lost}'


def _convert(images: np.ndarray, channels: int) -> np.ndarray:
  if images.shape[-1] == channels:
    return images
  if channels == 3:
    return np.repeat(images, 3, axis=-1)
  return np.rint(images @ np.array([0.299, 0.587, 0.114], np.float32)).astype(np.uint8)[..., None]


def _pad(images: np.ndarray, to_height: int, to_width: int) -> np.ndarray:
  num, height, width, channels = images.shape
  top, left = (to_height - height) // 2, (to_width - width) // 2
  if top < 0 or left < 0:
    raise ConfigError(
      f"config.data.image_size={_said(to_height, to_width)}: an image of {height}x{width} does not fit; "
      "use --config.data.resize=crop or --config.data.resize=stretch"
    )
  canvas = np.zeros((num, to_height, to_width, channels), np.uint8)
  canvas[:, top : top + height, left : left + width] = images
  return canvas


def _bilinear(images: np.ndarray, to_height: int, to_width: int, *, crop: bool) -> np.ndarray:
  from PIL import Image  # only sets that are resized need it

  num, height, width, channels = images.shape
  if crop:
    inner_height = min(height, max(1, round(width * to_height / to_width)))
    inner_width = min(width, max(1, round(height * to_width / to_height)))
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    images = images[:, top : top + inner_height, left : left + inner_width]
  resized = np.empty((num, to_height, to_width, channels), np.uint8)
  for row, image in zip(resized, images, strict=True):
    # PIL expects grey images as [H, W].
    picture = Image.fromarray(np.ascontiguousarray(image[..., 0] if channels == 1 else image))
    row[:] = np.asarray(picture.resize((to_width, to_height), Image.Resampling.BILINEAR)).reshape(row.shape)
  return resized
