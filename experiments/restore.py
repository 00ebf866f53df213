"""Restores your pictures: python -m experiments.restore --model=x2 --input=PICTURES --out=restored

--model names a model that ships with the code: x2 makes pictures twice as large (common/restoration/weights). In its
place --workdir names a run whose config.data.degradation says what it undoes, or an exported model. --input names
folders or files of any size and format, with commas. Each becomes NAME.png in --out, with its opacity, EXIF block and
ICC profile; nothing else is ever replaced. The same command goes on where it stopped. Files that cannot be read are
named and left out.

Large pictures are restored in tiles that overlap, in little memory: with a convolutional network whose receptive field
is within --overlap the result is that of the whole picture. Results have 8 bits; grey pictures go through a model of
color and stay grey.

--mask=FILE (or a folder with a file of each picture's name) is white where pixels are missing, for a model that fills
holes. --draws=5 writes five results of a model with latents. --sheet shows each picture beside its results.
--reference=FOLDER has the true pictures under the same names: PSNR and SSIM of whole pictures are printed beside those
of no restoration (bicubic enlargement, the input as it is, or a hole filled with the mean).

--method=latent takes any GAN or VAE instead, as Bora et al. (2017) do: it searches the latents whose picture, degraded
as --degradation or --mask says, comes nearest to the input, which has the size of the degraded pictures of the model.
"""

from pathlib import Path
from typing import Any

from absl import flags

from common.errors import ConfigError
from experiments import ROOT
from experiments.command_line import flags as command_line

FLAGS = flags.FLAGS
MODELS = ROOT / "common" / "restoration" / "weights"


def define_flags() -> None:
  flags.DEFINE_string("workdir", "", "directory of the run, or an exported model")
  flags.DEFINE_string("checkpoint", "last", "last, best, or the number of a step")
  flags.DEFINE_string("model", "", "in place of --workdir, a model that ships with the code: x2")
  flags.DEFINE_list("input", [], "folders or picture files, with commas")
  flags.DEFINE_string("out", "", "directory of the results")
  flags.DEFINE_string("mask", "", "a picture that is white where pixels are missing, or a folder of them")
  flags.DEFINE_integer("draws", 1, "results for each picture, of a model with latents", lower_bound=1)
  flags.DEFINE_integer("seed", 0, "of the latents", lower_bound=0, upper_bound=2**32 - 1)
  flags.DEFINE_bool("sheet", False, "also write sheets/NAME.png, which shows input, results and reference")
  flags.DEFINE_string("reference", "", "folder of the true pictures, to score the results")
  flags.DEFINE_enum("channel", "rgb", ["rgb", "y", "grey"], "what scores compare; y is MATLAB's luma")
  flags.DEFINE_integer("border", 0, "pixels that scores leave out on each side", lower_bound=0)
  flags.DEFINE_integer("tile", 256, "side of a tile in pixels of the input", lower_bound=1)
  flags.DEFINE_integer("overlap", 32, "pixels on each side of a tile that are not kept", lower_bound=0)
  flags.DEFINE_enum("method", "network", ["network", "latent"], "a network that restores, or a search of latents")
  flags.DEFINE_string("degradation", "[]", "of a search, as config.data.degradation: [{'name':'resize','scale':4}]")
  flags.DEFINE_integer("restarts", 10, "searches for each picture, of which the best counts", lower_bound=1)
  flags.DEFINE_integer("steps", 1000, "updates of a search", lower_bound=1)
  flags.DEFINE_float("learning_rate", 0.01, "of a search, at its start", lower_bound=0.0)
  flags.DEFINE_float("penalty", 0.0, "of a search: weight of |z|^2 beside the mean squared error", lower_bound=0.0)


