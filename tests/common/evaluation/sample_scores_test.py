"""The same score on any number of devices and for any batch size, and what is refused."""

import dataclasses
from typing import ClassVar

import jax
import numpy as np
import pytest

from common.data.dataset import open_dataset
from common.errors import ConfigError
from common.evaluation.features import classifier_file
from common.evaluation.features.embed import Embedder
from common.evaluation.features.extractor import Context, open_extractor
from common.evaluation.metrics.frechet import FrechetDistance, Moments
from common.evaluation.metrics.score import Score
from common.evaluation.sample_scores import (
  Pictures,
  SampleScorer,
  check_pictures,
  drawn,
  open_reference,
  real,
  real_protocol,
)
from common.evaluation.sampling import Sampler
from common.parallel import make_mesh, replicate
from tests.tiny import config_of, dataset_of, one_step


def trace(features: np.ndarray) -> float:
  moments = Moments(features.shape[1])
  moments.add(features)
  return float(np.trace(moments.gaussian().covariance))


@pytest.fixture(scope="module")
def reference():
  return open_reference(config_of("dcgan:digits,tiny").data)


def test_a_score_does_not_depend_on_devices_or_batches(reference):
  """Pictures of a DCGAN with BatchNorm (running statistics), drawn, embedded and scored in three ways."""
  step = one_step("dcgan:digits,tiny")
  spec, state = dataset_of("dcgan:digits,tiny").spec, step.after
  context = Context(reference.image_shape, "images", "digits")
  found = []
  for devices, batch in ((1, 64), (1, 50), (8, 24)):
    mesh = make_mesh(devices)
    extractor = open_extractor("classifier", context)
    sampler = Sampler(step.algorithm, spec, mesh, batch_size=batch)
    pictures = drawn(sampler, replicate(jax.device_get(state), mesh), 3, 200, reference)
    embedder = Embedder(extractor, mesh, batch_size=batch)
    scorer = SampleScorer(
      {"frechet": FrechetDistance()}, extractor, embedder, real(reference.test), labelled=False, num=200
    )
    found.append((pictures.images, next(iter(scorer(pictures, 0).values())).value))
    features = embedder(pictures.images).features
  size = trace(features) + trace(embedder(real(reference.test).images).features)
  for images, value in found[1:]:
    assert np.mean(images != found[0][0]) < 1e-3  # a float on the edge between two grey levels may fall to either
    if np.array_equal(images, found[0][0]):
      assert abs(value - found[0][1]) <= 1e-6 * size
    else:
      assert abs(value - found[0][1]) <= 1e-4 * size


def test_the_reference_is_of_grey_levels_whatever_training_made_of_it():
  config = config_of("vae:digits,tiny")
  assert config.data.binarize == "dynamic"
  images = real(open_reference(config.data).test).images
  assert len(np.unique(images)) > 16 and images.dtype == np.uint8
  assert set(np.unique(open_dataset(config.data).test.arrays()["image"])) == {0, 255}
  assert config.data.binarize == "dynamic"  # a copy was changed


def test_what_was_padded_comes_at_its_own_size_and_what_was_resized_as_seen():
  data = config_of("dcgan:digits,tiny").data
  assert real_protocol(open_reference(data), data, "test")["resize"] == "bilinear to 16"
  padded = data.copy_and_resolve_references()
  padded.resize = "pad"
  reference = open_reference(padded)
  assert reference.image_shape == (8, 8, 1)
  assert real_protocol(reference, padded, "test") == {
    "dataset": "digits", "split": "test", "image_shape": [8, 8, 1], "resize": "none", "quantization": "uint8, rounded",
  }  # fmt: skip
  step = one_step("dcgan:digits,tiny")  # makes 16x16
  sampler = Sampler(step.algorithm, dataset_of("dcgan:digits,tiny").spec, make_mesh(1))
  pictures = drawn(sampler, step.after, 0, 5, reference)
  whole = drawn(sampler, step.after, 0, 5, open_reference(data))
  np.testing.assert_array_equal(pictures.images, whole.images[:, 4:12, 4:12])


@dataclasses.dataclass(frozen=True)
class Count:
  """The number of pictures."""

  asked: int = 5
  needs: ClassVar[frozenset[str]] = frozenset({"labels", "images"})
  better: ClassVar[dict[str, str]] = {"count": ""}

  def least(self) -> tuple[int, int]:
    return self.asked, self.asked + 1

  def __call__(self, real, fake, seed):
    return {"count": Score(len(fake), 0.0, "")}


def scorer_of(metric, reference, *, labelled=True, num=10, features="pixels", labels=True):
  extractor = open_extractor(features, Context(reference.image_shape, "images", "digits"))
  pictures = real(reference.test, 10)
  pictures = pictures if labels else Pictures(pictures.images, None)
  return SampleScorer({"m": metric}, extractor, Embedder(extractor, make_mesh(1)), pictures, labelled=labelled, num=num)


def test_a_score_that_sees_no_features_is_not_named_after_them(reference):
  scorer = scorer_of(Count(), reference)
  assert list(scorer.owners()) == ["count"]
  assert scorer(real(reference.train, 10), 0)["count"].value == 10
  said = {**scorer.protocol}
  assert len(said.pop("real_sha")) == 8
  assert said == {"extractor": "pixels", "extractor_resize": "none", "n_real": 10}


