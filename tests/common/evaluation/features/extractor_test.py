"""What pictures are seen with: names, weights and refusals."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save as to_bytes

from common.data.spec import Spec
from common.errors import ConfigError
from common.evaluation.features import classifier_file
from common.evaluation.features.classifier import embed
from common.evaluation.features.embed import Embedder
from common.evaluation.features.extractor import Context, Extractor, open_extractor, sha8
from common.evaluation.pictures import open_reference, real
from common.parallel import make_mesh
from tests.tiny import config_of

DIGITS = Context((8, 8, 1), "images", "digits")
POINTS = Context((1, 1, 2), "points", "gaussians8")


def pictures(num: int, shape: tuple[int, int, int] = (8, 8, 1), seed: int = 0) -> np.ndarray:
  return np.random.RandomState(seed).randint(0, 256, (num, *shape)).astype(np.uint8)


def mean_colour(context: Context) -> Extractor:
  """An extractor of one's own, for the test of dotted names."""
  return Extractor("mean", {}, lambda variables, x: (x.astype(jnp.float32).mean((1, 2)), None))


def not_an_extractor(context: Context) -> int:
  return 3


def test_pixels_are_scaled_and_points_are_not():
  images = pictures(5)
  found = Embedder(open_extractor("pixels", DIGITS), make_mesh(1))(images)
  np.testing.assert_allclose(found.features, images.reshape(5, -1) / 255, rtol=1e-6)
  assert found.logits is None and found.features.dtype == np.float32
  points = np.random.RandomState(0).randn(7, 1, 1, 2).astype(np.float32)
  np.testing.assert_array_equal(
    Embedder(open_extractor("pixels", POINTS), make_mesh(1))(points).features, points[:, 0, 0]
  )


def test_random_features_are_fixed_by_their_seed_and_carry_it_in_their_name():
  a, again, other = (open_extractor(text, DIGITS) for text in ("random", "random:0", "random:7"))
  assert a.name == again.name == f"random:0-{sha8(a.variables)}" != other.name
  assert a.name == "random:0-0b16e795"  # NumPy's Philox: the same on every machine
  x = Embedder(a, make_mesh(1))(pictures(4)).features
  assert x.shape == (4, 64) and np.abs(x).min() > 0
  assert not np.allclose(x, Embedder(other, make_mesh(1))(pictures(4)).features, atol=0.1)


@pytest.mark.parametrize(("size", "name"), [(8, "digits"), (16, "digits_16x16")])
def test_the_shipped_classifiers_of_digits_are_as_good_as_their_files_say(size, name):
  """Each data set and size has the classifier that was trained on it: the 8x8 one reads 84.3 % at 16x16."""
  data = config_of("dcgan:digits").data
  data.image_size = size
  pictures = real(open_reference(data), "test")
  extractor = open_extractor("classifier", Context((size, size, 1), "images", "digits"))
  found = Embedder(extractor, make_mesh(1))(pictures.images, pictures.labels)
  accuracy = np.mean(found.logits.argmax(axis=1) == pictures.labels)
  assert accuracy == pytest.approx(classifier_file.load(classifier_file.WEIGHTS / f"{name}.safetensors").accuracy)
  assert accuracy >= 0.99 and found.features.min() == 0.0 and found.features.shape == (300, 128)
  assert extractor.name == f"classifier:{name}-{sha8(extractor.variables)}" and extractor.num_classes == 10
  assert extractor.resize == "none" and extractor.accuracy == pytest.approx(accuracy)


@pytest.mark.parametrize(
  ("name", "dataset", "size", "least"),
  [
    ("digits", "digits", 8, 0.99),
    ("digits_16x16", "digits", 16, 0.99),
    ("fashion_mnist", "fashion_mnist", 28, 0.92),
    ("mnist", "mnist", 28, 0.994),
    ("cifar10", "cifar10", 32, 0.9),
  ],
)
def test_each_shipped_classifier_says_what_it_is(name, dataset, size, least):
  trained = classifier_file.load(classifier_file.shipped()[name])
  channels = 3 if name == "cifar10" else 1
  assert trained.spec.image_shape == (size, size, channels) and trained.accuracy >= least and trained.dataset == dataset
  assert classifier_file.find(name, (7, 7)) == classifier_file.shipped()[name if name == "digits_16x16" else dataset]


