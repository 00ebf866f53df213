"""One device, eight devices, any mode, any call length, any batch size of sampling and evaluation: the same numbers.

Gradients are read off SGD's momentum, which after one step is the gradient that was averaged over the devices.
"""

import functools

import jax
import numpy as np
import optax
import pytest

import common.layers.normalization
import common.state
from common.evaluation.sampling import Sampler
from common.evaluation.validation import Evaluator
from common.parallel import MODES, axis_name_of, compile_step, make_mesh, place_batch, replicate, to_host
from common.state import NetState
from common.training.program import QUICK, Program
from common.types import Mean
from experiments import build_algorithm
from tests.tiny import batch_of, config_of, dataset_of, fresh_state

# XLA's defaults, which conftest.py lowers.
OPTIMIZED = {**{name: not value for name, value in QUICK.items()}, "xla_backend_optimization_level": 3}
SGD = {"name": "sgd", "learning_rate": 0.05, "momentum": 0.5}
SMALL = {"train__batch_size": 16, "train__steps_per_call": 1}
GAN = {**SMALL, "generator_optim": SGD, "discriminator_optim": SGD}
NET = {**SMALL, "optim": SGD}
SMALL_MLP = {"name": "mlp", "z_dim": 4, "width": 8}
# At the paper's initial range the MLP discriminator's gradient is a difference of equal halves: all rounding.
ARCHITECTURES = {
  "mlp gan": ("gan:digits,tiny", {**GAN, "generator__init_range": 0.1, "discriminator__init_range": 0.1}),
  "dcgan": ("dcgan:digits,tiny", {**GAN, "generator__width": 4, "discriminator__width": 4}),
  "mlp vae": ("vae:digits,tiny", NET),
  "conv vae": ("vae:digits,conv,tiny", {**NET, "model__batch_norm": True, "model__channels": (4, 4)}),
  # Statistics of the whole batch: of each unit, and of all pairs of z.
  **{
    f"{name} vae": ("vae:digits,tiny", {**NET, "model": SMALL_MLP, "objective": objective})
    for name, objective in {
      "info": {"name": "info_vae", "weight": 10.0},
      "wae": {"name": "wae"},
    }.items()
  },
  "vampprior hvae": (
    "vae:digits,tiny",
    {
      **NET,
      "model": {"name": "hvae", "z_dim": 3, "lower_z_dim": 2, "width": 4},
      "prior": {"name": "vampprior", "components": 2},
    },
  ),
  # Spectral vectors, BatchNorm by label, and a projection.
  "projection gan": (
    "dcgan:digits,tiny",
    {
      **GAN,
      "discriminator_optim": {**SGD, "learning_rate": 1e-3},
      "generator": {"name": "tapered_mlp", "widths": (4, 4)},
      "discriminator": {"name": "resnet", "width": 1, "pool": "mean"},
      "conditioning": {"name": "projection"},
      "loss": {"name": "hinge"},
    },
  ),
  # A penalty at every second update of D alone.
  "lazy gan": (
    "gan:digits,tiny",
    {
      **GAN,
      "generator__init_range": 0.1,
      "discriminator__init_range": 0.1,
      "penalties": {"r1": {"weight": 0.1, "every": 2}},
    },
  ),
  # The pair, logits of patches, and terms that compare with the image. A U-Net would begin with what is seen, and D's
  # gradient would be a difference of equal halves.
  "restoring gan": (
    "pix2pix:fashion_mnist,tiny",
    {
      **GAN,
      "loss": {"name": "least_squares"},
      "generator": {"name": "edsr", "width": 2, "blocks": 1},
      "discriminator__batch_norm": False,
      "content": {"l2": {"weight": 10.0}, "features": {"weight": 1.0}},
    },
  ),
  # Codes, and an adversarial term that the slopes of the global batch weigh.
  "vae gan": (
    "vqgan:digits,tiny",
    {
      **NET,
      "discriminator_optim": SGD,
      "optim": {**SGD, "learning_rate": 1e-4},
      "model": {"name": "resnet", "z_dim": 64, "width": 4, "hidden": 2, "blocks": 1},
      "posterior": {"name": "vector_quantized", "num_codes": 8, "code_dim": 4, "restart": 0.1},
      "content": {"l2": {"weight": 10.0}},
      "game": {"name": "adaptive"},
      "discriminator": {"name": "patch", "width": 2, "layers": 1},
    },
  ),
  # Captions of the next row of the global batch, which the last row of a device does not have.
  "text gan": (
    "text_gan:tiny",
    {
      **GAN,
      "generator": {"name": "tapered_mlp", "widths": (4, 4)},
      "discriminator": {"name": "mlp", "width": 4, "pieces": 2, "layers": 1},
      "penalties": {},
      "conditioning__generator": "class_batch_norm",
      "conditioning__discriminator": "projection",
    },
  ),
  "classifier": ("classifier:digits,tiny", {**NET, "model__channels": (4,)}),
}
# pmap differs from shard_map in how it is called, not in what an objective sees of its batch.
BY_MODE = ("mlp gan", "dcgan", "mlp vae", "conv vae", "classifier")
STATISTICS = tuple(name for name in ARCHITECTURES if name not in BY_MODE)


