"""What metrics take from the classifier."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.tiny import one_step


def test_features_are_what_the_last_layer_sees_with_the_averaged_weights():
  step = one_step("classifier:digits,tiny")
  x, net = jnp.asarray(step.batch["image"]), step.after.net
  features = jax.jit(step.algorithm.features)(step.after, x)
  assert features.shape == (16, 16) and features.min() == 0 < features.max()

  averaged = net.variables(ema=True)
  logits, _ = step.algorithm.network.apply(averaged, x, train=False, keys=None)
  last = averaged["params"]["Dense_1"]
  np.testing.assert_allclose(features @ last["kernel"] + last["bias"], logits, rtol=1e-4, atol=1e-5)
  for raw in ({"ema_params": net.params}, {"ema_mutable": net.mutable}):  # weights and statistics are both averages
    other = step.algorithm.features(step.after.replace(net=net.replace(**raw)), x)
    assert not np.allclose(features, other, atol=1e-4)


def test_images_of_another_size_are_an_error():
  step = one_step("classifier:digits,tiny")
  with pytest.raises(ValueError, match=r"images of shape \(32, 32, 1\): this classifier was trained on \(8, 8, 1\)"):
    step.algorithm.features(step.after, jnp.zeros((2, 32, 32, 1)))
