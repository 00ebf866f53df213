"""The table of what does not go together: refused by name, true of the code, each rule needed; no JAX."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from experiments import choices
from tests.advice import applied, ways
from tests.tiny import filled
from tests.vae.combinations_test import section
from tests.vae.objectives_test import context_of
from tests.vae.tiny_model import SPEC, config_of_model, model_of
from vae import from_config, legality
from vae.likelihoods.discrete import levels
from vae.objectives.importance import ImportanceWeighted

POINTS = dataclasses.replace(SPEC, kind="points", image_shape=(1, 1, 2))
BARE = dataclasses.replace(SPEC, num_classes=0)
TABLES = choices("vae")


def model_and_gradient(algorithm, state, batch, seed=1):
  """The terms of a step, and the gradient of its loss."""

  def loss(params):
    variables, rng = {"params": params, **state.net.mutable}, jax.random.key(seed)
    terms, _ = algorithm._terms(variables, batch, rng, train=True)
    return jnp.mean(algorithm.objective(terms, algorithm._context(variables, batch, rng, 0))), terms

  grads, terms = jax.grad(loss, has_aux=True)(state.net.params)
  return terms, grads


def unlearned(part):
  """Parameters with ``part`` in their path have no gradient."""

  def check(algorithm, state, batch):
    _, grads = jax.jit(lambda s: model_and_gradient(algorithm, s, batch))(state)
    size = {jax.tree_util.keystr(path): np.abs(leaf).max() for path, leaf in jax.tree_util.tree_leaves_with_path(grads)}
    assert {name for name, largest in size.items() if part in name and largest == 0}
    assert not {name for name, largest in size.items() if part in name and largest > 0} and any(size.values())

  return check


def the_rate_is_constant(algorithm, state, batch):
  terms, _ = jax.jit(lambda s: model_and_gradient(algorithm, s, batch))(state)
  assert np.ptp(terms.rate) == 0 and terms.rate.shape == (1, 8)


def the_rate_is_left_out(algorithm, state, batch):
  terms, _ = jax.jit(lambda s: model_and_gradient(algorithm, s, batch))(state)
  np.testing.assert_allclose(algorithm.objective(terms, context_of()), terms.distortion[0])
  assert np.all(terms.rate != 0)


def restarts_are_averaged(algorithm, state, batch):
  """An entry of the count that a restart leaves is else one of the encoder's outputs."""

  def step(state):
    encode = lambda m, x, y: m.model.encode(x, y, train=True)  # noqa: E731
    outputs = algorithm.network.apply(state.net.variables(), batch["image"], jnp.zeros((8, 0)), method=encode)
    return outputs.reshape(-1, 1, 2), algorithm.train_step(state, batch, jax.random.key(1))[0].net.mutable

  outputs, mutable = jax.jit(step)(state)
  codebook = mutable["codebook"]["posterior"]
  again = codebook["embedding"][codebook["counts"] == 1.0]
  assert len(again) > 2 and np.any(np.min(np.abs(outputs - again).max(-1), axis=0) > 0.01)


def the_gradient_is_biased(algorithm, state, batch):
  """Else it is the bound's in expectation (Bauer & Mnih 2021, Section 3)."""

  def gradient(objective, seed):
    model = dataclasses.replace(algorithm, objective=objective)
    return jax.flatten_util.ravel_pytree(model_and_gradient(model, state, batch, seed)[1])[0]

  def difference(seed):
    return gradient(algorithm.objective, seed) - gradient(ImportanceWeighted(algorithm.objective.draws), seed)

  found = np.asarray(jax.jit(lambda s: jax.lax.map(difference, s, batch_size=100))(jnp.arange(2000)))
  error = found.std(0) / np.sqrt(2000)
  assert np.max(np.abs(found.mean(0))[error > 1e-7] / error[error > 1e-7]) > 8


def it_is_no_density(algorithm, state, batch):
  x = jnp.linspace(-9.0, 9.0, 1801)[:, None, None, None]
  assert np.sum(np.exp(algorithm.network.likelihood.log_prob(jnp.zeros_like(x), x))) * 0.01 > 2


def a_probability_is_above_1(algorithm, state, batch):
  assert algorithm.network.likelihood.log_prob(jnp.ones((1, 1, 1, 2)), jnp.full((1, 1, 1, 2), 5.0)) > 0


