"""Beyond a Gaussian Denoiser: Residual Learning of Deep CNN for Image Denoising (Zhang et al. 2017, arXiv:1608.03981).

Recipe: CDnCNN-B, for colors and any noise of 0 to 55 grey levels: 20 layers of 64 channels with BatchNorm. As KAIR's
options/train_dncnn.json (a grey network for one noise) trains: L1, batches of 64 windows of 40 pixels, Adam 1e-4,
halved every 200,000 steps; it names no last step, and here it is 400,000. The noise is clipped and rounded, as pictures
in files are. ``quick`` is this code's own for CPUs: 12 layers of 48 at half the size, as FFDNet has them, windows
of 48, Adam 1e-3 decaying to 0 on a cosine.

``jpeg`` takes JPEG of qualities 5 to 40 away. ``noise2noise`` (Lehtinen et al. 2018, arXiv:1803.04189) never compares
with a clean image but with the image under other noise, by squared error and without clipping, as in the authors' code
(NVlabs/noise2noise, train.py), which trains a U-Net on noise of 0 to 50, batches of 4 and Adam 3e-4 for 300,000 steps.
What it learns must equal ``clean``, the same with clean images: train both, and their --metrics=psnr must agree within
the intervals.

Number to expect: none was measured here, and the paper's test photographs are not at hand.

Variants: photos (the default), cifar10, folder, emoji, emoji_people; jpeg, noise2noise, clean; quick, tiny.
Command: python -m experiments.train --config=configs/dncnn.py:photos,quick --workdir=runs/dncnn
Time: not measured; --check tells.
"""

from ml_collections import ConfigDict

from configs import recipes

TASKS = ("noise", "jpeg", "noise2noise", "clean")


def get_config(argument: str = "") -> ConfigDict:
  quick = "quick" in argument.split(",")
  config, _, words = recipes.restoration(argument, (*TASKS, "quick"), crop=48 if quick else 40)
  task = recipes.one_of(words, TASKS, "noise")
  if task == "jpeg":
    config.data.degradation = ({"name": "jpeg", "quality": (5.0, 40.0)},)
  else:
    config.data.degradation = ({"name": "gaussian_noise", "sigma": (0.0, 55.0)},)
  if task in ("noise2noise", "clean"):
    config.data.quantise = False
    config.loss = {"name": "l2"}
    config.target = "degraded" if task == "noise2noise" else "image"
  config.train.update({"num_steps": 400000, "batch_size": 64})
  config.model = {"name": "dncnn", "width": 64, "layers": 20, "shrink": 1, "batch_norm": True}
  rate = {"name": "piecewise", "start": 1e-4, "factor": 0.5, "milestones": (200000,)}
  config.optim = recipes.adam(rate)
  if quick:
    config.train.update({"num_steps": 10000, "batch_size": 16})
    config.model.update({"width": 48, "layers": 12, "shrink": 2})
    recipes.use_short_adam(config)
  return recipes.finish(config, words, model={"width": 8, "layers": 3})
