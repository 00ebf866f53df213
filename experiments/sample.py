"""Draws pictures from a run, with no data set: python -m experiments.sample --workdir=runs/dcgan [--num=64] [--seed=0]

Picture i depends on the seed and on i only, not on --num. Several pictures form a grid with margins, where small ones
are magnified; a single one (--num=1) is written pixel by pixel, without a margin. --interpolate=K draws --num rows of K
pictures each, on straight lines between two latents. For a VAE, --show=reconstructions puts test images beside their
reconstructions, and --show=traversals moves one unit of z in each row, starting with the units that have the highest
rate (both need the data set); --show=manifold shows the plane of two latents. --prior=runs/rae-gmm draws a VAE's
latents from a density that was trained on the latents of this checkpoint (configs/samplers.py). --latents=mine.npz
draws from the latents that experiments.encode found for your pictures.

--out=DIR/ (with the slash) writes each picture to a PNG of its own size. --out=NAME.gif or NAME.webp shows them one
after the other, a fifteenth of a second each: --interpolate=30 --num=1 is a film of two seconds.
"""

from pathlib import Path
from typing import Any

from absl import flags

from common.errors import ConfigError
from experiments.command_line import flags as command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
  flags.DEFINE_string("workdir", "", "directory of the run")
  flags.DEFINE_string("checkpoint", "last", "last, best, or the number of a step")
  flags.DEFINE_integer(
    "num",
    64,
    "number of pictures, or of rows of an interpolation; a single picture is written at its own size",
    lower_bound=1,
  )
  flags.DEFINE_integer("seed", 0, "seed of the latents and labels", lower_bound=0, upper_bound=2**32 - 1)
  flags.DEFINE_list(
    "labels", [], "labels for a conditional model, repeated; all: one row for each class; empty: uniform draws"
  )
  flags.DEFINE_integer(
    "interpolate", 0, "number of pictures in a row between two latents; 0: independent pictures", lower_bound=0
  )
  flags.DEFINE_enum(
    "show", "samples", ["samples", "reconstructions", "traversals", "manifold"], "what the pictures show"
  )
  flags.DEFINE_string("prior", "", "workdir of a density of a VAE's latents, to draw from in the place of its prior")
  flags.DEFINE_string("data_dir", "", "directory of the data set; empty: where it was in training, or the usual places")
  flags.DEFINE_string("latents", "", "a .npz that experiments.encode wrote with this run; empty: draw latents")
  flags.DEFINE_bool("raw", False, "take the weights as trained, not their average")
  flags.DEFINE_float("truncation", 0.0, "largest magnitude of N(0, I) latents; 0: no limit", lower_bound=0.0)
  flags.DEFINE_string("batch_norm", "running", "statistics that BatchNorm uses: running or standing")
  flags.DEFINE_integer("columns", 8, "number of pictures in a row of the grid", lower_bound=1)
  flags.DEFINE_string(
    "out",
    "",
    "a .png for a grid, a .npz for uint8 images (and labels), a .gif or .webp for a film, or DIR/ for a PNG each; "
    "empty: a file in the workdir",
  )


def main() -> int:
  command_line.required("workdir")
  name = f"samples-{Path(FLAGS.prior).name}" if FLAGS.prior else "samples"
  out = Path(FLAGS.out or Path(FLAGS.workdir) / f"{name}-seed{FLAGS.seed}.png")
  if FLAGS.prior and FLAGS.show != "samples":
    raise ConfigError(f"--prior={FLAGS.prior} is for --show=samples; --show={FLAGS.show} draws no latents from it")
  if FLAGS.out.endswith("/"):
    command_line.make_directory("out", out)
  else:
    command_line.check_out(out, ".png", ".npz", ".gif", ".webp")
  if FLAGS.latents and (FLAGS.show != "samples" or FLAGS.prior or FLAGS.labels):
    raise ConfigError(f"--latents={FLAGS.latents} holds latents and labels; drop --show, --prior and --labels")

  from common.training.log import Status
  from experiments import api
  from experiments.command_line import compilation_cache

  status = Status(enabled=True)
  compilation_cache.start(status)
  columns = FLAGS.columns
  with status.phase("restoring and drawing"):
    run = api.load(FLAGS.workdir, FLAGS.checkpoint, prior=FLAGS.prior)
    options = {"ema": not FLAGS.raw, "truncation": FLAGS.truncation, "batch_norm": FLAGS.batch_norm}
    if FLAGS.show != "samples":
      samples = api.Samples(_show(run, status), None)
    elif FLAGS.latents:
      columns = FLAGS.interpolate or columns
      samples = _of_latents(run)
    else:
      labels = _labels("label" in getattr(run.algorithm, "given", ()), run.spec)
      num = FLAGS.num if labels is None else len(labels)
      if FLAGS.interpolate:
        columns = FLAGS.interpolate
        samples = api.interpolate(run, num, columns, seed=FLAGS.seed, labels=labels, **options)
      else:
        samples = api.sample(run, num, seed=FLAGS.seed, labels=labels, **options)
  for note in run.notes:
    status.line(note)
  api.save_images(out, run, samples, columns)
  print(f"{out}  (step {run.step:,}, {'raw' if FLAGS.raw or not run.algorithm.ema.kept else 'EMA'} weights)")
  return 0


