"""The test of mode collapse on 1,000 modes: three grey images as one in colour (Metz et al. 2017, arXiv:1611.02163).

Recipe: one small network for all, InfoGAN's at half its width (gan/networks/infogan.py), z of 64 from N(0, I), images
in [0, 1], batch 64, Adam. dcgan: non-saturating loss, BatchNorm in D, 2e-4, beta1 0.5; wgan_gp: 1e-4, beta1 0 and
beta2 0.9, five updates of D, lambda 10; and R3GAN's ablation of loss and penalties (Huang et al. 2024,
arXiv:2501.05441, Table 1), no normalization in D, 2e-4, beta1 0 and beta2 0.99, gamma 1: rpgan_r1_r2, gan_r1_r2,
rpgan_r1. 128,000 training images; 26,000 samples. None is an author's whole recipe: PacGAN's DCGAN has another
network and z of 100 from U[-1, 1), and R3GAN's code has no stacked MNIST.

Number to expect: stacked MNIST, modes of 1,000 and KL(fake || uniform), other networks; Table 3 there, of other papers:
DCGAN 99 and 3.40, WGAN-GP 959 and 0.73; Table 1, the ablation on a small ResNet: RpGAN + R1 + R2 1000 and 0.078, GAN +
R1 + R2 693 and 0.927, RpGAN + R1 diverges. 26,000 samples are PacGAN's protocol. Its code counts a mode at one picture,
here at a quarter of the expected ones (see experiments/RESULTS.md); it draws its 128,000 triples from MNIST's training
and test images, here from the training images.

Variants: stacked_mnist (the default), stacked_fashion, wgan_gp, rpgan_r1_r2, gan_r1_r2, rpgan_r1 (none: DCGAN), tiny.
On stacked_fashion the classifier misreads 7.5 % of the channels, and the count says little.
Command: python -m experiments.train --config=configs/stacked.py:wgan_gp --config.data.dir=MNIST --workdir=runs/stacked
Time: one core, 10,000 steps by --check: 19 minutes (dcgan), 26 (rpgan_r1_r2), 68 (wgan_gp), without the evaluations.
"""

from ml_collections import ConfigDict

from configs import recipes, schema

ABLATION = {  # loss, penalties
  "rpgan_r1_r2": ("relativistic_pairing", ("r1", "r2")),
  "gan_r1_r2": ("non_saturating", ("r1", "r2")),
  "rpgan_r1": ("relativistic_pairing", ("r1",)),
}
MODELS = ("wgan_gp", *ABLATION)


def get_config(argument: str = "") -> ConfigDict:
  dataset, words = recipes.variants(argument, ("stacked_mnist", "stacked_fashion"), MODELS)
  model = recipes.one_of(words, MODELS, "dcgan")
  config = schema.get_config("gan")
  recipes.use_dataset(config, dataset, tiny="tiny" in words)
  config.train.update({"num_steps": 10000, "batch_size": 64, "steps_per_call": 5})
  recipes.set_every(config, log=100, rest=1000)
  config.evaluate.num_samples = 26000
  if "tiny" not in words:  # its blobs have no classifier
    config.evaluate.metrics = {"stacked_modes": {}}
    config.checkpoint.keep_best = "modes_kl"
  config.z_dim = 64
  network = {"name": "infogan", "width": 32, "hidden": 512, "bn_momentum": 0.9, "bn_epsilon": 1e-5}
  config.generator = network
  config.discriminator = {**network, "slope": 0.2, "batch_norm": model == "dcgan"}
  optim = recipes.adam(2e-4, b1=0.5)
  if model == "wgan_gp":
    optim = recipes.adam(1e-4, b1=0.0, b2=0.9)
    config.game.n_critic = 5
    recipes.use_wasserstein(config)
  if model in ABLATION:
    optim = recipes.adam(2e-4, b1=0.0, b2=0.99)
    loss, penalties = ABLATION[model]
    config.loss = {"name": loss}
    config.penalties = {name: {"weight": 1.0} for name in penalties}
  config.generator_optim = config.discriminator_optim = optim
  tiny = {"width": 8, "hidden": 32}
  return recipes.finish(config, words, generator=tiny, discriminator=tiny)
