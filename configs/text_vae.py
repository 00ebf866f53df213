"""A VAE given a caption: p(x|z, caption) by a transformer of words and the convolutional decoder.

Recipe: 4x4 convolutions of 32, 64 and 128 channels with BatchNorm on each side, z of 16, a Gaussian likelihood with a
deviation of 0.8, batch 50, Adam from 2e-3 to 0 on a cosine. The caption is read by two blocks of width 128
(common/layers/text_encoder.py), which are trained with the rest. Their sentence vector stands beside the decoder's z,
as the label does in Sohn et al. 2015, and the prior p(z|caption) is a Gaussian from a hidden layer of it, as in their
Section 4.1; q(z|x) sees the picture alone.

The wide likelihood leaves the picture to the caption, which fixes it: the rate is below one nat, and draws of one
caption are alike. With narrower ones (0.3, or a variance at each pixel) z says what the caption says too, and draws for
captions that are not in the training set are spoilt. For captions with open words, conditioning.dropout makes a share
of the training words unknown, as <unk> is at sampling.

The test splits have combinations of words that no training caption has (common/data/emoji.py).

Number to expect: none is published. PSNR to the true pictures of the test captions, beside a copy of the training
picture with the closest caption, and of the nearest training picture: emoji 26.4 dB (22.3, 26.2), emoji_people 24.5 dB
(23.5, 25.5); experiments/RESULTS.md.

Variants: emoji_people (the default, 768 pictures that ship with the code, 800 steps), emoji (8,000 steps), tiny.
Command: python -m experiments.train --config=configs/text_vae.py:emoji --workdir=runs/text
python -m experiments.sample --workdir=runs/text --text="woman firefighter: dark skin tone" --num=8
Time: emoji_people takes a minute on two CPU cores, emoji 14 minutes on one.
"""

from ml_collections import ConfigDict

from configs import recipes


def get_config(argument: str = "") -> ConfigDict:
  config, dataset, words = recipes.vae(argument, datasets=("emoji_people", "emoji"), batch_size=50)
  if "tiny" in words:
    config.data.name = "emoji_people"  # generated blobs have no captions
  config.train.num_steps = 8000 if dataset == "emoji" else 800
  config.data.text = {"name": "words", "length": 20}
  config.model = {"name": "conv", "z_dim": 16, "channels": (32, 64, 128), "batch_norm": True}
  config.likelihood = {"name": "gaussian", "sigma": 0.8}
  config.prior = {"name": "conditional_normal"}
  config.conditioning = {"name": "text", "width": 128, "layers": 2, "heads": 4, "dropout": 0.0}
  steps = config.train.get_oneway_ref("num_steps")
  config.optim = recipes.adam({"name": "cosine", "start": 2e-3, "end": 0.0, "steps": steps})
  return recipes.finish(config, words, model={"channels": (8, 8)}, conditioning={"width": 16, "layers": 1})
