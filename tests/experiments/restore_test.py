"""The command: files of every kind in, PNG files out; what is there stays, and what is wrong is said."""

import numpy as np
import pytest
from PIL import Image, ImageCms

from common.data.degradations.resize import resized
from common.data.images import to_uint8
from common.evaluation.metrics.psnr import psnr
from experiments import ROOT, api
from tests.experiments.dcgan_uses_test import untrained
from tests.experiments.restoration.fake import prior_of, run_of
from tests.experiments.runs import call

RNG = np.random.default_rng(0)


def pixels(*shape):
  return RNG.integers(0, 256, shape, np.uint8)


def opened(path):
  with Image.open(path) as picture:
    picture.load()
  return picture


@pytest.fixture
def model(monkeypatch):
  """Sets the run that the command loads; the convolution at first."""
  runs = {"run": run_of()}
  monkeypatch.setattr(api, "load", lambda workdir, checkpoint: runs["run"])
  return runs


@pytest.fixture
def folder(tmp_path):
  (tmp_path / "in" / "deep").mkdir(parents=True)
  return tmp_path / "in"


def restored(tmp_path, *words):
  return call("restore", "--workdir=run", f"--input={tmp_path / 'in'}", f"--out={tmp_path / 'out'}", *words)


def test_every_kind_of_picture_becomes_a_png_with_what_belongs_to_it(tmp_path, folder, model, capfd):
  exif = Image.Exif()
  exif[0x0112] = 6  # turned by a quarter
  exif[0x010F] = "maker"
  exif.get_ifd(0x8769).update({0xA002: 30, 0xA003: 20})
  profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
  Image.fromarray(pixels(20, 30, 3)).save(folder / "photo.jpg", exif=exif, icc_profile=profile)
  Image.fromarray(pixels(20, 30, 4)).save(folder / "alpha.png")
  Image.fromarray(pixels(20, 30)).save(folder / "deep" / "grey.bmp")
  Image.fromarray(pixels(20, 30, 3)).quantize(8).save(folder / "palette.gif")
  Image.fromarray(pixels(20, 30, 4), "CMYK").save(folder / "cmyk.tif", icc_profile=b"\0" * 16 + b"CMYK" + b"\0" * 108)
  Image.fromarray(pixels(20, 30).astype(np.uint16) * 257).save(folder / "deep.png")
  Image.fromarray(pixels(1, 1)).save(folder / "one.png")
  (folder / "broken.png").write_bytes((folder / "alpha.png").read_bytes()[:200])
  (folder / "notes.txt").write_text("no picture")
  assert restored(tmp_path) == 0
  out = {path.relative_to(tmp_path / "out").as_posix(): opened(path) for path in (tmp_path / "out").rglob("*.png")}
  sizes = {name: (picture.mode, picture.size) for name, picture in out.items()}
  assert sizes == {
    "photo.png": ("RGB", (40, 60)),  # upright
    "alpha.png": ("RGBA", (60, 40)),
    "deep/grey.png": ("L", (60, 40)),
    "palette.png": ("RGB", (60, 40)),
    "cmyk.png": ("RGB", (60, 40)),
    "deep.png": ("L", (60, 40)),
    "one.png": ("L", (2, 2)),
  }
  photo = out["photo.png"].getexif()
  assert 0x0112 not in photo and photo[0x010F] == "maker" and out["photo.png"].info["icc_profile"] == profile
  assert photo.get_ifd(0x8769) == {0xA002: 40, 0xA003: 60}
  assert "icc_profile" not in out["cmyk.png"].info  # it describes other colours than those of the result
  with Image.open(folder / "alpha.png") as source:
    expected = source.getchannel("A").resize((60, 40), Image.Resampling.BICUBIC)
  assert out["alpha.png"].getchannel("A").tobytes() == expected.tobytes()
  said = capfd.readouterr()
  for text in ("turned by EXIF", "16 bits to 8", "palette", "CMYK to RGB", "grey, as color and back", "20x30 -> 40x60"):
    assert text in said.err
  assert "7 pictures" in said.out and "broken.png (" in said.out and "notes.txt (no picture (.txt))" in said.out


