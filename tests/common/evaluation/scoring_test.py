"""One score on any number of devices and for any batch size, what its protocol says, and what is refused."""

import dataclasses
from types import SimpleNamespace
from typing import ClassVar

import jax
import numpy as np
import pytest

from common.data.dataset import open_dataset
from common.errors import ConfigError
from common.evaluation.features import classifier_file
from common.evaluation.features.embed import Embedder
from common.evaluation.metrics.diversity import Diversity
from common.evaluation.metrics.frechet import FrechetDistance, Moments
from common.evaluation.metrics.inception_score import InceptionScore
from common.evaluation.metrics.psnr import Psnr
from common.evaluation.metrics.retrieval import Retrieval
from common.evaluation.metrics.score import Score
from common.evaluation.pictures import Pictures, check_pictures, copies, drawn, holes, open_reference, real
from common.evaluation.sampling import Sampler
from common.evaluation.scoring import ALL, Scoring, Settings
from common.parallel import make_mesh, replicate
from common.training.log import Status
from tests.experiments.restoration.fake import run_of
from tests.tiny import config_of, dataset_of, one_step

DATA = config_of("dcgan:digits,tiny").data


@dataclasses.dataclass(frozen=True)
class Count:
  """Counts the pictures; fails for those of class 3."""

  asked: int = 5
  needs: ClassVar[frozenset[str]] = frozenset({"labels", "images"})
  better: ClassVar[dict[str, str]] = {"count": ""}

  def least(self) -> tuple[int, int]:
    return self.asked, self.asked + 1

  def __call__(self, real, fake, seed):
    if self.asked == 3:
      raise ValueError("class 3 has no pictures")
    return {"count": Score(len(fake), 0.0, "")}


@pytest.fixture(scope="module")
def reference():
  return open_reference(DATA)


def scoring_of(
  metrics, reference, *, data=DATA, devices=1, labelled=True, num=10, paired=False, given=False, **settings
):
  settings = Settings(**{"features": "pixels", "num_real": 10, "say": Status(enabled=False), **settings})
  about = {"labelled": labelled, "num": num, "paired": paired, "given": given}
  return Scoring(metrics, reference, data, settings, make_mesh(devices), **about)


def protocol_of(features, reference, num_real=0, data=DATA):
  scoring = scoring_of(
    {"frechet": FrechetDistance()}, reference, data=data, labelled=False, num=20, features=features, num_real=num_real
  )
  return scoring.protocol("test", 20, {})


def trace(features: np.ndarray) -> float:
  return float(np.trace(Moments.of(features).gaussian().covariance))


def test_a_score_does_not_depend_on_devices_or_batches(reference):
  """Pictures of a DCGAN with BatchNorm (running statistics), drawn, embedded and scored in three ways."""
  step = one_step("dcgan:digits,tiny")
  spec, state = dataset_of("dcgan:digits,tiny").spec, step.after
  scores = []
  for devices, batch in ((1, 64), (1, 50), (8, 24)):
    mesh = make_mesh(devices)
    sampler = Sampler(step.algorithm, spec, mesh, batch_size=batch)
    pictures = drawn(sampler, replicate(jax.device_get(state), mesh), 3, 200, reference)
    settings = {"features": "classifier", "num_real": 0, "labelled": False, "num": 200}
    scoring = scoring_of({"frechet": FrechetDistance()}, reference, devices=devices, **settings)
    scoring._embedder = Embedder(scoring._extractor, mesh, batch_size=batch)
    [record] = scoring(pictures, {}, {})
    scores.append((pictures.images, record.value))
  size = trace(scoring._embed(pictures).features) + trace(scoring._embed(real(reference, "test")).features)
  for images, value in scores[1:]:
    assert np.mean(images != scores[0][0]) < 1e-3  # a float on the edge between two grey levels may fall to either
    assert abs(value - scores[0][1]) <= (1e-6 if np.array_equal(images, scores[0][0]) else 1e-4) * size


def test_the_reference_has_grey_levels_whatever_training_makes_of_it():
  config = config_of("vae:digits,tiny")
  assert config.data.binarize == "dynamic"
  images = real(open_reference(config.data), "test").images
  assert len(np.unique(images)) > 16 and images.dtype == np.uint8
  assert set(np.unique(open_dataset(config.data).test.arrays()["image"])) == {0, 255}
  assert config.data.binarize == "dynamic"  # a copy was changed


