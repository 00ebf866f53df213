"""Enhanced Deep Residual Networks for Single Image Super-Resolution (Lim et al. 2017, arXiv:1707.02921).

Recipe: EDSR-M of BasicSR's options/train/EDSR/train_EDSR_Mx2.yml: 16 blocks of 64 channels, L1, Adam 1e-4 with
decays 0.9 and 0.99, halved at step 200,000 of 300,000, batches of 16 windows of 96 pixels, averaged weights (0.999).
There the set is DIV2K's 800 photographs, here it is 20. ``quick`` is this code's own for CPUs: 8 blocks of 32, one
convolution that makes all pixels and is added to the bicubic picture, windows of 64, Adam 1e-3 decaying to 0 on a
cosine over 10,000 steps, of emoji_people over 800.

Number to expect: for EDSR-M BasicSR publishes a PSNR of 35.74 dB on Set5 at scale 2 and 30.17 dB at scale 4 (RGB,
without a border of the scale); it was not trained here. On seven photographs that come with scikit-image and
scikit-learn, sides cut to a multiple of 12, bicubic enlargement has 31.36 dB at scale 2 and 27.72 dB at scale 4
(MATLAB's Y, same border). photos,x2,quick has 33.81 dB there, and ships (``restore --model=x2``).

Variants: photos (the default), cifar10, folder, emoji, emoji_people; x2 (the default), x3, x4; quick, tiny.
Command: python -m experiments.train --config=configs/edsr.py:photos,x2,quick --workdir=runs/edsr
Time: photos,x2,quick takes 0.23 s of processor time a step, 40 minutes in all; emoji_people,quick less than a minute.
"""

from ml_collections import ConfigDict

from configs import recipes

SCALES = {"x2": 2, "x3": 3, "x4": 4}


def get_config(argument: str = "") -> ConfigDict:
  quick = "quick" in argument.split(",")
  config, dataset, words = recipes.restoration(argument, (*SCALES, "quick"), crop=64 if quick else 96)
  scale = SCALES[recipes.one_of(words, SCALES, "x2")]
  if scale == 3:
    side = config.data.crop or config.data.image_size
    config.data.crop = side - side % 3
  config.data.degradation = ({"name": "resize", "scale": scale},)
  config.train.update({"num_steps": 300000, "batch_size": 16})
  config.model = {"name": "edsr", "width": 64, "blocks": 16, "upsampler": "stages", "skip": False}
  rate = {"name": "piecewise", "start": 1e-4, "factor": 0.5, "milestones": (200000,)}
  config.optim = recipes.adam(rate, b2=0.99)
  if quick:
    config.train.update({"num_steps": 10000, "batch_size": 16})
    if dataset == "emoji_people":  # of make demo
      config.train.num_steps = 800
      recipes.set_every(config, log=100, rest=400)
    config.model.update({"width": 32, "blocks": 8, "value_range": 1.0, "upsampler": "direct", "skip": True})
    recipes.use_short_adam(config)
  return recipes.finish(config, words, model={"width": 8, "blocks": 1})