def test_a_second_call_does_the_rest_and_never_mixes_settings(tmp_path, folder, model, capfd):
  for name in ("a.png", "a.jpg", "b.png"):
    Image.fromarray(pixels(20, 30, 3)).save(folder / name)
  assert restored(tmp_path) == 0
  out = tmp_path / "out"
  first = {path.name: path.read_bytes() for path in out.glob("*.png")}
  assert first.keys() == {"a.jpg.png", "a.png.png", "b.png"}
  (out / "b.png").unlink()
  (out / "a.jpg.png").write_bytes(b"kept")
  capfd.readouterr()
  assert restored(tmp_path) == 0
  assert (out / "b.png").read_bytes() == first["b.png"] and (out / "a.jpg.png").read_bytes() == b"kept"
  assert "1 of 3" not in capfd.readouterr().err
  assert restored(tmp_path, "--seed=1") == 2
  assert "has results with seed=0, and not 1" in capfd.readouterr().err
  (out / "restoration.json").unlink()
  assert restored(tmp_path) == 2
  assert "which is no result of this command" in capfd.readouterr().err


def test_inputs_are_never_replaced(tmp_path, folder, model, capfd):
  Image.fromarray(pixels(20, 30, 3)).save(folder / "a.png")
  content = (folder / "a.png").read_bytes()
  for place, out in ((folder, folder), (folder, folder / "new"), (folder / "a.png", folder)):
    assert call("restore", "--workdir=run", f"--input={place}", f"--out={out}") == 2
    said = capfd.readouterr().err
    assert "would be taken for pictures" in said or "would replace a.png" in said
  assert (folder / "a.png").read_bytes() == content and len(list(folder.iterdir())) == 2


def test_draws_sheets_and_scores(tmp_path, folder, model, capfd):
  model["run"] = run_of(z_dim=3)
  (tmp_path / "true").mkdir()
  for name in ("a.png", "deep/b.png"):
    (tmp_path / "true" / name).parent.mkdir(exist_ok=True)
    Image.fromarray(pixels(40, 60, 3)).save((tmp_path / "true" / name).with_suffix(".bmp"))
    Image.fromarray(pixels(20, 30, 3)).save(folder / name)
  Image.fromarray(pixels(20, 30, 3)).save(folder / "c.png")
  assert restored(tmp_path, "--draws=2", "--sheet", f"--reference={tmp_path / 'true'}", "--border=2") == 0
  out = tmp_path / "out"
  names = {path.relative_to(out).as_posix() for path in out.rglob("*.png")}
  own = {f"{name}-{i}.png" for name in ("a", "deep/b", "c") for i in (1, 2)}
  assert names == own | {f"sheets/{name}.png" for name in ("a", "deep/b", "c")}
  assert opened(out / "sheets" / "a.png").size == (4 * 64, 44)  # input, two results, reference
  assert opened(out / "sheets" / "c.png").size == (3 * 64, 44)
  said = capfd.readouterr()
  assert "c.png is not scored: --reference has no file of this name" in said.err
  found, true = (np.asarray(opened(path), float)[2:-2, 2:-2] for path in (out / "a-1.png", tmp_path / "true/a.bmp"))
  line = next(line for line in said.out.splitlines() if line.startswith("a.png")).split()
  assert float(line[1]) == pytest.approx(10 * np.log10(255**2 / np.mean((found - true) ** 2)), abs=0.006)
  assert len(line) == 5 and "channel rgb, border 2" in said.out


def test_masks(tmp_path, folder, model, capfd):
  model["run"] = run_of(scale=1, mask=True)
  hole = np.zeros((20, 30), np.uint8)
  hole[5:15, 10:20] = 255
  Image.fromarray(hole).save(tmp_path / "mask.png")
  picture = pixels(20, 30, 3)
  Image.fromarray(picture).save(folder / "a.png")
  Image.fromarray(pixels(21, 30, 3)).save(folder / "b.png")
  assert restored(tmp_path, f"--mask={tmp_path / 'mask.png'}", f"--reference={folder}", "--sheet") == 0
  assert opened(tmp_path / "out" / "sheets" / "a.png").getpixel((32, 22)) == (128, 128, 128)  # the hole of the input
  result = np.asarray(opened(tmp_path / "out" / "a.png"))
  np.testing.assert_array_equal(result[hole == 0], picture[hole == 0])
  said = capfd.readouterr()
  assert "b.png (its mask has 30x20 pixels, and it has 30x21)" in said.out
  inside = np.mean((result[hole > 0].astype(float) - picture[hole > 0]) ** 2)
  assert "hole_psnr" in said.out and f"{10 * np.log10(255**2 / inside):.2f}" in said.out


