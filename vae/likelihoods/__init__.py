"""p(x|z): log-densities of images in nats an image, summed over pixels and channels, by name.

The decoder gives ``params`` [B, H, W, C * num_params]; images are in spec.pixel_range. A likelihood says whether it is
for ``pixels`` only, not for points, and whether it is a probability of the 256 ``levels`` of a grey value.
"""

from typing import Any

from vae.likelihoods.bernoulli import Bernoulli as Bernoulli
from vae.likelihoods.bernoulli import bernoulli_log_prob as bernoulli_log_prob
from vae.likelihoods.discrete import DiscretizedLogistic
from vae.likelihoods.gaussian import Gaussian as Gaussian
from vae.likelihoods.gaussian import SharedGaussian

LIKELIHOODS: dict[str, Any] = {
  "bernoulli": Bernoulli,
  "gaussian": Gaussian,
  "shared_gaussian": SharedGaussian,
  "discretized_logistic": DiscretizedLogistic,
}