def _of_latents(run: Any) -> Any:
  """Draws the pictures of --latents or, with --interpolate, of the lines from each of them to the next."""
  import zipfile

  import numpy as np

  from experiments import api

  try:
    with np.load(FLAGS.latents, allow_pickle=False) as file:
      latents = dict(file)
  except (OSError, ValueError, zipfile.BadZipFile) as error:
    raise ConfigError(f"--latents={FLAGS.latents} cannot be read ({error}); write it by experiments.encode") from None
  labels = latents.pop("labels", None)
  if FLAGS.interpolate:
    if len(latents["names"]) < 2:
      raise ConfigError(f"--interpolate={FLAGS.interpolate} goes between two pictures; {FLAGS.latents} has one")
    t = np.linspace(0.0, 1.0, FLAGS.interpolate, dtype=np.float32)

    def lines(z: Any) -> Any:
      weight = t.reshape(1, -1, *[1] * (z.ndim - 1))
      return (z[:-1, None] + (z[1:, None] - z[:-1, None]) * weight).reshape(-1, *z.shape[1:])

    latents = {name: lines(z) for name, z in latents.items() if name == "mean" or name.startswith("z")}
    labels = None if labels is None else np.repeat(labels[:-1], FLAGS.interpolate)
  return api.Samples(api.decode(run, latents, labels=labels), labels)


def _show(run: Any, status: Any) -> Any:
  """Returns the pictures that --show asks for, [N, H, W, C]."""
  from experiments.latents import pictures as latent_pictures
  from experiments.loading import open_data

  columns = FLAGS.columns
  if FLAGS.show == "manifold":
    return latent_pictures.manifold(run, columns)
  _, dataset = open_data(run, FLAGS.workdir, FLAGS.data_dir, flip=False)
  rows = max(FLAGS.num // columns, 1)
  if FLAGS.show == "reconstructions":
    return latent_pictures.reconstructions(run, dataset, rows, columns)
  pixels, lines = latent_pictures.traversals(run, dataset, rows, columns)
  for line in lines:
    status.line(line)
  return pixels


def _labels(conditional: bool, spec: Any) -> Any:
  """Returns --labels repeated up to --num, or None; with "all", one row for each class, whatever --num is."""
  import numpy as np

  if not FLAGS.labels:
    return None
  if not conditional:
    raise ConfigError(
      f"--labels={','.join(FLAGS.labels)}: this model is unconditional and takes no labels; leave them out"
    )
  named = {spec.class_names[label]: label for label in spec.labels} if spec.class_names else {}
  known = {str(label): label for label in spec.labels} | named
  if FLAGS.labels == ["all"]:
    return np.repeat(np.asarray(spec.labels, np.int32), 1 if FLAGS.interpolate else FLAGS.columns)
  if wrong := [label for label in FLAGS.labels if label not in known]:
    raise ConfigError(
      f"--labels={','.join(FLAGS.labels)}: {wrong[0]} is not one of {', '.join(named or known)}, nor all"
    )
  return np.resize(np.asarray([known[label] for label in FLAGS.labels], np.int32), FLAGS.num)


if __name__ == "__main__":
  command_line.run(main, __doc__, define_flags)
