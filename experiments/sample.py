"""Draws pictures from a run, with no data set: python -m experiments.sample --workdir=runs/dcgan [--num=64] [--seed=0]

Picture i depends on the seed and on i only: --num draws the first pictures, --seeds=0-99 or --seeds=3,17 those with
these numbers. Several pictures form a grid with margins, where small ones are magnified; a single one (--num=1) is
written pixel by pixel, without a margin. --interpolate=K draws rows of K pictures each, on straight lines between two
latents. For a VAE, --show=reconstructions puts test images beside their reconstructions, and --show=traversals moves
one unit of z in each row, starting with the units that have the highest rate (both need the data set);
--show=manifold shows the plane of two latents. --prior=runs/rae-gmm draws a VAE's latents from a density that was
trained on the latents of this checkpoint (configs/samplers.py).

--input=a.png,b.png takes your own pictures, of which any model finds the latents, as experiments.encode does: with
--interpolate=K it goes from each picture to the next, and with --show=reconstructions it puts each beside its
reconstruction. --latents=mine.npz takes the latents that experiments.encode found before.

--out=DIR/ (with the slash) writes each picture to a PNG of its own size, named by its number. --out=NAME.gif, NAME.webp
or NAME.mp4 (pip install -e '.[film]') shows them one after the other, a fifteenth of a second each: --interpolate=30
--num=1 is a film of two seconds.
"""

from pathlib import Path
from typing import Any

from absl import flags

from common.errors import ConfigError
from experiments.command_line import flags as command_line

FLAGS = flags.FLAGS
_WHICH = ("num", "seeds", "seed", "labels", "text", "text_file", "prior", "raw", "truncation", "batch_norm")
USED = {  # the flags that choose what is drawn, of each thing that is drawn
  "samples": (*_WHICH, "interpolate", "nearest"),
  "samples beside their nearest training pictures": (*_WHICH, "nearest", "data_dir"),
  "your own pictures": ("input", "labels", "interpolate"),
  "latents in a file": ("latents", "interpolate"),
  "reconstructions": ("num", "data_dir"),
  "reconstructions of your own pictures": ("input", "labels"),
  "traversals": ("num", "data_dir"),
  "manifold": (),
}


def define_flags() -> None:
  flags.DEFINE_string("workdir", "", "directory of the run")
  flags.DEFINE_string("checkpoint", "last", "last, best, or the number of a step")
  flags.DEFINE_integer(
    "num",
    64,
    "number of pictures, or of rows of an interpolation; a single picture is written at its own size",
    lower_bound=1,
  )
  flags.DEFINE_list("seeds", [], "the pictures' numbers, as in 0-99 or 3,17; empty: the first --num")
  flags.DEFINE_integer("seed", 0, "seed of the latents and labels", lower_bound=0, upper_bound=2**32 - 1)
  flags.DEFINE_list(
    "labels", [], "labels for a conditional model, repeated; all: one row for each class; empty: uniform draws"
  )
  flags.DEFINE_string("text", "", "the caption of all pictures, for a model of captions")
  flags.DEFINE_string("text_file", "", "a file with a caption in each line; each gets one row of pictures")
  flags.DEFINE_integer(
    "interpolate", 0, "number of pictures in a row between two latents; 0: independent pictures", lower_bound=0
  )
  flags.DEFINE_enum(
    "show", "samples", ["samples", "reconstructions", "traversals", "manifold"], "what the pictures show"
  )
  flags.DEFINE_list("input", [], "your own pictures, in place of drawn latents: folders, archives, arrays or files")
  flags.DEFINE_string("prior", "", "workdir of a density of a VAE's latents, to draw from in the place of its prior")
  flags.DEFINE_bool("nearest", False, "put each sample beside the training picture that is nearest to it, by pixels")
  flags.DEFINE_string("data_dir", "", "directory of the data set; empty: where it was in training, or the usual places")
  flags.DEFINE_string("latents", "", "a .npz that experiments.encode wrote with this run; empty: draw latents")
  flags.DEFINE_bool("raw", False, "take the weights as trained, not their average")
  flags.DEFINE_float("truncation", 0.0, "largest magnitude of N(0, I) latents; 0: no limit", lower_bound=0.0)
  flags.DEFINE_string("batch_norm", "running", "statistics that BatchNorm uses: running or standing")
  flags.DEFINE_integer("columns", 8, "number of pictures in a row of the grid", lower_bound=1)
  flags.DEFINE_string(
    "out",
    "",
    "a .png or .jpg for a grid, a .npz for uint8 images (and labels), a .gif, .webp or .mp4 for a film, or DIR/ for a "
    "PNG each; empty: a file in the workdir",
  )


