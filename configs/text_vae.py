"""A VAE given a caption: p(x|z, caption) by a transformer of words and the convolutional decoder.

Recipe: the network of ``vae:emoji`` (configs/vae.py): 4x4 convolutions of 64, 128 and 256 channels with BatchNorm, z of
128 under N(0, I), a Gaussian with a variance at each pixel, Adam 1e-3, batch 100. The caption is read by two blocks of
width 128 (common/layers/text_encoder.py), which are trained with the rest, and their sentence vector stands beside the
decoder's z, as the label does in Sohn et al. 2015; q(z|x) sees the picture alone. A tenth of the words of each training
caption counts as unknown, so that z learns what a caption leaves open; at sampling a user may write <unk> for a word.

The test splits have combinations of words that no training caption has (common/data/emoji.py).

Number to expect: none is published; ``evaluate --metrics=psnr,retrieval`` compares each test picture with a draw of its
caption, beside two copies of training pictures: that of the closest caption has a PSNR of 22.26 dB on ``emoji`` and
23.55 on ``emoji_people``, the nearest to the true picture 26.21 and 25.50; both find none (recall_at_1 0).

Variants: emoji_people (the default, 768 pictures that ship with the code), emoji, tiny.
Command: python -m experiments.train --config=configs/text_vae.py:emoji --workdir=runs/text
python -m experiments.sample --workdir=runs/text --text="woman firefighter: dark skin tone" --num=8
Time: not measured; --check tells.
"""

from ml_collections import ConfigDict

from configs import recipes


def get_config(argument: str = "") -> ConfigDict:
  config, _, words = recipes.vae(argument, datasets=("emoji_people", "emoji"), batch_size=100)
  if "tiny" in words:
    config.data.name = "emoji_people"  # generated blobs have no captions
  config.data.text = {"name": "words", "length": 20}
  config.model = {"name": "conv", "z_dim": 128, "channels": (64, 128, 256), "batch_norm": True}
  config.conditioning = {"name": "text", "width": 128, "layers": 2, "heads": 4, "dropout": 0.1}
  config.optim = recipes.adam(1e-3)
  return recipes.finish(config, words, model={"channels": (8, 8)}, conditioning={"width": 16, "layers": 1})
