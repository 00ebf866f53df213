"""Densities of a trained VAE's latents, fitted afterwards to take the place of its prior; one file for each kind.

They are fitted to one draw of q(z|x) for each training image, and so to the aggregate posterior: of all p(z) it is the
one under which the bound is largest, and its z are those that the decoder was trained on. A deterministic encoder gives
its point (Ghosh et al. 2020 fit the means of a VAE too, which spread less than the z that its decoder was trained on;
Dai & Wipf 2019 fit draws). Several layers of z are fitted side by side, and codes by their numbers.
"""
