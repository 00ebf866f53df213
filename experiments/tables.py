"""The tables of papers that `experiments.reproduce` fills: their rows, their tiers, and the published figures."""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Row:
  """One line of a table."""

  name: str  # of the model, as the table has it; without commas, which separate those of --rows
  config: str  # as --config takes it
  published: str = ""  # the paper's figure, with its protocol and source; empty for none
  overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # {path in the config: value}
  # {tier: overrides}, in addition to the table's. If there are any, the row belongs to these tiers only.
  tiers: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
  # The row whose training this one is an earlier or later stop of; empty for a training of its own. Rows of one run are
  # in the order of their steps, and each is scored before the run goes on to the next.
  run: str = ""
  beside: str = ""  # the row whose scores of each image are subtracted from this one's; empty for none
  samplers: tuple[str, ...] = (
    "prior",
  )  # where a VAE's latents come from: "prior", or a density of configs/samplers.py

  def in_tier(self, tier: str) -> bool:
    """Whether the tier has this row."""
    return not self.tiers or tier in self.tiers


@dataclasses.dataclass(frozen=True)
class Table:
  """What is trained, for how long, and how it is scored."""

  title: str  # for a reader
  rows: tuple[Row, ...]  # in the order of the paper's
  tiers: Mapping[str, Mapping[str, Any]]  # {name: overrides of every row}; "A" may be shortened, "B" is as published
  seeds: Mapping[str, tuple[int, ...]]  # of each tier
  metrics: str = "frechet,precision_recall"  # as --metrics of experiments.evaluate takes them
  checkpoints: str = "last,best"  # as its --checkpoint takes them
  evaluation: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # its other flags


_FID = "FID {}, 10k samples against 10k test images, best of a search, 50 seeds"  # as reprinted by Dai & Wipf 2019
_MODES = "other networks, modes at one picture and KL: {} (Huang et al. 2024)"
_NLL = "{} nats (Norouzi et al. 2020)"
_FITTED = ("gmm", "flow", "two_stage")
_HALF = {
  "model.width": 32,
  "model.hidden": 512,
}  # of the network of Lucic et al. 2018, whose full size takes four times as long
_UNCONDITIONAL = {"conditioning": {"name": "none"}}
_FIVE_TIMES = {"A": {"train.num_steps": 5000}, "B": {"train.num_steps": 25_000}}
_NARROW = {  # R3GAN at half the config's width, where a step of 64 images takes 3 s of a core
  f"{player}.{key}": value
  for player in ("generator", "discriminator")
  for key, value in {"width": 32, "cardinality": 4}.items()
}
_AS_HVAE, _AS_VAMP = "VAE as long as HVAE", "VAE as long as VampPrior"


def _epochs(shortened: int) -> dict[str, dict[str, Any]]:
  """Tier A takes this number of epochs of 500 steps; tier B the published length, which early stopping ends."""
  return {"A": {"train.num_steps": 500 * shortened}, "B": {}}