@functools.cache
def program(name, mode="jit", devices=1, **changes):
  variant, settings = ARCHITECTURES[name]
  config = config_of(variant, **{**settings, "parallel__mode": mode, **changes})
  dataset = dataset_of(variant)
  return Program(build_algorithm(config, dataset.spec, axis_name_of(mode)), dataset, config, make_mesh(devices))


@functools.cache
def start(name):
  """The fresh state on the host: it does not depend on mode or devices."""
  return to_host(fresh_state(program(name).algorithm, ARCHITECTURES[name][0]))


def run(program, name, steps=3, options=None):
  """The states and metrics after each call, on the host; pmap alone cannot be compiled with options."""
  state, found, call = replicate(start(name), program.mesh), [], program.train_call
  if options and hasattr(call, "lower"):
    call = call.lower(state, program.feed.data, program.feed(0)).compile(compiler_options=options)
  for step in range(0, steps, program.config.train.steps_per_call):
    state, metrics = call(state, program.feed.data, program.feed(step))
    found.append(jax.device_get((state, metrics)))
  return found


@functools.cache
def on_one_device(name):
  return run(program(name), name)


def networks(state):
  return {name: net for name, net in vars(state).items() if isinstance(net, NetState)}


def parameters(state):
  return {name: net.params for name, net in networks(state).items()}


def momenta(state):
  """After one step of SGD: its gradients."""
  return {name: net.opt_state[0].trace for name, net in networks(state).items()}


def distance(a, b):
  return float(optax.tree.norm(jax.tree.map(np.subtract, a, b)))


def means(metrics):
  return jax.tree.map(lambda m: m.total / m.count, metrics, is_leaf=lambda x: isinstance(x, Mean))


def assert_same_training(actual, expected):
  """The first step's losses and gradients to 1e-6, the parameters after all steps to 1e-5."""
  for name, mean in means(expected[0][1]).items():
    np.testing.assert_allclose(means(actual[0][1])[name], mean, rtol=1e-6, atol=1e-6, err_msg=name)
  for name, gradient in momenta(expected[0][0]).items():
    assert distance(momenta(actual[0][0])[name], gradient) < 1e-6 * float(optax.tree.norm(gradient)), name
  assert_close(parameters(actual[-1][0]), parameters(expected[-1][0]), 1e-5)


def assert_close(actual, expected, atol):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=atol), actual, expected)


