"""One real step of each paper's tiny config: what it moves, and what its recipe keeps still at first."""

import jax
import numpy as np
import pytest

from tests.tiny import one_step

PAPERS = ("cgan", "lsgan", "wgan", "dragan", "acgan", "projection", "sagan", "r3gan")
# A factor that starts at 0 stops the gradient of what it multiplies; a constant added to a critic changes nothing.
STILL = {
  "sagan": lambda net, path: "SelfAttention" in path and "gamma" not in path,
  "r3gan": lambda net, path: "Block" in path and "Conv_2" not in path,
  "wgan": lambda net, path: net == "generator" or path == "['Dense_0']['bias']",
}


@pytest.mark.parametrize("paper", PAPERS)
def test_a_step_moves_what_the_recipe_lets_move(paper):
  step = one_step(f"{paper}:digits,tiny")
  for name, mean in step.metrics.items():
    assert np.all(np.isfinite(mean.total)), name
  still = STILL.get(paper, lambda net, path: False)
  for net in ("generator", "discriminator"):
    old, new = getattr(step.before, net), getattr(step.after, net)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(old.params), jax.tree.leaves(new.params), strict=True):
      place = jax.tree_util.keystr(path)
      assert np.all(np.isfinite(b)), place
      assert np.any(a != b) != still(net, place), f"{net}{place}"
    assert jax.tree.structure(old.mutable) == jax.tree.structure(new.mutable)


def test_wgan_clips_and_lets_the_generator_wait():
  """Both weights and biases within 0.01, and no update of G before the critic's hundredth."""
  after = one_step("wgan:digits,tiny").after
  assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(after.discriminator.params)) <= np.float32(0.01)
  assert (int(after.generator.updates), int(after.discriminator.updates)) == (0, 5)


def test_the_conditional_papers_sample_by_label():
  for paper in ("cgan", "projection"):
    step = one_step(f"{paper}:digits,tiny")
    z = step.algorithm.prior_sample(step.after, jax.random.key(2), np.arange(1))
    images = [step.algorithm.decode(step.after, z, np.array([label])) for label in (0, 1)]
    assert np.abs(images[0] - images[1]).max() > 0