def main() -> int:
  command_line.required("workdir")
  name = f"samples-{Path(FLAGS.prior).name}" if FLAGS.prior else "samples"
  out = Path(FLAGS.out or Path(FLAGS.workdir) / f"{name}-seed{FLAGS.seed}.png")
  numbers, texts = _numbers(FLAGS.seeds), None
  _check_flags(out)

  from common.data import images
  from common.training.log import Status
  from experiments import api
  from experiments.command_line import compilation_cache

  if out.suffix == ".mp4":
    images.ffmpeg()  # raises before anything is drawn
  status = Status(enabled=True)
  compilation_cache.start(status)
  with status.phase("restoring and drawing"):
    run = api.load(FLAGS.workdir, FLAGS.checkpoint, prior=FLAGS.prior)
    if FLAGS.show != "samples":
      samples = api.Samples(_show(run, status), None)
    elif FLAGS.latents or FLAGS.input:
      samples = _of_latents(run, _encoded(run, status) if FLAGS.input else _read_latents(run, status))
    else:
      texts = _texts(FLAGS.num if numbers is None else len(numbers))
      samples = _drawn(run, numbers, texts)
    if FLAGS.nearest:
      samples, numbers, texts = (
        _beside_nearest(run, samples, status),
        None,
        [text for text in texts or () for _ in "ab"],
      )
  for note in run.notes:
    status.line(note)
  if FLAGS.interpolate:
    numbers, texts = None, [text for text in texts or () for _ in range(FLAGS.interpolate)]
  api.save_images(out, run, samples, FLAGS.interpolate or FLAGS.columns, numbers, texts)
  print(f"{out}  (step {run.step:,}, {'raw' if FLAGS.raw or not run.algorithm.ema.kept else 'EMA'} weights)")
  return 0


def _check_flags(out: Path) -> None:
  """Raises ConfigError if flags do not go together, or if ``out`` cannot be written."""
  if FLAGS.nearest and FLAGS.show == "samples" and not (FLAGS.latents or FLAGS.input):
    what = "samples beside their nearest training pictures"
    if out.suffix not in (".png", ".jpg"):
      raise ConfigError(f"--out={FLAGS.out}: --nearest makes a grid of pairs; name a .png or .jpg")
  elif FLAGS.show != "samples":
    what = f"{FLAGS.show} of your own pictures" if FLAGS.input and FLAGS.show == "reconstructions" else FLAGS.show
  else:
    what = "latents in a file" if FLAGS.latents else "your own pictures" if FLAGS.input else "samples"
  for name in sorted({flag for of in USED.values() for flag in of} - set(USED[what])):
    if FLAGS[name].present:
      value = FLAGS[name].value
      value = ",".join(value) if isinstance(value, list) else value
      raise ConfigError(f"--{name}={value} has no effect on {what}; leave it out")
  if FLAGS.seeds and (FLAGS["num"].present or FLAGS.labels == ["all"]):
    other = "num" if FLAGS["num"].present else "labels"
    raise ConfigError(f"--seeds={','.join(FLAGS.seeds)} and --{other} both say which pictures; leave one out")
  if FLAGS.text_file and (other := next((name for name in ("text", "seeds", "num") if FLAGS[name].present), "")):
    columns = "; --columns sets the pictures of a caption" if other == "num" else ""
    raise ConfigError(f"--text_file={FLAGS.text_file} and --{other} both say which pictures; leave one out{columns}")
  if FLAGS.interpolate == 1:
    raise ConfigError("--interpolate=1: a line has two ends; take 2 or more, or 0 for independent pictures")
  if (FLAGS.show == "reconstructions" or FLAGS.nearest) and FLAGS.columns % 2:
    raise ConfigError(f"--columns={FLAGS.columns}: pairs need an even number; take --columns={FLAGS.columns + 1}")
  if FLAGS.out.endswith("/"):
    command_line.make_directory("out", out)
  else:
    command_line.check_out(out, ".png", ".jpg", ".npz", ".gif", ".webp", ".mp4")
  if out.resolve() in [Path(place).resolve() for place in FLAGS.input]:
    raise ConfigError(f"--out={FLAGS.out} is a picture of --input, which it would replace; name another file")


