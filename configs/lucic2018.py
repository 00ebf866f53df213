"""Are GANs Created Equal? (Lucic et al. 2018, arXiv:1711.10337): one network and one budget for every loss, and a VAE.

Recipe: the authors' code (google/compare_gan, v1.0): InfoGAN's networks with LeakyReLU(0.2) in both
(gan/networks/infogan.py), BatchNorm of decay 0.999 and epsilon 1e-3, images in [0, 1], z of 64 from U[-1, 1), the same
for D's update and G's (wgan_gp: fresh ones), and a budget of 15,625 updates of D on 64 images, 20 times 50,000
(cifar10: 78,125, 100 times), whatever n_critic is. The loss of lsgan and the penalty of dragan read D's sigmoid.
The paper reports the best of 100 settings a model; here all share one that lies in its narrow search space: one update
of D a step, Adam 2e-4, beta1 0.5, beta2 0.999, lambda 10, weights clipped to 0.01, BatchNorm in D except under the two
gradient penalties. The VAE's likelihood is the cross-entropy of grey values. Not as there: 10,000 training images
(cifar10: 5,000) are held out to choose a checkpoint by; no 1e-4 under the root of a slope; G's running statistics move
in its own updates only; the VAE sums over colours, where theirs averages, and the initial weights of its encoder's
convolutions are not cut off at two deviations, as those of D are here and there. digits is no data set of theirs;
dragan needs its 5,000 updates to draw digits.

Number to expect: Table 2, FID of 10,000 samples against 10,000 test images, best setting, mean of 50 seeds (GANs'
as Dai & Wipf 2019, arXiv:1903.05789, reprint them; the VAE's and the table's number are recalled, unverified).
Fashion-MNIST: NS 26.5 +- 1.6, LSGAN 30.7 +- 2.2, WGAN 21.5 +- 1.6, WGAN-GP 24.5 +- 2.1, DRAGAN 27.7 +- 1.2, VAE 58.7
+- 1.2; MNIST: 6.8 +- 0.5, 7.8 +- 0.6, 6.7 +- 0.4, 20.3 +- 5.0, 7.6 +- 0.4, 23.8 +- 0.6. Ours is not an FID: see
experiments/RESULTS.md.

Variants: fashion_mnist (the default), digits, mnist, cifar10, lsgan, wgan, wgan_gp, dragan, vae (none: NS-GAN), tiny.
Command: python -m experiments.train --config=configs/lucic2018.py:fashion_mnist,wgan_gp --workdir=runs/lucic_wgan_gp
Time: fashion_mnist, a step on one core beside other work by --check: 0.66 s (NS-GAN; 172 minutes in all), 0.42 (vae),
1.20 (wgan_gp), 1.29 (dragan). digits,dragan takes 7 minutes by --check; its Frechet distance on the validation
split was 210 at 1,500 steps and 45 at 5,000 (commit 04a441a).
"""

from ml_collections import ConfigDict

from configs import recipes, schema

MODELS = {  # name: loss, penalties
  "ns": ({"name": "non_saturating"}, {}),
  "lsgan": ({"name": "least_squares", "a": 0.0, "b": 1.0, "c": 1.0, "sigmoid": True}, {}),
  "wgan": ({"name": "wasserstein"}, {}),
  "wgan_gp": ({"name": "wasserstein"}, {"gradient_penalty": {"weight": 10.0, "target": 1.0}}),
  "dragan": ({"name": "non_saturating"}, {"dragan": {"weight": 10.0, "target": 1.0, "sigmoid": True}}),
}
WORDS = ("lsgan", "wgan", "wgan_gp", "dragan", "vae")


def get_config(argument: str = "") -> ConfigDict:
  dataset, words = recipes.variants(argument, ("fashion_mnist", "digits", "mnist", "cifar10"), WORDS)
  model = recipes.one_of(words, WORDS, "ns")
  config = schema.get_config("vae" if model == "vae" else "gan")
  recipes.use_dataset(config, dataset, tiny="tiny" in words)
  few = dataset == "digits"
  updates = {"digits": 5000, "cifar10": 78125}.get(dataset, 15625)  # of D
  config.train.update({"num_steps": updates, "batch_size": 64, "steps_per_call": 5})
  recipes.set_every(config, log=125, rest=500 if few else 625)
  config.evaluate.every = 500 if few else 3125
  config.evaluate.metrics = {"frechet": {}, "precision_recall": {}}
  if few:
    config.evaluate.num_samples = 1000
  config.checkpoint.update({"keep_best": "frechet", "best_mode": "min"})
  network = {"name": "infogan", "width": 64, "hidden": 1024, "bn_momentum": 0.999, "bn_epsilon": 1e-3}
  tiny = {"width": 8, "hidden": 32}
  if model == "vae":
    config.model = {**network, "z_dim": 64}
    config.posterior = {"name": "diagonal_gaussian", "softplus": True}
    config.optim = recipes.adam(2e-4, b1=0.5)
    return recipes.finish(config, words, evaluate={"num_samples": 100}, model=tiny)
  config.loss, config.penalties = MODELS[model]
  config.z_dim = 64
  config.z_prior = "uniform"
  config.train.num_steps = updates // config.game.get_oneway_ref("n_critic")
  config.game.fakes = "fresh" if model == "wgan_gp" else "shared"
  config.generator = {**network, "slope": 0.2}
  config.discriminator = {**network, "slope": 0.2, "truncated": True, "batch_norm": not config.penalties}
  config.generator_optim = config.discriminator_optim = recipes.adam(2e-4, b1=0.5)
  if model == "wgan":
    config.discriminator_optim.weight_clip = 0.01
  return recipes.finish(config, words, evaluate={"num_samples": 100}, generator=tiny, discriminator=tiny)