def test_padded_images_come_at_their_own_size_and_resized_ones_as_seen(reference):
  protocol = protocol_of("pixels", reference)
  assert protocol["resize"] == "bilinear to 16" and protocol["image_shape"] == [16, 16, 1]
  padded = DATA.copy_and_resolve_references()
  padded.resize = "pad"
  own_size = open_reference(padded)
  protocol = protocol_of("pixels", own_size, data=padded)
  assert protocol["resize"] == "none" and protocol["image_shape"] == [8, 8, 1]
  step = one_step("dcgan:digits,tiny")  # makes 16x16
  sampler = Sampler(step.algorithm, dataset_of("dcgan:digits,tiny").spec, make_mesh(1))
  cropped, whole = (drawn(sampler, step.after, 0, 5, side) for side in (own_size, reference))
  np.testing.assert_array_equal(cropped.images, whole.images[:, 4:12, 4:12])


def test_a_score_of_pixels_is_not_named_after_an_extractor(reference):
  scoring = scoring_of({"m": Count()}, reference)
  assert scoring.better == {"count": ""}
  [record] = scoring(real(reference, "train", 10), {}, {"weights": "raw"})
  assert (record.metric, record.value, record.settings) == ("count", 10, {"asked": 5})
  protocol = dict(record.protocol)
  assert len(protocol.pop("real_sha")) == 8
  assert protocol == {
    "dataset": "digits", "split": "test", "image_shape": [16, 16, 1], "resize": "bilinear to 16",
    "quantization": "uint8, rounded", "extractor": "pixels", "extractor_resize": "none",
    "n_real": 10, "n_fake": 10, "weights": "raw",
  }  # fmt: skip


def test_the_floor_of_pairs_is_the_baseline(reference):
  scoring = scoring_of({"m": Count(), "psnr": Psnr()}, reference, paired=True)
  assert [record.metric for record in scoring(real(reference, "test", 10), {}, {})] == ["count", "psnr"]
  assert [record.metric for record in scoring.floor(10)] == ["count"]
  [count, psnr] = scoring.floor(10, {"the input": real(reference, "test", 10)})
  assert (count.source, psnr.source, psnr.value) == ({"real": "train"}, {"baseline": "the input"}, 100.0)


def test_retrieval_is_among_all_pictures_of_the_set_beside_two_copies(monkeypatch):
  """Of the people, among 768: the true pictures are found, and copies of training pictures are not."""
  data = config_of("text_vae:tiny").data
  people, metrics = open_reference(data), {"retrieval": Retrieval(), "psnr": Psnr()}
  scoring = scoring_of(metrics, people, data=data, num=128, num_real=0, paired=True)
  protocol = scoring.protocol(ALL, 128, {})
  assert (protocol["split"], protocol["n_real"]) == ("test, among test, train, validation", 768)
  assert scoring.protocol("test", 128, {})["n_real"] == 128
  scores = {record.metric: record.value for record in scoring(real(people, "test"), {}, {})}
  assert scores == {"recall_at_1": 1.0, "sibling_accuracy": 1.0, "psnr": 100.0}
  floors = {
    (record.source["baseline"], record.metric): record.value
    for record in scoring.floor(128, copies(people, "test", 128))
  }
  assert floors["closest caption", "recall_at_1"] == floors["nearest picture", "recall_at_1"] == 0.0
  assert floors["closest caption", "psnr"] < floors["nearest picture", "psnr"] < 30
  caption = people.test.captions()[4]
  closest = copies(people, "test", 5)["closest caption"].images[4]
  train = people.train.arrays()["image"]
  chosen = people.train.captions()[np.argmax(np.all(train == closest, axis=(1, 2, 3)))]
  assert (caption, chosen) == ("man biking: dark skin tone", "man biking: medium-dark skin tone")
  monkeypatch.setattr(people.test, "captions", lambda: ["man pilot"] * 128)
  captions = ["man pilot: dark skin tone", "woman pilot", "pilot", *["man"] * 1000]
  monkeypatch.setattr(
    people.train, "captions", lambda: captions
  )  # a longer one shares as much, but not its largest part
  np.testing.assert_array_equal(copies(people, "test", 1)["closest caption"].images[0], train[2])
  with pytest.raises(ConfigError, match="needs captions, and the real pictures have none; leave it out"):
    scoring_of({"retrieval": Retrieval()}, open_reference(DATA), paired=True)


def test_other_real_pictures_or_labels_are_another_protocol(reference, monkeypatch):
  def protocols():
    return protocol_of("pixels", reference), reference.test.sha8()

  before, rows = protocols(), reference.test.arrays()
  assert protocols() == before
  for name, changed in (("image", rows["image"] ^ np.uint8(1)), ("label", (rows["label"] + 1) % 10)):
    monkeypatch.setitem(rows, name, changed)
    now = protocols()
    assert now[0]["real_sha"] != before[0]["real_sha"] and now[1] != before[1]
    assert {**now[0], "real_sha": ""} == {**before[0], "real_sha": ""}
    monkeypatch.undo()


