"""Decodes and resizes a large set of your pictures once: python -m experiments.prepare --source=SRC --out=DIR

SRC is a folder, a zip or a tar archive. Then train on it: --config.data.name=folder --config.data.dir=DIR. The same
command goes on where it stopped. DIR gets the pixels in shards, labels from folders or tables, captions from .txt files
beside the pictures, a contact sheet, damaged.csv with the reason for each picture that cannot be read, and a manifest
with the sha256 of each file. Small sets need no preparation.
"""

from pathlib import Path

from absl import flags

from common.data.picture_files import BACKGROUNDS
from common.errors import ConfigError
from experiments.command_line import flags as command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
  flags.DEFINE_string("source", "", "the folder, zip or tar archive")
  flags.DEFINE_string("out", "", "directory to write; one that holds a part of the same preparation is completed")
  flags.DEFINE_integer("image_size", 64, "height and width of the prepared pictures", lower_bound=1)
  flags.DEFINE_enum("resize", "crop", ["crop", "pad", "stretch"], "how pictures reach that size")
  flags.DEFINE_enum("channels", "3", ["1", "3"], "color channels of the prepared pictures")
  flags.DEFINE_enum("background", "white", list(BACKGROUNDS), "the color behind transparent pixels")


def main() -> int:
  command_line.required("source")
  command_line.required("out")
  source = Path(FLAGS.source).expanduser()
  if not source.exists():
    raise ConfigError(f"--source={FLAGS.source} does not exist; name a folder of pictures, a zip or a tar archive")

  from common.data.prepare import prepare
  from common.data.prepared import listed
  from common.training.log import Status

  status, shape = Status(enabled=True), (FLAGS.image_size, FLAGS.image_size, int(FLAGS.channels))
  background = BACKGROUNDS[FLAGS.background]
  manifest = prepare(source, Path(FLAGS.out), shape, FLAGS.resize, background, status.line)
  counts = ", ".join(f"{count:,} {split}" for split, count in manifest["splits"].items())
  print(f"{FLAGS.out}: {manifest['examples']:,} pictures ({counts})")
  if manifest["class_names"]:
    print(f"{len(manifest['class_names'])} classes: {listed(manifest['class_names'])}")
  if manifest["captions"]:
    print(f"{manifest['captions']:,} captions")
  if manifest["damaged"]:
    print(f"{manifest['damaged']:,} damaged files are listed in {Path(FLAGS.out) / 'damaged.csv'}")
  print(f"train on it: --config.data.name=folder --config.data.dir={FLAGS.out}")
  return 0


if __name__ == "__main__":
  command_line.run(main, __doc__, define_flags)
