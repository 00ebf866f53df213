"""Generators and discriminators by name, one file an architecture.

A generator maps z [B, Z] to images [B, H, W, C]; a discriminator maps images to `DiscriminatorOutput`.
"""

from gan.networks import dcgan, mlp

GENERATORS = {"mlp": mlp.Generator, "dcgan": dcgan.Generator}
DISCRIMINATORS = {"mlp": mlp.Discriminator, "dcgan": dcgan.Discriminator}
