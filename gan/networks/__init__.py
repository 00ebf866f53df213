"""Generators and discriminators by name, one file an architecture.

A generator maps z [B, Z] to images [B, H, W, C]; a discriminator maps images to `DiscriminatorOutput`.
"""

from gan.networks import dcgan, mlp, resnet, tapered_mlp

GENERATORS = {
  "mlp": mlp.Generator,
  "tapered_mlp": tapered_mlp.Generator,
  "dcgan": dcgan.Generator,
  "resnet": resnet.Generator,
}
DISCRIMINATORS = {
  "mlp": mlp.Discriminator,
  "tapered_mlp": tapered_mlp.Discriminator,
  "dcgan": dcgan.Discriminator,
  "resnet": resnet.Discriminator,
}
