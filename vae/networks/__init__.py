"""Encoders and decoders by name, one file an architecture: its settings, an Encoder and a Decoder that share them.

``Encoder(x, given, train) -> stats [B, num_stats(z_dim)]`` gives the posterior's statistics of the top layer of z.
``Decoder(z, given, train) -> params [B, H, W, C * num_params]`` takes all layers of z, a tuple of [B, Z]. ``given`` is
what vae/conditioning.py makes of the rows that the model is given, or None: values [B, K], but for ``unet`` an image
and maps. For the layer of a hierarchy below those ``above`` it there are ``Encoder.below(x, given, above, train) ->
stats`` and ``Decoder.prior_below(above) -> [mean | log_var]``.
"""

from typing import NamedTuple

from vae.networks import conv, conv_hvae, gated_mlp, hvae, infogan, mlp, resnet, unet, vqgan
from vae.networks.network import Network


class Architecture(NamedTuple):
  """The class that has the settings, and the two networks that inherit them."""

  settings: type[Network]
  encoder: type[Network]
  decoder: type[Network]


NETWORKS = {
  "mlp": Architecture(mlp.MLP, mlp.Encoder, mlp.Decoder),
  "gated_mlp": Architecture(gated_mlp.GatedMLP, gated_mlp.Encoder, gated_mlp.Decoder),
  "conv": Architecture(conv.ConvNet, conv.Encoder, conv.Decoder),
  "infogan": Architecture(infogan.InfoGanNet, infogan.Encoder, infogan.Decoder),
  "resnet": Architecture(resnet.ResNet, resnet.Encoder, resnet.Decoder),
  "unet": Architecture(unet.UNet, unet.Encoder, unet.Decoder),
  "vqgan": Architecture(vqgan.VqganNet, vqgan.Encoder, vqgan.Decoder),
  "hvae": Architecture(hvae.Hvae, hvae.Encoder, hvae.Decoder),
  "conv_hvae": Architecture(conv_hvae.ConvHvae, conv_hvae.Encoder, conv_hvae.Decoder),
}