def test_a_classifier_says_how_well_it_reads_the_real_pictures(reference, monkeypatch):
  """At 16x16, the default of most GANs on digits; the one of 8x8 reads 84.3 % of them and is refused."""
  protocol = protocol_of("classifier", reference)
  assert protocol["extractor"].startswith("classifier:digits_16x16-") and protocol["n_real"] == 300
  assert protocol["extractor_accuracy_real"] == pytest.approx(protocol["extractor_accuracy"])
  small = f"classifier:{classifier_file.WEIGHTS / 'digits.safetensors'}"
  with pytest.raises(ConfigError, match=r"reads 84\.3% of the 300 real pictures of 16x16 .* and 99\.3% of its own"):
    protocol_of(small, reference)
  assert "extractor_accuracy" not in protocol_of("random", reference)  # the way out that it names
  labels = reference.test.arrays()["label"]
  monkeypatch.setitem(reference.test.arrays(), "label", (labels + 1) % 10)
  with pytest.raises(ConfigError, match=r"reads \d+\.\d% of the 100 real pictures"):
    protocol_of("classifier", reference, num_real=100)
  monkeypatch.setitem(reference.test.arrays(), "label", labels + 9)
  protocol = protocol_of("classifier", reference)
  assert "other classes than the classifier's 10" in protocol["extractor_accuracy_real"]
  assert protocol["extractor_accuracy"] == pytest.approx(0.9933, abs=1e-4)


def test_fewer_classes_are_other_classes(reference, monkeypatch):
  rows = reference.test.arrays()
  monkeypatch.setitem(rows, "label", (rows["label"] + 1) % 9)
  source = SimpleNamespace(kind="images", native_shape=reference.source.native_shape, num_classes=9)
  accuracy = protocol_of("classifier", dataclasses.replace(reference, source=source))["extractor_accuracy_real"]
  assert "other classes than the classifier's 10" in accuracy


def test_without_labels_a_classifiers_accuracy_is_unknown(reference):
  source = SimpleNamespace(kind="images", native_shape=reference.source.native_shape, num_classes=0)
  unlabelled = dataclasses.replace(reference, source=source)
  assert real(unlabelled, "test").labels is None
  accuracy = protocol_of("classifier", unlabelled)["extractor_accuracy_real"]
  assert accuracy == "not known: the real pictures have no labels"
  with pytest.raises(ConfigError, match="needs labels, and the real pictures have none"):
    scoring_of({"m": Count()}, unlabelled)


def test_stacked_pictures_are_read_channel_by_channel():
  data = config_of("classifier:digits").data
  data.update({"name": "stacked_digits", "channels": 3})
  protocol = protocol_of("stacked:digits", open_reference(data), num_real=300, data=data)
  assert protocol["extractor_accuracy_real"] == pytest.approx(0.9933, abs=0.01)


@pytest.mark.parametrize(
  ("asked", "ways", "message"),
  [
    (11, {}, "m needs 11 real pictures or more, and there are 10"),
    (9, {"num": 9}, "m needs 10 generated pictures or more, and there are 9"),
    (5, {"labelled": False}, "needs labels, and the pictures to be scored have none"),
    (5, {"metric": InceptionScore()}, "m needs a classifier's logits, which the features pixels lack"),
    (5, {"metric": Psnr()}, "m compares each picture with the real one that it was made from"),
    (5, {"metric": Psnr(), "paired": True, "num": 9}, "and there are 9 pictures and 10 real ones"),
    (5, {"metric": Diversity()}, "m has draws=5 for each input, which takes a model that is given"),
    (5, {"num_real": 301}, "301 real examples are asked for, and the split has 300"),
  ],
)
def test_a_metric_that_lacks_something_is_refused_before_any_work(reference, monkeypatch, asked, ways, message):
  monkeypatch.setattr(Embedder, "reference", lambda *_: pytest.fail("computed before the error was found"))
  with pytest.raises(ConfigError, match=message):
    scoring_of({"m": ways.pop("metric", Count(asked))}, reference, **ways)


GREY = np.zeros((2, 8, 8, 1), np.uint8)


@pytest.mark.parametrize(
  ("pictures", "reference", "message"),
  [
    (np.zeros((2, 8, 8, 3), np.uint8), GREY, "both must be grey"),
    (np.zeros((2, 9, 9, 1), np.uint8), GREY, "take a reference of that size"),
    (GREY.astype(np.float32), GREY, "the pictures are float32 and the real ones uint8"),
    (np.full((2, 1, 1, 2), np.nan), np.zeros((3, 1, 1, 2)), "4 values of the pictures are not finite"),
  ],
)
def test_pictures_that_do_not_fit_the_reference_are_errors(pictures, reference, message):
  with pytest.raises(ConfigError, match=message):
    check_pictures(pictures, reference)


