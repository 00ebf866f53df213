"""LPIPS against the package lpips's steps in PyTorch, with random weights; its files; and the metric of pairs."""

import re

import jax
import numpy as np
import pytest

from common.errors import ConfigError
from common.evaluation.features.extractor import Context, open_extractor
from common.evaluation.features.lpips import SCALE, SHIFT, TRUNKS
from common.evaluation.metrics.feature_distance import FeatureDistance
from common.evaluation.metrics.score import SampleSet
from tests.common.evaluation.features.torch_saving import state_dict_file

RNG = np.random.default_rng(0)
CHANNELS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)}
KERNELS = {"alex": (11, 5, 3, 3, 3), "vgg": (3,) * 13}
BY_NAME = dict(TRUNKS.values())


def weights(name):
  """Tensors of the trunk and of the heads, as PyTorch names and shapes them."""
  trunk, first, inputs = BY_NAME[name], {}, 3
  for number, outputs, side in zip(trunk.convolutions, CHANNELS[name], KERNELS[name], strict=True):
    deviation = np.sqrt(2 / (inputs * side**2))
    kernel = RNG.normal(0, deviation, (outputs, inputs, side, side))
    first[f"features.{number}.weight"] = kernel.astype(np.float32)
    first[f"features.{number}.bias"] = RNG.normal(0, 0.1, outputs).astype(np.float32)
    inputs = outputs
  taps = [first[f"features.{number}.bias"].shape[0] for number in trunk.taps]
  heads = {f"lin{i}.model.1.weight": RNG.random((1, count, 1, 1), np.float32) for i, count in enumerate(taps)}
  return {**first, "classifier.6.bias": np.zeros(1000, np.float32)}, heads


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  """{name: (trunk, heads, argument of the extractor)}."""
  folder, made = tmp_path_factory.mktemp("lpips"), {}
  for name in BY_NAME:
    first, heads = weights(name)
    for part, tensors in (("trunk", first), ("heads", heads)):
      (folder / f"{name}-{part}.pth").write_bytes(state_dict_file(tensors))
    made[name] = (first, heads, f"{folder}/{name}-trunk.pth,{folder}/{name}-heads.pth")
  return made


def features(argument, images):
  extractor = open_extractor(f"lpips:{argument}", Context(images.shape[1:], "images", "photos"))
  return extractor, np.asarray(jax.jit(extractor.apply)(extractor.variables, images)[0])


@pytest.mark.parametrize("name", BY_NAME)
def test_the_squared_distance_is_lpips(files, name):
  torch = pytest.importorskip("torch")
  trunk, (first, heads, argument) = BY_NAME[name], files[name]
  images = RNG.integers(0, 256, (4, 40, 36, 3), dtype=np.uint8)
  extractor, ours = features(argument, images)
  assert re.fullmatch(rf"lpips:{name}-[0-9a-f]{{8}}", extractor.name)

  x = torch.tensor(images, dtype=torch.float64).permute(0, 3, 1, 2) / 127.5 - 1
  x = (x - torch.tensor(SHIFT, dtype=torch.float64)[:, None, None]) / torch.tensor(SCALE).double()[:, None, None]
  total = 0.0
  for number, (stride, padding) in trunk.convolutions.items():
    if number in trunk.pooled:
      x = torch.nn.functional.max_pool2d(x, trunk.window, 2)
    kernel, bias = (torch.tensor(first[f"features.{number}.{part}"]).double() for part in ("weight", "bias"))
    x = torch.relu(torch.nn.functional.conv2d(x, kernel, bias, stride, padding))
    if number in trunk.taps:
      unit = x / (torch.sqrt(torch.sum(x**2, dim=1, keepdim=True)) + 1e-10)
      weight = torch.tensor(heads[f"lin{trunk.taps.index(number)}.model.1.weight"]).double()
      total = total + torch.nn.functional.conv2d((unit[:2] - unit[2:]) ** 2, weight).mean(dim=(1, 2, 3))
  score = FeatureDistance()(SampleSet(images[:2], ours[:2]), SampleSet(images[2:], ours[2:]), 0)["feature_distance"]
  np.testing.assert_allclose(np.sum((ours[:2] - ours[2:]) ** 2, axis=1), total.numpy(), rtol=1e-4)
  assert score.value == pytest.approx(float(total.mean()), rel=1e-4)


def test_grey_images_and_gradients_where_no_unit_fires(files):
  images = RNG.integers(0, 256, (2, 40, 40, 1), dtype=np.uint8)
  argument = files["alex"][2]
  np.testing.assert_array_equal(features(argument, images)[1], features(argument, images.repeat(3, axis=-1))[1])
  extractor, _ = features(argument, images)
  dead = {**extractor.variables, "bias": {i: bias - 1e3 for i, bias in extractor.variables["bias"].items()}}
  gradient = jax.jit(jax.grad(lambda x: extractor.apply(dead, x)[0].sum()))(images.astype(np.float32))
  assert np.isfinite(gradient).all()


def test_mistakes(files, tmp_path):
  first, heads, argument = files["alex"]
  trunk, head = argument.split(",")
  negative = {name: tensor - 1 for name, tensor in heads.items()}
  (tmp_path / "negative.pth").write_bytes(state_dict_file(negative))
  (tmp_path / "part.pth").write_bytes(state_dict_file({name: first[name] for name in list(first)[:2]}))
  vgg_head = files["vgg"][2].split(",")[1]
  shape = (64, 64, 3)
  for words, shape_, message in (
    ("", shape, '"lpips": name the two files'),
    (trunk, shape, "name the two files of weights"),
    (f"{head},{trunk}", shape, "holds no weights of torchvision's AlexNet or VGG16"),
    (f"{trunk},{tmp_path}/none.pth", shape, "none.pth cannot be read"),
    (f"{trunk},{tmp_path}/negative.pth", shape, "negative.pth has no weights for alex in lin0"),
    (f"{trunk},{vgg_head}", shape, "has no weights for alex in lin1"),
    (f"{tmp_path}/part.pth,{head}", shape, "'features.3.weight' is missing"),
    (argument, (16, 16, 3), "images of 16x16 pixels are too small for LPIPS"),
  ):
    with pytest.raises(ConfigError, match=re.escape(message)):
      open_extractor(f"lpips:{words}" if words else "lpips", Context(shape_, "images", "photos"))
  with pytest.raises(ConfigError, match="these are points"):
    open_extractor(f"lpips:{argument}", Context((1, 1, 2), "points", "gaussians8"))
