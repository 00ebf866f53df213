"""Generators and discriminators by name, one file an architecture.

A generator maps z [B, Z] to images [B, H, W, C]; a discriminator maps images to `DiscriminatorOutput`. One that is made
for labels takes them too (gan/conditioning.py).
"""

from gan.networks import dcgan, infogan, mlp, r3gan, resnet, sagan, sndcgan, tapered_mlp

GENERATORS = {
  "mlp": mlp.Generator,
  "tapered_mlp": tapered_mlp.Generator,
  "dcgan": dcgan.Generator,
  "infogan": infogan.Generator,
  "sndcgan": sndcgan.Generator,
  "resnet": resnet.Generator,
  "sagan": sagan.Generator,
  "r3gan": r3gan.Generator,
}
DISCRIMINATORS = {
  "mlp": mlp.Discriminator,
  "tapered_mlp": tapered_mlp.Discriminator,
  "dcgan": dcgan.Discriminator,
  "infogan": infogan.Discriminator,
  "sndcgan": sndcgan.Discriminator,
  "resnet": resnet.Discriminator,
  "sagan": sagan.Discriminator,
  "r3gan": r3gan.Discriminator,
}
