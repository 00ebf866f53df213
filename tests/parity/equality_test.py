"""This project and PyTorch compute the same losses and the same gradients on the same parameters, batch and noise."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from common import random
from common.data.dataset import Dataset, open_dataset
from common.data.preprocess import preprocess
from common.training.program import make_state, quick_compilation
from common.types import Batch
from experiments import build_algorithm
from experiments.benchmark import resolve
from tests.tiny import AS_STORED

torch = pytest.importorskip("torch", reason="the extra [parity] is not installed")
from tests.parity import steps as torch_steps  # noqa: E402 - they import torch
from tests.parity.conversion import converted, load_parameters  # noqa: E402
from tests.parity.networks import as_batch  # noqa: E402
from tests.parity.speed import TorchTraining, index_batches, load_batches  # noqa: E402

_SGD = {"name": "sgd", "learning_rate": 1.0, "momentum": 0.0}  # parameters before - after = gradient
_BATCHES, _BATCH_SIZE, _ROUNDING, _TOLERANCE = 10, 8, 3e-5, 1e-4
_CASES = ("vae_mlp", "gated_vae", "conv_vae", "mlp_gan", "dcgan_32", "wgan_gp", "sngan")  # others only differ in size


@pytest.mark.parametrize("name", _CASES)
def test_losses_and_gradients_are_equal(name: str) -> None:
  differences = compare(name)
  kinds = {"net gradient", "loss"} if name.endswith("vae") or name == "vae_mlp" else {"d_loss", "g_loss"}
  assert kinds <= set(differences) and max(differences.values()) < _TOLERANCE, differences


def test_a_difference_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
  honest = torch_steps.VaeStep.loss
  monkeypatch.setattr(torch_steps.VaeStep, "loss", lambda self, x, eps: honest(self, x, torch.zeros_like(eps)))
  differences = compare("vae_mlp")
  assert min(differences.values()) > _TOLERANCE, differences


def test_torch_batches_are_a_permutation_of_the_images() -> None:
  images = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1) * np.uint8(51)
  for low in (0.0, -1.0):
    batches = [index_batches(as_batch(images, (low, 1.0)), 2), load_batches(images, (low, 1.0), 2)]
    for stream in batches:
      seen = sorted(float(x) for _ in range(3) for x in next(stream).flatten())
      assert seen == pytest.approx(np.linspace(low, 1.0, 6).tolist(), abs=1e-6)


@pytest.mark.parametrize(("name", "variant"), [("mlp_gan", "usual"), ("wgan_gp", "memory")])
def test_torch_trains(name: str, variant: str) -> None:
  config = resolve(name, tiny=True)
  dataset = open_dataset(config.data)
  settings = torch_steps.settings_of(config, build_algorithm(config, dataset.spec))
  images, seconds = TorchTraining(settings, dataset.train.arrays()["image"], variant).burst(9)
  assert images == 16 and seconds > 0.0


def compare(name: str) -> dict[str, float]:
  """Trains the tiny form of a case for one step on both sides.

  JAX takes its algorithm's own step, with plain SGD; a GAN updates both networks at the same point, once each. Both the
  published and the lean form of PyTorch's step are compared, and the larger difference counts.

  Of up to ten batches of 8 the closest counts. Where the input of a ReLU is 0 up to rounding, the sides may round it to
  different signs, and the gradients of a channel differ (in float64 sometimes JAX was right, sometimes PyTorch). Small
  batches have few such inputs, and a mistake would show in all of them.

  Returns:
    The difference of each loss, relative to the larger of it and 1, and for each network the global norm of the
    difference of gradients over the global norm.
  """
  vae = resolve(name).family == "vae"
  changes: dict[str, Any] = {"train.batch_size": _BATCH_SIZE}
  changes |= {"optim": _SGD} if vae else {"generator_optim": _SGD, "discriminator_optim": _SGD}
  changes |= {} if vae else {"game.n_critic": 1, "game.order": "simultaneous"}
  config = resolve(name, tiny=True, changes=changes)
  dataset, options = open_dataset(config.data), quick_compilation()
  algorithm = build_algorithm(config, dataset.spec)
  state = jax.jit(lambda: make_state(algorithm, dataset.spec, config.seed), compiler_options=options)()
  settings = torch_steps.settings_of(config, algorithm)
  steps = [torch_steps.build_step(settings, dataset.spec.image_shape, lean=lean) for lean in (False, True)]
  for step in steps:
    for net_name, net in step.nets.items():
      load_parameters(getattr(state, net_name).params, net)
      state = _with_singular_vectors(state, net_name, net)
  train_step = jax.jit(algorithm.train_step, compiler_options=options)
  found: list[dict[str, float]] = []
  while len(found) < _BATCHES and not (found and max(found[-1].values()) < _ROUNDING):
    found.append(_differences(steps, algorithm, state, train_step, _batch(dataset, config, len(found)), len(found)))
  return min(found, key=lambda differences: max(differences.values()))


def _differences(steps: Any, algorithm: Any, state: Any, train_step: Any, batch: Batch, seed: int) -> dict[str, float]:
  rng = jax.random.key(seed)
  turns = batch if algorithm.batches_per_step is None else jax.tree.map(lambda x: x[None], batch)
  after, metrics = train_step(state, turns, rng)
  losses = {name: float(mean.total / mean.count) for name, mean in metrics.items() if name.endswith("loss")}
  differences: dict[str, float] = {}
  for step in steps:
    for net in step.nets.values():
      net.zero_grad()
    if isinstance(step, torch_steps.VaeStep):
      own = _vae_backward(step, algorithm, state, batch, rng)
    else:
      own = _gan_backward(step, algorithm, state, batch, rng)
    for loss_name, loss in own.items():
      gap = abs(loss - losses[loss_name]) / max(1.0, abs(loss))
      differences[loss_name] = max(gap, differences.get(loss_name, 0.0))
    for net_name, net in step.nets.items():
      before, moved = (getattr(s, net_name).params for s in (state, after))
      gap = _gradient_gap(jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), before, moved), net)
      differences[f"{net_name} gradient"] = max(gap, differences.get(f"{net_name} gradient", 0.0))
  return differences


def _batch(dataset: Dataset, config: ConfigDict, number: int) -> Batch:
  count = config.train.batch_size
  rows = np.arange(number * count, (number + 1) * count)
  raw: Any = {**dataset.train.rows(rows), "index": np.arange(count, dtype=np.int32)}
  data = ConfigDict({**AS_STORED, "binarize": config.data.binarize})
  return preprocess(raw, jax.random.key(3), dataset.spec, data, train=True)


def _torch(x: jax.Array) -> Any:
  return torch.from_numpy(np.array(x.transpose(0, 3, 1, 2) if x.ndim == 4 else x))


def _with_singular_vectors(state: Any, name: str, net: Any) -> Any:
  """``state`` and ``net`` with the exact singular vectors of network ``name`` where there is spectral normalization.

  Power iterations, of which each side has its own number a step, then change nothing.
  """
  vectors = {}
  normalized: list[Any] = [module for module in net.modules() if hasattr(module, "parametrizations")]
  for i, module in enumerate(normalized):
    weight = module.parametrizations.weight.original.detach()
    left, _, right = torch.linalg.svd(weight.flatten(1), full_matrices=False)
    u, v = left[:, 0].contiguous(), right[0].contiguous()
    module.parametrizations.weight[0]._u.copy_(u)
    module.parametrizations.weight[0]._v.copy_(v)
    last = v.reshape(weight.shape[1:]).movedim(0, -1).flatten() if weight.ndim == 4 else v
    vectors[f"SpectralNorm_{i}"] = {"u": u.numpy(), "v": last.numpy()}
  if not vectors:
    return state
  player = getattr(state, name)
  return state.replace(**{name: player.replace(mutable={**player.mutable, "spectral": vectors})})


def _vae_backward(
  step: torch_steps.VaeStep, algorithm: Any, state: Any, batch: Batch, rng: jax.Array
) -> dict[str, float]:
  """The loss, and gradients in the parameters. The prior's draws under the step's key are the posterior's noise."""
  (eps,) = algorithm.prior_sample(state, rng, batch["index"])
  loss = step.loss(_torch(batch["image"]), _torch(eps))
  loss.backward()
  return {"loss": loss.item()}


