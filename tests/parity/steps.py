"""The training steps in PyTorch: losses as functions of a batch and its noise, and updates as in known examples.

``lean=False`` is the published form. ``lean=True`` is what a user who cares for speed would write: cross-entropies from
logits (sigmoid and BCELoss apart take five times as long on a CPU), no gradients of D's weights in G's update.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from ml_collections import ConfigDict
from torch import Tensor, nn

from tests.parity import networks, resnet

GENERATORS = {
  "dcgan": networks.dcgan_generator,
  "tapered_mlp": networks.mlp_generator,
  "resnet": resnet.resnet_generator,
}
DISCRIMINATORS = {
  "dcgan": networks.dcgan_discriminator,
  "tapered_mlp": networks.mlp_discriminator,
  "resnet": resnet.resnet_discriminator,
}
VAES = {"mlp": networks.MlpVae, "conv": networks.ConvVae, "gated_mlp": networks.GatedVae}
MakeOptimizer = Callable[[nn.Module, Mapping[str, Any]], torch.optim.Optimizer]


def cross_entropy(logits: Tensor, target: Tensor, *, lean: bool, reduction: str = "mean") -> Tensor:
  """-log Bernoulli(target; sigmoid(logits))."""
  if lean:
    return F.binary_cross_entropy_with_logits(logits, target, reduction=reduction)
  return F.binary_cross_entropy(torch.sigmoid(logits), target, reduction=reduction)


class VaeStep:
  """Takes one step down the negative bound (Kingma & Welling 2013)."""

  def __init__(self, config: Mapping[str, Any], shape: networks.Shape, *, lean: bool):
    self.nets: dict[str, Any] = {"net": VAES[config["model"]["name"]](config["model"], shape)}
    self._z_dim, self._binarize, self._lean = config["model"]["z_dim"], config["data"]["binarize"] != "none", lean
    self._settings, self._log_var_range = config["optim"], config["posterior"]["log_var_range"]
    self.batches_per_step = 1

  def loss(self, x: Tensor, eps: Tensor) -> Tensor:
    """Returns distortion + rate, the mean over the batch, in nats an image."""
    mean, log_var = self.nets["net"].encoder(x).chunk(2, dim=1)
    log_var = log_var.clamp(*self._log_var_range) if self._log_var_range else log_var
    logits = self.nets["net"].decoder(mean + torch.exp(0.5 * log_var) * eps)
    distortion = cross_entropy(logits, x, lean=self._lean, reduction="sum")
    rate = -0.5 * torch.sum(1 + log_var - mean.pow(2) - log_var.exp())
    return (distortion + rate) / len(x)

  def compile(self) -> None:
    self.loss = torch.compile(self.loss)  # type: ignore[method-assign]

  def start(self, make_optimizer: MakeOptimizer) -> None:
    self._optimizer = make_optimizer(self.nets["net"], self._settings)

  def step(self, batches: Sequence[Tensor]) -> dict[str, Tensor]:
    x = batches[0]
    x = torch.bernoulli(x) if self._binarize else x
    loss = self.loss(x, torch.randn(len(x), self._z_dim))
    self._optimizer.zero_grad()
    loss.backward()
    self._optimizer.step()
    return {"loss": loss.detach()}


class GanStep:
  """Updates D n_critic times, then G once.

  With shared fakes and n_critic 1, G runs once: D sees its images detached, then G's update continues their graph.
  Otherwise D's updates draw images without a graph, and G's update draws its own.
  """

  def __init__(self, config: Mapping[str, Any], shape: networks.Shape, *, lean: bool):
    generator, discriminator = config["generator"], config["discriminator"]
    self.nets: dict[str, Any] = {
      "generator": GENERATORS[generator["name"]](generator, shape, config["z_dim"]),
      "discriminator": DISCRIMINATORS[discriminator["name"]](discriminator, shape),
    }
    self.loss = config["loss"]["name"]
    self.penalty_weight = config["penalties"]["gradient_penalty"]["weight"] if config["penalties"] else 0.0
    self.batches_per_step, self._z_dim, self._lean = config["game"]["n_critic"], config["z_dim"], lean
    self._scale, self._settings = config["game"]["d_loss_scale"], config
    self.shared = config["game"]["fakes"] == "shared" and self.batches_per_step == 1

  def generate(self, z: Tensor) -> Tensor:
    return self.nets["generator"](z)

  def d_loss(self, real: Tensor, fake: Tensor) -> Tensor:
    """Returns D's loss without the penalty, from one pass over real and one over generated images."""
    on_real, on_fake = self.nets["discriminator"](real), self.nets["discriminator"](fake)
    if self.loss == "wasserstein":
      return self._scale * (on_fake.mean() - on_real.mean())
    if self.loss == "hinge":
      return self._scale * (F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean())
    valid, not_valid = torch.ones_like(on_real), torch.zeros_like(on_fake)
    of_real = cross_entropy(on_real, valid, lean=self._lean)
    return self._scale * (of_real + cross_entropy(on_fake, not_valid, lean=self._lean))

  def penalty(self, real: Tensor, fake: Tensor, eps: Tensor) -> Tensor:
    """weight * (|grad D| - 1)^2 between real and fake images (Gulrajani et al. 2017), eps [B, 1, 1, 1]."""
    x = (eps * real + (1 - eps) * fake).requires_grad_(True)
    logits = self.nets["discriminator"](x)
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return self.penalty_weight * (gradient.flatten(1).norm(2, dim=1) - 1).pow(2).mean()

  def g_loss(self, fake: Tensor) -> Tensor:
    on_fake = self.nets["discriminator"](fake)
    if self.loss in ("wasserstein", "hinge"):
      return -on_fake.mean()
    return cross_entropy(on_fake, torch.ones_like(on_fake), lean=self._lean)

  def compile(self) -> None:
    """Leaves the gradient penalty as it is: torch.compile has no second derivatives."""
    self.generate = torch.compile(self.generate)  # type: ignore[method-assign]
    self.d_loss = torch.compile(self.d_loss)  # type: ignore[method-assign]
    self.g_loss = torch.compile(self.g_loss)  # type: ignore[method-assign]

  def start(self, make_optimizer: MakeOptimizer) -> None:
    self._g_optimizer = make_optimizer(self.nets["generator"], self._settings["generator_optim"])
    self._d_optimizer = make_optimizer(self.nets["discriminator"], self._settings["discriminator_optim"])

  def step(self, batches: Sequence[Tensor]) -> dict[str, Tensor]:
    for real in batches:
      with torch.set_grad_enabled(self.shared):
        fake = self.generate(torch.randn(len(real), self._z_dim))
      d_loss = self.d_loss(real, fake.detach())
      if self.penalty_weight:
        d_loss = d_loss + self.penalty(real, fake.detach(), torch.rand(len(real), 1, 1, 1))
      self._d_optimizer.zero_grad()
      d_loss.backward()
      self._d_optimizer.step()
    if not self.shared:
      fake = self.generate(torch.randn(len(batches[-1]), self._z_dim))
    if self._lean:
      self.nets["discriminator"].requires_grad_(False)
    g_loss = self.g_loss(fake)
    self._g_optimizer.zero_grad()
    g_loss.backward()
    self._g_optimizer.step()
    if self._lean:
      self.nets["discriminator"].requires_grad_(True)
    return {"d_loss": d_loss.detach(), "g_loss": g_loss.detach()}


def build_step(config: Mapping[str, Any], shape: networks.Shape, *, lean: bool) -> VaeStep | GanStep:
  """Builds the networks and losses of `settings_of`, with fresh weights."""
  return (VaeStep if config["family"] == "vae" else GanStep)(config, shape, lean=lean)


def settings_of(config: ConfigDict, algorithm: Any) -> dict[str, Any]:
  """The config as a mapping, with the defaults that its networks in ``algorithm``, which it builds, fill in."""
  if config.family == "vae":
    modules = {"model": algorithm.network.encoder, "posterior": algorithm.network.posterior}
  else:
    modules = {name: getattr(algorithm, name).module for name in ("generator", "discriminator")}
    modules["game"] = algorithm.game
  settings = config.to_dict()
  for section, module in modules.items():
    fields = {field.name: getattr(module, field.name) for field in dataclasses.fields(module)}
    plain = {name: value for name, value in fields.items() if isinstance(value, bool | int | float | str | tuple)}
    settings[section] = {**plain, "name": settings[section]["name"]}
  return settings
