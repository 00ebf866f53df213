"""Planted mistakes with a user's own files and runs: exit code 2, three lines at most, what is wrong and a way out."""

import json
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from common.training.checkpoint import Checkpoints
from common.training.program import Program, make_state
from common.training.workdir import write_description
from configs import schema
from experiments import build_algorithm
from tests.experiments.runs import call
from tests.tiny import config_of, dataset_of, filled

TRAIN = "train --config=dcgan:folder,tiny --workdir={new} --config.data.dir="
PREPARE = "prepare --out={new} --source="
FILES = "evaluate --metrics=frechet --features=pixels --nofloor --samples="
SAMPLE = "sample --workdir={vae} --out={new}.png "
ENCODE = "encode --out={new}.npz --workdir="
SCORE = "evaluate --feature_cache= --features=pixels --nofloor --metrics=frechet --workdir="

# The command line, by words without spaces, and what its error must say. {new} is free; the others are in `places`.
MISTAKES = [
  # Pictures to train on.
  (TRAIN + "/nowhere", "config.data.dir=/nowhere does not exist; name your pictures"),
  (TRAIN + "{empty}", "{empty} has no pictures; name a place that has some"),
  (TRAIN + "{junk}", "1 no picture (.md); 1 picture cannot be read: b.png (its content is no picture's)); name a"),
  (TRAIN + "{two}", "{two} has 2 pictures, too few for a train, a validation and a test split; add some"),
  (TRAIN + "{one}", "{one} is no folder, and no file that ends in .zip", "name your pictures"),
  (TRAIN + "{sizes} --config.data.image_size=0", "config.data.image_size=0: the images differ in size; set one"),
  (TRAIN + "{table}", "metadata.csv lacks 'file_name'; add it, or move the file elsewhere"),
  (TRAIN + "{half}", "{half} cannot be read: File is not a zip file; pack it again"),
  (TRAIN + "{objects}", "{objects} cannot be read as .npz or .npy: it has Python objects, not numbers; write it anew"),
  (TRAIN + "{few}", "{few}: labels are int64 (19,), not whole numbers [20]; write one for each"),
  (TRAIN + "{words}", "{words}: labels are <U1 (20,), not whole numbers [20]", "numbered from 0, or none"),
  (TRAIN + "{ok} --config.data.resize=bilinear", "config.data.resize=bilinear must be one of pad, crop, stretch"),
  (TRAIN + "{ok} --config.penalties=r1", "config.penalties=r1", "--config.penalties=\"{{'...': {{'key': value}}}}\""),
  (TRAIN + "{ok} --config.conditioning={{'name':'concat'}}", "it needs labels, and this data set has none; take --"),
  ("train --config=samplers:gmm --workdir={new} --config.data.dir={dcgan}", "{dcgan} holds a gan"),
  ("train --config=dcgan:tiny --workdir={exported}", "{exported} holds an exported model", "--init_from={exported}"),
  ("train --config=dcgan:tiny --workdir={one}/x", "--workdir={one}/x cannot be made: Not a directory; name another"),
  # Pictures to prepare.
  (PREPARE + "{empty}", "{empty} has no pictures; name a place that has some"),
  (PREPARE + "{one}", "--source={one} is one file; name a folder"),
  ("prepare --source={ok} --out={ok}/in", "--out={ok}/in lies in --source={ok}", "name a place outside"),
  (PREPARE + "{ok} --image_size=4 --resize=pad", "--image_size=4: an image of 8x8 does not fit; use --resize=crop"),
  ("prepare --source={two} --out={one}/x", "{one}/x: Not a directory\nName another place."),
  # Pictures to score.
  (FILES + "{empty} --reference=digits", "--samples={empty} has no pictures; name a place that has some"),
  (FILES + "{sizes} --reference=digits", "--samples={sizes}: 1.png is 9x8 and 0.png 8x8; all must have one size"),
  (FILES + "{ok} --reference={sizes}", "--reference={sizes}: the images differ in size; --resize=crop or --resize="),
  (FILES + "{two} --reference={ok}", "frechet needs 10 generated pictures or more, and there are 2; raise --num_"),
  (SCORE + "{dcgan} --num_samples=2", "frechet needs 10 generated pictures or more, and there are 2; raise --num_"),
  ("evaluate --compare={one}", "--compare: line 1 of {one} is not JSON", "name a workdir"),
  # Runs.
  ("sample --workdir={root}", "{root} is not the workdir of a run; the runs cvae, dcgan, exported, "),
  (SAMPLE + "--seeds=17-3", '--seeds=17-3: "17-3" is no number below 2^30 and no range, as in 0-99 or 3,17'),
  (SAMPLE + "--seeds=3,17 --num=4", "--seeds=3,17 and --num both say which pictures; leave one out"),
  (SAMPLE + "--interpolate=1", "--interpolate=1: a line has two ends; take 2 or more, or 0"),
  (SAMPLE + "--show=reconstructions --columns=1", "--columns=1: pairs need an even number; take --columns=2"),
  (SAMPLE + "--show=reconstructions --truncation=1", "--truncation=1.0 has no effect on reconstructions; leave it out"),
  (SAMPLE + "--show=traversals --raw", "--raw=True has no effect on traversals; leave it out"),
  (SAMPLE + "--latents={few} --num=3", "--num=3 has no effect on latents in a file; leave it out"),
  (SAMPLE + "--latents={few}", "--latents={few}: the latents are missing, and this model has z [N, 20]; encode with"),
  (
    SAMPLE + "--latents=/nowhere",
    "--latents=/nowhere cannot be read (there is no such file); write it by experiments.",
  ),
  (
    SAMPLE + "--latents={objects}",
    "--latents={objects} cannot be read (it is no .npz); write it by experiments.encode",
  ),
  (SAMPLE + "--input={one} --interpolate=3", "--interpolate=3 goes between two pictures; --input={one} has one"),
  (SAMPLE + "--input={one} --labels=3", "--labels=3: this model takes no labels; leave it out"),
  ("sample --workdir={vae} --input={one} --out={one}", "--out={one} is a picture of --input, which it would replace"),
  ("sample --workdir={cvae} --out={new}.png --labels=all,3", "--labels=all,3: all is not one of", "all stands alone"),
  ("sample --workdir={points} --out={new}.gif", "--out={new}.gif: points make one plot; name a .png or .jpg"),
  (ENCODE + "{cvae} --input={one}", "--label=...: no class is given; name one of 0, 1, 2"),
  (ENCODE + "{vae} --input={one} --label=3", "--label=3: this model takes no labels; leave it out"),
  (ENCODE + "{vae} --input={one} --steps=5", "--steps=5 is for the search of a GAN", "leave it out"),
  (
    ENCODE + "{points} --input={one}",
    "the run holds a gan of points, which has no latents of pictures; take another run",
  ),
  ("sample --workdir=/nowhere", "/nowhere is not the workdir of a run; name one that experiments.train made"),
]


