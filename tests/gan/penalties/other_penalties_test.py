"""LeCam, orthogonal regularisation, and penalties that are not due at each update: closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from experiments import build_algorithm
from gan.penalties import build_penalties, penalize
from gan.penalties.lecam import LeCam
from gan.penalties.orthogonal import Orthogonal, non_orthogonality, off_diagonal
from tests.gan.penalties.seen import RNG, linear, see
from tests.tiny import batch_of, config_of, dataset_of, filled


def test_lecam_draws_each_side_to_the_other_sides_running_mean():
  penalty = LeCam(weight=2.0, decay=0.75, start=1)
  seen = see(real_logits=jnp.full(6, 4.0), fake_logits=jnp.arange(6.0), updates=jnp.int32(1))
  values, aux = penalty(seen, {"real": jnp.float32(1.0), "fake": jnp.float32(-1.0)})
  real, fake = 0.75 * 1.0 + 0.25 * 4.0, 0.75 * -1.0 + 0.25 * 2.5
  np.testing.assert_allclose([aux["real"], aux["fake"]], [real, fake], rtol=1e-6)
  np.testing.assert_allclose(values, 2.0 * ((4.0 - fake) ** 2 + (np.arange(6) - real) ** 2), rtol=1e-6)


def test_lecams_means_are_constants_and_run_before_it_counts():
  penalty = LeCam(weight=1.0, decay=0.5, start=10)
  values, aux = penalty(see(updates=jnp.int32(9)), penalty.init())
  assert not np.any(values) and aux["real"] != 0

  def mean(logits):
    return jnp.sum(penalty(see(real_logits=logits, fake_logits=jnp.zeros(6), updates=jnp.int32(10)), penalty.init())[0])

  logits = jnp.arange(6.0)
  # With a_R and a_F constant, 2 * (D(x) - a_F), and a_F is 0 here.
  np.testing.assert_allclose(jax.grad(mean)(logits), 2.0 * logits, rtol=1e-6)


def test_orthogonal_weights_cost_nothing_and_others_their_angles():
  matrix = RNG.normal(size=(5, 3)).astype(np.float32)
  gram = matrix.T @ matrix
  np.testing.assert_allclose(off_diagonal(jnp.asarray(matrix)), np.sum(gram**2) - np.sum(np.diag(gram) ** 2), rtol=1e-5)
  orthogonal = 3.0 * np.linalg.qr(RNG.normal(size=(18, 4)))[0].reshape(3, 3, 2, 4).astype(np.float32)
  assert off_diagonal(jnp.asarray(orthogonal)) < 1e-8
  params = {
    "Conv_0": {"kernel": jnp.asarray(orthogonal), "bias": jnp.ones(4)},
    "Dense_0": {"kernel": jnp.asarray(matrix)},
    # Tables of labels and learned inputs have no columns that are to be at right angles.
    "label_embedding": {"kernel": jnp.ones((3, 2))},
    "BatchNorm_0": {"scale": jnp.ones((3, 2))},
    "basis": jnp.ones((4, 4, 2)),
  }
  values, _ = Orthogonal(weight=0.5)(see(params=params), ())
  np.testing.assert_allclose(values, np.full(6, 0.5 * (np.sum(gram**2) - np.sum(np.diag(gram) ** 2))), rtol=1e-5)


@pytest.mark.parametrize(
  ("variant", "left"),
  [
    ("projection:digits,tiny", {"label_embedding kernel", "scale", "bias"}),
    ("r3gan:digits,tiny", {"label_embedding kernel", "basis"}),
    ("acgan:digits,tiny", set()),
  ],
)
def test_tables_of_labels_and_learned_inputs_of_the_networks_are_no_kernels(variant, left):
  """``left``: arrays of two or more axes that are not drawn to right angles; a kernel of one column has no angle."""
  gan = build_algorithm(config_of(variant), dataset_of(variant).spec)
  state = filled(jax.eval_shape(gan.init, jax.random.key(0), batch_of(dataset_of(variant), (gan.batches_per_step, 4))))
  still = set()
  for net in (state.generator, state.discriminator):
    for path, slope in jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(non_orthogonality))(net.params)):
      *layers, name = (key.key for key in path)
      if slope.ndim > 1 and slope.shape[-1] > 1 and not np.any(slope):
        still.add(" ".join([*(layer for layer in layers if "label" in layer), name]))
      assert name == "kernel" or not np.any(slope), path
  assert still == left


def test_a_lazy_penalty_is_the_dense_one_in_expectation():
  """At each fourth update, four times as much; nothing in between, where its running state rests too."""
  lazy, dense = (build_penalties({"r1": {"weight": 3.0, "every": every}}) for every in (4, 1))
  apply_d = linear(RNG.normal(size=(4, 3, 2)))
  found = []
  for updates in range(8):
    seen = see(apply_d, updates=jnp.int32(updates))
    found.append(jax.jit(lambda seen=seen: penalize(lazy, lambda name: seen, seen.updates, {"r1": ()})[0]["r1"])())
  expected = penalize(dense, lambda name: see(apply_d), jnp.int32(0), {"r1": ()})[0]["r1"]
  np.testing.assert_allclose(np.mean(found, axis=0), expected, rtol=1e-6)
  assert [bool(np.any(values)) for values in found] == [True, False, False, False] * 2
  lecam = build_penalties({"lecam": {"every": 2}})
  kept = {"lecam": {"real": jnp.float32(5.0), "fake": jnp.float32(6.0)}}
  after = penalize(lecam, lambda name: see(), jnp.int32(1), kept)[1]
  np.testing.assert_array_equal(jax.tree.leaves(after), jax.tree.leaves(kept))


@pytest.mark.parametrize(
  ("section", "message"),
  [
    ({"r1": {"weight": -1.0}}, r"config\.penalties\.r1: weight=-1\.0 must be above 0"),
    ({"r2": {"every": 0}}, r"every=0 must be 1 or more"),
    ({"lecam": {"decay": 1.0}}, r"decay=1\.0 must be at least 0 and below 1"),
    ({"dragan": {"spread": 0.0}}, r"spread=0\.0 above 0"),
    ({"r1": {"weight": {"name": "linaer"}}}, r'did you mean "linear"'),
  ],
)
def test_wrong_settings_are_named(section, message):
  with pytest.raises(ConfigError, match=message):
    build_penalties(section)