def _numbers(words: list[str]) -> Any:
  """Returns the numbers of --seeds, int32 [N]; None if there are none."""
  import numpy as np

  parts = []
  for word in words:
    first, dash, last = word.partition("-")
    ends = (first, last if dash else first)
    if not all(end.isdecimal() and int(end) < 2**30 for end in ends) or int(ends[1]) < int(ends[0]):
      raise ConfigError(f'--seeds={",".join(words)}: "{word}" is no number below 2^30 and no range, as in 0-99 or 3,17')
    parts.append(np.arange(int(ends[0]), int(ends[1]) + 1, dtype=np.int32))
  return np.concatenate(parts) if parts else None


def _texts(count: int) -> list[str] | None:
  """Returns the caption of each picture, or None: --text for all, or a row of pictures for each line of --text_file."""
  if FLAGS.text:
    return [FLAGS.text] * count
  if not FLAGS.text_file:
    return None
  try:
    lines = Path(FLAGS.text_file).read_text(encoding="utf-8-sig").splitlines()
  except (OSError, UnicodeDecodeError) as error:
    raise ConfigError(f"--text_file={FLAGS.text_file} cannot be read ({error}); name a file of captions") from None
  captions = [line.strip() for line in lines if line.strip()]
  if not captions:
    raise ConfigError(f"--text_file={FLAGS.text_file} has no captions; write one in each line")
  return [caption for caption in captions for _ in range(1 if FLAGS.interpolate else FLAGS.columns)]


def _drawn(run: Any, numbers: Any, texts: list[str] | None) -> Any:
  from experiments import api

  options = {"ema": not FLAGS.raw, "truncation": FLAGS.truncation, "batch_norm": FLAGS.batch_norm}
  count = FLAGS.num if numbers is None else len(numbers)
  labels = _labels("label" in getattr(run.algorithm, "given", ()), run.spec, count)
  which = numbers if numbers is not None else len(labels if labels is not None else texts or range(count))
  options |= {"seed": FLAGS.seed, "labels": labels, "texts": texts}
  return (
    api.interpolate(run, which, FLAGS.interpolate, **options)
    if FLAGS.interpolate
    else api.sample(run, which, **options)
  )


def _beside_nearest(run: Any, samples: Any, status: Any) -> Any:
  """Puts the nearest training picture after each sample, and says how far they are."""
  import numpy as np

  from experiments.scores.nearest import TrainingPictures

  found, distance = TrainingPictures(run, FLAGS.workdir, FLAGS.data_dir).nearest(samples.images)
  status.line(
    f"nearest training pictures: RMS difference {np.median(distance):.3f} (median), {distance.min():.3f} least"
  )
  return samples._replace(images=np.stack([samples.images, found], axis=1).reshape(-1, *found.shape[1:]))


