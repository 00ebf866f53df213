"""q(z|x) by name, one file each: from the encoder's statistics to a draw of z and its log-density in nats.

A posterior says in ``gives`` what others may need of it:
  "density": log q(z|x) is finite, so that there is a rate; otherwise "point": z is a function of x.
  "real": z is a vector of real numbers; otherwise "codes": z consists of entries of a codebook, of ``num_codes`` with
    ``code_dim`` numbers each, with `codes`, `lookup`, `codes_of`, and a ``remedy`` for unused ones.
  "gaussian": z given x is a Gaussian with independent latents, with `split` and `log_prob` at any z.
  "map": it takes as many statistics for each latent, so that z can be a map.
  "layers": it can stand in each layer of a hierarchy, which takes a density and no parameters of its own.
``num_stats(z_dim)`` is the number of statistics that the encoder gives for z of that size.
"""

from typing import Any

from vae.posteriors.finite_scalar import FiniteScalar
from vae.posteriors.gaussian import Deterministic, DiagonalGaussian
from vae.posteriors.inverse_autoregressive import InverseAutoregressive
from vae.posteriors.planar import Planar
from vae.posteriors.vector_quantizer import VectorQuantized

POSTERIORS: dict[str, Any] = {
  "diagonal_gaussian": DiagonalGaussian,
  "inverse_autoregressive": InverseAutoregressive,
  "planar": Planar,
  "deterministic": Deterministic,
  "vector_quantized": VectorQuantized,
  "finite_scalar": FiniteScalar,
}