def test_of_several_classifiers_the_nearest_in_size_is_taken():
  found = [classifier_file.find("digits", (size, size)).stem for size in (7, 8, 12, 16, 28)]
  assert found == ["digits", "digits", "digits_16x16", "digits_16x16", "digits_16x16"]


def test_pictures_of_another_size_are_resized_and_it_is_said():
  file = classifier_file.WEIGHTS / "digits.safetensors"
  extractor = open_extractor(f"classifier:{file}", Context((16, 16, 1), "images", "digits"))
  assert extractor.resize == "antialiased bilinear to 8x8"
  small = pictures(3)
  large = np.asarray(jax.image.resize(small.astype(np.float32), (3, 16, 16, 1), "nearest")).astype(np.uint8)
  a = Embedder(extractor, make_mesh(1))(large).logits
  trained = classifier_file.load(file)
  again = jax.image.resize(large.astype(np.float32), (3, 8, 8, 1), "bilinear") / 255.0
  np.testing.assert_allclose(a, embed(trained.network, trained.variables, again)[1], rtol=1e-4, atol=1e-4)


def test_stacked_channels_are_seen_one_by_one():
  images = pictures(4, (8, 8, 3))
  stacked, grey = (
    open_extractor("stacked:digits", Context((8, 8, 3), "images", "x")),
    open_extractor("classifier", DIGITS),
  )
  found = Embedder(stacked, make_mesh(1))(images)
  assert found.logits.shape == (4, 30) and stacked.num_classes == 30 and stacked.name == f"stacked-{grey.name}"
  for channel in range(3):
    alone = Embedder(grey, make_mesh(1))(images[..., channel : channel + 1])
    np.testing.assert_allclose(found.logits[:, 10 * channel : 10 * (channel + 1)], alone.logits, rtol=1e-4, atol=1e-4)


