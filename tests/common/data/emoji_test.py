"""The captioned emoji: the shipped people, and the whole set where Debian's packages are installed."""

import collections
import re

import numpy as np
import pytest

from common.data import emoji
from common.data.dataset import open_dataset
from common.data.resize import fit
from common.errors import ConfigError
from tests.common.data.settings import data_config


def test_the_people_are_a_set_with_held_out_compositions():
  names, images, labels, class_names, splits = emoji._people()
  assert images.shape == (768, 32, 32, 3) and len(set(names)) == 768
  assert len({image.tobytes() for image in images}) == 768
  assert names[0] == "man artist: light skin tone" and names[-1] == "woman with white cane"
  for name, label in zip(names, labels, strict=True):
    gender, tone = class_names[label].split(": ") if ":" in class_names[label] else (class_names[label], "")
    assert name.startswith(f"{gender} ") and name.endswith(tone)
  assert collections.Counter(splits) == {"train": 608, "validation": 32, "test": 128}
  seen = {
    word for name, split in zip(names, splits, strict=True) if split == "train" for word in re.findall(r"\w+", name)
  }
  assert all(set(re.findall(r"\w+", name)) <= seen for name in names)
  by_person = collections.Counter(
    name.partition(":")[0] for name, split in zip(names, splits, strict=True) if split == "test"
  )
  assert set(by_person.values()) == {1} and len(by_person) == 128  # each person is tested in one tone
  tones = collections.Counter(label % 6 for label, split in zip(labels, splits, strict=True) if split == "test")
  assert max(tones.values()) - min(tones.values()) <= 1


def test_a_tone_darkens_the_picture():
  """Labels belong to their pictures: dark is darker than light, on average by steps (light has black hair)."""
  images, labels = emoji._people()[1:3]
  luma = images.astype(np.float64).mean(axis=(1, 2)) @ [0.299, 0.587, 0.114]
  by_tone = luma.reshape(128, 6)[:, :5]
  assert np.all(labels.reshape(128, 6) % 6 == np.arange(6))
  assert np.all(by_tone[:, 0] > by_tone[:, 4]) and np.all(np.diff(by_tone.mean(axis=0)[1:]) < 0)


def test_the_people_open_by_their_name():
  dataset = open_dataset(data_config(name="emoji_people", image_size=16, resize="crop"))
  assert dataset.spec.image_shape == (16, 16, 3) and dataset.spec.num_classes == len(dataset.spec.class_names) == 12


def test_all_emoji_and_the_counts_of_their_splits():
  if not all((place / name).is_file() for name, place in emoji.DEBIAN.items()):
    pytest.skip("needs Debian's fonts-noto-color-emoji and unicode-data")
  pytest.importorskip("fontTools", reason="needs fontTools, of the extra emoji")
  dataset = open_dataset(data_config(name="emoji", image_size=32, resize="crop"))
  assert len(dataset.train) + len(dataset.validation) + len(dataset.test) >= 3600
  names, _, images = emoji._read(*(place / name for name, place in emoji.DEBIAN.items()))
  splits = emoji._splits(names)
  assert splits.count("test") >= 350
  words: dict[str, set[str]] = {"train": set(), "validation": set(), "test": set()}
  for name, split in zip(names, splits, strict=True):
    words[split].update(re.findall(r"\w+", name))
  assert words["test"] <= words["train"]
  people, small, *_ = emoji._people()
  number = {name: i for i, name in enumerate(names)}
  whole = fit(images[[number[name] for name in people]], (32, 32, 3), "crop")
  assert np.sqrt(np.mean((whole.astype(np.float64) - small) ** 2)) < 4.1  # of one palette of 256 colours


def test_missing_files_and_fonts_without_bitmaps_are_said(tmp_path):
  with pytest.raises(ConfigError, match="NotoColorEmoji.ttf is missing; apt-get install fonts-noto-color-emoji"):
    emoji.emoji(str(tmp_path))


def test_a_rule_of_splits_by_hand():
  names = [f"{base}: {tone} skin tone" for base in ("ant", "bee") for tone in emoji.TONES] + [
    f"thing {i}" for i in range(11)
  ]
  names.append("pair: light skin tone, dark skin tone" + " " * 3)
  splits = emoji._splits(names)
  assert splits[:10] == ["test", "train", "validation", "train", "train", "train", "test", "train", "train", "train"]
  assert splits[10:21] == ["validation", *["train"] * 9, "validation"]
  assert splits[21] == ("test" if (5 * 0 + 4 + len(names[21])) % 5 == 0 else "train")