TABLES = {
  "lucic2018": Table(
    title="Are GANs Created Equal? Fashion-MNIST, one network for every loss",
    rows=(
      Row("NS-GAN", "lucic2018:fashion_mnist", _FID.format("26.5 +- 1.6")),
      Row("LSGAN", "lucic2018:fashion_mnist,lsgan", _FID.format("30.7 +- 2.2")),
      Row("WGAN", "lucic2018:fashion_mnist,wgan", _FID.format("21.5 +- 1.6")),
      Row("WGAN-GP", "lucic2018:fashion_mnist,wgan_gp", _FID.format("24.5 +- 2.1")),
      Row("DRAGAN", "lucic2018:fashion_mnist,dragan", _FID.format("27.7 +- 1.2")),
      Row("VAE", "lucic2018:fashion_mnist,vae", _FID.format("58.7 +- 1.2") + " (recalled, unverified)"),
    ),
    tiers={"A": {}, "B": {}},  # 15,625 updates of D each; A has one seed
    seeds={"A": (0,), "B": (0, 1, 2)},
  ),
  "stacked": Table(
    title="1,000 modes of stacked MNIST (--data_dir), one small network",
    rows=(
      Row("DCGAN", "stacked:stacked_mnist", _MODES.format("99 and 3.40")),
      Row("WGAN-GP", "stacked:stacked_mnist,wgan_gp", _MODES.format("959 and 0.73")),
      Row("RpGAN + R1 + R2", "stacked:stacked_mnist,rpgan_r1_r2", _MODES.format("1000 and 0.078")),
      Row("GAN + R1 + R2", "stacked:stacked_mnist,gan_r1_r2", _MODES.format("693 and 0.927")),
      Row("RpGAN + R1", "stacked:stacked_mnist,rpgan_r1", _MODES.format("diverges")),
    ),
    tiers={"A": {"train.num_steps": 5000}, "B": {"train.num_steps": 10000}},
    seeds={"A": (0,), "B": (0, 1, 2)},
    metrics="stacked_modes",
    evaluation={"features": "stacked:mnist", "num_samples": 26000},
  ),
  "architectures": Table(
    title="DCGAN, SNGAN and R3GAN on Fashion-MNIST at 32x32 after the same number of generator steps",
    rows=(
      Row("DCGAN", "dcgan:fashion_mnist", run="DCGAN"),
      Row("SNGAN", "sngan:fashion_mnist"),
      Row("R3GAN", "r3gan:fashion_mnist", overrides=_UNCONDITIONAL, tiers={"A": _NARROW, "B": {}}),
      Row("DCGAN five times as long", "dcgan:fashion_mnist", tiers=_FIVE_TIMES, run="DCGAN"),
      Row("SNGAN for two cores five times as long", "sngan:fashion_mnist,quick", tiers=_FIVE_TIMES),
      Row(
        "R3GAN for two cores five times as long",
        "r3gan:fashion_mnist,quick",
        overrides=_UNCONDITIONAL,
        tiers=_FIVE_TIMES,
      ),
      Row("SNGAN five times as long", "sngan:fashion_mnist", tiers=_FIVE_TIMES),
      Row(
        "R3GAN five times as long",
        "r3gan:fashion_mnist",
        overrides=_UNCONDITIONAL,
        tiers={"A": {**_FIVE_TIMES["A"], **_NARROW}, "B": _FIVE_TIMES["B"]},
      ),
    ),
    tiers={"A": {"train.num_steps": 1000}, "B": {"train.num_steps": 5000}},
    seeds={"A": (0,), "B": (0, 1, 2)},
    checkpoints="last",
  ),
  "exemplar2020": Table(
    title="Exemplar VAE: test NLL of Fashion-MNIST, binarized as there, by 5,000 importance-weighted draws",
    rows=(
      Row(_AS_HVAE, "vae:fashion_mnist,gated", tiers={"A": {"train.num_steps": 150 * 500}}, run="VAE"),
      Row(_AS_VAMP, "vae:fashion_mnist,gated", tiers={"A": {"train.num_steps": 200 * 500}}, run="VAE"),
      Row("VAE", "vae:fashion_mnist,gated", _NLL.format("228.70 +- 0.15"), tiers=_epochs(400), run="VAE"),
      Row("VampPrior", "vampprior:fashion_mnist", _NLL.format("227.35 +- 0.05"), tiers=_epochs(200), beside=_AS_VAMP),
      Row("HVAE", "hvae:fashion_mnist", _NLL.format("227.37"), tiers=_epochs(150), beside=_AS_HVAE),
      Row("HVAE + VampPrior", "hvae:fashion_mnist,vampprior", _NLL.format("226.72"), tiers=_epochs(150), beside="HVAE"),
    ),
    tiers={"A": {}, "B": {}},
    seeds={"A": (0,), "B": (0, 1, 2)},
    metrics="{'nll': {'k': 5000}, 'bound': {}}",
    checkpoints="best",
  ),
  "iwae": Table(
    title="Importance-weighted bounds on Fashion-MNIST, Exemplar VAE's network and data",
    rows=(
      Row("k = 1", "iwae:fashion_mnist,gated", overrides={"objective.draws": 1}),
      Row("k = 5", "iwae:fashion_mnist,gated"),
      Row("k = 50 doubly reparameterized", "iwae:fashion_mnist,gated,doubly", overrides={"objective.draws": 50}),
    ),
    tiers=_epochs(50),
    seeds={"A": (0,), "B": (0,)},
    metrics="{'nll': {'k': 5000}, 'bound': {}, 'latents': {}}",
    checkpoints="best",
  ),
  "beta": Table(
    title="Rate and distortion of Fashion-MNIST over beta, 20 epochs",
    rows=tuple(
      Row(f"beta {beta:g}", "beta_vae:fashion_mnist", overrides={"objective.beta": float(beta)})
      for beta in (0.25, 0.5, 1, 2, 4, 8)
    ),
    tiers={"A": {}, "B": {"train.num_steps": 100_000}},
    seeds={"A": (0,), "B": (0, 1, 2)},
    metrics="{'bound': {}, 'latents': {}}",
    checkpoints="last",
  ),
  "samplers": Table(
    title="Fashion-MNIST by model and by where its latents come from; the network of Lucic et al. at half its width",
    rows=(
      Row("VAE", "rae:fashion_mnist,vae", overrides=_HALF, samplers=("prior", *_FITTED)),
      *(
        Row(
          f"VAE of beta {beta:g}",
          "rae:fashion_mnist,vae",
          overrides={**_HALF, "objective.beta": beta},
          samplers=("prior", *_FITTED),
        )
        for beta in (1.0, 4.0)
      ),
      Row("WAE", "wae:fashion_mnist", overrides={**_HALF, "model.z_dim": 16}, samplers=("prior", *_FITTED)),
      Row("RAE", "rae:fashion_mnist", overrides=_HALF, samplers=_FITTED),
      Row("VQ-VAE", "vq_vae:fashion_mnist", overrides={"model.width": 64}, samplers=("prior", "autoregressive")),
    ),
    tiers={"A": {}, "B": {"train.num_steps": 50_000}},
    seeds={"A": (0,), "B": (0, 1, 2)},
    checkpoints="last",
  ),
  "smoke": Table(
    title="A table that takes a minute: tiny networks on digits",
    rows=(Row("NS-GAN", "lucic2018:digits,tiny"), Row("VAE", "lucic2018:digits,vae,tiny", samplers=("prior", "gmm"))),
    tiers={"A": {}, "B": {"train.num_steps": 80}},
    seeds={"A": (0,), "B": (0, 1)},
    metrics="{'frechet': {'groups': 5}}",
    evaluation={"num_samples": 100},
  ),
}
