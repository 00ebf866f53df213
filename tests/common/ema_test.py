"""Half-lives against their definition; `tests/common/state_test.py` has the average itself."""

import jax.numpy as jnp
import numpy as np
import pytest

from common.ema import build_ema, by_half_life
from common.errors import ConfigError


def test_after_a_half_life_a_weight_counts_half():
  ema, average = by_half_life(7.0), {"w": jnp.array([1.0])}
  for t in range(7):
    average = ema.update(average, {"w": jnp.array([0.0])}, jnp.int32(t))
  np.testing.assert_allclose(average["w"], [0.5], rtol=1e-6)


def test_the_ramp_bounds_the_half_life_by_a_share_of_the_updates():
  """Karras et al. 2020: of 20 updates a ramp of 0.05 leaves a half-life of 1, and the first is the weights."""
  ema = by_half_life(100.0, ramp=0.05)
  decays = [float(ema.decay(jnp.int32(t))) for t in (0, 20, 40, 2000, 4000)]
  np.testing.assert_allclose(decays, [0.0, 0.5, 0.5**0.5, 0.5**0.01, 0.5**0.01], rtol=1e-6)


def test_a_schedule_of_half_lives():
  """Huang et al. 2025: from 0, at which the average is the weights, up half a cosine."""
  ema = by_half_life({"name": "cosine", "start": 0.0, "end": 8.0, "steps": 10})
  decays = [float(ema.decay(jnp.int32(t))) for t in (0, 5, 10, 50)]
  np.testing.assert_allclose(decays, [0.0, 0.5**0.25, 0.5**0.125, 0.5**0.125], rtol=1e-6)


@pytest.mark.parametrize(
  ("section", "message"),
  [
    ({"name": "decay", "decay": 1.0}, r"config\.ema: decay=1\.0 must be in \[0, 1\)"),
    ({"name": "decay", "decay": 0.9, "warmup": -1.0}, r"config\.ema: warmup=-1\.0 must be 0 or more"),
    ({"name": "decay", "decay": 0.9, "start": -1}, r"config\.ema\.start=-1 must be a whole number, 0 or more"),
    ({"name": "half_life", "updates": 0.0}, r"config\.ema: updates=0\.0 must be above 0"),
    ({"name": "half_life", "updates": 9.0, "ramp": -0.1}, r"config\.ema: ramp=-0\.1 must be 0 or more"),
    ({"name": "half_live", "updates": 9.0}, r'did you mean "half_life"'),
  ],
)
def test_a_wrong_setting_is_named(section, message):
  with pytest.raises(ConfigError, match=message):
    build_ema(section)