def _encoded(run: Any, status: Any) -> dict[str, Any]:
  """Finds the latents of --input; returns them with the pictures' "pixels" and "labels"."""
  from experiments import api
  from experiments.latents.own_pictures import own_pictures

  _, pixels, labels = own_pictures(run, FLAGS.input, FLAGS.labels, "labels", status.line)
  return {**api.encode(run, pixels, labels=labels), "pixels": pixels, "labels": labels}


def _read_latents(run: Any, status: Any) -> dict[str, Any]:
  from experiments.latents import latent_file

  latents, same = latent_file.read(Path(FLAGS.latents), run)
  if not same:
    status.line(f"--latents={FLAGS.latents} belongs to other weights than these; experiments.encode finds their own")
  return latents


def _of_latents(run: Any, latents: dict[str, Any]) -> Any:
  """Draws the pictures of latents or, with --interpolate, of the lines from each of them to the next."""
  import numpy as np

  from common.evaluation.sampling import lines
  from experiments import api

  place = f"--latents={FLAGS.latents}" if FLAGS.latents else f"--input={','.join(FLAGS.input)}"
  labels = latents.get("labels")
  latents = {name: z for name, z in latents.items() if name == "mean" or name.startswith("z")}
  if FLAGS.interpolate:
    if any(len(z) < 2 for z in latents.values()):
      raise ConfigError(f"--interpolate={FLAGS.interpolate} goes between two pictures; {place} has one")
    first, last = ({name: z[part] for name, z in latents.items()} for part in (slice(-1), slice(1, None)))
    latents = lines(first, last, FLAGS.interpolate)
    labels = None if labels is None else np.repeat(labels[:-1], FLAGS.interpolate)
  try:
    return api.Samples(api.decode(run, latents, labels=labels), labels)
  except ConfigError as error:
    raise ConfigError(f"{place}: {error}") from None


def _show(run: Any, status: Any) -> Any:
  """Returns the pictures that --show asks for, [N, H, W, C]."""
  import numpy as np

  from experiments.latents import pictures as latent_pictures
  from experiments.loading import open_data

  columns = FLAGS.columns
  if FLAGS.show == "manifold":
    return latent_pictures.manifold(run, columns)
  if FLAGS.input:
    found, (low, high) = _encoded(run, status), run.spec.pixel_range
    pixels = low + (high - low) * (found["pixels"].astype(np.float32) / 255)
    return np.stack([pixels, found["reconstructions"]], axis=1).reshape(-1, *pixels.shape[1:])
  _, dataset = open_data(run, FLAGS.workdir, FLAGS.data_dir, flip=False)
  rows = max(FLAGS.num // columns, 1)
  if FLAGS.show == "reconstructions":
    return latent_pictures.reconstructions(run, dataset, rows, columns)
  pixels, lines = latent_pictures.traversals(run, dataset, rows, columns)
  for line in lines:
    status.line(line)
  return pixels


def _labels(conditional: bool, spec: Any, num: int) -> Any:
  """Returns --labels repeated up to ``num``, or None; with "all", one row for each class, whatever ``num`` is."""
  import numpy as np

  if not FLAGS.labels:
    return None
  text = f"--labels={','.join(FLAGS.labels)}"
  if not conditional:
    raise ConfigError(f"{text}: this model is unconditional and takes no labels; leave them out")
  named = {spec.class_names[label]: label for label in spec.labels} if spec.class_names else {}
  known = {str(label): label for label in spec.labels} | named
  if FLAGS.labels == ["all"]:
    return np.repeat(np.asarray(spec.labels, np.int32), 1 if FLAGS.interpolate else FLAGS.columns)
  if wrong := [label for label in FLAGS.labels if label not in known]:
    raise ConfigError(f"{text}: {wrong[0]} is not one of {', '.join(named or known)}; all stands alone")
  return np.resize(np.asarray([known[label] for label in FLAGS.labels], np.int32), num)


if __name__ == "__main__":
  command_line.run(main, __doc__, define_flags)
