"""Densities of a trained VAE's latents, fitted afterwards: "samplers", one file a kind.

They are fitted to one draw of q(z|x) for each training image, so to the aggregate posterior: of all p(z) it is the one
under which the bound is largest, and the z that the decoder was trained on. Of a deterministic encoder the draw is its
point (Ghosh et al. 2020 fit the means of a VAE too, which spread less than the z that its decoder knows; Dai & Wipf
2019 fit draws). Of several layers of z they are of all layers side by side; of codes, of their numbers.
"""
