"""Windows of photographs, of the real ones where Debian's packages are installed."""

import numpy as np
import pytest
from PIL import Image

from common.data import photos
from common.data.dataset import open_dataset
from common.errors import ConfigError
from tests.common.data.settings import data_config


@pytest.mark.parametrize(("height", "width", "size"), [(96, 96, (96, 96)), (100, 300, (96, 90)), (64, 129, (48, 64))])
def test_windows_cover_the_picture_from_edge_to_edge(height, width, size):
  image = np.stack([*np.indices((height, width)), np.zeros((height, width))], -1)
  cut = photos.windows(image, size)
  assert cut.shape[1:] == (*size, 3)
  assert {tuple(pixel) for pixel in cut.reshape(-1, 3)} == {tuple(pixel) for pixel in image.reshape(-1, 3)}
  starts = np.unique(cut[:, 0, 0, 1])
  assert np.all(np.diff(starts) <= size[1] - size[1] // 3)
  with pytest.raises(ConfigError, match="is larger than a photograph"):
    photos.windows(image, (400, 64))


@pytest.fixture
def folder(tmp_path):
  for number, stem in enumerate(photos._stems()):
    Image.new("RGB", (1200, 300) if number % 2 else (256, 1024), (10 * number, 10 * number, 10 * number)).save(
      tmp_path / f"{stem}.jpg", quality=100
    )
  return tmp_path


def test_whole_photographs_are_held_out(folder):
  dataset = open_dataset(data_config(name="photos", dir=str(folder), image_size=64))
  of_split = {
    split: set(np.unique(getattr(dataset, split).arrays()["image"][:, 32, 32, 0]))
    for split in ("train", "validation", "test")
  }
  assert [len(numbers) for numbers in of_split.values()] == [20, 2, 3]
  assert len(set.union(*of_split.values())) == 25
  assert dataset.spec.image_shape == (64, 64, 3) and dataset.spec.num_classes == 0


def test_a_missing_photograph_is_named_with_its_package(folder):
  (folder / "Garden.jpg").unlink()
  (folder / "Aqua.jpg").unlink()
  with pytest.raises(ConfigError, match=r"Aqua.jpg is not in .*, nor are 1 others; apt-get install mate-backgrounds"):
    open_dataset(data_config(name="photos", dir=str(folder)))


def test_the_real_photographs():
  if not all(
    any((photos.Path(place) / f"{stem}.jpg").is_file() for place in photos.DEBIAN) for stem in photos._stems()
  ):
    pytest.skip("needs Debian's lomiri-wallpapers-16.04 and mate-backgrounds")
  source = photos.photos(data_config(name="photos", image_size=128))
  images = source.read("validation", np.arange(source.sizes["validation"]))["image"]
  assert len(images) > 50 and images.std(axis=(1, 2, 3)).mean() > 20  # photographs are no plain areas
