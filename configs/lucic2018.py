"""Are GANs Created Equal? (Lucic et al. 2018, arXiv:1711.10337): one network and one budget for every loss, and a VAE.

Recipe: the networks of gan/networks/infogan.py, 20 epochs of 50,000 images (15,625 steps of batch 64; a step is one
update of G), z of 64 from U[-1, 1) (the VAE: N(0, I)), images in [0, 1]. The paper reports the best of 100 settings a
model; here all have one that lies in its narrow search space: Adam 2e-4, beta1 0.5, beta2 0.999, lambda 10 for the two
gradient penalties, weights clipped to 0.01. Five updates of D a step for wgan and wgan_gp, as the authors' code starts
from. BatchNorm in D but under the gradient penalties. The VAE's likelihood is the cross-entropy of grey values.

Number to expect: Table 2, FID of 10,000 samples against 10,000 test images, best setting, mean of 50 seeds (GANs'
as Dai & Wipf 2019, arXiv:1903.05789, reprint them; the VAE's and the table's number are recalled, unverified).
Fashion-MNIST: NS 26.5 +- 1.6, LSGAN 30.7 +- 2.2, WGAN 21.5 +- 1.6, WGAN-GP 24.5 +- 2.1, DRAGAN 27.7 +- 1.2, VAE 58.7
+- 1.2; MNIST: 6.8 +- 0.5, 7.8 +- 0.6, 6.7 +- 0.4, 20.3 +- 5.0, 7.6 +- 0.4, 23.8 +- 0.6. Ours is not an FID: see
experiments/RESULTS.md.

Variants: fashion_mnist (the default), digits, mnist, cifar10, lsgan, wgan, wgan_gp, dragan, vae (none: NS-GAN), tiny.
Command: python -m experiments.train --config=configs/lucic2018.py:fashion_mnist,wgan_gp --workdir=runs/lucic_wgan_gp
Time: 5,000 steps of fashion_mnist with eight evaluations, one core beside other work: 36 minutes (lsgan), 23 (vae).
"""

from ml_collections import ConfigDict

from configs import base

MODELS = {  # loss, updates of D a step
  "ns": ("non_saturating", 1),
  "lsgan": ("least_squares", 1),
  "wgan": ("wasserstein", 5),
  "wgan_gp": ("wasserstein", 5),
  "dragan": ("non_saturating", 1),
  "vae": ("", 1),
}
PENALTIES = {"wgan_gp": "gradient_penalty", "dragan": "dragan"}


def get_config(argument: str = "") -> ConfigDict:
  models = [name for name in MODELS if name != "ns"]
  dataset, words = base.variants(argument, ("fashion_mnist", "digits", "mnist", "cifar10"), models)
  chosen = sorted(words & set(models))
  if len(chosen) > 1:
    raise ValueError(f"variants {' and '.join(chosen)} are different models; take one")
  model = chosen[0] if chosen else "ns"
  loss, n_critic = MODELS[model]

  config = base.get_config()
  base.use_dataset(config, dataset, tiny="tiny" in words)
  few = dataset == "digits"
  config.train.update({"num_steps": 1500 if few else 15625, "batch_size": 64, "steps_per_call": 5})
  base.set_every(config, log=125, rest=500 if few else 625)
  config.evaluate.metrics = {"frechet": {}, "precision_recall": {}}
  config.checkpoint.update({"keep_best": "frechet", "best_mode": "min"})
  adam = {"name": "adam", "learning_rate": 2e-4, "b1": 0.5, "b2": 0.999, "eps": 1e-8}
  batch_norm = {"bn_momentum": 0.9, "bn_epsilon": 1e-5}
  network = {"name": "infogan", "width": 64, "hidden": 1024}
  if model == "vae":
    base.use_vae(config)
    config.model = {**network, "z_dim": 64, **batch_norm}
    config.optim = adam
  else:
    base.use_gan(config)
    config.z_dim = 64
    config.z_prior = "uniform"
    config.n_critic = n_critic
    config.loss = {"name": loss}
    config.generator = {**network, **batch_norm}
    config.discriminator = {**network, "slope": 0.2, "batch_norm": model not in PENALTIES, **batch_norm}
    config.generator_optim = config.discriminator_optim = adam
    if model == "wgan":
      config.weight_clip = 0.01
    if model in PENALTIES:
      config.penalties = {PENALTIES[model]: {"weight": 10.0, "target": 1.0}}
  if few:
    config.evaluate.num_samples = 1000
  if "tiny" in words:
    base.shrink(config)
    config.evaluate.num_samples = 100
    for section in ("model",) if model == "vae" else ("generator", "discriminator"):
      config[section].update({"width": 8, "hidden": 32})
  return base.finish(config)
