"""R3GAN (Huang et al. 2024, arXiv:2501.05441): a relativistic pairing loss with R1 and R2, and networks without tricks.

Recipe: the authors' CIFAR-10 preset, conditional: gan/networks/r3gan.py of width 768, two blocks a size, 96 groups; z
of 64 and an embedding of the label beside it, in D one of its width; batch 512, Adam with beta1 0; over 20 million
images (39,000 steps), on half a cosine, the learning rate goes from 2e-4 to 5e-5, Adam's beta2 from 0.9 to 0.99, gamma
of R1 and R2 from 0.05 to 0.005, the half-life of the averaged weights from 0 to 5 million images, and the p of ADA's
augmentation from 0 to 0.55; flips; each update has real images of its own, G's too; all 50,000 training images (5,000
of them serve as validation too, but choose nothing). The authors' code (brownvc/R3GAN) has the three larger sizes in
bfloat16, here float32, and further steps at the schedules' ends. The smaller sets have width 64 in 8 groups, batch 64,
20,000 steps and no augmentation. ``quick`` is for two CPU cores: a width of 32 in 4 groups, one block a size, 5,000
steps, a learning rate from 4e-3 to 5e-4, and R1 and R2 at every eighth update with a gamma of 0.5.

Number to expect: Table 6, CIFAR-10, conditional, FID 1.96 of 50,000 samples (against the train images, as their code
has it); no independent run is known. It needs 8 GPUs. fashion_mnist,quick without labels: a Frechet distance of 33.3
by the classifier of experiments/RESULTS.md, 10,000 samples against the 10,000 test images, where DCGAN has 64.6 after
as many steps. cifar10,quick with labels: 22.3 in the same way, DCGAN 43.6.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, cifar10 (32x32), quick, tiny. Without labels:
--config.conditioning="{'name':'none'}".
Command: python -m experiments.train --config=configs/r3gan.py:fashion_mnist --workdir=runs/r3gan
Time: fashion_mnist at half its width 3 s a step on one core, quick about 1 s (97 minutes with many evaluations);
--check tells. cifar10 is work for accelerators.
"""

from ml_collections import ConfigDict

from configs import recipes


def get_config(argument: str = "") -> ConfigDict:
  config, dataset, words = recipes.gan(argument, ("quick",), num_steps=20000)
  quick = "quick" in words
  full_size = dataset == "cifar10" and not quick
  network = {"name": "r3gan", "width": 64, "blocks": 2, "expansion": 2, "cardinality": 8, "wide_to": 32}
  if quick:
    config.train.num_steps = 5000
    network |= {"width": 32, "blocks": 1, "cardinality": 4}
  if full_size:
    config.train.update({"num_steps": 39000, "batch_size": 512})
    config.data.update({"flip": True, "train_split": "train"})
    network |= {"width": 768, "cardinality": 96}
  config.z_dim = 64
  config.conditioning = {"name": "projection", "generator": "embedding"}
  config.generator = config.discriminator = {**network, "embedding_dim": 64}
  config.discriminator.embedding_dim = config.discriminator.get_oneway_ref("width")
  config.loss = {"name": "relativistic_pairing"}
  config.game.generator_reals = "fresh"
  length = config.train.get_ref("num_steps")

  def change(start: float, end: object) -> dict[str, object]:
    # 1 * makes an expression that follows the length; the bare reference would also write to it.
    return {"name": "cosine", "start": start, "end": end, "steps": 1 * length}

  config.ema = {"name": "half_life", "updates": change(0.0, 0.25 * length), "ramp": 0.0}
  if full_size:
    config.augment = {"name": "scheduled", "p": change(0.0, 0.55)}
  config.penalties = {
    name: {"weight": 0.5, "every": 8} if quick else {"weight": change(0.05, 0.005)} for name in ("r1", "r2")
  }
  config.generator_optim, config.discriminator_optim = (
    recipes.adam(change(4e-3, 5e-4) if quick else change(2e-4, 5e-5), b1=0.0, b2=change(0.9, 0.99)) for _ in "GD"
  )
  tiny = {"width": 8, "blocks": 1, "cardinality": 2}
  return recipes.finish(config, words, generator={**tiny, "embedding_dim": 8}, discriminator=tiny)