def test_any_model_of_pictures_restores_by_a_search_of_its_latents(tmp_path, folder, model, capfd):
  model["run"] = run = prior_of()
  true = np.asarray(run.algorithm.decode(run.state, np.array([[0.3, -0.2, 0.5]], np.float32)))
  true = np.rint(true[0, ..., 0] * 255).astype(np.uint8)
  Image.fromarray(true.reshape(4, 2, 4, 2).mean((1, 3)).round().astype(np.uint8)).save(folder / "a.png")
  Image.fromarray(true.repeat(2, axis=0).repeat(2, axis=1)).save(folder / "large.png")
  words = ("--method=latent", "--degradation=[{'name':'resize','scale':2,'method':'area'}]")
  search = ("--restarts=2", "--steps=300", "--learning_rate=0.1")
  assert restored(tmp_path, *words, *search) == 0
  said = capfd.readouterr().err
  assert "4x4 -> 8x8" in said and "measurement error 0.00" in said and "bilinear to 4" in said
  np.testing.assert_allclose(opened(tmp_path / "out" / "a.png"), true.astype(int), atol=3)
  assert restored(tmp_path, *words, "--penalty=0.1") == 2
  assert "has results with" in capfd.readouterr().err
  assert restored(tmp_path, *words, "--draws=2") == 2
  assert "a search gives one result" in capfd.readouterr().err


def test_a_regression_restores_in_tiles_what_it_restores_whole(tmp_path, folder):
  run = api.load(untrained(tmp_path / "run", "edsr:emoji_people,tiny", seed=1))
  picture = pixels(40, 56, 3)
  Image.fromarray(picture).save(folder / "a.png")
  words = (f"--workdir={tmp_path / 'run'}", f"--input={folder}", f"--out={tmp_path / 'out'}")
  assert call("restore", *words, "--tile=32", "--overlap=8") == 0
  whole = run.algorithm.decode(run.state, np.zeros((1, 0)), {"seen": picture[None] / np.float32(255)})
  result = np.asarray(opened(tmp_path / "out" / "a.png"), int)
  np.testing.assert_allclose(result, np.clip(np.rint(np.asarray(whole[0]) * 255), 0, 255), atol=1)


def test_what_cannot_be_done_is_said(tmp_path, folder, model, capfd):
  cases = {
    (): "--input has no files",
    ("--mask=/nowhere",): "--mask=/nowhere does not exist",
    ("--mask=MASK",): "this model takes no mask",
    ("--draws=3",): "has no latents",
    ("--tile=32", "--overlap=16"): "less than half",
    ("--model=x2",): "are two models",
  }
  (folder / "deep").rmdir()
  for words, said in cases.items():
    assert restored(tmp_path, *(word.replace("MASK", str(folder)) for word in words)) == 2
    error = capfd.readouterr().err
    assert said.replace("--input", f"--input={folder}") in error, error
    (folder / "junk.png").write_bytes(b"junk")
  assert restored(tmp_path) == 2
  assert "no file of --input could be restored: junk.png (its content is no picture's)" in capfd.readouterr().err
  assert call("restore", "--model=x9", f"--input={folder}", f"--out={tmp_path / 'out'}") == 2
  assert "--model=x9 does not ship with the code; take --model=x2" in capfd.readouterr().err
  model["run"] = run_of()
  object.__setattr__(model["run"].algorithm, "given", ("label",))
  assert restored(tmp_path) == 2
  assert "is not given pictures to restore" in capfd.readouterr().err


def test_the_model_that_ships_doubles_pictures_better_than_bicubic(tmp_path, folder):
  with Image.open(ROOT / "common" / "data" / "emoji_people.png") as people:
    truth = np.asarray(people.convert("RGB"))[:64, :96]
  seen = to_uint8(np.asarray(resized(truth[None] / np.float32(255), 32, 48)), (0.0, 1.0))
  Image.fromarray(seen[0]).save(folder / "people.png")
  assert call("restore", "--model=x2", f"--input={folder}", f"--out={tmp_path / 'out'}") == 0
  bicubic = to_uint8(np.asarray(resized(seen / np.float32(255), 64, 96)), (0.0, 1.0))[0]
  ours, theirs = (psnr(picture, truth) for picture in (np.asarray(opened(tmp_path / "out" / "people.png")), bicubic))
  assert ours > theirs + 0.5  # 0.98 measured: drawings of few colors are no photographs
