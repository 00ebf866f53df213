"""ESRGAN (Wang et al. 2018, arXiv:1809.00219) and, as ``real``, Real-ESRGAN (Wang et al. 2021, arXiv:2107.10833).

Recipe: BasicSR's options/train/ESRGAN/train_ESRGAN_x4.yml: 23 groups of dense blocks of 64 channels, relativistic
averages, halved for both, 400,000 steps from the L1 model's weights, batches of 16 windows of 128 pixels, Adam 1e-4
with decays 0.9 and 0.99, halved at steps 50,000, 100,000, 200,000 and 300,000, averaged weights (0.999), terms of 0.01
L1, 1 perceptual and 0.005 adversarial; here all are divided by the last, which changes nothing under Adam. ``real``:
Real-ESRGAN's options/train_realesrgan_x4plus.yml: its chain of degradations, its U-Net D with cross-entropy, a constant
rate, terms of 1, 1 and 0.1, the first two against sharpened images, batches of 48 windows of 256.

Not as there: D is Real-ESRGAN's in both (ESRGAN has one of 128 pixels with BatchNorm); in D's update, gradients pass
through the means; windows have 96 pixels; ``real`` has batches of 16. Their perceptual term compares activations of
VGG19, whose weights do not come with this code: by default it is a network of random weights, and
--config.content.perceptual.features=MODULE:FUNCTION names an extractor of yours. ``quick`` is this code's own for
CPUs: 4 groups of 32 channels, windows of 64, Adam 1e-3 for both to 0 on a cosine, 5,000 steps.

The L1 model: --config=edsr:photos --config.model="{'name': 'rrdb'}" --config.optim.learning_rate=2e-4 (BasicSR's has
restarts of a cosine over 1,000,000 steps); --init_from=RUN takes its weights into G. Of ``real``, with its degradation.

Number to expect: not measured here. BasicSR publishes for such a pair (its MSRGAN) a PSNR that is 2.2 to 2.4 dB below
that of the L1 model: it must not choose the checkpoint.

Variants: photos (the default), cifar10, folder, emoji, emoji_people; real; quick, tiny. All enlarge by 4.
Command: python -m experiments.train --config=configs/esrgan.py:photos,quick --workdir=runs/esrgan
Time: not measured; --check tells.
"""

from ml_collections import ConfigDict

from configs import recipes


def get_config(argument: str = "") -> ConfigDict:
  quick = "quick" in argument.split(",")
  config, _, words = recipes.restoration(argument, ("real", "quick"), crop=64 if quick else 96, is_gan=True)
  real = "real" in words
  config.data.degradation = ({"name": "real_esrgan", "scale": 4} if real else {"name": "resize", "scale": 4},)
  config.train.update({"num_steps": 400000, "batch_size": 16})
  config.z_dim = 0
  config.conditioning = {"name": "seen", "pair": False}
  config.game.update({"order": "simultaneous", "fakes": "shared", "d_loss_scale": 1.0 if real else 0.5})
  config.loss = {"name": "non_saturating" if real else "relativistic_average"}
  l1, perceptual = (10.0, 10.0) if real else (2.0, 200.0)
  config.content = {
    "l1": {"weight": l1, "sharpen": real},
    "perceptual": {"weight": perceptual, "sharpen": real, "features": "random:1"},
  }
  config.generator = {"name": "rrdb", "width": 64, "blocks": 23, "growth": 32}
  config.discriminator = {"name": "unet", "width": 64}
  halved = {"name": "piecewise", "start": 1e-4, "factor": 0.5, "milestones": (50000, 100000, 200000, 300000)}
  config.generator_optim = config.discriminator_optim = recipes.adam(1e-4 if real else halved, b2=0.99)
  if quick:
    config.train.num_steps = 5000
    for player in ("generator", "discriminator"):
      rate = {"name": "cosine", "start": 1e-3, "end": 0.0, "steps": config.train.get_oneway_ref("num_steps")}
      config[f"{player}_optim"] = recipes.adam(rate, b2=0.99)
    config.generator.update({"width": 32, "blocks": 4, "growth": 16})
    config.discriminator.width = 16
  small = {"width": 4, "blocks": 1, "growth": 2}
  return recipes.finish(config, words, generator=small, discriminator={"width": 4})
