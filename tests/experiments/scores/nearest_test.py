"""The nearest training picture: by brute force, over blocks, with the margin of padded pictures, by the command."""

import numpy as np
import pytest
from PIL import Image

from common.data.dataset import open_dataset
from common.evaluation import pictures
from experiments import api
from experiments.loading import TrainedRun
from experiments.scores.nearest import TrainingPictures
from tests.experiments.dcgan_uses_test import untrained
from tests.experiments.runs import call


def test_the_nearest_of_any_number_of_blocks(monkeypatch):
  generator = np.random.default_rng(0)
  drawn, others = (generator.integers(0, 256, (count, 4, 5, 3), dtype=np.uint8) for count in (3, 11))
  others[9] = others[2]  # the first of equals is found
  drawn[1] = others[2]
  apart = np.sqrt(np.mean((drawn[:, None].astype(float) - others) ** 2, axis=(2, 3, 4))) / 255
  for block in (1, 4, 100):
    monkeypatch.setattr(pictures, "_OTHERS", block)
    chosen, distance = pictures.nearest_to(drawn, others)
    np.testing.assert_array_equal(chosen, apart.argmin(axis=1))
    np.testing.assert_allclose(distance, apart.min(axis=1), atol=1e-12)
  assert chosen[1] == 2 and distance[1] == 0


def test_padding_is_no_part_of_a_picture(tmp_path):
  """The margin of a drawn picture does not count, and stays."""
  generator = np.random.default_rng(0)
  stored = generator.integers(0, 256, (20, 6, 6, 3), dtype=np.uint8)
  for number, image in enumerate(stored):
    Image.fromarray(image).save(tmp_path / f"{number:02d}.png")
  config = api.load_config("vae:folder,conv,gaussian", {"data.dir": str(tmp_path), "data.resize": "pad"})
  with config.unlocked():
    config.data.image_size = 8
  run = TrainedRun(config, open_dataset(config.data).spec, None, None, 0, ())
  train = pictures.real(pictures.open_reference(config.data), "train").images
  assert train.shape[1:] == (6, 6, 3)
  low, high = run.spec.pixel_range
  drawn = np.full((2, 8, 8, 3), low + 0.3 * (high - low), np.float32)
  drawn[:, 1:7, 1:7] = low + (high - low) * train[[3, 0]] / 255.0
  found, distance = TrainingPictures(run, "run").nearest(drawn)
  np.testing.assert_array_equal(distance, 0)
  np.testing.assert_allclose(found, drawn, atol=1e-6)


def test_the_sheet_has_pairs(tmp_path, capfd):
  workdir = untrained(tmp_path / "run", "dcgan:digits,tiny", seed=1)
  out = tmp_path / "pairs.png"
  assert call("sample", f"--workdir={workdir}", "--nearest", "--num=3", "--columns=2", f"--out={out}") == 0
  assert "nearest training pictures: RMS difference" in capfd.readouterr().err
  train = pictures.real(pictures.open_reference(api.load(workdir).config.data), "train").images[..., 0]
  with Image.open(out) as sheet:
    cells = np.asarray(sheet).reshape(3, 36, 2, 36)[:, 2:34:2, :, 2:34:2].swapaxes(1, 2)
  assert all((train == cells[row, 1]).all(axis=(1, 2)).any() for row in range(3))
  assert not any((train == cells[row, 0]).all(axis=(1, 2)).any() for row in range(3))


@pytest.mark.parametrize(
  ("words", "message"),
  [
    (["--columns=3"], "--columns=3: pairs need an even number"),
    (["--out=pairs.npz"], "--out=pairs.npz: --nearest makes a grid of pairs; name a .png or .jpg"),
    (["--interpolate=3"], "--interpolate=3 has no effect on samples beside their nearest training pictures"),
    (["--show=manifold"], "--nearest=True has no effect on manifold"),
  ],
)
def test_mistake(words, message, capfd):
  assert call("sample", "--workdir=run", "--nearest", *words) == 2
  assert message in capfd.readouterr().err
