"""The first step of each tiny config, to four digits: what no closed form covers must not change unseen.

When this fails and you meant to change the numbers (an initializer, a default of a config, the order of random
streams): say so in the commit, and put in the values that the failure prints. When you did not mean to, some run that
was reproducible no longer is: find out why first.
"""

import pytest

from tests.tiny import CONFIGS, one_step

GOLDEN: dict[str, dict[str, float]] = {
  "gan:digits,tiny": {
    "d_fake_logit": -1.74527e-06,
    "d_grad_norm": 0.0011675,
    "d_loss": 0.693147,
    "d_param_norm": 0.22946,
    "d_real_logit": -1.97671e-07,
    "d_update_norm": 0.00011675,
    "g_grad_norm": 2.94903e-07,
    "g_loss": 0.693148,
    "g_param_norm": 2.3021,
    "g_update_norm": 2.94903e-08,
  },
  "dcgan:digits,tiny": {
    "d_fake_logit": -0.0117549,
    "d_grad_norm": 5.77633,
    "d_loss": 1.39723,
    "d_param_norm": 4.09842,
    "d_real_logit": -0.0283931,
    "d_update_norm": 0.00994569,
    "g_grad_norm": 0.806439,
    "g_loss": 0.69116,
    "g_param_norm": 5.91409,
    "g_update_norm": 0.0333592,
  },
  "vae:digits,tiny": {
    "distortion": 177.454,
    "elbo": -177.454,
    "grad_norm": 5.18583,
    "loss": 177.454,
    "param_norm": 1.35348,
    "rate": 0.000348965,
    "update_norm": 1.94063,
  },
  "vae:digits,conv,tiny": {
    "distortion": 179.815,
    "elbo": -180.38,
    "grad_norm": 51.4127,
    "loss": 180.38,
    "param_norm": 13.8683,
    "rate": 0.564784,
    "update_norm": 0.096679,
  },
  "classifier:digits,tiny": {
    "grad_norm": 6.90405,
    "loss": 2.83715,
    "param_norm": 9.39041,
    "update_norm": 0.0497289,
  },
}


@pytest.mark.parametrize("variant", CONFIGS)
def test_the_first_step_is_what_it_was(variant):
  metrics = {name: float(mean.total / mean.count) for name, mean in one_step(variant).metrics.items()}
  # An accuracy counts signs, and logits near 0 have that of a rounding error.
  shown = {name: float(f"{value:.6g}") for name, value in metrics.items() if "accuracy" not in name}
  assert shown == pytest.approx(GOLDEN[variant], rel=1e-4, abs=1e-6), f"\n  {variant!r}: {shown},\n{__doc__}"
