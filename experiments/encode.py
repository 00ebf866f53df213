"""Finds the latents of your pictures: python -m experiments.encode --workdir=runs/vae --input=PICTURES --out=mine.npz

--input names folders, archives or picture files, with commas; they are brought to the size of the model as
config.data.resize says. A VAE encodes them: the file has "z", one draw of q(z|x) for each picture (a point where q is
one), "mean" and "log_var" where q is a Gaussian, and "codes" where z are codes. A GAN has no encoder: "z" is sought by
gradient descent through the generator. The command reports the error of the pictures that the latents give back, and
mine.png shows each beside its reconstruction. experiments.sample --latents=mine.npz draws from the file, and with
--interpolate=8 it walks from each picture to the next.
"""

from pathlib import Path
from typing import Any

from absl import flags

from common.errors import ConfigError
from experiments.command_line import flags as command_line

FLAGS = flags.FLAGS
SHOWN = 32  # pictures in the sheet


def define_flags() -> None:
  flags.DEFINE_string("workdir", "", "directory of the run, or an exported model")
  flags.DEFINE_string("checkpoint", "last", "last, best, or the number of a step")
  flags.DEFINE_list("input", [], "folders, archives or picture files, with commas")
  flags.DEFINE_string("out", "", "the file to write, NAME.npz; NAME.png shows the pictures")
  flags.DEFINE_string("label", "", "class of all pictures, for a conditional model; empty: that of their folders")
  flags.DEFINE_integer("steps", 300, "updates of a search, for a GAN", lower_bound=1)
  flags.DEFINE_float("learning_rate", 0.05, "of a search, at its start", lower_bound=0.0)


def main() -> int:
  command_line.required("workdir")
  command_line.required("input")
  command_line.required("out")
  out = Path(FLAGS.out)
  command_line.check_out(out, ".npz")

  import numpy as np

  from common import files
  from common.data.images import grid, save_png, to_uint8
  from common.training.log import Status
  from experiments import api
  from experiments.command_line import compilation_cache

  status = Status(enabled=True)
  compilation_cache.start(status)
  with status.phase("restoring and encoding"):
    run = api.load(FLAGS.workdir, FLAGS.checkpoint)
    names, pixels, labels = pictures_for(run, FLAGS.input, FLAGS.label)
    found = api.encode(run, pixels, labels=labels, steps=FLAGS.steps, learning_rate=FLAGS.learning_rate)
  arrays = {"names": np.asarray(names), **found}
  if labels is not None:
    arrays["labels"] = labels
  again = arrays.pop("reconstructions")
  with files.replacing(out) as file:
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
  pairs = np.stack([pixels, to_uint8(again, run.spec.pixel_range)], axis=1).reshape(-1, *pixels.shape[1:])
  save_png(out.with_suffix(".png"), grid(pairs[: 2 * SHOWN], 8))
  error = float(np.sqrt(np.mean(arrays["error"])))
  print(f"{out}: {len(names)} pictures; root mean square error {error:.4f} of 1; {out.with_suffix('.png')} shows them")
  return 0


def pictures_for(run: Any, inputs: list[str], label: str) -> tuple[list[str], Any, Any]:
  """Returns the names, the pixels uint8 [N, H, W, C] at the model's size, and the labels int32 [N] or None.

  Raises:
    ConfigError: a picture cannot be read, or a conditional model lacks a label.
  """
  import numpy as np

  from common.data.picture_folder import Pictures, read_pictures
  from common.data.picture_labels import TABLES, labels_of
  from common.data.resize import fit, target_shape

  shape, resize = run.spec.image_shape, run.config.data.resize

  def resized(pixels: Any) -> Any:
    target_shape(pixels.shape, shape[0], shape[2], resize)  # raises where this way of resizing cannot do it
    return fit(pixels[None], shape, resize)[0]

  pictures = Pictures()
  for place in inputs:
    pictures.add(read_pictures(Path(place).expanduser(), fit=resized, tables=TABLES))
  if pictures.damaged:
    raise ConfigError(f"--input: {pictures.damage}; write them anew, or leave them out")
  pixels = np.stack(pictures.pixels)
  if "label" not in getattr(run.algorithm, "given", ()):
    return pictures.names, pixels, None
  known = {str(i): i for i in run.spec.labels} | {name: i for i, name in enumerate(run.spec.class_names)}
  numbers, class_names = labels_of(pictures.names, pictures.tables)
  given = [label] * len(pixels) if label else [] if numbers is None else [class_names[i] for i in numbers]
  if not given or any(name not in known for name in given):
    wrong = next((f'"{name}" is no class of the model' for name in given if name not in known), "no class is given")
    raise ConfigError(
      f"--label={label}: {wrong}; name one of {', '.join([*run.spec.class_names, *map(str, run.spec.labels)][:20])}"
    )
  return pictures.names, pixels, np.asarray([known[name] for name in given], np.int32)


if __name__ == "__main__":
  command_line.run(main, __doc__, define_flags)
