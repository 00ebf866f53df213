"""Finds the latents of your pictures: python -m experiments.encode --workdir=runs/vae --input=PICTURES --out=mine.npz

--input names folders, archives, arrays or picture files, with commas; they are brought to the size of the model as
config.data.resize says. A VAE encodes them: the file has "z", one draw of q(z|x) for each picture (a point where q is
one), "mean" and "log_var" where q is a Gaussian, and "codes" where z are codes. A GAN has no encoder: "z" is sought by
gradient descent through the generator. The command reports the error of the pictures that the latents give back, and
mine_sheet.png shows each beside its reconstruction. experiments.sample --latents=mine.npz draws from the file, and with
--interpolate=8 it walks from each picture to the next.
"""

from pathlib import Path

from absl import flags

from common.errors import ConfigError
from experiments.command_line import flags as command_line

FLAGS = flags.FLAGS
SHOWN = 32  # pictures in the sheet


def define_flags() -> None:
  flags.DEFINE_string("workdir", "", "directory of the run, or an exported model")
  flags.DEFINE_string("checkpoint", "last", "last, best, or the number of a step")
  flags.DEFINE_list("input", [], "folders, archives, arrays or picture files, with commas")
  flags.DEFINE_string("out", "", "the file to write, NAME.npz; NAME_sheet.png shows the pictures")
  flags.DEFINE_string("label", "", "class of all pictures, for a conditional model; empty: that of their folders")
  flags.DEFINE_integer("steps", 300, "updates of a search, for a GAN", lower_bound=1)
  flags.DEFINE_float("learning_rate", 0.05, "of a search, at its start", lower_bound=0.0)


def main() -> int:
  command_line.required("workdir")
  command_line.required("input")
  command_line.required("out")
  out = Path(FLAGS.out)
  sheet = out.with_name(f"{out.stem}_sheet.png")  # NAME.png may be one of the pictures
  command_line.check_out(out, ".npz")

  import numpy as np

  from common.data.images import grid, save_png, to_uint8
  from common.training.log import Status
  from experiments import api
  from experiments.command_line import compilation_cache
  from experiments.latents import latent_file
  from experiments.latents.own_pictures import own_pictures

  status = Status(enabled=True)
  compilation_cache.start(status)
  with status.phase("restoring and encoding"):
    run = api.load(FLAGS.workdir, FLAGS.checkpoint)
    names, pixels, labels = own_pictures(run, FLAGS.input, [FLAGS.label] if FLAGS.label else [], "label", status.line)
    for name in ("steps", "learning_rate"):
      if FLAGS[name].present and run.config.family in ("vae", "vae_gan"):
        raise ConfigError(
          f"--{name}={FLAGS[name].value} is for the search of a GAN; a VAE has an encoder: leave it out"
        )
    found = api.encode(run, pixels, labels=labels, steps=FLAGS.steps, learning_rate=FLAGS.learning_rate)
  again = found.pop("reconstructions")
  latent_file.write(out, run, names, found, labels)
  pairs = np.stack([pixels, to_uint8(again, run.spec.pixel_range)], axis=1).reshape(-1, *pixels.shape[1:])
  save_png(sheet, grid(pairs[: 2 * SHOWN], 8))
  error = float(np.sqrt(np.mean(found["error"])))
  print(f"{out}: {len(names)} pictures; root mean square error {error:.4f} of 1; {sheet} shows them")
  return 0


if __name__ == "__main__":
  command_line.run(main, __doc__, define_flags)
