"""Choices that do not go together are refused with both fields, the reason and a way out that works.

What the classes say of themselves is true of what they do.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common import random
from common.errors import ConfigError
from configs import schema
from experiments import choices
from tests.advice import applied, ways
from tests.vae.combinations_test import refusal, section
from tests.vae.tiny_model import SPEC, config_of_model
from vae.from_config import from_config
from vae.networks import NETWORKS

POINTS = dataclasses.replace(SPEC, kind="points", image_shape=(1, 1, 2))
BARE = dataclasses.replace(SPEC, num_classes=0, vocabulary=())
TABLES = choices("vae")
POINT = {"posterior": "deterministic", "prior": "none", "objective": "reconstruction"}
CODES = {"posterior": "vector_quantized", "prior": "uniform_codes"}
DOUBLY, HVAE = "importance_weighted doubly", {"model": "hvae"}
# What is chosen beside N(0, I), a Gaussian and the elbo; the two fields and a part of the reason; data other than SPEC.
CASES = [
  ({"posterior": "deterministic"}, "posterior", "objective", "a point has no density"),
  ({**POINT, "posterior": "planar"}, "posterior", "objective", "without a rate nothing keeps"),
  ({**CODES, "objective": "capacity"}, "posterior", "objective", "the rate of codes is the same"),
  ({**CODES, "objective": "wae"}, "posterior", "objective", "the rate of codes is the same"),
  ({"objective": DOUBLY, "posterior": "planar"}, "posterior", "objective.gradient", "it needs log q at a given z"),
  ({"prior": "none"}, "prior", "objective", "a prior is needed exactly if"),
  ({**POINT, "prior": "standard_normal"}, "prior", "objective", "a prior is needed exactly if"),
  ({"prior": "conditional_normal"}, "prior", "conditioning", "this one is given nothing"),
  ({**CODES, "prior": "standard_normal"}, "prior", "posterior", "codes have a distribution over codes"),
  ({"prior": "uniform_codes"}, "prior", "posterior", "it is a distribution over codes"),
  ({"prior": "vampprior", "posterior": "planar"}, "prior", "posterior", "its components are"),
  ({**HVAE, "posterior": "inverse_autoregressive"}, "posterior", "model", "a lower layer needs a posterior"),
  ({**POINT, "model": "conv_hvae"}, "posterior", "model", "a lower layer needs a posterior"),
  ({**HVAE, "objective": DOUBLY}, "objective.gradient", "model", "whose gradient would be lost"),
  ({"model": "resnet", "posterior": "planar"}, "posterior", "model", "a map needs as many"),
  ({"conditioning": "concat"}, "conditioning", "data", "this data set has none", BARE),
  ({"conditioning": "text"}, "conditioning", "data.text.name", "it needs captions as rows of words", BARE),
  ({"conditioning": "concat", "prior": "vampprior"}, "prior", "conditioning", "have nothing of what"),
  ({"conditioning": "seen", "model": "conv"}, "model", "conditioning", "this network takes values"),
  ({"conditioning": "none", "model": "unet"}, "model", "conditioning", "this model is given none"),
  ({"conditioning": "seen", "model": "unet"}, "conditioning", "data.degradation", "it needs what is left"),
  ({"model": "conv", "likelihood": "gaussian"}, "model", "data", "these data are points", POINTS),
  ({"prior": "vampprior", "likelihood": "gaussian"}, "prior", "data", "pseudo-inputs are images", POINTS),
  ({}, "likelihood", "data", "these data are points", POINTS),
  ({"likelihood": "discretized_logistic"}, "likelihood", "data.dequantize", "which the noise would move"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(case[0].values()) + " " + case[3])
def test_a_pair_is_refused_with_both_values_the_reason_and_a_way_out(case):
  changes, first, second, why, spec = (*case, SPEC)[:5]
  config = config_of_model(**{axis: section(axis, name) for axis, name in changes.items()})
  config.data.dequantize = second == "data.dequantize"
  if second == "data.degradation":
    config.data.degradation = ()

  def shown(field):
    path = field if "." in field else f"{field}.name"
    value = schema.value_at(config, path)
    return f"config.{path}=" + (f'"{value}"' if isinstance(value, str) else str(value))

  with pytest.raises(ConfigError) as error:
    from_config(config, spec)
  text = str(error.value)
  assert text.startswith(f"{shown(first)} does not go with {shown(second)}: ") and why in text
  alternatives = ways(text.partition("; take ")[2])
  assert alternatives, "no way out is named"
  refusals = [refusal(applied(config, words), spec) for words in alternatives]
  assert "" in refusals, "no way out leads to a legal config"
  assert not any(why in text for text in refusals)


def settings_of(axis, name):
  return {key: value for key, value in section(axis, name).items() if key != "name"}


def made(axis, name):
  """The module on its own."""
  context = {"image_shape": (4, 4, 1), "pixel_range": (0.0, 1.0), "z_dim": 4, "num_codes": 3, "code_dim": 2}
  fields = {field.name for field in dataclasses.fields(TABLES[axis][name])}
  return TABLES[axis][name](**{key: context[key] for key in context if key in fields} | settings_of(axis, name))


@pytest.mark.parametrize("name", TABLES["posterior"])
def test_what_a_posterior_gives(name):
  posterior = made("posterior", name)
  stats, keys = jnp.ones((2, posterior.num_stats(4))), random.row_keys(jax.random.key(0), jnp.arange(2))
  draw, variables = posterior.init_with_output(jax.random.key(0), stats, keys, train=False)
  assert posterior.gives <= {"density", "point", "real", "codes", "gaussian", "map", "layers"}
  assert ("density" in posterior.gives) == bool(np.all(np.isfinite(draw.log_q))) == ("point" not in posterior.gives)
  assert ("codes" in posterior.gives) == hasattr(posterior, "lookup") == ("real" not in posterior.gives)
  assert ("gaussian" in posterior.gives) == (hasattr(posterior, "split") and hasattr(posterior, "log_prob"))
  assert ("map" in posterior.gives) == (posterior.num_stats(6) % 6 == 0)
  assert ("layers" in posterior.gives) == (not variables and {"density", "real"} <= posterior.gives)


@pytest.mark.parametrize("name", TABLES["prior"])
def test_what_a_prior_needs(name):
  prior = made("prior", name)
  assert ("codes" in prior.needs) == hasattr(prior, "sample_codes")
  if name in ("none", "uniform_codes"):
    return
  encode = lambda images: (jnp.zeros((len(images), 4)), jnp.zeros((len(images), 4)))  # noqa: E731
  variables = prior.init(jax.random.key(0), jnp.ones((2, 4)), method=lambda m, z: m(encode, z).log_prob(z))
  assert bool(variables) == (name in ("vampprior", "conditional_normal"))


VQGAN = {"z_dim": 4, "width": 4, "multipliers": (1, 2), "blocks": 1, "channels": 4, "groups": 2}


@pytest.mark.parametrize("name", TABLES["model"])
def test_whether_a_network_takes_points(name):
  shape = {"image_shape": (1, 1, 2), "num_stats": lambda z_dim: 2 * z_dim, "num_params": 1}
  z = tuple(jnp.zeros((2, 4)) for _ in range(1 + (name in ("hvae", "conv_hvae"))))
  settings = VQGAN if name == "vqgan" else settings_of("model", name)  # the covering arrays are those of its own family
  decoder = NETWORKS[name].decoder(**shape, **settings)
  given = (jnp.zeros((2, 1, 2, 4)),) if decoder.takes_maps else None
  try:
    jax.eval_shape(lambda: decoder.init(jax.random.key(0), z, given, train=True))
    takes = True
  except ConfigError:
    takes = False
  # A network of convolutions without strides takes any size, and is not for points all the same.
  assert takes == (not decoder.images_only) or name in ("conv_hvae", "unet")
  assert len(decoder.lower_z_dims) == len(z) - 1


@pytest.mark.parametrize("name", TABLES["likelihood"])
def test_whether_a_likelihood_is_a_probability_of_levels(name):
  """The mass of a level, wherever in its bin x lies."""
  likelihood = made("likelihood", name)
  x, params = jnp.full((1, 4, 4, 1), 100 / 255), jnp.ones((1, 4, 4, likelihood.num_params))
  both = lambda m: (m.log_prob(params, x), m.log_prob(params, x + 0.3 / 255))  # noqa: E731
  (one, other), _ = likelihood.init_with_output(jax.random.key(0), method=both)
  assert likelihood.levels == bool(one == other)
  assert likelihood.pixels or name in ("gaussian", "shared_gaussian", "laplace")
