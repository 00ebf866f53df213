"""Encoder and decoder pairs by name, one file an architecture.

A network has ``encode(x, y, train) -> stats [B, num_stats(z_dim)]`` of the top layer of z, and ``decode(z, y, train) ->
params [B, H, W, C * num_params]`` of all its layers, a tuple of [B, Z]; ``y`` is the label as one-hot values [B, K], K
= 0 where there are none. A hierarchy names its further layers' sizes in ``lower_z_dims``, and has ``encode_below(x, y,
above, train) -> stats`` and ``prior_below(above, y, train) -> [mean | log_var]`` of the next layer given those above.
``decoder_parts`` are the prefixes of the decoder's parameters.
"""

from typing import Any

from vae.networks import conv, conv_hvae, gated_mlp, hvae, infogan, mlp, resnet

NETWORKS: dict[str, Any] = {
  "mlp": mlp.MLP,
  "gated_mlp": gated_mlp.GatedMLP,
  "conv": conv.ConvNet,
  "infogan": infogan.InfoGanNet,
  "resnet": resnet.ResNet,
  "hvae": hvae.Hvae,
  "conv_hvae": conv_hvae.ConvHvae,
}