def test_an_undefined_metric_is_left_out_and_said(reference):
  scoring, pictures = scoring_of({"fails": Count(3), "count": Count()}, reference), real(reference, "test", 10)
  assert [record.metric for record in scoring(pictures, {}, {})] == ["count"]
  assert scoring.failures == ["fails is left out: class 3 has no pictures"]


def test_features_that_are_not_finite_are_an_error(reference, monkeypatch):
  scoring = scoring_of({"count": Count()}, reference)
  monkeypatch.setattr(scoring._embedder, "_embed", lambda images: (np.full((len(images), 2), np.inf), None))
  with pytest.raises(ConfigError, match="10 of 10 features of pixels are not finite"):
    list(scoring(Pictures(*dataclasses.astuple(real(reference, "test", 10))), {}, {}))


@pytest.mark.parametrize("margin", [0, 2])
def test_holes_are_those_of_the_pictures_that_were_seen(margin):
  """Example by example over several batches, and without the margin of a model's pictures."""
  side = 8 + 2 * margin
  seen = np.random.default_rng(0).uniform(-1.0, 1.0, (150, side, side, 4)).astype(np.float32)
  reference = SimpleNamespace(pixel_range=(-1.0, 1.0), image_shape=(8, 8, 3))
  found = holes(lambda index: {"seen": seen[index]}, 150, (side, side, 3), reference)
  np.testing.assert_array_equal(found, seen[:, margin : margin + 8, margin : margin + 8, 3] > 0.0)
  assert holes(lambda index: {"seen": seen[index, ..., :1]}, 150, (side, side, 3), reference) is None


def test_scores_of_restored_pictures_are_those_of_their_holes(reference):
  """The pictures bring their holes: what is wrong elsewhere does not count."""
  scoring, true = scoring_of({"psnr": Psnr()}, reference, paired=True), real(reference, "test", 10)
  where = np.zeros(true.images.shape[:3], bool)
  where[:, 2:4, 2:4] = True
  wrong_elsewhere = np.where(where[..., None], true.images, 255 - true.images)
  [record] = scoring(Pictures(wrong_elsewhere, None, holes=where), {}, {})
  assert record.value == 100.0 and record.settings["hole"]
  [record] = scoring(Pictures(255 - wrong_elsewhere, None, holes=where), {}, {})
  assert record.value < 20.0


def test_several_draws_of_an_input_differ_by_their_latents_only(reference):
  """The model adds a number that depends on z to what it makes of its input."""
  run, seen = run_of(1, z_dim=1), np.random.default_rng(0).uniform(0.4, 0.6, (7, 16, 16, 3)).astype(np.float32)
  place = SimpleNamespace(pixel_range=(0.0, 1.0), image_shape=(16, 16, 3), source=SimpleNamespace(kind="images"))
  ways = {"batch_size": 4, "examples": lambda index: {"seen": seen[index % 7]}}
  sampler = Sampler(run.algorithm, run.spec, make_mesh(1), **ways)
  once, again = drawn(sampler, run.state, 3, 5, place), drawn(sampler, run.state, 3, 5, place, 4)
  assert once.draws is None and again.draws.shape == (4, 5, 16, 16, 3)
  np.testing.assert_array_equal(again.images, once.images)
  np.testing.assert_array_equal(again.draws[0], once.images)
  moved = (again.draws[1:].astype(float) - once.images)[:, :, 4:12, 4:12]
  assert moved.std(axis=(2, 3, 4)).max() < 1.0 and len(np.unique(np.rint(moved.mean(axis=(2, 3, 4))))) > 10
  still = run_of(1)
  with pytest.raises(ConfigError, match="draws=4: this network has no latents"):
    drawn(Sampler(still.algorithm, still.spec, make_mesh(1), **ways), still.state, 3, 5, place, 4)

  scoring, true = scoring_of({"diversity": Diversity()}, reference, given=True), real(reference, "test", 10)
  assert scoring.draws == 5 and list(scoring.floor(10, {"the input": true})) == []
  draws = np.stack([np.full_like(true.images, level) for level in (10, 30, 10, 30, 10)])
  [record] = scoring(Pictures(draws[0], None, draws=draws), {}, {})
  assert record.value == pytest.approx(20 * 6 / 10) and record.settings["draws"] == 5
