"""Each way out that an error of a config names is followed, as it would be typed, and leads out."""

import pytest

from common import parallel
from common.build import within
from common.data.resize import target_shape
from common.errors import ConfigError
from experiments.command_line.flags import find_config, load_config
from tests.advice import applied, refusal, ways

RAE = "--config.prior={'name':'none'} --config.posterior={'name':'deterministic'} --config.objective={'name':'rae',"
# A config, overrides of it that are wrong, and how many ways out are named.
# Pairs that exclude each other have tests of their own.
WRONG = [
  # configs/schema.py
  ("dcgan:digits,tiny", "--config.train.steps_per_call=7", 1),
  ("dcgan:digits,tiny", "--config.train.steps_per_call=4", 1),
  ("dcgan:digits,tiny", "--config.checkpoint.every=15", 2),
  ("dcgan:digits,tiny", "--config.train.patience=4", 1),
  # Data.
  ("dcgan:digits,tiny", "--config.data.dequantize=True --config.data.binarize=dynamic", 2),
  ("gan:gaussians8,tiny", "--config.data.flip=True --config.data.image_size=4 --config.data.binarize=dynamic", 1),
  ("gan:digits,tiny", "--config.data.resize=pad --config.data.image_size=4", 2),
  ("dcgan:digits,tiny", "--config.data.train_split=train[:9999]", 1),
  ("dcgan:digits,tiny", "--config.data.validation_split=train[5:5]", 1),
  ("classifier:digits,tiny", "--config.data.name=blobs:0 --config.data.image_size=8", 1),
  # Networks and other parts of a GAN.
  ("r3gan:digits,tiny", "--config.generator.cardinality=3", 1),
  ("r3gan:digits,tiny", "--config.discriminator.wide_to=4 --config.discriminator.width=6", 1),
  ("sagan:digits,tiny", "--config.generator.attention_size=7", 2),
  ("sagan:digits,tiny", "--config.discriminator.width=3", 2),
  ("gan:digits,tapered,tiny", "--config.generator.widths=(8,) --config.conditioning={'name':'projection'}", 2),
  ("dcgan:digits,tiny", "--config.game.warmup=5", 3),
  ("dcgan:digits,tiny", "--config.loss={'name':'least_squares','sigmoid':True,'a':-1.0}", 1),
  ("dcgan:digits,tiny", "--config.ema={'name':'half_life','updates':0.0}", 1),
  ("dcgan:digits,tiny", "--config.ema={'name':'half_life','updates':99.0}", 1),
  ("dcgan:digits,tiny", "--config.ema={'name':'decay','decay':0.99,'warmup':0.0}", 1),
  # Parts of a VAE.
  ("vae:digits,tiny", "--config.data.pixel_range=(-1.0,1.0)", 1),
  ("vae:digits,tiny", "--config.posterior.log_var_range=(2.0,1.0)", 1),
  ("vae:digits,tiny", "--config.corruption={'name':'gaussian','sigma':0.0}", 1),
  ("vae:digits,tiny", RAE + "'z_weight':1.0,'weight':1.0}", 1),
  ("vae:digits,tiny", RAE + "'z_weight':1.0,'regularizer':'gradient'}", 1),
  ("vae:digits,conv,tiny", "--config.model.channels=(8,8,8,8,8)", 1),
  ("vae:digits,tiny", "--config.model={'name':'infogan','z_dim':4,'width':4} --config.data.image_size=14", 1),
  ("vae:digits,tiny", "--config.model={'name':'resnet','z_dim':4,'width':4,'halvings':5}", 1),
  ("vq_vae:digits,tiny", "--config.model.z_dim=24", 1),
  ("vae:digits,tiny", "--config.model.z_dim=15 --config.prior={'name':'uniform_codes'} "
   "--config.posterior={'name':'vector_quantized','num_codes':4,'code_dim':4}", 1),
  ("vae:digits,tiny", "--config.model={'name':'resnet','z_dim':16,'width':4} "
   "--config.posterior={'name':'planar','steps':2}", 1),
]  # fmt: skip


@pytest.mark.parametrize(("variant", "words", "number"), WRONG, ids=[f"{a} {b}"[:70] for a, b, _ in WRONG])
def test_every_way_out_leads_out(variant, words, number):
  name, _, variant = variant.partition(":")
  config = applied(load_config(find_config(name), variant), words.split())
  text = refusal(config)
  found = ways(text)
  assert len(found) == number, text or "it is not refused"
  assert text.startswith("config."), "no field is named"
  for way in found:
    assert not refusal(applied(config, way)), way


def test_did_you_mean_leads_out():
  config = load_config(find_config("vae"), "digits,tiny")
  for path, wrong, right in (
    ("optim.name", "adagrat", "adagrad"),
    ("data.train_split", "trian", "train"),
    ("data.name", "digit", "digits"),
    ("model.activation", "tahn", "tanh"),
  ):
    text = refusal(applied(config, [f"--config.{path}={wrong}"]))
    assert f'did you mean "{right}"?' in text
    assert not refusal(applied(config, [f"--config.{path}={right}"]))


def test_a_batch_that_divides(monkeypatch):
  config = load_config(find_config("vae"), "digits,tiny")
  with pytest.raises(ConfigError) as error:
    parallel.check_devices("jit", 50)
  (way,) = ways(str(error.value))
  parallel.check_devices("jit", applied(config, way).train.batch_size)
  monkeypatch.setattr("jax.process_count", lambda: 2)
  with pytest.raises(ConfigError) as error:
    parallel.check_devices("pmap", 48)
  for way in ways(str(error.value)):
    parallel.check_devices(applied(config, way).parallel.mode, 48)


@pytest.mark.parametrize(("native", "size", "channels"), [((None, None, 3), (0, 0), 0), ((8, 8, 2), (8, 0), 3)])
def test_images_of_several_sizes_or_other_depths(native, size, channels):
  config = load_config(find_config("vae"), "digits,tiny")
  with pytest.raises(ConfigError) as error:
    target_shape(native, size, channels, "pad")
  (way,) = ways(str(error.value))
  data = applied(config, ["--config.data.channels=0", *way]).data
  assert target_shape(native, (data.image_size, data.image_width), data.channels, data.resize)


def test_what_is_refused_while_a_network_is_traced_names_its_section():
  for error, text in (
    (ConfigError("width=3; take --.width=4"), "config.generator: width=3; take --config.generator.width=4"),
    (ConfigError("config.data.x=1 is wrong"), "config.data.x=1 is wrong"),
    (ZeroDivisionError(), "config.generator: a size or width in it is 0, and must be 1 or more"),
  ):
    with pytest.raises(ConfigError) as found, within("generator"):
      raise error
    assert str(found.value) == text
