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
from experiments import choices
from tests.advice import applied, ways
from tests.vae.combinations_test import refusal, section
from tests.vae.objectives_test import context_of, terms_of
from tests.vae.tiny_model import SPEC, config_of_model
from vae.from_config import from_config
from vae.networks import NETWORKS

POINTS = dataclasses.replace(SPEC, kind="points", image_shape=(1, 1, 2))
BARE = dataclasses.replace(SPEC, num_classes=0)
TABLES = choices("vae")
POINT = {"posterior": "deterministic", "prior": "none", "objective": "reconstruction"}
CODES = {"posterior": "vector_quantized", "prior": "uniform_codes"}
CASES = [  # choices beside N(0, I), a Gaussian and the elbo; the data; the two fields and the reason
  ({"posterior": "deterministic"}, SPEC, "posterior.name", "objective.name", "a point has no density"),
  ({**POINT, "posterior": "planar"}, SPEC, "posterior.name", "objective.name", "without a rate nothing keeps"),
  ({**CODES, "objective": "capacity"}, SPEC, "posterior.name", "objective.name", "the rate of codes is the same"),
  ({**CODES, "objective": "wae"}, SPEC, "posterior.name", "objective.name", "the rate of codes is the same"),
  (
    {"objective": "importance_weighted doubly", "posterior": "planar"},
    SPEC,
    "posterior.name",
    "objective.gradient",
    "it needs log q at a given z",
  ),
  ({"prior": "none"}, SPEC, "prior.name", "objective.name", "a prior is needed exactly where"),
  ({**POINT, "prior": "standard_normal"}, SPEC, "prior.name", "objective.name", "a prior is needed exactly where"),
  ({**CODES, "prior": "flow"}, SPEC, "prior.name", "posterior.name", "codes have a distribution over codes"),
  ({"prior": "uniform_codes"}, SPEC, "prior.name", "posterior.name", "it is a distribution over codes"),
  (
    {**POINT, "prior": "flow", "objective": "wae"},
    SPEC,
    "prior.name",
    "posterior.name",
    "the prior would learn nothing",
  ),
  (
    {"prior": "vampprior", "posterior": "planar"},
    SPEC,
    "prior.name",
    "posterior.name",
    "its components are",
  ),
  (
    {"model": "hvae", "posterior": "inverse_autoregressive"},
    SPEC,
    "posterior.name",
    "model.name",
    "a lower layer needs a posterior",
  ),
  ({**POINT, "model": "conv_hvae"}, SPEC, "posterior.name", "model.name", "a lower layer needs a posterior"),
  (
    {"model": "hvae", "objective": "importance_weighted doubly"},
    SPEC,
    "objective.gradient",
    "model.name",
    "whose gradient would be lost",
  ),
  ({"conditioning": "concat"}, BARE, "conditioning.name", "data.name", "this data set has none"),
  ({"conditioning": "concat", "prior": "vampprior"}, SPEC, "prior.name", "conditioning.name", "have no labels"),
  ({"model": "conv", "likelihood": "gaussian"}, POINTS, "model.name", "data.name", "these data are points"),
  ({"prior": "vampprior", "likelihood": "gaussian"}, POINTS, "prior.name", "data.name", "pseudo-inputs are images"),
  ({}, POINTS, "likelihood.name", "data.name", "these data are points"),
  (
    {"likelihood": "discretized_logistic", "data.dequantize": True},
    SPEC,
    "likelihood.name",
    "data.dequantize",
    "which the noise would move",
  ),
]


def config_of(changes):
  dequantize = changes.get("data.dequantize", False)
  config = config_of_model(**{axis: section(axis, name) for axis, name in changes.items() if axis != "data.dequantize"})
  config.data.dequantize = dequantize
  return config


@pytest.mark.parametrize(("changes", "spec", "first", "second", "why"), CASES)
def test_a_pair_is_refused_with_both_values_the_reason_and_a_way_out(changes, spec, first, second, why):
  config = config_of(changes)

  def shown(field):
    value = config
    for key in field.split("."):
      value = value[key]
    return f'config.{field}="{value}"' if isinstance(value, str) else f"config.{field}={value}"

  with pytest.raises(ConfigError) as error:
    from_config(config, spec)
  text = str(error.value)
  assert text.startswith(f"{shown(first)} does not go with {shown(second)}: ") and why in text
  alternatives = ways(text.partition("; take ")[2])
  assert alternatives, "no way out is named"
  refusals = [refusal(applied(config, words), spec) for words in alternatives]
  assert "" in refusals, "no way out leads to a legal config"
  assert not any(why in text for text in refusals)


