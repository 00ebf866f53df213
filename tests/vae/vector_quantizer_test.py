"""Vector quantization against numpy, over devices, and in the states of its codebook."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from common import random
from common.errors import ConfigError
from vae.codes import UniformCodes, codes_in_use, nearest, perplexity
from vae.vector_quantizer import EPSILON, VectorQuantized

K, D, POSITIONS, BATCH = 6, 3, 4, 16


@functools.partial(jax.jit, static_argnums=(0, 1))
def rows_of(count, seed=0):
  return random.row_keys(jax.random.key(seed), jnp.arange(count))


def example(module=None, seed=0):
  """Encoder outputs [B, Z], and variables with averages that are not the initial ones."""
  rng = np.random.default_rng(seed)
  stats = rng.normal(size=(BATCH, POSITIONS * D)).astype(np.float32)
  book = {"embedding": rng.normal(size=(K, D)), "counts": rng.uniform(0.5, 1.5, K), "sums": rng.normal(size=(K, D))}
  book |= {"started": np.zeros(())} if module is not None and module.kmeans_steps else {}
  return stats, {"codebook": {name: value.astype(np.float32) for name, value in book.items()}}


@functools.partial(jax.jit, static_argnums=0)
def evaluate(module, variables, stats):
  return module.apply(variables, stats, rows_of(BATCH), train=False)


@functools.partial(jax.jit, static_argnums=0)
def fresh(module, stats):
  return module.init(jax.random.key(0), stats, rows_of(BATCH), train=True)


def quantizer(**changes):
  return VectorQuantized(**{"num_codes": K, "code_dim": D, **changes})


@functools.partial(jax.jit, static_argnums=0)
def train(module, variables, stats, rows):
  return module.apply(variables, stats, rows, train=True, mutable=["codebook"])


def numpy_codes(stats, embedding):
  outputs = np.asarray(stats, np.float64).reshape(len(stats), -1, embedding.shape[1])
  return np.argmin(((outputs[:, :, None] - np.asarray(embedding, np.float64)) ** 2).sum(-1), -1)


def test_z_is_the_nearest_entries_to_the_last_bit():
  stats, variables = example()
  module, embedding = quantizer(), variables["codebook"]["embedding"]
  codes = numpy_codes(stats, embedding)
  draw = evaluate(module, variables, stats)
  np.testing.assert_array_equal(draw.z, embedding[codes].reshape(BATCH, -1))
  np.testing.assert_array_equal(draw.log_q, np.zeros(BATCH))
  np.testing.assert_array_equal(module.apply(variables, stats, method="codes"), codes)
  np.testing.assert_array_equal(module.apply(variables, codes, method="lookup"), draw.z)
  np.testing.assert_array_equal(module.apply(variables, draw.z, method="codes_of"), codes)
  shares = np.stack([np.bincount(row, minlength=K) / POSITIONS for row in codes])
  np.testing.assert_allclose(draw.figures["code_usage"], shares)


def test_codes_of_tells_close_entries_apart():
  """Two groups far apart, and in each of them steps of 3 or so in the last digit."""
  far = np.where(np.arange(K) % 2, 1e3, -1e3)[:, None] + np.arange(K)[:, None] * 2e-4 * np.ones(D)
  _, variables = example()
  variables["codebook"]["embedding"] = far.astype(np.float32)
  codes = np.arange(K).reshape(1, K)
  z = quantizer().apply(variables, codes, method="lookup")
  np.testing.assert_array_equal(quantizer().apply(variables, z, method="codes_of"), codes)


def test_nearest_survives_a_common_offset():
  rng = np.random.default_rng(0)  # squares of 1e4 are good to about 8 in float32
  points, centers = (rng.normal(size=(n, D)).astype(np.float32) + np.float32(1e4) for n in (200, K))
  np.testing.assert_array_equal(jax.jit(nearest)(points, centers), numpy_codes(points, centers)[:, 0])


def test_gradients_go_to_the_encoder_only():
  """Of z straight through, as it is; of the commitment 2 beta (z_e - z)."""
  stats, variables = example()
  weight, of_penalty = np.random.default_rng(1).normal(size=(2, *stats.shape)).astype(np.float32)
  module, of_penalty = quantizer(commitment=0.3), of_penalty[:, 0]

  def parts(stats, book):
    draw, _ = module.apply({"codebook": book}, stats, rows_of(BATCH), train=True, mutable=["codebook"])
    return draw.z, draw.penalties["commitment"]

  @jax.jit
  def gradients(stats, book):
    values, pull = jax.vjp(parts, stats, book)
    return values, pull((weight, jnp.zeros(BATCH))), pull((jnp.zeros(stats.shape), of_penalty))

  (z, penalty), through, commitment = gradients(stats, variables["codebook"])
  embedding = variables["codebook"]["embedding"]
  np.testing.assert_array_equal(z, embedding[numpy_codes(stats, embedding)].reshape(BATCH, -1))
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
    draw, variables = train(module, variables, stats, rows_of(BATCH))
    codes = numpy_codes(stats, book["embedding"])
    np.testing.assert_allclose(draw.z, book["embedding"][codes].reshape(BATCH, -1), atol=1e-5)  # of the old codebook
    size, total = np.zeros(K), np.zeros((K, D))
    for output, code in zip(np.asarray(stats).reshape(-1, D), codes.reshape(-1), strict=True):
      size[code] += 1
      total[code] += output
    unit = BATCH * POSITIONS / K  # an entry's mean usage
    book["counts"] = 0.9 * book["counts"] + 0.1 * size / unit
    book["sums"] = 0.9 * book["sums"] + 0.1 * total / unit
    n = book["counts"].sum()
    book["embedding"] = book["sums"] / ((book["counts"] + EPSILON) / (n + K * EPSILON) * n)[:, None]
    for name, value in book.items():
      np.testing.assert_allclose(variables["codebook"][name], value, atol=1e-5, err_msg=name)


def test_an_entry_without_use_stays_where_it_is():
  """Averages that start apart, as in some implementations, throw it out of reach within one step."""
  module = quantizer()
  stats = np.ones((BATCH, POSITIONS * D), np.float32)
  variables = fresh(module, stats)
  start = np.asarray(variables["codebook"]["embedding"])
  used = int(numpy_codes(stats, start)[0, 0])
  for _ in range(20):
    _, variables = train(module, variables, stats, rows_of(BATCH))
  unused = np.delete(np.arange(K), used)
  entries = np.asarray(variables["codebook"]["embedding"])
  np.testing.assert_allclose(entries[unused], start[unused], rtol=1e-3)
  np.testing.assert_allclose(entries[used], np.ones(D), atol=0.6)


def test_a_frozen_codebook_stays():
  module = quantizer(kmeans_steps=2, restart=0.9)
  stats, variables = example(module)

  @jax.jit
  def frozen(stats):
    evaluated = module.apply(variables, stats, rows_of(BATCH), train=False, mutable=["codebook"])
    return evaluated, module.apply(variables, stats, rows_of(BATCH), train=True)  # raises if it writes

  (draw, updated), in_training = frozen(stats)
  jax.tree.map(np.testing.assert_array_equal, updated, variables)
  jax.tree.map(np.testing.assert_array_equal, in_training, draw)


def test_init_creates_and_does_not_move():
  stats, _ = example()
  module = VectorQuantized(num_codes=500, code_dim=D, kmeans_steps=2, restart=0.9, axis_name="data")
  variables = fresh(module, stats)
  book = variables["codebook"]
  assert set(variables) == {"codebook"}
  assert jax.tree.map(jnp.shape, book) == {"embedding": (500, D), "counts": (500,), "sums": (500, D), "started": ()}
  assert abs(np.mean(np.sum(np.asarray(book["embedding"]) ** 2, axis=1)) - 1.0) < 0.1
  np.testing.assert_array_equal(book["sums"], book["embedding"])
  np.testing.assert_array_equal(book["counts"], np.ones(500))
  assert book["started"] == 0.0


def one_pass(module, variables, stats, rows):
  draw, variables = module.apply(variables, stats, rows, train=True, mutable=["codebook"])
  return draw.z, variables


@functools.cache
def on_one_device():
  """A pass that starts by k-means and ends with restarts; statistics and means differ over the devices."""
  module = quantizer(restart=0.5, kmeans_steps=2, decay=0.9)
  stats, variables = example(module)
  stats += np.arange(BATCH, dtype=np.float32)[:, None]
  variables["codebook"]["counts"][:4] = 0.05
  expected = jax.jit(functools.partial(one_pass, module))(variables, stats, rows_of(BATCH))
  restarted = np.asarray(expected[1]["codebook"]["counts"]) == 1.0
  assert 2 <= restarted.sum() <= 4
  return module, variables, stats, expected


@pytest.mark.parametrize("mode", ["jit", "shard_map", "pmap"])
def test_eight_devices_equal_one(mode):
  devices = jax.device_count()
  assert devices == 8
  module, variables, stats, expected = on_one_device()
  if mode == "pmap":
    run = jax.pmap(functools.partial(one_pass, module.clone(axis_name="data")), "data", in_axes=(None, 0, 0))
    z, updated = run(variables, *(a.reshape(devices, -1, *a.shape[1:]) for a in (stats, rows_of(BATCH))))
    for leaf in jax.tree.leaves(updated):
      np.testing.assert_array_equal(leaf, np.broadcast_to(leaf[0], leaf.shape))
    z, updated = z.reshape(stats.shape), jax.tree.map(lambda a: a[0], updated)
  else:
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,))
    split = jax.device_put((stats, rows_of(BATCH)), NamedSharding(mesh, P("data")))
    run = functools.partial(one_pass, module.clone(axis_name=None if mode == "jit" else "data"))
    if mode == "shard_map":
      specs = {"in_specs": (P(), P("data"), P("data")), "out_specs": (P("data"), P()), "check_vma": False}
      run = jax.shard_map(run, mesh=mesh, **specs)
    z, updated = jax.jit(run)(variables, *split)
  np.testing.assert_allclose(z, expected[0], atol=1e-5)
  jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, atol=1e-5), updated, expected[1])


def test_dead_entries_are_restarted_and_live_ones_are_not():
  stats, variables = example()
  counts = np.full(K, 1.0, np.float32)
  far = variables["codebook"]["embedding"].copy()
  far[[1, 4]] += 100.0  # out of use
  counts[[1, 4]] = [0.05, 0.2]  # times the decay, below 0.1 and above
  variables["codebook"] |= {"embedding": far, "counts": counts}
  _, plain = train(quantizer(), variables, stats, rows_of(BATCH))
  _, updated = train(quantizer(restart=0.1), variables, stats, rows_of(BATCH))
  _, other = train(quantizer(restart=0.1), variables, stats, rows_of(BATCH, seed=1))
  live = np.delete(np.arange(K), 1)
  updated, plain, other = jax.tree.map(np.asarray, (updated, plain, other))
  for name, value in updated["codebook"].items():
    np.testing.assert_array_equal(value[live], plain["codebook"][name][live])
  assert (np.asarray(stats).reshape(-1, D) == np.asarray(updated["codebook"]["embedding"][1])).all(-1).any()
  assert updated["codebook"]["counts"][1] == 1.0
  np.testing.assert_array_equal(updated["codebook"]["sums"][1], updated["codebook"]["embedding"][1])
  assert np.any(np.asarray(other["codebook"]["embedding"][1] != updated["codebook"]["embedding"][1]))


def test_no_more_are_restarted_than_there_are_positions():
  stats, variables = example()
  variables["codebook"] |= {"counts": np.zeros(K, np.float32), "embedding": 100.0 + variables["codebook"]["embedding"]}
  stats = stats[:1, : 3 * D]  # three positions, at one of the entries
  codes = numpy_codes(stats, variables["codebook"]["embedding"])
  _, updated = train(quantizer(restart=0.9, decay=0.99), variables, stats, rows_of(1))
  restarted = np.asarray(updated["codebook"]["counts"]) == 1.0
  assert len(np.unique(codes)) == 1
  assert restarted.sum() == 3
  fresh = np.asarray(updated["codebook"]["embedding"])[restarted]
  np.testing.assert_array_equal(np.unique(fresh, axis=0), np.unique(np.asarray(stats).reshape(-1, D), axis=0))


def test_kmeans_finds_clusters_at_the_first_pass_only():
  rng = np.random.default_rng(0)
  clusters = 5.0 * np.asarray([[0, 0, 1], [0, 1, 0], [1, 0, 0], [-1, 0, 0]])
  member = rng.integers(0, 4, (BATCH, POSITIONS))
  noise = 0.1 * rng.normal(size=(BATCH, POSITIONS, D))
  stats = (clusters[member] + noise).reshape(BATCH, -1).astype(np.float32)
  module = quantizer(kmeans_steps=10, num_codes=12)
  variables = fresh(module, stats)
  draw, updated = train(module, variables, stats, rows_of(BATCH))
  assert np.abs(draw.z - stats).max() < 0.4  # quantized by the new codebook
  entries = np.asarray(updated["codebook"]["embedding"])
  distance = np.linalg.norm(entries[:, None] - clusters, axis=-1)
  assert distance.min(axis=1).max() < 0.4  # an entry in none but a cluster
  assert distance.min(axis=0).max() < 0.4  # and in each
  assert updated["codebook"]["started"] == 1.0
  _, again = train(module, updated, stats + 100.0, rows_of(BATCH))
  plain = {name: value for name, value in updated["codebook"].items() if name != "started"}
  _, expected = train(module.clone(kmeans_steps=0), {"codebook": plain}, stats + 100.0, rows_of(BATCH))
  for name, value in expected["codebook"].items():
    np.testing.assert_array_equal(again["codebook"][name], value)


def test_usage_as_numbers():
  usage = np.asarray([[0.25, 0.25, 0.25, 0.25], [0.0, 0.0, 1.0, 0.0], [0.5, 0.25, 0.25, 0.0]], np.float32)
  found = jax.jit(jax.vmap(lambda row: (perplexity(row), codes_in_use(row))))(usage)
  np.testing.assert_allclose(found[0], [4.0, 1.0, np.exp2(1.5)], rtol=1e-6)
  np.testing.assert_array_equal(found[1], [4, 1, 3])


def test_uniform_codes():
  prior = UniformCodes(z_dim=POSITIONS * D, num_codes=K, code_dim=D)
  assert prior(lambda images: (images, images)) is prior
  log_p = prior.log_prob(np.zeros((3, 5, POSITIONS * D)))
  assert log_p.shape == (3, 5)
  np.testing.assert_allclose(K**POSITIONS * np.exp(np.asarray(log_p, np.float64)), np.ones((3, 5)), rtol=1e-5)
  sample, rows = jax.jit(prior.sample_codes), rows_of(4000)
  codes = np.asarray(sample(rows))
  assert (codes.dtype, codes.shape) == (np.int32, (4000, POSITIONS))
  joint = np.bincount(codes[:, 0] * K + codes[:, 3], minlength=K * K)
  assert ((joint - 4000 / K**2) ** 2).sum() / (4000 / K**2) < 66.6  # the 99.9% quantile of chi-square(35)
  np.testing.assert_array_equal(sample(rows[7:9]), codes[7:9])


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"num_codes": 1}, "num_codes=1"),
    ({"code_dim": 0}, "code_dim=0"),
    ({"commitment": -1.0}, "commitment=-1.0"),
    ({"decay": 1.0}, "decay=1.0"),
    ({"restart": 1.0}, "restart=1.0"),
    ({"kmeans_steps": -1}, "kmeans_steps=-1"),
  ],
)
def test_settings_that_mean_nothing_are_refused(changes, words):
  with pytest.raises(ConfigError, match=words):
    quantizer(**changes)


def test_sizes_that_do_not_fit_are_refused():
  with pytest.raises(ConfigError, match="z_dim=10 is not a multiple of code_dim=3"):
    quantizer().num_stats(10)
  assert quantizer().num_stats(12) == 12
  with pytest.raises(ConfigError, match="z_dim=10 is not a multiple of code_dim=3"):
    UniformCodes(z_dim=10, num_codes=K, code_dim=D)
  module = quantizer(num_codes=BATCH * POSITIONS + 1, kmeans_steps=1)
  stats, _ = example()
  variables = fresh(module, stats)
  with pytest.raises(ConfigError, match="num_codes=65 codes from the positions of one batch, which are 64"):
    train(module, variables, stats, rows_of(BATCH))
