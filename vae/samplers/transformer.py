"""The distribution of an image's codes by a transformer, also given a label or a caption."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from common import random
from common.errors import ConfigError
from common.layers.transformer import Block, Cache, check_width, sines
from common.types import Array, Given
from vae.samplers.density import Density

GIVEN: dict[str, tuple[str, ...]] = {"none": (), "label": ("label",), "text": ("text",)}


class CodeTransformer(Density):
  """p(codes | given), in raster order or by masks; the label or the words of the caption stand before the codes.

  With ``steps`` 0, p(codes) = prod_i p(code_i | codes before i) (van den Oord et al. 2016, arXiv:1601.06759, Eq. 1),
  and one code is drawn after the other. Otherwise (MaskGIT: Chang et al. 2022, arXiv:2202.04200) the model learns to
  predict masked codes from the others, a share of cos(pi/2 u) of them with u from U[0, 1), and an image is drawn in as
  many steps, each of which keeps the codes of which the model is surest (Section 3.2). Differences from the authors'
  network: LayerNorm comes first, logits have a matrix of their own, targets are not smoothed. `log_prob` is then a
  bound, by one draw of a place in a random order of the codes (Hoogeboom et al. 2022, arXiv:2110.02037).

  The logits of a draw are null + guidance * (conditional - null) (Ho & Salimans 2022, arXiv:2207.12598, Eq. 6, whose w
  is guidance - 1), then divided by the temperature, then cut by top_k and by top_p (Holtzman et al. 2020).

  Attributes:
    image_shape: (height, width, 1) of the map of codes.
    num_codes: number of entries of the codebook.
    num_classes: labels are below this number.
    vocabulary: the token of each number of a caption; number 0 is padding.
    given: what the codes depend on: "none", "label" or "text".
    width: size of a place's vector, a multiple of ``heads`` and even.
    layers: number of blocks.
    heads: attention heads in each block.
    dropout: share of the values of each block that are dropped in training.
    drop: share of the training images whose label or caption is hidden, for guidance.
    steps: steps in which masked codes are drawn; 0: one code after the other.
    guidance: 1 for none, 0 to ignore what is given.
    temperature: above 0; less than 1 draws likelier codes.
    top_k: only the likeliest k codes are drawn; 0 for all.
    top_p: only the likeliest codes with this much probability in all are drawn; 1 for all.
    choice_temperature: of masked codes, the noise in which of them are kept, which falls to 0 with the steps.
  """

  image_shape: tuple[int, int, int]
  num_codes: int
  num_classes: int
  vocabulary: tuple[str, ...]
  given: str = "none"
  width: int = 128
  layers: int = 4
  heads: int = 4
  dropout: float = 0.1
  drop: float = 0.1
  steps: int = 0
  guidance: float = 1.0
  temperature: float = 1.0
  top_k: int = 0
  top_p: float = 1.0
  choice_temperature: float = 4.5
  needs = frozenset({"codes"})

  def __post_init__(self) -> None:
    check_width(self.width, self.heads)
    if self.given not in GIVEN:
      raise ConfigError(f'given="{self.given}" is not one of {", ".join(GIVEN)}')
    if not {"none": True, "label": self.num_classes, "text": self.vocabulary}[self.given]:
      raise ConfigError(f'given="{self.given}", and the images of these codes have no {self.given}; take --.given=none')
    if self.given == "none" and self.guidance != 1.0:
      raise ConfigError(f"guidance={self.guidance} needs something given; take --.guidance=1.0")
    if self.num_codes < 2 or self.layers < 1:
      raise ConfigError(f"num_codes={self.num_codes} must be 2 or more, and layers={self.layers} 1 or more")
    if not (0.0 <= self.drop < 1.0 and self.temperature > 0.0 and 0.0 < self.top_p <= 1.0):
      raise ConfigError(
        f"drop={self.drop} must be in [0, 1), temperature={self.temperature} above 0, top_p={self.top_p} in (0, 1]; "
        "take --.drop=0.1, --.temperature=1.0 and --.top_p=1.0"
      )
    super().__post_init__()

  @property
  def rows(self) -> tuple[str, ...]:
    """The rows of a batch that the codes depend on."""
    return GIVEN[self.given]

  @property
  def exact(self) -> bool:
    """Whether `log_prob` has no error, and needs no keys."""
    return not self.steps

  @property
  def count(self) -> int:
    """The number of places."""
    return math.prod(self.image_shape)

  def setup(self) -> None:
    self.code = nn.Embed(self.num_codes + 1, self.width)  # the last is the start, or the mask
    self.place = self.param("place", nn.initializers.normal(0.02), (self.count, self.width))
    if self.given != "none":
      self.word = nn.Embed(len(self.vocabulary) if self.given == "text" else self.num_classes + 1, self.width)
    self.blocks = [Block(self.heads, self.dropout) for _ in range(self.layers)]
    self.norm, self.head = nn.LayerNorm(), nn.Dense(self.num_codes)

  def log_prob(self, z: Array, given: Given = None, keys: Array | None = None, *, train: bool = False) -> Array:
    """Returns log p(codes | given) in nats, or with ``steps`` its bound of one draw, [B, P] -> [B].

    Args:
      z: the numbers of the codes, as floats.
      given: the rows `rows`.
      keys: [B], of masks and in training of what is dropped.
      train: whether labels, captions and values are dropped, and masks follow the cosine.
    """
    codes = z.astype(jnp.int32)
    tokens = self._tokens(given, len(codes), keys if train else None)
    weight = jnp.ones(())
    if self.steps:
      assert keys is not None
      number = _masked(random.uniform(random.row_stream(keys, "number"), ()), self.count, train)
      order = jnp.argsort(random.uniform(random.row_stream(keys, "masks"), (self.count,)), axis=-1)
      hidden = jnp.argsort(order, axis=-1) < number[:, None]
      inputs = jnp.where(hidden, self.num_codes, codes)
      weight = hidden * (self.count / number)[:, None]
    else:
      inputs = jnp.pad(codes, ((0, 0), (1, 0)), constant_values=self.num_codes)[:, :-1]
    log_p = nn.log_softmax(self.logits(inputs, tokens, keys if train else None))
    return jnp.sum(weight * jnp.take_along_axis(log_p, codes[..., None], axis=-1)[..., 0], axis=-1)

  def logits(self, inputs: Array, tokens: Array, keys: Array | None = None) -> Array:
    """Returns the logits of all codes, int32 [B, P], of tokens int32 [B, L] -> [B, P, num_codes]."""
    x = jnp.concatenate([self._words(tokens), self.code(inputs) + self.place], axis=1)
    start, order = tokens.shape[1], jnp.arange(x.shape[1])
    allowed = (order[None] < start) | (jnp.tri(len(order), dtype=bool) if self.exact else True)
    mask = allowed & self._there(tokens)[:, None, None, :]
    for block in self.blocks:
      x, _ = block(x, mask, keys=keys)
    return self.head(self.norm(x[:, start:]))

  def sample(self, keys: Array, given: Given = None) -> Array:
    """Draws codes, keys [B] -> float32 [B, P]; row i depends on its key and on what it is given only."""
    tokens = self._tokens(given, len(keys))
    if self.guidance != 1.0:
      tokens = jnp.concatenate([tokens, self._null(tokens)])
    variables, network = self.variables, self.clone(parent=None)

    def apply(method: str, *args: Any) -> Any:
      return network.apply(variables, *args, method=method)

    return (self._in_order if self.exact else self._by_masks)(apply, keys, tokens).astype(jnp.float32)

  def prefill(self, tokens: Array) -> list[Cache]:
    """Returns the keys and values of each block after the tokens int32 [B, L], for L + P places."""
    x, there = self._words(tokens), self._there(tokens)
    shape = (*there.shape, self.heads, self.width // self.heads)
    caches = [(jnp.zeros(shape), jnp.zeros(shape)) for _ in self.blocks]
    mask = (jnp.arange(there.shape[1]) < tokens.shape[1]) & there[:, None, None, :]
    for i, block in enumerate(self.blocks):
      x, caches[i] = block(x, mask, caches[i]) if tokens.shape[1] else (x, caches[i])
    return caches

  def step(self, caches: list[Cache], previous: Array, place: Array, tokens: Array) -> tuple[Array, list[Cache]]:
    """Returns the logits [B, num_codes] at a place, of which ``previous`` int32 [B] is the code before."""
    x = (self.code(previous) + self.place[place])[:, None]
    there, at, new = self._there(tokens), tokens.shape[1] + place, []
    mask = (jnp.arange(there.shape[1]) <= at) & there[:, None, None, :]
    for block, cache in zip(self.blocks, caches, strict=True):
      x, cache = block(x, mask, cache, at)
      new.append(cache)
    return self.head(self.norm(x[:, 0])), new

  def _in_order(self, apply: Any, keys: Array, tokens: Array) -> Array:
    """Draws one code after the other."""

    def draw(place: Array, carry: tuple[Array, list[Cache]]) -> tuple[Array, list[Cache]]:
      codes, caches = carry
      before = jnp.where(place, codes[:, place - 1], self.num_codes)
      before = jnp.tile(before, len(tokens) // len(keys))
      logits, caches = apply("step", caches, before, place, tokens)
      here = jax.vmap(lambda key: jax.random.fold_in(key, place))(keys)
      return codes.at[:, place].set(random.categorical(here, self._choice(logits))), caches

    codes = jnp.zeros((len(keys), self.count), jnp.int32)
    return lax.fori_loop(0, self.count, draw, (codes, apply("prefill", tokens)))[0]

  def _by_masks(self, apply: Any, keys: Array, tokens: Array) -> Array:
    """Draws all masked codes in each step, and masks those again of which the model is least sure."""

    def draw(step: Array, codes: Array) -> Array:
      logits = self._choice(apply("logits", jnp.tile(codes, (len(tokens) // len(keys), 1)), tokens))
      here = jax.vmap(lambda key: jax.random.fold_in(key, step))(keys)
      unknown, done = codes == self.num_codes, (step + 1) / self.steps
      drawn = jnp.where(unknown, random.categorical(here, logits), codes)
      sure = jnp.take_along_axis(nn.log_softmax(logits), drawn[..., None], axis=-1)[..., 0]
      sure += self.choice_temperature * (1.0 - done) * random.gumbel(random.row_stream(here, "choice"), sure.shape[1:])
      sure = jnp.where(unknown, sure, jnp.inf)
      left = jnp.floor(self.count * jnp.cos(0.5 * jnp.pi * done)).astype(jnp.int32)
      left = jnp.maximum(1, jnp.minimum(left, jnp.sum(unknown, axis=-1) - 1))  # each step keeps one and leaves one
      least = jnp.take_along_axis(jnp.sort(sure, axis=-1), left[:, None], axis=-1)
      return jnp.where((sure < least) & (step + 1 < self.steps), self.num_codes, drawn)

    start = jnp.full((len(keys), self.count), self.num_codes, jnp.int32)
    return lax.fori_loop(0, self.steps, draw, start)

  def _choice(self, logits: Array) -> Array:
    """Returns the logits from which codes are drawn, of those of [B] rows or, with guidance, of [2 B]."""
    if self.guidance != 1.0:
      conditional, null = jnp.split(logits, 2)
      logits = null + self.guidance * (conditional - null)
    return filtered(logits / self.temperature, self.top_k, self.top_p)

  def _tokens(self, given: Given, count: int, keys: Array | None = None) -> Array:
    """Returns the tokens before the codes, int32 [B, L]; with ``keys`` [B] some rows have none."""
    if not self.rows:
      return jnp.zeros((count, 0), jnp.int32)
    assert given is not None
    tokens = jnp.asarray(given[self.given]).reshape(count, -1)
    if keys is None:
      return tokens
    hidden = random.uniform(random.row_stream(keys, "condition"), (1,)) < self.drop
    return jnp.where(hidden, self._null(tokens), tokens)

  def _null(self, tokens: Array) -> Array:
    """Returns the tokens of nothing: a caption without words, or a class of its own."""
    return jnp.full_like(tokens, self.num_classes if self.given == "label" else 0)

  def _words(self, tokens: Array) -> Array:
    """int32 [B, L] -> [B, L, width]."""
    if not tokens.shape[1]:
      return jnp.zeros((*tokens.shape, self.width))
    return self.word(tokens) + sines(tokens.shape[1], self.width)

  def _there(self, tokens: Array) -> Array:
    """Whether each place may be seen, bool [B, L + P]: padding may not."""
    seen = tokens > 0 if self.given == "text" else jnp.ones_like(tokens, bool)
    return jnp.pad(seen, ((0, 0), (0, self.count)), constant_values=True)


def _masked(u: Array, count: int, train: bool) -> Array:
  """Returns how many of ``count`` codes are masked, float32 [B] from 1 on, for u [B] from U[0, 1).

  In training it is a share of cos(pi/2 u), as the authors' code has it; for the bound all numbers are as likely.
  """
  number = jnp.ceil(count * jnp.cos(0.5 * jnp.pi * u)) if train else 1.0 + jnp.floor(count * u)
  return jnp.clip(number, 1.0, count)


def filtered(logits: Array, top_k: int, top_p: float) -> Array:
  """Returns logits [..., K] that are -inf where top_k and then top_p leave a code out; of equal ones none alone."""
  if 0 < top_k < logits.shape[-1]:
    logits = jnp.where(logits < lax.top_k(logits, top_k)[0][..., -1:], -jnp.inf, logits)
  if top_p < 1.0:
    falling = -jnp.sort(-logits, axis=-1)
    share = nn.softmax(falling)
    kept = jnp.cumsum(share, axis=-1) - share < top_p  # the code that reaches the share is kept
    logits = jnp.where(logits < jnp.min(jnp.where(kept, falling, jnp.inf), axis=-1, keepdims=True), -jnp.inf, logits)
  return logits