def test_features_do_not_depend_on_the_batch_or_on_the_devices():
  extractor, images = open_extractor("classifier", DIGITS), pictures(37)
  first = Embedder(extractor, make_mesh(1), batch_size=64)(images)
  for mesh, batch in ((make_mesh(1), 10), (make_mesh(8), 16), (make_mesh(8), 5)):
    other = Embedder(extractor, mesh, batch_size=batch)(images)
    np.testing.assert_allclose(other.features, first.features, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(other.logits, first.logits, rtol=1e-5, atol=1e-5)


def test_features_of_the_same_pictures_are_read_again_and_of_others_are_not(tmp_path):
  calls = []

  def counting(images):
    calls.append(len(images))
    return images

  base = open_extractor("random", DIGITS)
  extractor = Extractor(base.name, base.variables, base.apply, prepare=counting)
  images = pictures(6)
  first = Embedder(extractor, make_mesh(1), batch_size=8, cache=tmp_path).reference(images)
  again = Embedder(extractor, make_mesh(1), batch_size=8, cache=tmp_path).reference(images)
  assert calls == [8, 8]  # the second is the first batch again, for comparison
  np.testing.assert_array_equal(again.features, first.features)
  Embedder(extractor, make_mesh(1), batch_size=8, cache=tmp_path).reference(pictures(6, seed=1))
  assert calls == [8, 8, 8]
  for file in tmp_path.iterdir():
    file.write_bytes(file.read_bytes()[:100])  # a disk that was full
  repaired = Embedder(extractor, make_mesh(1), batch_size=8, cache=tmp_path).reference(images)
  np.testing.assert_array_equal(repaired.features, first.features)


def test_a_changed_extractor_of_the_same_name_is_noticed(tmp_path):
  images = pictures(40)

  def scaled(scale):
    return Extractor("mine", {}, lambda variables, x: (scale * x.reshape(len(x), -1).astype(jnp.float32), None))

  Embedder(scaled(1.0), make_mesh(1), batch_size=8, cache=tmp_path).reference(images)
  found = Embedder(scaled(3.0), make_mesh(1), batch_size=8, cache=tmp_path).reference(images)
  np.testing.assert_array_equal(found.features, 3.0 * images.reshape(40, -1))


def test_products_are_of_full_precision_on_every_device():
  extractor = open_extractor("classifier", DIGITS)
  embedder = Embedder(extractor, make_mesh(1), batch_size=8)
  lowered = embedder._apply.lower(extractor.variables, (), pictures(8)).as_text()
  assert "HIGHEST" in lowered and "DEFAULT" not in lowered


def test_features_that_are_not_finite_are_an_error():
  extractor = Extractor(
    "broken", {}, lambda variables, x: (jnp.log(x.reshape(len(x), -1).astype(jnp.float32) - 1.0), None)
  )
  with pytest.raises(ValueError, match="2 of 2 features of broken are not finite"):
    Embedder(extractor, make_mesh(1))(np.zeros((2, 8, 8, 1), np.uint8))


def test_a_function_of_ones_own_by_its_dotted_name():
  extractor = open_extractor("tests.common.evaluation.features.extractor_test:mean_colour", DIGITS)
  np.testing.assert_allclose(Embedder(extractor, make_mesh(1))(np.full((2, 8, 8, 1), 7, np.uint8)).features, [[7], [7]])


@pytest.mark.parametrize(
  ("text", "context", "message"),
  [
    ("clasifier", DIGITS, r'"clasifier" is not one of .*did you mean "classifier"'),
    (
      "classifier:nothing",
      DIGITS,
      r'no classifier of "nothing" .* digits, digits_16x16, fashion_mnist',
    ),
    ("classifier", POINTS, "these are points; use --config.evaluate.features=pixels"),
    ("classifier:digits", Context((8, 8, 3), "images", "x"), "takes pictures of 1 channels, and these have 3"),
    ("random:x", DIGITS, "random:0, or another whole number"),
    ("pixels:3", DIGITS, "pixels takes no argument"),
    ("no.such.module:f", DIGITS, "cannot be imported"),
    ("tests.common.evaluation.features.extractor_test:not_an_extractor", DIGITS, "made a int, not a"),
  ],
)
def test_wrong_names_are_errors_that_say_what_to_do(text, context, message):
  with pytest.raises(ConfigError, match=message):
    open_extractor(text, context)


def test_a_classifier_file_comes_back_as_it_was(tmp_path):
  trained = classifier_file.load(classifier_file.WEIGHTS / "digits.safetensors")
  model = {"name": "conv", "channels": (32, 64), "hidden": 128, "dropout": 0.5}
  classifier_file.save(tmp_path / "mine.safetensors", trained.variables, model, "mine", trained.spec, 0.5)
  again = classifier_file.load(tmp_path / "mine.safetensors")
  assert sha8(again.variables) == sha8(trained.variables) and (again.accuracy, again.dataset) == (0.5, "mine")
  assert isinstance(again.spec, Spec) and again.spec == trained.spec
  named = open_extractor(f"classifier:{tmp_path / 'mine.safetensors'}", DIGITS)
  assert named.name == f"classifier:mine-{sha8(trained.variables)}"
  about = {"model": model, "spec": dataclasses.asdict(trained.spec), "accuracy": 0.5}
  arrays = {"params/x": np.zeros(2, np.float32)}
  (tmp_path / "old.safetensors").write_bytes(to_bytes(arrays, metadata={"classifier": json.dumps(about)}))
  assert classifier_file.load(tmp_path / "old.safetensors").dataset == ""  # a file of before its data set was named
  (tmp_path / "bad.safetensors").write_bytes(b"not a file of arrays")
  with pytest.raises(ConfigError, match="is not a classifier of this project"):
    classifier_file.load(tmp_path / "bad.safetensors")
