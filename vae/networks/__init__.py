"""Encoder and decoder pairs by name, one file an architecture.

A network has ``encode(x, train) -> stats [B, num_stats]`` and ``decode(z [B, Z], train) -> params [B, H, W, C *
num_params]``.
"""

from vae.networks import conv, gated_mlp, infogan, mlp

NETWORKS = {"mlp": mlp.MLP, "gated_mlp": gated_mlp.GatedMLP, "conv": conv.ConvNet, "infogan": infogan.InfoGanNet}
