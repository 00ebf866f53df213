"""Generators and discriminators by name, one file an architecture.

A generator maps z [B, Z] to images [B, H, W, C]; a discriminator maps images to `DiscriminatorOutput`.
"""

from gan.networks import dcgan, infogan, mlp, resnet, tapered_mlp

GENERATORS = {
  "mlp": mlp.Generator,
  "tapered_mlp": tapered_mlp.Generator,
  "dcgan": dcgan.Generator,
  "infogan": infogan.Generator,
  "resnet": resnet.Generator,
}
DISCRIMINATORS = {
  "mlp": mlp.Discriminator,
  "tapered_mlp": tapered_mlp.Discriminator,
  "dcgan": dcgan.Discriminator,
  "infogan": infogan.Discriminator,
  "resnet": resnet.Discriminator,
}