def made(axis, name):
  """The module on its own."""
  context = {"image_shape": (4, 4, 1), "pixel_range": (0.0, 1.0), "z_dim": 4, "num_codes": 3, "code_dim": 2}
  kind = TABLES[axis][name]
  fields = {field.name for field in dataclasses.fields(kind)}
  settings = {key: value for key, value in section(axis, name).items() if key != "name"}
  return kind(**{key: value for key, value in context.items() if key in fields} | settings)


@pytest.mark.parametrize("name", TABLES["posterior"])
def test_what_a_posterior_gives(name):
  posterior = made("posterior", name)
  stats, keys = jnp.ones((2, posterior.num_stats(4))), random.row_keys(jax.random.key(0), jnp.arange(2))
  draw, variables = posterior.init_with_output(jax.random.key(0), stats, keys, train=False)
  assert posterior.gives <= {"density", "point", "real", "codes", "gaussian", "layers"}
  assert ("density" in posterior.gives) == bool(np.all(np.isfinite(draw.log_q))) == ("point" not in posterior.gives)
  assert ("codes" in posterior.gives) == hasattr(posterior, "lookup") == ("real" not in posterior.gives)
  assert ("gaussian" in posterior.gives) == (hasattr(posterior, "split") and hasattr(posterior, "log_prob"))
  assert ("layers" in posterior.gives) == (not variables and "density" in posterior.gives)


@pytest.mark.parametrize("name", TABLES["prior"])
def test_what_a_prior_needs(name):
  prior = made("prior", name)
  assert ("codes" in prior.needs) == hasattr(prior, "sample_codes")
  if name in ("none", "uniform_codes"):
    return
  encode = lambda images: (jnp.zeros((len(images), 4)), jnp.zeros((len(images), 4)))  # noqa: E731
  variables = prior.init(jax.random.key(0), jnp.ones((2, 4)), method=lambda m, z: m(encode).log_prob(z))
  assert bool(variables) == (prior.needs > {"real"} or "gaussian" in prior.needs)


@pytest.mark.parametrize("name", TABLES["objective"])
def test_whether_an_objective_uses_the_prior(name):
  """Its loss is another with other rates, or it takes draws of the prior."""
  asked = []

  def loss(scale):
    settings = {key: value for key, value in section("objective", name).items() if key != "name"}
    settings |= {"beta": 1.0} if name == "elbo" else {"regularizer": "none", "weight": 0.0} if name == "rae" else {}
    terms = terms_of(distortion=np.ones((1, 2)), rates={"z": scale * np.ones((1, 2))}, z=(jnp.eye(2, 3)[None],))
    objective = TABLES["objective"][name](**settings)
    assert objective.uses_prior == (objective.needs != {"point"})
    return objective.uses_prior, objective(
      terms, context_of(prior_sample=lambda: asked.append(1) or (jnp.ones((2, 3)),))
    )

  (uses, one), (_, two) = loss(1.0), loss(2.0)
  assert uses == (bool(np.any(one != two)) or bool(asked))


@pytest.mark.parametrize("name", TABLES["model"])
def test_whether_a_network_takes_points(name):
  settings = {key: value for key, value in section("model", name).items() if key != "name"}
  shape = {"image_shape": (1, 1, 2), "num_stats": lambda z_dim: 2 * z_dim, "num_params": 1}
  z = tuple(jnp.zeros((2, 4)) for _ in range(1 + (name in ("hvae", "conv_hvae"))))
  decoder = NETWORKS[name].decoder(**shape, **settings)
  try:
    jax.eval_shape(lambda: decoder.init(jax.random.key(0), z, None, train=True))
    takes = True
  except ConfigError:
    takes = False
  # A network of convolutions without strides takes any size, and is not for points all the same.
  assert takes == (not decoder.images_only) or name == "conv_hvae"
  assert len(decoder.lower_z_dims) == len(z) - 1


@pytest.mark.parametrize("name", TABLES["likelihood"])
def test_whether_a_likelihood_is_a_probability_of_levels(name):
  """The mass of a level, wherever in its bin x lies."""
  likelihood = made("likelihood", name)
  x, params = jnp.full((1, 4, 4, 1), 100 / 255), jnp.ones((1, 4, 4, likelihood.num_params))
  both = lambda m: (m.log_prob(params, x), m.log_prob(params, x + 0.3 / 255))  # noqa: E731
  (one, other), _ = likelihood.init_with_output(jax.random.key(0), method=both)
  assert likelihood.levels == bool(one == other)
  assert likelihood.pixels or name in ("gaussian", "shared_gaussian")
