"""Generators and discriminators by name, one file an architecture.

A generator maps z [B, Z] and, where it takes them, given values [B, K], such as one-hot labels, to images
[B, H, W, C]; a discriminator maps images, keys [B] for dropout and given values to `DiscriminatorOutput`. The
attributes that a class documents are keys of the config. The others come from the data and from the rest of the config,
and each class declares those that it uses:

  image_shape: (height, width, channels) of the data.
  pixel_range: lowest and highest value of a pixel.
  kind: "images" or "points".
  dtype: number format in which convolutions and dense layers compute.
  label_head: `LabelHead` at the end of a discriminator.

The class attribute ``takes_given`` names the form in which a generator takes given values (gan/conditioning.py); one
without it takes z alone. A discriminator without ``label_head`` takes given values as feature maps only: beside the
image, or, if its ``takes_given`` is "joint", beside its last map. ``sizes`` holds the image sizes that a network is
made for; a network without it takes any size, and points as well. The networks of common/restoration are generators
too, which map what is left of an image in the place of z.
"""

from gan.networks import dcgan, df_gan, infogan, mlp, patch, r3gan, resnet, sagan, tapered_mlp, unet

GENERATORS = {
  "mlp": mlp.Generator,
  "tapered_mlp": tapered_mlp.Generator,
  "dcgan": dcgan.Generator,
  "df_gan": df_gan.Generator,
  "infogan": infogan.Generator,
  "resnet": resnet.Generator,
  "sagan": sagan.Generator,
  "r3gan": r3gan.Generator,
}
DISCRIMINATORS = {
  "mlp": mlp.Discriminator,
  "tapered_mlp": tapered_mlp.Discriminator,
  "dcgan": dcgan.Discriminator,
  "df_gan": df_gan.Discriminator,
  "infogan": infogan.Discriminator,
  "resnet": resnet.Discriminator,
  "sagan": sagan.Discriminator,
  "r3gan": r3gan.Discriminator,
  "patch": patch.Discriminator,
  "unet": unet.Discriminator,
}