def test_other_real_pictures_or_labels_are_another_protocol(reference, monkeypatch):
  def protocols():
    return scorer_of(Count(), reference).protocol, reference.test.sha8()

  before, rows = protocols(), reference.test.arrays()
  assert protocols() == before
  for name, changed in (("image", rows["image"] ^ np.uint8(1)), ("label", (rows["label"] + 1) % 10)):
    monkeypatch.setitem(rows, name, changed)
    now = protocols()
    assert now[0]["real_sha"] != before[0]["real_sha"] and now[1] != before[1]
    assert {**now[0], "real_sha": ""} == {**before[0], "real_sha": ""}
    monkeypatch.undo()


def accuracy_of(features, reference, pictures):
  extractor = open_extractor(features, Context(reference.image_shape, "images", "digits"))
  embedder = Embedder(extractor, make_mesh(1))
  return SampleScorer({"frechet": FrechetDistance()}, extractor, embedder, pictures, labelled=False, num=20).protocol


def test_a_classifier_says_how_well_it_reads_the_real_pictures(reference):
  """At 16x16, the default of most GANs on digits; the one of 8x8 reads 84.3 % of them and is refused."""
  pictures = real(reference.test)
  said = accuracy_of("classifier", reference, pictures)
  assert said["extractor"].startswith("classifier:digits_16x16-")
  assert said["extractor_accuracy_real"] == pytest.approx(said["extractor_accuracy"]) and said["n_real"] == 300
  small = f"classifier:{classifier_file.WEIGHTS / 'digits.safetensors'}"
  with pytest.raises(ConfigError, match=r"reads 84\.3% of the 300 real pictures of 16x16 .* and 99\.3% of its own"):
    accuracy_of(small, reference, pictures)
  assert "extractor_accuracy" not in accuracy_of("random", reference, pictures)  # the way out that it names
  with pytest.raises(ConfigError, match=r"reads \d+\.\d% of the 100 real pictures"):
    accuracy_of("classifier", reference, Pictures(pictures.images[:100], (pictures.labels[:100] + 1) % 10))


def test_an_accuracy_that_nobody_can_know_is_said_to_be_unknown(reference):
  pictures = real(reference.test, 20)
  said = accuracy_of("classifier", reference, Pictures(pictures.images, None))
  assert said["extractor_accuracy_real"] == "not known: the real pictures have no labels"
  said = accuracy_of("classifier", reference, Pictures(pictures.images, pictures.labels + 9))
  assert "other classes than the classifier's 10" in said["extractor_accuracy_real"]
  assert said["extractor_accuracy"] == pytest.approx(0.9933, abs=1e-4)


def test_stacked_pictures_are_read_channel_by_channel():
  data = config_of("classifier:digits").data
  data.update({"name": "stacked_digits", "channels": 3})
  stacked = open_reference(data)
  said = accuracy_of("stacked:digits", stacked, real(stacked.test, 300))
  assert said["extractor_accuracy_real"] == pytest.approx(0.9933, abs=0.01)


def test_what_a_metric_lacks_is_said_before_anything_is_computed(reference):
  with pytest.raises(ConfigError, match="m needs 11 real pictures or more, and there are 10"):
    scorer_of(Count(11), reference)
  with pytest.raises(ConfigError, match="m needs 10 generated pictures or more, and there are 9"):
    scorer_of(Count(9), reference, num=9)
  with pytest.raises(ConfigError, match="needs labels, and the pictures to be scored have none"):
    scorer_of(Count(), reference, labelled=False)
  with pytest.raises(ConfigError, match="needs labels, and the real pictures have none"):
    scorer_of(Count(), reference, labels=False)
  with pytest.raises(ConfigError, match="301 real examples are asked for, and the split has 300"):
    real(reference.test, 301)


def test_pictures_that_do_not_fit_the_reference_are_errors():
  grey, colour = np.zeros((2, 8, 8, 1), np.uint8), np.zeros((2, 8, 8, 3), np.uint8)
  with pytest.raises(ConfigError, match="both must be grey"):
    check_pictures(colour, grey)
  with pytest.raises(ConfigError, match="take a reference of that size"):
    check_pictures(np.zeros((2, 9, 9, 1), np.uint8), grey)
  with pytest.raises(ConfigError, match="the pictures are float32 and the real ones uint8"):
    check_pictures(grey.astype(np.float32), grey)
  points = np.full((2, 1, 1, 2), np.nan, np.float32)
  with pytest.raises(ConfigError, match="4 values of the pictures are not finite"):
    check_pictures(points, np.zeros((3, 1, 1, 2), np.float32))


def test_a_metric_without_a_value_is_an_error_or_left_out(reference):
  @dataclasses.dataclass(frozen=True)
  class Fails(Count):
    better: ClassVar[dict[str, str]] = {"fails": ""}

    def __call__(self, real, fake, seed):
      raise ValueError("class 3 has no pictures")

  extractor = open_extractor("pixels", Context(reference.image_shape, "images", "digits"))
  metrics, pictures = {"fails": Fails(), "count": Count()}, real(reference.test, 10)
  scorer = SampleScorer(metrics, extractor, Embedder(extractor, make_mesh(1)), pictures, labelled=True, num=10)
  with pytest.raises(ConfigError, match="class 3 has no pictures"):
    scorer(pictures, 0)
  told = []
  assert list(scorer(pictures, 0, told.append)) == ["count"]
  assert told == ["fails is left out: class 3 has no pictures"]