def draws_lack_the_label(algorithm, state, batch):
  def means(y):
    prior = algorithm.network.apply(state.net.variables(), (jnp.ones((1, 4)),), y, train=False, method="_prior")
    return prior.mean

  label, nothing = jax.jit(lambda: (means(jnp.eye(10)[:1]), means(jnp.zeros((1, 10)))))()
  assert np.abs(label - nothing).max() > 0.01
  draw = jax.jit(lambda: algorithm.prior_sample(state, jax.random.key(0), jnp.arange(2)))
  assert [part.shape for part in draw()] == [(2, 4), (2, 4)], "and no argument says which label"


def labels_are_ignored(algorithm, state, batch):
  assert not algorithm.conditional


def pseudo_inputs_stay_in_range(algorithm, state, batch):
  def log_prob(value):
    prior = {"pseudo_inputs": jnp.full((3, 1, 1, 2), value)}
    variables = {"params": {**state.net.params, "prior": prior}}
    return algorithm.network.apply(variables, jnp.zeros((1, 0)), (jnp.ones((1, 3)),), method="log_prior")

  inside, end, beyond = jax.jit(lambda: [log_prob(value) for value in (0.5, 1.0, 5.0)])()
  assert inside != end == beyond


def noise_moves_levels(algorithm, state, batch):
  value = jnp.arange(256)
  assert np.sum(levels((value + 0.9) / 256, (0.0, 1.0)) != value) > 50


def changes(objective=None, data=None, **names):
  """{section: value} of names, with an objective's settings beside its name."""
  found = {axis: section(axis, name) for axis, name in names.items()}
  return found | ({"objective": objective} if objective else {}) | ({"data": data} if data else {})


def of(name, **settings):
  return {"name": name, **settings}


WEIGHTED = of("importance_weighted", draws=1, gradient="path")
RESTARTED = {"num_codes": 16, "code_dim": 2, "restart": 0.5, "decay": 0.0}
CODES = {"posterior": "vector_quantized", "prior": "uniform_codes"}
# For each rule, in the table's order: a config that it alone refuses, for which data, and what that config would do: an
# error's text, or a check.
CASES = [
  (changes(posterior="deterministic"), SPEC, "tuple index out of range"),
  (changes(of("reconstruction"), prior="none"), SPEC, "'NoPrior' object is not callable"),
  (changes(prior="none"), SPEC, "'NoPrior' object is not callable"),
  (changes(posterior="vector_quantized", prior="flow", model="mlp"), SPEC, "sample_codes"),
  (changes(of("capacity", capacity=1.0), model="mlp", **CODES), SPEC, the_rate_is_constant),
  (changes(posterior="planar", prior="vampprior"), SPEC, '"Planar" object has no attribute "split"'),
  (changes(conditioning="concat", prior="vampprior"), SPEC, 'parameter "kernel" in "/model/encoder_layers_0"'),
  (changes(of("wae"), posterior="deterministic", prior="flow"), SPEC, 'Could not find parameter named "shift"'),
  (changes(of("wae"), prior="mixture"), SPEC, unlearned("['prior']['logits']")),
  (changes(of("info_vae", alpha=1.0), prior="mixture"), SPEC, unlearned("['prior']['logits']")),
  (changes(of("free_bits", nats=0.1), posterior="planar"), SPEC, the_rate_is_left_out),
  (changes(of("free_bits", nats=0.1), prior="mixture"), SPEC, unlearned("['prior']")),
  (changes(of("free_bits", nats=0.1), model="hvae"), SPEC, unlearned("['model']['prior_")),
  (changes(WEIGHTED, posterior="planar"), SPEC, '"Planar" object has no attribute "log_prob"'),
  (changes(of("importance_weighted", draws=3, gradient="doubly"), model="hvae"), SPEC, the_gradient_is_biased),
  (
    {**changes(posterior="inverse_autoregressive"), "model": of("hvae", z_dim=4, lower_z_dim=3, width=8)},
    SPEC,
    'in "/posterior/step_0',
  ),
  (changes(of("wae"), model="hvae", posterior="deterministic"), SPEC, "/model/prior_layers/"),
  (
    {**changes(of("elbo", draws=2), model="mlp", **CODES), "posterior": of("vector_quantized", **RESTARTED)},
    SPEC,
    restarts_are_averaged,
  ),
  (changes(of("importance_weighted"), likelihood="optimal_gaussian"), SPEC, it_is_no_density),
  (changes(conditioning="concat", model="hvae"), SPEC, draws_lack_the_label),
  (changes(conditioning="concat"), BARE, labels_are_ignored),
  (changes(model="conv", likelihood="gaussian"), POINTS, "multiple of 2, not 1x1"),
  (changes(prior="vampprior", likelihood="gaussian"), POINTS, pseudo_inputs_stay_in_range),
  (changes(), POINTS, a_probability_is_above_1),
  (changes(likelihood="categorical", data={"dequantize": True}), SPEC, noise_moves_levels),
]
EACH = pytest.mark.parametrize("number", range(len(CASES)))


