"""Configs against what the authors' public code says, read there: file, commit, and the values of our keys."""

import importlib

import pytest

from common.workdir import flatten

LUCIC = "google/compare_gan v1.0 (299d2c2): src/params.py, src/generate_tasks_lib.py, src/gans/*.py"
_LUCIC = {
  "generator.slope": 0.2,
  "generator.bn_momentum": 0.999,
  "generator.bn_epsilon": 1e-3,
  "discriminator.bn_momentum": 0.999,
  "n_critic": 1,
  "train.num_steps": 15625,
  "train.batch_size": 64,
  "z_prior": "uniform",
  "update_order": "alternating",
}
TWO_STAGE = "daib13/TwoStageVAE (8718623): demo.py, network/two_stage_vae_model.py, network/util.py"
WAE = "tolstikhin/wae (6351565): configs.py, config_mnist; wae.py; models.py"
IWAE = "yburda/iwae (78a6075): experiments.py, optimizers.py, datasets.py"
RECIPES = [  # variant, where, {path in the config: value}
  ("lucic2018:fashion_mnist", LUCIC, {**_LUCIC, "fakes": "shared", "loss.name": "non_saturating"}),
  ("lucic2018:fashion_mnist,lsgan", LUCIC, {**_LUCIC, "fakes": "shared", "loss.sigmoid": True}),
  ("lucic2018:fashion_mnist,wgan", LUCIC, {**_LUCIC, "fakes": "shared", "weight_clip": 0.01}),
  (
    "lucic2018:fashion_mnist,wgan_gp",
    LUCIC,
    {**_LUCIC, "fakes": "fresh", "discriminator.batch_norm": False, "penalties.gradient_penalty.weight": 10.0},
  ),
  (
    "lucic2018:fashion_mnist,dragan",
    LUCIC,
    {**_LUCIC, "fakes": "shared", "penalties.dragan.sigmoid": True, "discriminator.batch_norm": False},
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
  ("lucic2018:fashion_mnist,vae", LUCIC, {"model.bn_momentum": 0.999, "train.num_steps": 15625}),
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
  config.n_critic = 5
  assert config.train.num_steps == 15625 // 5
