"""Vector quantization against numpy, over devices, and in the states of its codebook."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from common.errors import ConfigError
from tests.vae.tiny_model import keys_of
from vae.codes import codes_in_use, nearest, perplexity
from vae.posteriors.vector_quantizer import EPSILON, VectorQuantized

K, D, POSITIONS, BATCH = 6, 3, 4, 16
KEYS = keys_of(BATCH)


def example(module=None, seed=0):
  """Encoder outputs [B, Z], and variables with averages that are not the initial ones."""
  rng = np.random.default_rng(seed)
  stats = rng.normal(size=(BATCH, POSITIONS * D)).astype(np.float32)
  book = {"embedding": rng.normal(size=(K, D)), "counts": rng.uniform(0.5, 1.5, K), "sums": rng.normal(size=(K, D))}
  book |= {"started": np.zeros(())} if module is not None and module.kmeans_steps else {}
  return stats, {"codebook": {name: value.astype(np.float32) for name, value in book.items()}}


def quantizer(**changes):
  return VectorQuantized(**{"num_codes": K, "code_dim": D, **changes})


@functools.partial(jax.jit, static_argnums=0)
def fresh(module, stats):
  return module.init(jax.random.key(0), stats, KEYS, train=True)


def one_pass(module, variables, stats, keys=KEYS):
  """(the draw, the new codebook)."""
  return module.apply(variables, stats, keys, train=True, mutable=["codebook"])


train = jax.jit(one_pass, static_argnums=0)


def numpy_codes(stats, embedding):
  outputs = np.asarray(stats, np.float64).reshape(len(stats), -1, embedding.shape[1])
  return np.argmin(((outputs[:, :, None] - np.asarray(embedding, np.float64)) ** 2).sum(-1), -1)


def test_z_is_the_nearest_entries_to_the_last_bit():
  stats, variables = example()
  module, embedding = quantizer(), variables["codebook"]["embedding"]
  codes = numpy_codes(stats, embedding)
  draw = module.apply(variables, stats, KEYS, train=False)
  np.testing.assert_array_equal(draw.z, embedding[codes].reshape(BATCH, -1))
  np.testing.assert_array_equal(draw.log_q, np.zeros(BATCH))
  np.testing.assert_array_equal(module.apply(variables, stats, method="codes"), codes)
  np.testing.assert_array_equal(module.apply(variables, codes, method="lookup"), draw.z)
  np.testing.assert_array_equal(module.apply(variables, draw.z, method="codes_of"), codes)
  shares = np.stack([np.bincount(row, minlength=K) / POSITIONS for row in codes])
  np.testing.assert_allclose(draw.figures["code_usage"], shares)


def test_close_entries_are_told_apart():
  rng = np.random.default_rng(0)  # squares of 1e4 are good to about 8 in float32
  points, centers = (rng.normal(size=(n, D)).astype(np.float32) + np.float32(1e4) for n in (200, K))
  np.testing.assert_array_equal(jax.jit(nearest)(points, centers), numpy_codes(points, centers)[:, 0])
  # Two groups far apart, and in each of them steps of 3 or so in the last digit.
  far = np.where(np.arange(K) % 2, 1e3, -1e3)[:, None] + np.arange(K)[:, None] * 2e-4 * np.ones(D)
  book, codes = {"codebook": {**example()[1]["codebook"], "embedding": np.float32(far)}}, np.arange(K).reshape(1, K)
  z = quantizer().apply(book, codes, method="lookup")
  np.testing.assert_array_equal(quantizer().apply(book, z, method="codes_of"), codes)


def test_gradients_go_to_the_encoder_only():
  """That of z passes unchanged; that of the commitment is 2 beta (z_e - z)."""
  stats, variables = example()
  weight, of_penalty = np.random.default_rng(1).normal(size=(2, *stats.shape)).astype(np.float32)
  module, of_penalty = quantizer(commitment=0.3), of_penalty[:, 0]

  def parts(stats, book):
    draw, _ = module.apply({"codebook": book}, stats, KEYS, train=True, mutable=["codebook"])
    return draw.z, draw.penalties["commitment"]

  @jax.jit
  def gradients(stats, book):
    values, pull = jax.vjp(parts, stats, book)
    return values, pull((weight, jnp.zeros(BATCH))), pull((jnp.zeros(stats.shape), of_penalty))

  (z, penalty), through, commitment = gradients(stats, variables["codebook"])
  np.testing.assert_allclose(penalty, 0.3 * np.sum((stats - z) ** 2, axis=1), rtol=1e-5)
  np.testing.assert_array_equal(through[0], weight)
  np.testing.assert_allclose(commitment[0], of_penalty[:, None] * 0.6 * (stats - z), rtol=1e-5)
  for grad in jax.tree.leaves((through[1], commitment[1])):
    np.testing.assert_array_equal(grad, np.zeros(grad.shape))


def test_training_equals_numpy():
  module = quantizer(decay=0.9)
  _, variables = example()
  book = {name: np.asarray(value, np.float64) for name, value in variables["codebook"].items()}
  for step in range(3):
    stats, _ = example(seed=step)
    draw, variables = train(module, variables, stats)
    codes = numpy_codes(stats, book["embedding"])
    np.testing.assert_allclose(draw.z, book["embedding"][codes].reshape(BATCH, -1), atol=1e-5)  # of the old codebook
    size, total = np.zeros(K), np.zeros((K, D))
    np.add.at(size, codes.reshape(-1), 1.0)
    np.add.at(total, codes.reshape(-1), stats.reshape(-1, D))
    unit = BATCH * POSITIONS / K  # an entry's mean usage
    book["counts"] = 0.9 * book["counts"] + 0.1 * size / unit
    book["sums"] = 0.9 * book["sums"] + 0.1 * total / unit
    n = book["counts"].sum()
    book["embedding"] = book["sums"] / ((book["counts"] + EPSILON) / (n + K * EPSILON) * n)[:, None]
    for name, value in book.items():
      np.testing.assert_allclose(variables["codebook"][name], value, atol=1e-5, err_msg=name)


def test_a_frozen_codebook_stays():
  module = quantizer(kmeans_steps=2, restart=0.9)
  stats, variables = example(module)

  @jax.jit
  def frozen(stats):
    evaluated = module.apply(variables, stats, KEYS, train=False, mutable=["codebook"])
    return evaluated, module.apply(variables, stats, KEYS, train=True)  # raises if it writes

  (draw, updated), in_training = frozen(stats)
  jax.tree.map(np.testing.assert_array_equal, updated, variables)
  jax.tree.map(np.testing.assert_array_equal, in_training, draw)


def test_init_creates_and_does_not_move():
  """Averages that start apart, as in some implementations, throw an entry out of reach within one step."""
  module = VectorQuantized(num_codes=500, code_dim=D, kmeans_steps=2, restart=0.9, axis_name="data")
  variables = fresh(module, example()[0])
  book = variables["codebook"]
  assert set(variables) == {"codebook"}
  assert jax.tree.map(jnp.shape, book) == {"embedding": (500, D), "counts": (500,), "sums": (500, D), "started": ()}
  assert abs(np.mean(np.sum(np.asarray(book["embedding"]) ** 2, axis=1)) - 1.0) < 0.1
  np.testing.assert_array_equal(book["sums"], book["embedding"])
  np.testing.assert_array_equal(book["counts"], np.ones(500))
  assert book["started"] == 0.0


@functools.cache
def on_one_device():
  """A pass that starts by k-means and ends with restarts; statistics and means differ over the devices."""
  module = quantizer(restart=0.5, kmeans_steps=2, decay=0.9)
  stats, variables = example(module)
  stats += np.arange(BATCH, dtype=np.float32)[:, None]
  variables["codebook"]["counts"][:4] = 0.05
  expected = train(module, variables, stats)
  restarted = np.asarray(expected[1]["codebook"]["counts"]) == 1.0
  assert 2 <= restarted.sum() <= 4
  return module, variables, stats, expected


@pytest.mark.parametrize("mode", ["jit", "shard_map", "pmap"])
def test_eight_devices_equal_one(mode):
  module, variables, stats, expected = on_one_device()
  if mode == "pmap":
    run = jax.pmap(functools.partial(one_pass, module.clone(axis_name="data")), "data", in_axes=(None, 0, 0))
    draw, updated = run(variables, *(a.reshape(8, -1, *a.shape[1:]) for a in (stats, KEYS)))
    for leaf in jax.tree.leaves(updated):
      np.testing.assert_array_equal(leaf, np.broadcast_to(leaf[0], leaf.shape))
    z, updated = draw.z.reshape(stats.shape), jax.tree.map(lambda a: a[0], updated)
  else:
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    split = jax.device_put((stats, KEYS), NamedSharding(mesh, P("data")))
    run = functools.partial(one_pass, module.clone(axis_name=None if mode == "jit" else "data"))
    if mode == "shard_map":
      specs = {"in_specs": (P(), P("data"), P("data")), "out_specs": (P("data"), P()), "check_vma": False}
      run = jax.shard_map(run, mesh=mesh, **specs)
    draw, updated = jax.jit(run)(variables, *split)
    z = draw.z
  np.testing.assert_allclose(z, expected[0].z, atol=1e-5)
  jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, atol=1e-5), updated, expected[1])


def test_dead_entries_are_restarted_and_live_ones_are_not():
  stats, variables = example()
  counts, far = np.full(K, 1.0, np.float32), variables["codebook"]["embedding"].copy()
  far[[1, 4]] += 100.0  # out of use
  counts[[1, 4]] = [0.05, 0.2]  # times the decay, below 0.1 and above
  variables["codebook"] |= {"embedding": far, "counts": counts}
  runs = [(quantizer(), KEYS), (quantizer(restart=0.1), KEYS), (quantizer(restart=0.1), keys_of(BATCH, 1))]
  plain, updated, other = (jax.tree.map(np.asarray, train(m, variables, stats, k)[1]["codebook"]) for m, k in runs)
  live = np.delete(np.arange(K), 1)
  for name, value in updated.items():
    np.testing.assert_array_equal(value[live], plain[name][live])
  assert (stats.reshape(-1, D) == updated["embedding"][1]).all(-1).any()
  assert updated["counts"][1] == 1.0
  np.testing.assert_array_equal(updated["sums"][1], updated["embedding"][1])
  assert np.any(other["embedding"][1] != updated["embedding"][1])


def test_no_more_are_restarted_than_there_are_positions():
  stats, variables = example()
  variables["codebook"] |= {"counts": np.zeros(K, np.float32), "embedding": 100.0 + variables["codebook"]["embedding"]}
  stats = stats[:1, : 3 * D]  # three positions
  _, updated = train(quantizer(restart=0.9), variables, stats, keys_of(1))
  restarted = np.asarray(updated["codebook"]["embedding"])[np.asarray(updated["codebook"]["counts"]) == 1.0]
  assert len(restarted) == 3
  np.testing.assert_array_equal(np.unique(restarted, axis=0), np.unique(stats.reshape(-1, D), axis=0))


def test_kmeans_finds_clusters_at_the_first_pass_only():
  rng = np.random.default_rng(0)
  clusters = 5.0 * np.asarray([[0, 0, 1], [0, 1, 0], [1, 0, 0], [-1, 0, 0]])
  member, noise = rng.integers(0, 4, (BATCH, POSITIONS)), 0.1 * rng.normal(size=(BATCH, POSITIONS, D))
  stats = (clusters[member] + noise).reshape(BATCH, -1).astype(np.float32)
  module = quantizer(kmeans_steps=10, num_codes=12)
  draw, updated = train(module, fresh(module, stats), stats)
  assert np.abs(draw.z - stats).max() < 0.4  # quantized by the new codebook
  distance = np.linalg.norm(np.asarray(updated["codebook"]["embedding"])[:, None] - clusters, axis=-1)
  assert distance.min(axis=1).max() < 0.4  # an entry in none but a cluster
  assert distance.min(axis=0).max() < 0.4  # and in each
  assert updated["codebook"]["started"] == 1.0
  _, again = train(module, updated, stats + 100.0)
  plain = {name: value for name, value in updated["codebook"].items() if name != "started"}
  _, expected = train(module.clone(kmeans_steps=0), {"codebook": plain}, stats + 100.0)
  for name, value in expected["codebook"].items():
    np.testing.assert_array_equal(again["codebook"][name], value)


def test_usage_as_numbers():
  usage = np.asarray([[0.25, 0.25, 0.25, 0.25], [0.0, 0.0, 1.0, 0.0], [0.5, 0.25, 0.25, 0.0]], np.float32)
  found = jax.jit(jax.vmap(lambda row: (perplexity(row), codes_in_use(row))))(usage)
  np.testing.assert_allclose(found[0], [4.0, 1.0, np.exp2(1.5)], rtol=1e-6)
  np.testing.assert_array_equal(found[1], [4, 1, 3])


@pytest.mark.parametrize(
  ("name", "value"), [("num_codes", 1), ("code_dim", 0), ("commitment", -1.0), ("decay", 1.0), ("restart", 1.0)]
)
def test_settings_that_mean_nothing_are_refused(name, value):
  with pytest.raises(ConfigError, match=f"{name}={value}"):
    quantizer(**{name: value})


def test_sizes_that_do_not_fit_are_refused():
  with pytest.raises(ConfigError, match="z_dim=10 is not a multiple of code_dim=3"):
    quantizer().num_stats(10)
  module, stats = quantizer(num_codes=BATCH * POSITIONS + 1, kmeans_steps=1), example()[0]
  with pytest.raises(ConfigError, match="num_codes=65 codes from the positions of one batch, which are 64"):
    train(module, fresh(module, stats), stats)
