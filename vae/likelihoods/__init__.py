"""p(x|z): log-densities of images in nats an image, summed over pixels and channels, by name.

The decoder gives ``params`` [B, H, W, C * num_params]; images are in spec.pixel_range.
"""

from typing import Any

from vae.likelihoods.bernoulli import Bernoulli as Bernoulli
from vae.likelihoods.bernoulli import ContinuousBernoulli
from vae.likelihoods.bernoulli import bernoulli_log_prob as bernoulli_log_prob
from vae.likelihoods.discrete import Categorical, DiscretizedLogistic, LogisticMixture
from vae.likelihoods.gaussian import Gaussian as Gaussian
from vae.likelihoods.gaussian import OptimalGaussian, SharedGaussian

LIKELIHOODS: dict[str, Any] = {
  "bernoulli": Bernoulli,
  "continuous_bernoulli": ContinuousBernoulli,
  "gaussian": Gaussian,
  "shared_gaussian": SharedGaussian,
  "optimal_gaussian": OptimalGaussian,
  "discretized_logistic": DiscretizedLogistic,
  "logistic_mixture": LogisticMixture,
  "categorical": Categorical,
}
