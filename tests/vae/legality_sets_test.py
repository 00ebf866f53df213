"""The sets of names in the table of what does not go together are those of the code."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from common import random
from common.errors import ConfigError
from experiments import choices
from tests.vae.combinations_test import section
from tests.vae.objectives_test import context_of, terms_of
from vae import legality

TABLES = choices("vae")


def names_of(axis, holds):
  return {name for name in TABLES[axis] if holds(name)}


def made(axis, name):
  """A module on its own, without a table that says what it goes with."""
  settings = {"image_shape": (4, 4, 1), "pixel_range": (0.0, 1.0), "z_dim": 4, "num_codes": 3, "code_dim": 2}
  kind = TABLES[axis][name]
  section_of = {key: value for key, value in section(axis, name).items() if key != "name"}
  return kind(**{key: value for key, value in settings.items() if key in _fields(kind)} | section_of)


def _fields(kind):
  return {field.name for field in dataclasses.fields(kind)}


def test_the_sets_of_posteriors_and_priors_are_those_of_the_code():
  rows = random.row_keys(jax.random.key(0), jnp.arange(2))

  def log_q(name):
    posterior = made("posterior", name)
    stats = jnp.ones((2, posterior.num_stats(4)))
    return posterior.init_with_output(jax.random.key(0), stats, rows, train=False)[0].log_q

  def encode(images):
    return jnp.zeros((len(images), 4)), jnp.zeros((len(images), 4))

  def has_parameters(name):
    return name != "none" and bool(made("prior", name).init(jax.random.key(0), jnp.ones((2, 4)), method=density))

  def density(prior, z):
    return prior(encode).log_prob(z)

  assert names_of("posterior", lambda name: np.all(np.isinf(log_q(name)))) == set(legality.POINTS)
  assert names_of("posterior", lambda name: hasattr(TABLES["posterior"][name], "log_prob")) == set(legality.GAUSSIANS)
  assert names_of("posterior", lambda name: hasattr(TABLES["posterior"][name], "lookup")) == {legality.CODES}
  assert names_of("prior", lambda name: hasattr(TABLES["prior"][name], "sample_codes")) == {legality.UNIFORM}
  assert names_of("prior", has_parameters) == set(legality.FITTED)


def test_the_sets_of_objectives_networks_and_likelihoods_are_those_of_the_code():
  def needs_a_prior(name):
    """Its loss is another with other rates, of units too, or it asks for draws of the prior."""
    asked = []

    def draw(rows):
      asked.append(rows)
      return (jnp.ones((2, 3)),)

    def loss(scale):
      moments = {"z": (scale * jnp.ones((1, 2, 3)), jnp.zeros((1, 2, 3)))}
      rates = {"z": scale * jnp.ones((1, 2))}
      terms = terms_of(distortion=np.ones((1, 2)), rates=rates, moments=moments, z=(jnp.eye(2, 3)[None],))
      settings = {key: value for key, value in section("objective", name).items() if key != "name"}
      settings |= {"beta": 1.0} if name == "elbo" else {"regularizer": "none", "weight": 0.0} if name == "rae" else {}
      return TABLES["objective"][name](**settings)(terms, context_of(prior_sample=draw))

    return bool(np.any(loss(1.0) != loss(2.0)) or asked)

  def takes_points(name):
    shape = {"image_shape": (1, 1, 2), "num_stats": lambda z_dim: 2 * z_dim, "num_params": 1}
    settings = {key: value for key, value in section("model", name).items() if key != "name"}
    try:
      network = TABLES["model"][name](**shape, **settings)
      x = jnp.zeros((2, 1, 1, 2))
      jax.eval_shape(lambda: network.init(jax.random.key(0), x, jnp.zeros((2, 0)), train=True, method="encode"))
    except ConfigError:
      return False
    return True

  def rounds(name):
    """The mass of a level, whatever stands near it."""
    likelihood = made("likelihood", name)
    x = jnp.full((1, 4, 4, 1), 100 / 255)
    params = jnp.ones((1, 4, 4, likelihood.num_params))
    (one, other), _ = likelihood.init_with_output(
      jax.random.key(0), method=lambda m: (m.log_prob(params, x), m.log_prob(params, x + 0.3 / 255))
    )
    return bool(one == other)

  assert names_of("objective", needs_a_prior) == set(TABLES["objective"]) - set(legality.RATELESS)
  hierarchies = names_of("model", lambda name: isinstance(TABLES["model"][name].lower_z_dims, property))
  assert hierarchies == set(legality.HIERARCHIES)
  # One of convolutions that do not halve by strides takes any size, and is none for points all the same.
  assert names_of("model", lambda name: not takes_points(name)) == set(legality.CONVOLUTIONAL) - {"conv_hvae"}
  assert names_of("likelihood", rounds) == set(legality.DISCRETE)
