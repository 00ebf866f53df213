"""Own pictures through a model and back: codes, files, films, and what does not go together."""

import numpy as np
import pytest
from PIL import Image

from common.data.digits import digits
from common.data.resize import fit
from experiments import api
from tests.experiments.dcgan_uses_test import untrained
from tests.experiments.runs import call


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
  place = tmp_path_factory.mktemp("pictures")
  images, labels = digits().read("test", np.arange(5)).values()
  for i, (image, label) in enumerate(zip(images[..., 0], labels, strict=True)):
    (place / str(label)).mkdir(exist_ok=True)
    Image.fromarray(image).save(place / str(label) / f"{i}.png")
  return place


def resized(file, shape):
  with Image.open(file) as picture:
    return fit(np.asarray(picture)[None, ..., None], shape, "crop")


@pytest.mark.parametrize(
  ("variant", "names"),
  [
    ("vae:digits,gaussian,tiny", {"z", "mean", "log_var"}),
    ("hvae:digits,tiny", {"z0", "z1"}),
    ("vq_vae:digits,tiny", {"z", "codes"}),
    ("cvae:digits,tiny", {"z", "mean", "log_var", "labels"}),
    ("dcgan:digits,tiny", {"z"}),
    ("cgan:digits,tiny", {"z", "labels"}),
  ],
)
def test_pictures_go_to_latents_and_back(tmp_path, pictures, variant, names, capfd):
  workdir, out = untrained(tmp_path / "run", variant, seed=1), tmp_path / "mine.npz"
  assert (
    call(
      "encode",
      f"--workdir={workdir}",
      f"--input={pictures}",
      f"--out={out}",
      *(["--steps=3"] if "gan" in variant else []),
    )
    == 0
  )
  assert "5 pictures; root mean square error" in capfd.readouterr().out
  with np.load(out) as file:
    found = dict(file)
  assert found.keys() == names | {"names", "error", "weights"}
  assert all(len(x) == 5 for name, x in found.items() if name != "weights")
  run = api.load(workdir)
  labels = found.get("labels")
  parts = {name: x for name, x in found.items() if name.startswith("z")}
  again = api.decode(run, parts, labels=labels)
  low, high = run.spec.pixel_range
  ordered = sorted(pictures.rglob("*.png"))
  pixels = np.concatenate([resized(file, run.spec.image_shape) for file in ordered])
  error = np.mean(((again - low) / (high - low) - pixels / 255) ** 2, axis=(1, 2, 3))
  np.testing.assert_allclose(found["error"], error, rtol=1e-4)
  if "codes" in names:
    table = run.state.net.variables(ema=True)
    assert found["codes"].min() >= 0 and found["codes"].max() < run.config.posterior.num_codes and table
  with Image.open(tmp_path / "mine_sheet.png") as sheet:
    assert sheet.size[0] == 8 * 36
  film = tmp_path / "film.gif"
  assert call("sample", f"--workdir={workdir}", f"--latents={out}", "--interpolate=3", f"--out={film}") == 0
  with Image.open(film) as frames:
    assert frames.format == "GIF"
  assert call("sample", f"--workdir={workdir}", f"--latents={out}", f"--out={tmp_path / 'each'}/") == 0
  assert len(list((tmp_path / "each").glob("*.png"))) == 5


def test_own_pictures_are_shown_without_a_file_of_latents(tmp_path, pictures, capfd):
  """What encode and then sample do in two commands; arrays are pictures too, and others' weights are told."""
  workdir, other = (untrained(tmp_path / name, "vae:digits,tiny", seed=seed) for seed, name in enumerate("ab"))
  run, files = api.load(workdir), [str(file) for file in sorted(pictures.rglob("*.png"))[:2]]
  pixels = np.concatenate([resized(file, run.spec.image_shape) for file in files])
  np.save(tmp_path / "two.npy", np.stack([np.asarray(Image.open(file)) for file in files]))
  words, latents = (f"--workdir={workdir}", f"--input={','.join(files)}"), f"--latents={tmp_path}/latents.npz"
  assert call("sample", *words, "--show=reconstructions", f"--out={tmp_path}/pairs.npz") == 0
  np.testing.assert_array_equal(np.load(tmp_path / "pairs.npz")["images"][::2], pixels)
  assert call("sample", *words, "--interpolate=3", f"--out={tmp_path}/line.npz") == 0
  assert call("encode", words[0], f"--input={tmp_path}/two.npy", f"--out={tmp_path}/latents.npz") == 0
  assert call("sample", words[0], latents, "--interpolate=3", f"--out={tmp_path}/again.npz") == 0
  assert "other weights" not in capfd.readouterr().err
  again, line = (np.load(tmp_path / f"{name}.npz")["images"] for name in ("again", "line"))
  np.testing.assert_array_equal(again, line)
  assert call("sample", f"--workdir={other}", latents, f"--out={tmp_path}/others.npz") == 0
  assert "belongs to other weights than these" in capfd.readouterr().err


def test_a_search_comes_nearer_with_more_steps(tmp_path, pictures):
  workdir = untrained(tmp_path / "run", "gan:digits,tiny", seed=1)
  run = api.load(workdir)
  pixels = digits().read("test", np.arange(4))["image"]
  few, many = (api.encode(run, pixels, steps=steps)["error"] for steps in (1, 100))
  assert np.all(many < few)


def test_what_does_not_go_together_is_said(tmp_path, pictures, capfd):
  vae, cvae = (untrained(tmp_path / name, f"{name}:digits,tiny", seed=1) for name in ("vae", "cvae"))
  (tmp_path / "bad.png").write_bytes(b"none")
  (tmp_path / "noise.npz").write_bytes(b"PK none")
  one = next(pictures.rglob("*.png"))
  cases = {
    ("encode", f"--workdir={vae}", f"--input={tmp_path / 'bad.png'}", f"--out={tmp_path}/a.npz"): "has no pictures",
    ("encode", f"--workdir={vae}", "--input=/nowhere", f"--out={tmp_path}/a.npz"): "/nowhere does not exist",
    ("encode", f"--workdir={cvae}", f"--input={one}", f"--out={tmp_path}/a.npz"): "no class is given; name one of 0, 1",
    (
      "encode",
      f"--workdir={cvae}",
      f"--input={one}",
      f"--out={tmp_path}/a.npz",
      "--label=x",
    ): '"x" is no class',
    ("sample", f"--workdir={vae}", f"--latents={tmp_path / 'noise.npz'}"): "cannot be read",
    (
      "sample",
      f"--workdir={vae}",
      f"--latents={tmp_path / 'noise.npz'}",
      "--show=manifold",
    ): "has no effect on manifold",
  }
  for words, said in cases.items():
    assert call(*words) == 2
    assert said in capfd.readouterr().err, words
  (tmp_path / "some").mkdir()
  for file in (one, tmp_path / "bad.png"):
    (tmp_path / "some" / file.name).write_bytes(file.read_bytes())
  assert call("encode", f"--workdir={cvae}", f"--input={tmp_path}/some", f"--out={tmp_path}/a.npz", "--label=3") == 0
  assert "left out: 1 picture cannot be read: bad.png (its content is no" in capfd.readouterr().err
  assert call("sample", f"--workdir={vae}", f"--latents={tmp_path}/a.npz", "--interpolate=3") == 2
  assert "goes between two pictures" in capfd.readouterr().err
