"""A GAN of captions with the losses of DF-GAN (Tao et al. 2022, arXiv:2008.05865; code: tobran/DF-GAN).

Recipe: the authors' networks (gan/networks/df_gan.py) with their width of 32 and their hinge loss, in which D counts
real images beside captions of others half, as it does generated ones; their matching-aware penalty, 2 |grad D|^6 by the
image and the sentence vector at real pairs; Adam with beta1 0 and beta2 0.9, 1e-4 for G and 4e-4 for D; batch 32, z of
100. The caption of another image is that of the next row of the global batch; where both say the same, the loss is that
against the generated image alone. Differences: captions are read by two blocks of width 128 in each player, which learn
with it, where the authors have an encoder that was trained before; images have 32x32 pixels, not 256x256, and are not
cropped or flipped.

Number to expect: CUB birds at 256x256, FID 14.81 (the paper's abstract, recalled, unverified). Not measured here.
``evaluate --metrics=psnr,retrieval`` scores a draw for each test picture, beside the copies of configs/text_vae.py.

Variants: emoji_people (the default, 768 pictures that ship with the code), emoji, tiny.
Command: python -m experiments.train --config=configs/text_gan.py:emoji --workdir=runs/text_gan
python -m experiments.sample --workdir=runs/text_gan --text="woman firefighter: dark skin tone" --num=8
Time: not measured; --check tells.
"""

from ml_collections import ConfigDict

from configs import recipes


def get_config(argument: str = "") -> ConfigDict:
  config, _, words = recipes.gan(argument, datasets=("emoji_people", "emoji"), num_steps=30000, batch_size=32)
  if "tiny" in words:
    config.data.name = "emoji_people"  # generated blobs have no captions
  config.data.text = {"name": "words", "length": 20}
  config.z_dim = 100
  config.generator = config.discriminator = {"name": "df_gan", "width": 32}
  forms = {"generator": "fusion", "discriminator": "joint"}
  config.conditioning = {"name": "text", **forms, "width": 128, "layers": 2, "heads": 4, "mismatched": True}
  config.loss = {"name": "hinge"}
  config.penalties = {"matching_aware": {"weight": 2.0, "power": 6.0}}
  config.generator_optim, config.discriminator_optim = (recipes.adam(rate, b1=0.0, b2=0.9) for rate in (1e-4, 4e-4))
  return recipes.finish(config, words, conditioning={"width": 16, "layers": 1}, **recipes.NARROW)