def config_of(case):
  sections = dict(case)
  data = sections.pop("data", {})
  config = config_of_model(**sections)
  config.data.update(data)
  return config


def bites(rule, found):
  return rule.first in found and rule.second in found and rule.clash(found[rule.first], found[rule.second])


def test_every_rule_has_a_case():
  assert len(CASES) == len(legality.RULES)


@EACH
def test_a_pair_is_refused_with_both_values_the_reason_and_the_way_out(number):
  case, spec, _ = CASES[number]
  config, rule = config_of(case), legality.RULES[number]
  found = legality.values(config, spec)
  assert [other for other in legality.RULES if bites(other, found)] == [rule]
  first, second = (f"config.{field}={_shown(found[field])}" for field in (rule.first, rule.second))
  with pytest.raises(ConfigError) as error:
    from_config.from_config(config, spec)
  assert str(error.value) == f"{first} does not go with {second}: {rule.why}; take {rule.way_out}"
  assert ways(rule.way_out), "no way out is named"
  for words in ways(rule.way_out) if " with all else" not in rule.way_out else ():
    from_config.from_config(applied(config, words), spec)  # else the way out is none


@pytest.mark.parametrize(
  "wrong",
  [
    {"prior": "none"},
    {"objective": of("reconstruction"), "posterior": "deterministic"},
    {"posterior": "vector_quantized"},
    {"prior": "uniform_codes"},
  ],
)
def test_a_way_out_that_depends_on_the_other_value_is_among_those_named(wrong):
  """The text says which is for which value, and exactly one of them is right."""
  config = config_of(changes(**wrong))
  with pytest.raises(ConfigError, match=" with all else") as error:
    from_config.from_config(config, SPEC)
  legal = [not legality.illegal(applied(config, words), SPEC) for words in ways(str(error.value))]
  assert sum(legal) == 1 and len(legal) == 2


def _shown(value):
  value = getattr(value, "name", value)
  return f'"{value}"' if isinstance(value, str) else str(value)


@EACH
def test_what_it_refuses_would_be_wrong(number, monkeypatch):
  monkeypatch.setattr(from_config, "illegal", lambda config, spec: [])
  case, spec, wrong = CASES[number]
  case = {name: value for name, value in case.items() if name != "data"}
  if callable(wrong):
    algorithm, make, batch = model_of(spec, compiled=False, **case)
    wrong(algorithm, jax.tree.map(jnp.asarray, filled(jax.eval_shape(make))), batch)
    return
  with pytest.raises(Exception, match=re.escape(wrong)):
    algorithm, make, batch = model_of(spec, compiled=False, **case)
    state = jax.eval_shape(make)
    jax.eval_shape(algorithm.train_step, state, batch, jax.random.key(1))
    jax.eval_shape(lambda s: algorithm.prior_sample(s, jax.random.key(0), jnp.arange(2)), state)


def test_it_needs_no_jax():
  code = """
import sys
from common.data.spec import Spec
from configs import vae
from vae.legality import illegal
config = vae.get_config("digits").unlock()
config.prior = {"name": "none"}
(line,) = illegal(config, Spec((16, 16, 1), 10, 9, "images", (0.0, 1.0), ""))
assert line.startswith('config.prior.name="none" does not go with config.objective.name="elbo": '), line
sys.exit(any(module.split(".")[0] in ("jax", "flax", "optax") for module in sys.modules))
"""
  subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)