def _gan_backward(
  step: torch_steps.GanStep, algorithm: Any, state: Any, batch: Batch, rng: jax.Array
) -> dict[str, float]:
  """The same of D's turn 0 and of G, whose latents are those of turn 0, if shared, or of a turn of its own."""

  def latents(turn: int) -> Any:
    return _torch(algorithm.prior_sample(state, jax.random.fold_in(rng, turn), batch["index"]))

  real, fake = _torch(batch["image"]), step.generate(latents(0))
  d_loss = step.d_loss(real, fake.detach())
  d_loss.backward()
  if step.penalty_weight:
    rows = random.row_keys(random.stream(jax.random.fold_in(rng, 0), "gradient_penalty"), batch["index"])
    step.penalty(real, fake.detach(), _torch(random.uniform(rows, (1, 1, 1)))).backward()
  step.nets["discriminator"].requires_grad_(False)
  g_loss = step.g_loss(fake if step.shared else step.generate(latents(1)))
  g_loss.backward()
  step.nets["discriminator"].requires_grad_(True)
  return {"d_loss": d_loss.item(), "g_loss": g_loss.item()}


def _gradient_gap(gradients: Mapping[str, Any], net: Any) -> float:
  pairs: list[Any] = [(value, parameter.grad) for parameter, value in converted(gradients, net)]
  gap = sum(float((value - own).double().square().sum()) for value, own in pairs)
  return (gap / sum(float(own.double().square().sum()) for _, own in pairs)) ** 0.5
