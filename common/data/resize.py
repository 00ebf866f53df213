"""Resizes stored images to the shape of the config, once, on the host, in uint8."""

from collections.abc import Sequence

import numpy as np

from common.errors import ConfigError

Shape = tuple[int, int, int]
Native = tuple[int | None, int | None, int]  # None if images differ in size


def target_shape(native: Native, image_size: int, channels: int, resize: str) -> Shape:
  """Returns the (height, width, channels) that `fit` produces.

  Args:
    native: the shape of the stored images.
    image_size: height and width of the result; 0 keeps the native ones.
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
  if image_size == 0:
    if height is None or width is None:
      raise ConfigError(
        "config.data.image_size=0: the images differ in size; set one, as in "
        "--config.data.image_size=64 and --config.data.resize=crop"
      )
    return height, width, channels or depth
  if resize == "pad" and max(height or 0, width or 0) > image_size:
    raise ConfigError(
      f"config.data.image_size={image_size} is smaller than the images ({height}x{width}), which "
      'config.data.resize="pad" cannot do; use --config.data.resize=crop or --config.data.resize=stretch'
    )
  return image_size, image_size, channels or depth


def fit(images: np.ndarray | Sequence[np.ndarray], shape: Shape, resize: str) -> np.ndarray:
  """Converts images [N, h, w, c], or a list of [h, w, c], uint8, to ``shape``: uint8 [N, H, W, C].

  ``pad`` centres them on zeros (28 -> 32 puts 2 on each side). ``crop`` resizes the central square, ``stretch`` the
  whole image regardless of its proportions, both with PIL's bilinear filter, which is antialiased when it shrinks. Grey
  becomes RGB by repetition; RGB becomes grey by luma, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), rounded.
  """
  if not isinstance(images, np.ndarray):
    return np.concatenate([fit(image[None], shape, resize) for image in images])
  if images.shape[1:3] != shape[:2]:
    images = _pad(images, *shape[:2]) if resize == "pad" else _bilinear(images, *shape[:2], crop=resize == "crop")
  return _convert(images, shape[2])


def described(native: Native, shape: Shape, resize: str) -> str:
  """Describes how `fit` changes the size: "none", or e.g. "bilinear to 64", "middle square, bilinear to 64"."""
  if native[:2] == shape[:2]:
    return "none"
  if resize == "pad":
    return f"padded to {shape[0]}"
  square = native[0] is not None and native[0] == native[1]
  return f"{'' if square else 'middle square, ' if resize == 'crop' else 'stretched, '}bilinear to {shape[0]}"


def size_note(native: Native, shape: Shape, resize: str) -> str:
  """Describes for the user how images are resized and which part is lost; "" if they are not."""
  done, (height, width, _) = described(native, shape, resize), native
  if done == "none":
    return ""
  known = height is not None and width is not None
  lost = ""
  if done.startswith("middle"):
    share = f" ({1 - min(height, width) / max(height, width):.0%})" if height and width else ""
    lost = f'; what lies beside the square{share} is cut off, which config.data.resize="stretch" would keep'
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
      f"config.data.image_size={to_height}: an image of {height}x{width} does not fit; "
      "use --config.data.resize=crop or --config.data.resize=stretch"
    )
  canvas = np.zeros((num, to_height, to_width, channels), np.uint8)
  canvas[:, top : top + height, left : left + width] = images
  return canvas


def _bilinear(images: np.ndarray, to_height: int, to_width: int, *, crop: bool) -> np.ndarray:
  from PIL import Image  # only sets that are resized need it

  num, height, width, channels = images.shape
  if crop:
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    images = images[:, top : top + side, left : left + side]
  resized = np.empty((num, to_height, to_width, channels), np.uint8)
  for row, image in zip(resized, images, strict=True):
    # PIL expects grey images as [H, W].
    picture = Image.fromarray(np.ascontiguousarray(image[..., 0] if channels == 1 else image))
    row[:] = np.asarray(picture.resize((to_width, to_height), Image.Resampling.BILINEAR)).reshape(row.shape)
  return resized