def _untrained(workdir: Path, variant: str) -> None:
  """A run of random weights, without compiling what draws them."""
  config, spec = config_of(variant), dataset_of(variant).spec
  algorithm = build_algorithm(config, spec)
  with Checkpoints(workdir / "checkpoints", keep=1) as checkpoints:
    state = filled(jax.eval_shape(lambda: make_state(algorithm, spec, 0)))
    checkpoints.save(5, jax.tree.map(jnp.asarray, state), {})
  write_description(workdir, {"version": schema.VERSION, **json.loads(config.to_json())}, spec)


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, Path]:
  root, runs = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("runs")
  rng = np.random.default_rng(0)

  def pictures(name: str, number: int, heights: int = 1) -> None:
    (root / name).mkdir()
    for i in range(number):
      Image.fromarray(rng.integers(0, 256, (8 + i % heights, 8), np.uint8)).save(root / name / f"{i}.png")

  for name, number in {"empty": 0, "junk": 0, "two": 2, "ok": 20, "table": 20}.items():
    pictures(name, number)
  pictures("sizes", 20, heights=2)
  (root / "junk" / "a.md").write_text("none")
  (root / "junk" / "b.png").write_text("none")
  (root / "table" / "metadata.csv").write_text("name,label\n0.png,1\n")
  with zipfile.ZipFile(root / "half.zip", "w") as archive:
    archive.write(root / "ok" / "0.png", "0.png")
  (root / "half.zip").write_bytes((root / "half.zip").read_bytes()[:-30])
  images = rng.integers(0, 256, (20, 8, 8), np.uint8)
  np.save(root / "objects.npy", np.asarray([{}], object), allow_pickle=True)
  np.savez(root / "few.npz", images=images, labels=np.arange(19))
  np.savez(root / "words.npz", images=images, labels=np.asarray(["a"] * 20))
  for name, variant in {"vae": "vae", "cvae": "cvae", "dcgan": "dcgan", "points": "gan"}.items():
    _untrained(runs / name, f"{variant}:{'gaussians8' if name == 'points' else 'digits'},tiny")
  (runs / "exported").mkdir()
  for name in ("config.json", "weights.safetensors"):
    (runs / "exported" / name).touch()
  return {"root": runs, "new": root / "new", "one": root / "ok" / "0.png"} | {
    path.stem: path for place in (root, runs) for path in place.iterdir()
  }


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake[0])
def test_mistake(mistake, places, monkeypatch, capfd):
  command, *wanted = (text.format(**places) for text in mistake)
  name, *words = command.split(" ")
  monkeypatch.setattr(Program, "init", lambda self: pytest.fail("compiled before the mistake was found"))
  assert call(name, *words) == 2
  out, err = capfd.readouterr()
  error = err[err.index("error: ") :]
  assert not out and len(error.splitlines()) <= 3, err
  for text in wanted:
    assert text in error
