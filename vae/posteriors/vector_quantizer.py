"""Latents that are entries of a learned codebook (van den Oord et al. 2017, arXiv:1711.00937)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from common import random
from common.errors import ConfigError
from common.parallel import batch_gather, batch_mean
from common.types import Array
from vae.codes import kmeans, nearest, positions
from vae.posteriors.gaussian import Draw

EPSILON = 1e-5  # the published code's, which counts positions of a batch


class VectorQuantized(nn.Module):
  """All mass on the codebook's entries that are nearest to the encoder's outputs (van den Oord et al. 2017, Eq. 1-3).

  P = Z / code_dim positions share the codebook, which follows the running means of the outputs at each entry (App. A.1;
  Razavi et al. 2019, Eq. 3) and gets no gradient. Its collection "codebook" holds "embedding" [K, D]; "counts" [K] and
  "sums" [K, D], running averages of how often a batch uses an entry and of the sum of its outputs there, both in units
  of an entry's mean usage; and with ``kmeans_steps`` "started". A training pass quantizes by the codebook at hand and
  leaves a new one; only the start by k-means comes before.

  Attributes:
    num_codes: K, the number of entries of the codebook.
    code_dim: D, the size of an entry.
    commitment: beta of Eq. 3.
    decay: decay of the running averages.
    restart: an entry whose count is below this share of the mean usage is dead; an output of the batch, drawn anew for
      each, replaces it, with the count of the mean usage (after Dhariwal et al. 2020, "Jukebox"). 0: never.
    kmeans_steps: Lloyd steps from K outputs of the first training batch that give the first codebook. 0: it starts at
      random, with |e|^2 = 1 on average.
    axis_name: mapped axis whose devices share the batch; None: the global view.
  """

  num_codes: int = 512
  code_dim: int = 64
  commitment: float = 0.25
  decay: float = 0.99
  restart: float = 0.0
  kmeans_steps: int = 0
  axis_name: str | None = None
  gives = frozenset({"density", "codes", "map"})  # log q is 0 at the codes of x
  remedy = "posterior.restart above 0, posterior.kmeans_steps above 0, fewer codes, a larger code_dim or learning rate"

  def __post_init__(self):
    for name, least in (("num_codes", 2), ("code_dim", 1), ("commitment", 0), ("decay", 0), ("restart", 0)):
      if getattr(self, name) < least:
        raise ConfigError(f"{name}={getattr(self, name)} must be {least} or more")
    for name in ("decay", "restart"):
      if getattr(self, name) >= 1:
        raise ConfigError(f"{name}={getattr(self, name)} must be below 1")
    super().__post_init__()

  def setup(self) -> None:
    shape = (self.num_codes, self.code_dim)
    start = nn.initializers.variance_scaling(1.0, "fan_out", "uniform")
    self.embedding = self.variable("codebook", "embedding", lambda: start(self.make_rng("params"), shape))
    self.counts = self.variable("codebook", "counts", jnp.ones, shape[:1])
    self.sums = self.variable("codebook", "sums", lambda: jnp.copy(self.embedding.value))
    if self.kmeans_steps:
      self.started = self.variable("codebook", "started", jnp.zeros, ())  # a float, which devices can average

  def num_stats(self, z_dim: int) -> int:
    positions(z_dim, self.code_dim)
    return z_dim

  def __call__(self, stats: Array, keys: Array, *, train: bool) -> Draw:
    """The entries nearest to ``stats`` [B, Z]; the gradient of z passes to ``stats`` unchanged ("straight-through").

    In training the codebook moves if its collection is mutable; ``init`` only creates it. ``keys`` are for restarts and
    the start.

    Returns:
      z, log_q = 0, the penalty "commitment" beta |stats - sg(z)|^2, and the figure "code_usage" [B, K], the share of
      the image's positions at each entry. The penalty is a sum over positions and numbers, as the distortion is one
      over pixels. The paper has the mean over positions beside log p(x|z) (Section 3.2); its published code has means
      over everything in both terms, the error in units of the data's variance: up to a factor, which configs/vq_vae.py
      states, these are the sums.

    Raises:
      ConfigError: code_dim does not divide Z, or the batch has too few positions to start k-means.
    """
    outputs = self._outputs(stats)
    fixed = lax.stop_gradient(outputs)
    moves = train and self.is_mutable_collection("codebook") and not self.is_initializing()
    if moves and self.kmeans_steps:
      self._start(fixed, keys)
    embedding = lax.stop_gradient(self.embedding.value)
    codes = nearest(fixed, embedding)
    one_hot = jax.nn.one_hot(codes, self.num_codes)
    quantized = embedding[codes]
    if moves:
      self._move(fixed, one_hot, keys)
    # In this form the value is the entry to the last bit: outputs - outputs is 0.
    z = (quantized + (outputs - fixed)).reshape(stats.shape)
    commitment = self.commitment * jnp.sum((outputs - quantized) ** 2, axis=(1, 2))
    return Draw(z, jnp.zeros(len(stats)), {"commitment": commitment}, {"code_usage": jnp.mean(one_hot, axis=1)})

  def codes(self, stats: Array) -> Array:
    """Returns the numbers of the nearest entries, [B, Z] -> int32 [B, P]."""
    return nearest(self._outputs(stats), self.embedding.value)

  def lookup(self, codes: Array) -> Array:
    """int32 [B, P] -> z [B, Z]."""
    return self.embedding.value[codes].reshape(len(codes), -1)

  def codes_of(self, z: Array) -> Array:
    """Returns the numbers of the entries in z, [B, Z] -> int32 [B, P]; of equal entries the first."""
    outputs = self._outputs(z)
    # Differences, where `nearest` has products: only an entry itself is at a distance of exactly 0.
    distance = jnp.sum((outputs[:, :, None, :] - self.embedding.value) ** 2, axis=-1)
    return jnp.argmin(distance, axis=-1).astype(jnp.int32)

  def _outputs(self, stats: Array) -> Array:
    """[B, Z] -> float32 [B, P, D]."""
    count = positions(stats.shape[-1], self.code_dim)
    return stats.astype(jnp.float32).reshape(-1, count, self.code_dim)

  def _start(self, outputs: Array, keys: Array) -> None:
    """Replaces the codebook by the clusters of the first batch."""

    def clustered() -> Array:
      everything = batch_gather(outputs, self.axis_name).reshape(-1, self.code_dim)
      if len(everything) < self.num_codes:
        raise ConfigError(
          f"config.posterior.kmeans_steps={self.kmeans_steps} starts num_codes={self.num_codes} codes from the "
          f"positions of one batch, which are {len(everything)}; use larger batches, fewer codes or "
          "--config.posterior.kmeans_steps=0"
        )
      return kmeans(everything, self._picks(outputs, keys), self.kmeans_steps)

    first = self.started.value == 0.0
    embedding = lax.cond(first, clustered, lambda: self.embedding.value)
    self.sums.value = jnp.where(first, embedding, self.sums.value)
    self.embedding.value = embedding
    self.started.value = jnp.ones(())

  def _move(self, outputs: Array, one_hot: Array, keys: Array) -> None:
    """Moves the running averages by a batch, and the entries with them."""
    sums = jnp.einsum("bpk,bpd->kd", one_hot, outputs, precision="highest") / (one_hot.shape[0] * one_hot.shape[1])
    counts, sums = batch_mean((jnp.mean(one_hot, axis=(0, 1)), sums), self.axis_name)
    counts = self.decay * self.counts.value + (1.0 - self.decay) * self.num_codes * counts
    sums = self.decay * self.sums.value + (1.0 - self.decay) * self.num_codes * sums
    total = jnp.sum(counts)
    smoothed = (counts + EPSILON) / (total + self.num_codes * EPSILON) * total
    book = sums / smoothed[:, None], counts, sums
    if self.restart:
      dead = counts < self.restart
      book = lax.cond(jnp.any(dead), lambda: self._restarted(dead, *book, self._picks(outputs, keys)), lambda: book)
    self.embedding.value, self.counts.value, self.sums.value = book

  def _restarted(
    self, dead: Array, embedding: Array, counts: Array, sums: Array, picks: Array
  ) -> tuple[Array, Array, Array]:
    """Returns the codebook with its dead entries at ``picks``, as far as these go."""
    rank = jnp.cumsum(dead) - 1
    again = dead & (rank < len(picks))
    fresh = picks[jnp.clip(rank, 0, len(picks) - 1)]
    return (
      jnp.where(again[:, None], fresh, embedding),
      jnp.where(again, 1.0, counts),
      jnp.where(again[:, None], fresh, sums),
    )

  def _picks(self, outputs: Array, keys: Array) -> Array:
    """Returns up to K outputs of the global batch in random order, the same for any number of devices."""
    scores = random.uniform(random.row_stream(keys, "codebook"), outputs.shape[1:2])
    scores, outputs = batch_gather(scores, self.axis_name), batch_gather(outputs, self.axis_name)
    _, highest = lax.top_k(scores.reshape(-1), min(self.num_codes, scores.size))
    return outputs.reshape(-1, self.code_dim)[highest]