def main() -> int:
  command_line.required("input")
  command_line.required("out")
  workdir, out = _model(), Path(FLAGS.out)
  from experiments.restoration.originals import find

  originals = find([Path(place) for place in FLAGS.input], out)
  if not originals:
    raise ConfigError(f"--input={','.join(FLAGS.input)} has no files")
  for name, place in (("mask", FLAGS.mask), ("reference", FLAGS.reference)):
    if place and not Path(place).exists():
      raise ConfigError(f"--{name}={place} does not exist")
  command_line.make_directory("out", out)

  from common.evaluation.metrics.psnr import Psnr
  from common.training.log import Status
  from experiments import api
  from experiments.command_line import compilation_cache
  from experiments.restoration import folder

  status = Status(enabled=True)
  compilation_cache.start(status)
  with status.phase("loading the model"):
    run = api.load(workdir, FLAGS.checkpoint)
    restore, scale, settings = (_searching if FLAGS.method == "latent" else _restoring)(run, originals)
  for note in run.notes:
    status.line(note)
  model = {
    "model": str(workdir.resolve()),
    "step": run.step,
    "mask": FLAGS.mask,
    "draws": FLAGS.draws,
    "seed": FLAGS.seed,
  }
  folder.claim(out, originals, model | settings)
  masks = folder.Masks(Path(FLAGS.mask) if FLAGS.mask else None, originals)
  left_out = folder.restore_all(originals, out, restore, masks, FLAGS.draws, status)
  done = [x for x in originals if folder.paths(out, x, FLAGS.draws)[0].exists()]
  if not done:
    raise ConfigError(f"no file of --input could be restored: {'; '.join(left_out[:10])}")
  if FLAGS.sheet:
    known = folder.scores.references(Path(FLAGS.reference), done) if FLAGS.reference else {}
    for original in done:
      folder.sheet(out, original, masks, FLAGS.draws, known.get(original.name))
  if FLAGS.reference:
    protocol = Psnr(FLAGS.channel, FLAGS.border)
    rows = folder.score_all(done, out, Path(FLAGS.reference), masks, scale, FLAGS.draws, protocol, status)
    if rows:
      print(folder.scores.table(rows))
      print(f"channel {FLAGS.channel}, border {FLAGS.border}, of 8-bit files; before: without a model")
  missing = f"; left out: {'; '.join(left_out[:10])}" if left_out else ""
  print(f"{out}: {len(done):,} pictures by {workdir} (step {run.step:,}){missing}")
  return 0


def _model() -> Path:
  """Returns the directory of the model.

  Raises:
    ConfigError: none or two are named, or no such model ships.
  """
  shipped = " or --model=".join(sorted(path.parent.name for path in MODELS.glob("*/config.json")))
  if bool(FLAGS.workdir) == bool(FLAGS.model):
    both = f"--workdir={FLAGS.workdir} and --model={FLAGS.model} are two models" if FLAGS.model else "no model is named"
    raise ConfigError(f"{both}; take --model={shipped}, or --workdir=RUN")
  if FLAGS.model and not (MODELS / FLAGS.model / "config.json").is_file():
    raise ConfigError(f"--model={FLAGS.model} does not ship with the code; take --model={shipped}, or --workdir=RUN")
  return MODELS / FLAGS.model if FLAGS.model else Path(FLAGS.workdir)


def _restoring(run: Any, originals: Any) -> tuple[Any, int, dict[str, Any]]:
  """Returns the function that restores one picture with the network of ``run``, its scale, and its settings."""
  from experiments.restoration.restorer import Restorer

  longest = max(side for original in originals for side in original.size())
  options = {"tile": FLAGS.tile, "overlap": FLAGS.overlap, "draws": FLAGS.draws, "seed": FLAGS.seed}
  restorer = Restorer(run, longest=longest, **options)
  if restorer.takes_mask != bool(FLAGS.mask):
    raise ConfigError(
      "this model fills holes: --mask=FILE says where they are"
      if restorer.takes_mask
      else f"--mask={FLAGS.mask}: this model takes no mask; leave it out, or use --method=latent"
    )

  def restore(pixels: Any, hole: Any, name: str, done: Any) -> tuple[Any, str]:
    return restorer(pixels, hole, name=name, done=done), restorer.change(pixels.shape[2])

  return restore, restorer.scale, {"tile": FLAGS.tile, "overlap": FLAGS.overlap}


def _searching(run: Any, originals: Any) -> tuple[Any, int, dict[str, Any]]:
  """Returns the function that searches the latents of one picture, the scale of results, and the settings."""
  del originals
  from experiments.restoration.latent import LatentSearch, degradation_of

  if FLAGS.draws > 1:
    raise ConfigError(f"--draws={FLAGS.draws}: a search gives one result; use --draws=1")
  names = ("restarts", "steps", "learning_rate", "penalty")
  options: dict[str, Any] = {name: FLAGS[name].value for name in names}
  search = LatentSearch(run, degradation_of(FLAGS.degradation, run.spec.image_shape), seed=FLAGS.seed, **options)

  def restore(pixels: Any, hole: Any, name: str, done: Any) -> tuple[Any, str]:
    from common.data.resize import described, fit

    del name, done
    seen = fit(pixels[None], search.seen_shape, run.config.data.resize)
    found = search(seen, hole)
    changed = described(pixels.shape, search.seen_shape, run.config.data.resize)
    size = "" if changed == "none" else f"{changed}; "
    return found.images, f"{size}measurement error {found.error[0]:.4f} of 1"

  return restore, run.spec.image_shape[0] // search.seen_shape[0], {"degradation": FLAGS.degradation, **options}


if __name__ == "__main__":
  command_line.run(main, __doc__, define_flags)
