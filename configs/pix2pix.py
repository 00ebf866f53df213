"""Image-to-Image Translation with Conditional Adversarial Networks (Isola et al. 2017, arXiv:1611.07004).

Recipe: the authors' code (junyanz/pytorch-CycleGAN-and-pix2pix, pix2pix_model.py and train_options.py): D sees the
pair, a logit for each patch; cross-entropy, halved for D, with an L1 term of weight 100; G is updated on D's fakes;
Adam 2e-4 with beta1 0.5, constant for half of the training, then linear to 0. There batches are of 1 image of 256
pixels, patches of 70, and both networks have BatchNorm; G, a U-Net of 8 halvings, has dropout, its only noise. Here
batches are of 64 smaller images, patches of 16 pixels (34 on windows of photographs), G is the U-Net of configs/unet.py
and draws 16 latents where a hole is filled (``restore --draws=5``).

fashion_mnist fills a hole of 14x14 pixels in the middle; the colored sets get their colors from grey. ``strokes`` fills
what a brush has covered, ``motion`` sharpens what a camera saw that moved in little light. G may start from a
regression: --init_from=RUN of configs/unet.py on the same pictures, with --config.z_dim=0, for its network has no
latents.

Number to expect: not measured here. The 20 neighbours of configs/unet.py have a PSNR of 17.34 dB over Fashion-MNIST's
hole, which no GAN needs to reach: its pictures are judged by Frechet distance.

Variants: fashion_mnist (the default), cifar10, folder, photos, emoji, emoji_people; strokes, motion; tiny.
Command: python -m experiments.train --config=configs/pix2pix.py:fashion_mnist --workdir=runs/pix2pix
Time: not measured; --check tells.
"""

from ml_collections import ConfigDict

from configs import recipes

TASKS = {
  "box": ({"name": "box", "height": 14, "width": 14},),
  "grey": ({"name": "grey"},),
  "strokes": ({"name": "strokes"},),
  "motion": ({"name": "motion_blur", "length": (3.0, 9.0)}, {"name": "poisson_noise", "peak": (50.0, 500.0)}),
}


def get_config(argument: str = "") -> ConfigDict:
  datasets = ("fashion_mnist", "cifar10")
  config, dataset, words = recipes.restoration(argument, ("strokes", "motion"), datasets=datasets, is_gan=True)
  large = dataset in ("photos", "folder")
  task = recipes.one_of(words, ("strokes", "motion"), "box" if dataset == "fashion_mnist" else "grey")
  config.data.degradation = TASKS[task]
  config.z_dim = 16 if task in ("box", "strokes") else 0
  config.conditioning = {"name": "seen", "pair": True}
  config.train.update({"num_steps": 10000, "batch_size": 16 if large else 64})
  config.game.update({"fakes": "shared", "d_loss_scale": 0.5})
  config.generator = {"name": "unet", "widths": (32, 64, 128), "blocks": 1}
  config.discriminator = {"name": "patch", "width": 64, "layers": 2 if large else 1, "batch_norm": True}
  config.content = {"l1": {"weight": 100.0}}
  steps = config.train.get_ref("num_steps")
  for player in ("generator", "discriminator"):
    rate = {"name": "linear", "start": 2e-4, "end": 0.0, "steps": steps // 2, "delay": steps // 2}
    config[f"{player}_optim"] = recipes.adam(rate, b1=0.5)
  tiny = {"widths": (4, 8), "blocks": 1}
  return recipes.finish(config, words, generator=tiny, discriminator={"width": 4, "layers": 1})
