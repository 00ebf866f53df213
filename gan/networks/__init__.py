"""Generators and discriminators by name, one file an architecture.

A generator maps z [B, Z] to images [B, H, W, C]; a discriminator maps images to `DiscriminatorOutput`. A class declares
what it is made for: the image ``sizes`` (sizes.py; without it any, and points), and, by the fields ``norm_classes`` and
``embedding_classes`` of a generator, the forms in which it takes labels (gan/conditioning.py).
"""

from gan.networks import dcgan, infogan, mlp, r3gan, resnet, sagan, tapered_mlp

GENERATORS = {
  "mlp": mlp.Generator,
  "tapered_mlp": tapered_mlp.Generator,
  "dcgan": dcgan.Generator,
  "infogan": infogan.Generator,
  "resnet": resnet.Generator,
  "sagan": sagan.Generator,
  "r3gan": r3gan.Generator,
}
DISCRIMINATORS = {
  "mlp": mlp.Discriminator,
  "tapered_mlp": tapered_mlp.Discriminator,
  "dcgan": dcgan.Discriminator,
  "infogan": infogan.Discriminator,
  "resnet": resnet.Discriminator,
  "sagan": sagan.Discriminator,
  "r3gan": r3gan.Discriminator,
}
