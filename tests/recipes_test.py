"""Configs against what the authors' public code says, read there: file, commit, and the values of our keys."""

import importlib

import pytest

from common.training.workdir import flatten

SN = "pfnet-research/sngan_projection (e84b1a5): configs/sn_cifar10_*.yml, datasets/cifar10.py, updater.py"
_SN = {
  "train.num_steps": 50000,
  "train.batch_size": 64,
  "game.generator_batches": 2,
  "game.n_critic": 5,
  "discriminator.width": 128,
  "generator.width": 256,
  "generator_optim.learning_rate.steps": 50000,
  "generator_optim.learning_rate.end": 0.0,
  "discriminator_optim.learning_rate.steps": 250000,
  "discriminator_optim.learning_rate.start": 2e-4,
  "data.train_split": "train",
  "data.dequantize": True,
}
LUCIC = "google/compare_gan v1.0 (299d2c2): src/params.py, src/generate_tasks_lib.py, src/gans/*.py"
_LUCIC = {
  "generator.slope": 0.2,
  "generator.bn_momentum": 0.999,
  "generator.bn_epsilon": 1e-3,
  "discriminator.bn_momentum": 0.999,
  "discriminator.truncated": True,
  "discriminator.batch_norm": True,
  "game.n_critic": 1,
  "game.fakes": "shared",
  "train.num_steps": 15625,
  "train.batch_size": 64,
  "z_prior": "uniform",
}
TWO_STAGE = "daib13/TwoStageVAE (8718623): demo.py, network/two_stage_vae_model.py, network/util.py"
WAE = "tolstikhin/wae (6351565): configs.py, config_mnist; wae.py; models.py"
IWAE = "yburda/iwae (78a6075): experiments.py, optimizers.py, datasets.py"
RECIPES = [  # variant, where, {path in the config: value}
  ("lucic2018:fashion_mnist", LUCIC, {**_LUCIC, "loss.name": "non_saturating"}),
  ("lucic2018:fashion_mnist,lsgan", LUCIC, {**_LUCIC, "loss.sigmoid": True}),
  ("lucic2018:fashion_mnist,wgan", LUCIC, {**_LUCIC, "discriminator_optim.weight_clip": 0.01}),
  (
    "lucic2018:fashion_mnist,wgan_gp",
    LUCIC,
    {**_LUCIC, "game.fakes": "fresh", "discriminator.batch_norm": False, "penalties.gradient_penalty.weight": 10.0},
  ),
  (
    "lucic2018:fashion_mnist,dragan",
    LUCIC,
    {**_LUCIC, "penalties.dragan.sigmoid": True, "discriminator.batch_norm": False},
  ),
  (
    "lucic2018:fashion_mnist,vae",
    LUCIC,
    {"posterior.softplus": True, "model.z_dim": 64, "model.bn_momentum": 0.999, "train.num_steps": 15625},
  ),
  (
    "iwae:mnist",
    IWAE,  # the gradient there is a sum over 20 images, here a mean
    {"optim.b1": 0.99, "optim.b2": 0.999, "optim.eps": 1e-4 / 20, "train.batch_size": 20, "model.starts_at_mean": True},
  ),
  (
    "two_stage:fashion_mnist",
    TWO_STAGE,
    {
      "posterior.softplus": True,
      "model.z_dim": 64,
      "model.bn_momentum": 0.999,
      "model.bn_epsilon": 1e-5,
      "optim.learning_rate": 1e-4,
      "train.batch_size": 64,
      "checkpoint.keep_best": "elbo",  # not the distortion, which goes on falling with the deviation
      "checkpoint.best_mode": "max",
    },
  ),
  (
    "wae:mnist",
    WAE,  # 10 beside 0.05 times the squared error
    {
      "model.z_dim": 8,
      "objective.weight": 10 / 0.05,
      "corruption.sigma": 0.01,
      "optim.b1": 0.5,
      "optim.learning_rate": 1e-3,
      "train.batch_size": 100,
    },
  ),
  ("lucic2018:cifar10", LUCIC, {**_LUCIC, "train.num_steps": 78125}),
  ("sngan:cifar10", SN, {**_SN, "conditioning.name": "none"}),
  ("projection:cifar10", SN, {**_SN, "conditioning.name": "projection", "conditioning.generator": "class_batch_norm"}),
  (
    "wgan_gp:cifar10,resnet",
    "igul222/improved_wgan_training (fa66c57): gan_cifar_resnet.py",
    {
      **_SN,
      "train.num_steps": 100000,
      "generator_optim.learning_rate.steps": 100000,
      "discriminator_optim.learning_rate.steps": 500000,
      "generator.width": 128,
      "discriminator.spectral_norm": False,
      "discriminator.pool": "mean",
      "penalties.gradient_penalty.weight": 10.0,
    },
  ),
  (
    "diffaugment:cifar10",
    "mit-han-lab/data-efficient-gans (0b63395): DiffAugment-biggan-cifar/scripts/*.sh, utils.py",
    {
      "augment.policy": ("translation", "cutout"),
      "data.flip": True,
      "data.dequantize": False,
      "data.train_split": "train",
      "train.batch_size": 50,
      "train.num_steps": 250000,
      "game.n_critic": 4,
      "game.generator_batches": 1,
      "generator_optim.learning_rate": 2e-4,
      "generator_optim.b2": 0.999,
      "discriminator.width": 256,
      "ema.decay": 0.9999,
      "ema.start": 1000,
      "conditioning.name": "projection",
    },
  ),
  (
    "r3gan:cifar10",
    "brownvc/R3GAN (19a7ddf): train.py, its command in README.md",
    {
      "data.train_split": "train",
      "data.flip": True,
      "train.batch_size": 512,
      "z_dim": 64,
      "generator.width": 768,
      "generator.embedding_dim": 64,
      "discriminator.embedding_dim": 768,
    },
  ),
  (
    "sagan:cifar10",
    "brain-research/self-attention-gan (ad9612e): model.py, ops.py, train_imagenet.py",
    {
      "generator.bn_momentum": 0.999,
      "generator.bn_epsilon": 1e-5,
      "generator_optim.learning_rate": 1e-4,
      "discriminator_optim.learning_rate": 4e-4,
      "train.batch_size": 256,
      "game.n_critic": 1,
    },
  ),
  (
    "wgan:mnist",
    "Arjovsky et al. 2017, Algorithm 1",
    {
      "game.n_critic": 5,
      "discriminator_optim.weight_clip": 0.01,
      "generator_optim.learning_rate": 5e-5,
      "game.warmup": 100,
      "game.warmup_first": 25,
      "game.warmup_every": 500,
    },
  ),
  (
    "gan:mnist",
    "goodfeli/adversarial (1720041): mnist.yaml, __init__.py",
    {
      "z_prior": "standard_uniform",
      "z_dim": 100,
      "train.batch_size": 100,
      "train.num_steps": 250 * 500,
      "game.d_loss_scale": 0.5,
    },
  ),
  (
    "dragan:mnist",
    "kodalinaveen3/DRAGAN (5cf95ab): DRAGAN.ipynb",
    {"discriminator_optim.b2": 0.9, "train.batch_size": 128, "z_prior": "uniform", "game.n_critic": 1},
  ),
  (
    "lsgan:mnist",
    "xudonmao/LSGAN (3b13d36): train_chn.py",
    {"generator_optim.learning_rate": 2e-4, "z_prior": "uniform", "game.fakes": "shared", "train.batch_size": 64},
  ),
]


def load(variant):
  name, _, words = variant.partition(":")
  return importlib.import_module(f"configs.{name}").get_config(words)


@pytest.mark.parametrize(("variant", "where", "expected"), RECIPES, ids=[variant for variant, *_ in RECIPES])
def test_a_config_has_what_the_authors_code_has(variant, where, expected):
  found = flatten(load(variant).to_dict())
  assert {path: found.get(path) for path in expected} == expected, where


def test_lucics_budget_counts_updates_of_d():
  config = load("lucic2018:fashion_mnist,wgan")
  config.game.n_critic = 5
  assert config.train.num_steps == 15625 // 5
