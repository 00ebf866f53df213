"""Decodes and resizes a large set of your pictures once: python -m experiments.prepare --source=SRC --out=DIR

SRC is a folder, an archive, a .npy or .npz, or the name of a data set: cifar10 with --data_dir=PLACE, or one of TFDS.
Then train on it: --config=dcgan:folder --config.data.dir=DIR, or dcgan:cifar10. The same command goes on where it
stopped. DIR gets the pixels in shards, labels from folders or tables, captions from .txt files beside the
pictures, a contact sheet, damaged.csv with the reason for each picture that cannot be read, and a manifest with the
sha256 of each file. Small sets need no preparation.
"""

from pathlib import Path
from typing import Any

from absl import flags

from common.data.archive import is_archive
from common.data.picture_files import BACKGROUNDS
from common.errors import ConfigError
from configs import recipes, schema
from experiments.command_line import flags as command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
  flags.DEFINE_string("source", "", "a folder, an archive, a .npy or .npz, or the name of a data set")
  flags.DEFINE_string("data_dir", "", "where the files of a data set lie; empty means the usual places")
  flags.DEFINE_string("out", "", "directory to write; one that holds a part of the same preparation is completed")
  flags.DEFINE_integer("image_size", 0, "height and width of the prepared pictures; 0: 64, or those of a data set")
  flags.DEFINE_integer("image_width", 0, "their width where image_size is the height only; 0: as the height")
  flags.DEFINE_enum("resize", "", ["", "crop", "pad", "stretch"], "how pictures reach that size; empty: crop")
  flags.DEFINE_enum("channels", "", ["", "1", "3"], "color channels of the pictures; empty: 3, or those of a data set")
  flags.DEFINE_enum("background", "white", list(BACKGROUNDS), "the color behind transparent pixels")


def main() -> int:
  command_line.required("source")
  command_line.required("out")
  data, path = _data(), Path(FLAGS.source).expanduser()

  from common.data.catalogue import open_source
  from common.data.prepare import prepare_files, prepare_set
  from common.data.prepared import listed
  from common.data.resize import target_shape
  from common.training.log import Status

  status, out = Status(enabled=True), Path(FLAGS.out).expanduser()
  if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
    raise ConfigError(f"--out={out} lies in --source={path}, whose pictures it would join; name a place outside")
  if path.is_dir() or is_archive(path):
    shape = target_shape((None, None, data.channels), (data.image_size, data.image_width), data.channels, data.resize)
    manifest = prepare_files(path, out, shape, data.resize, BACKGROUNDS[FLAGS.background], status.line)
  else:
    source = open_source(data, status.line)
    for note in source.notes:
      status.line(note)
    shape = target_shape(source.native_shape, (data.image_size, data.image_width), data.channels, data.resize)
    manifest = prepare_set(source, out, shape, data.resize, status.line)
  counts = ", ".join(f"{count:,} {split}" for split, count in manifest["splits"].items())
  print(f"{FLAGS.out}: {manifest['examples']:,} pictures ({counts})")
  if manifest["num_classes"]:
    names = f": {listed(manifest['class_names'])}" if manifest["class_names"] else ""
    print(f"{manifest['num_classes']} classes{names}")
  if manifest["captions"]:
    print(f"{manifest['captions']:,} captions")
  if manifest["damaged"]:
    print(f"{manifest['damaged']:,} damaged files are listed in {out / 'damaged.csv'}")
  name = "folder" if path.exists() else FLAGS.source
  use = f"--config=NAME:{name}" if name in recipes.DATASETS else f"--config.data.name={name}"
  print(f"train on it: {use} --config.data.dir={FLAGS.out}")
  return 0


def _data() -> Any:
  """Returns the config.data of --source: that of configs of the same set, with the flags that are given.

  Raises:
    ConfigError: a path that does not exist.
  """
  data, path = schema.get_config().data, Path(FLAGS.source).expanduser()
  if path.exists():
    if not (path.is_dir() or is_archive(path) or path.suffix.lower() in (".npy", ".npz")):
      raise ConfigError(f"--source={FLAGS.source} is one file; name a folder, an archive, a .npy or a .npz")
    data.update({**recipes.DATASETS["folder"], "dir": str(path)})
  elif path.is_absolute() or FLAGS.source.startswith("."):
    raise ConfigError(f"--source={FLAGS.source} does not exist; name a folder of pictures, an archive or a data set")
  else:
    data.update({**recipes.DATASETS.get(FLAGS.source, {"name": FLAGS.source, "resize": "crop"}), "dir": FLAGS.data_dir})
  given = {"image_size": FLAGS.image_size, "image_width": FLAGS.image_width, "resize": FLAGS.resize}
  given["channels"] = int(FLAGS.channels or 0)
  data.update({key: value for key, value in given.items() if value})
  return data


if __name__ == "__main__":
  command_line.run(main, __doc__, define_flags)
