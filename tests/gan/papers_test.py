"""What papers' tiny configs do that no pair of settings shows; that pairs take a step is in combinations_test.py."""

import jax
import numpy as np

from tests.tiny import one_step


def test_wgan_clips_and_lets_the_generator_wait():
  """Both weights and biases within 0.01, and no update of G before the critic's hundredth."""
  step = one_step("wgan:digits,tiny")
  assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(step.after.discriminator.params)) <= np.float32(0.01)
  assert (int(step.after.generator.updates), int(step.after.discriminator.updates)) == (0, 5)
  jax.tree.map(np.testing.assert_array_equal, step.after.generator, step.before.generator)
  for name, mean in step.metrics.items():
    assert np.isfinite(mean.total), name


def test_a_factor_of_zero_holds_r3gans_blocks_still_at_first():
  """Fixup: the last convolution of each block starts at 0 and moves; what it multiplies waits for it."""
  step = one_step("r3gan:digits,tiny")
  for net in ("generator", "discriminator"):
    old, new = getattr(step.before, net), getattr(step.after, net)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(old.params), jax.tree.leaves(new.params), strict=True):
      place = jax.tree_util.keystr(path)
      assert np.any(a != b) == ("Block" not in place or "Conv_2" in place), f"{net}{place}"