def assert_same(actual, expected):
  jax.tree.map(np.testing.assert_array_equal, actual, expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", BY_MODE)
def test_eight_devices_equal_one(name, mode):
  assert_same_training(run(program(name, mode, 8), name), on_one_device(name))


@pytest.mark.parametrize("name", STATISTICS)
def test_eight_shards_equal_one_batch(name):
  assert_same_training(run(program(name, "shard_map", 8), name), on_one_device(name))


@pytest.mark.parametrize(("name", "module"), [("mlp vae", common.state), ("conv vae", common.layers.normalization)])
def test_without_the_mean_over_devices_they_do_not(name, module, monkeypatch):
  """Both users of batch_mean, gradients and BatchNorm, are needed for the equality above."""
  monkeypatch.setattr(module, "batch_mean", lambda tree, axis_name: tree)
  broken = run(program.__wrapped__(name, "shard_map", 8), name, steps=1)
  with pytest.raises(AssertionError):
    assert_same_training(broken, on_one_device(name)[:1])


@pytest.mark.parametrize("mode", ["shard_map", "pmap"])
def test_batch_norm_per_device_equals_separate_batches(mode):
  """SGD is linear in the gradient: the mean of eight separate steps is the step with the mean gradient."""
  variant, settings = ARCHITECTURES["conv vae"]
  config = config_of(variant, **settings, parallel__sync_batch_norm=False)
  dataset, mesh = dataset_of(variant), make_mesh(8)
  batch, state, rng = batch_of(dataset, (16,)), start("conv vae"), jax.random.key(3)
  alone = build_algorithm(config, dataset.spec)
  shards = jax.tree.map(lambda x: x.reshape(8, 2, *x.shape[1:]), batch)
  each, _ = jax.jit(jax.vmap(lambda shard: alone.train_step(state, shard, rng)))(shards)
  expected = jax.tree.map(lambda x: np.mean(x, axis=0), (each.net.params, each.net.mutable))
  sharded = build_algorithm(config, dataset.spec, axis_name_of(mode))
  step = compile_step(lambda s, _, b: sharded.train_step(s, b, rng), mesh, mode, batch_axis=0, donate=False)
  new, _ = step(replicate(state, mesh), {}, place_batch(batch, mesh, 0))
  assert_close(to_host((new.net.params, new.net.mutable)), expected, 1e-6)


@pytest.mark.parametrize("name", ["mlp vae", "conv vae"])
def test_the_length_of_a_call_changes_no_bit(name):
  """Compiled as in training: it is the optimised loop that must not round otherwise."""
  programs = [program(name, train__steps_per_call=calls) for calls in (1, 3, 12)]
  states = [run(program, name, steps=12, options=OPTIMIZED)[-1][0] for program in programs]
  assert_same(states[1], states[0])
  assert_same(states[2], states[0])


def test_inputs_do_not_depend_on_devices():
  feeds = [program("mlp gan", devices=devices).feed for devices in (1, 8)]
  for step in (0, 100):
    assert_same(to_host(feeds[1](step)), to_host(feeds[0](step)))


def test_a_sample_depends_on_its_seed_and_row_only():
  """Rows 0 to 9 whether 10 or 30 are drawn, 4 or 16 at a time, on one device or on eight."""
  algorithm, spec = program("mlp vae").algorithm, program("mlp vae").dataset.spec
  state, mesh = start("mlp vae"), make_mesh(1)
  ways = ((4, 10, mesh), (16, 30, make_mesh(8)))
  few, many = (Sampler(algorithm, spec, mesh, batch_size=size)(state, 5, num) for size, num, mesh in ways)
  assert few.shape == (10, *spec.image_shape)
  np.testing.assert_allclose(many[:10], few, rtol=0, atol=1e-6)
  np.testing.assert_array_equal(
    Sampler(algorithm, spec, mesh).latents(state, 5, np.arange(10))[0],
    Sampler(algorithm, spec, mesh).latents(state, 5, np.arange(30))[0][:10],
  )
  assert np.abs(many[10:20] - few).max() > 1e-3


def test_evaluation_counts_each_image_once():
  """97 images: in one batch without a mask, and in padded batches on one device and on eight."""
  algorithm, dataset = program("classifier").algorithm, program("classifier").dataset
  config, state = program("classifier").config, start("classifier")
  raw = dataset.validation.arrays()
  batch = {"image": raw["image"] / np.float32(255), "label": raw["label"], "index": np.arange(97)}
  direct = jax.jit(algorithm.eval_step)(state, {**batch, "mask": np.ones(97, np.float32)}, jax.random.key(0))
  expected = {name: float(mean.total) / 97 for name, mean in direct.items()}
  for batch_size, devices in ((16, 1), (48, 8), (104, 8)):
    with config.unlocked():
      config.train.batch_size = batch_size
    mesh = make_mesh(devices)
    evaluate = Evaluator(algorithm, dataset.spec, config, mesh)
    scores = evaluate(replicate(state, mesh), evaluate.feed(dataset.validation))
    for name, value in expected.items():
      assert scores[name] == pytest.approx(value, rel=1e-6), (name, batch_size, devices)
