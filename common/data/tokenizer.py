"""Captions as numbers of tokens; config.data.text chooses what a token is."""

import dataclasses
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from common.build import build, choose
from common.errors import ConfigError, nearest

PAD = "<pad>"  # number 0, after a caption's end
UNKNOWN = "<unk>"  # a word that no training caption has
_TOKEN = re.compile(rf"{UNKNOWN}|\w+|[^\w\s]")


class Tokenizer(Protocol):
  """What `TOKENIZERS` have.

  Attributes:
    vocabulary: the token of each number; the first is `PAD`.
    length: tokens of a row; shorter captions are padded.
  """

  @property
  def vocabulary(self) -> tuple[str, ...]: ...
  @property
  def length(self) -> int: ...

  @staticmethod
  def vocabulary_of(captions: Iterable[str]) -> tuple[str, ...]:
    """Returns the vocabulary for a set with these training captions, the same in whichever order they come."""
    ...

  def tokens(self, caption: str) -> list[str]:
    """Splits a caption into tokens, of which some may be missing in the vocabulary."""
    ...


@dataclasses.dataclass(frozen=True)
class Words:
  """Words in lower case and single punctuation marks, as far as training captions have them.

  Attributes:
    vocabulary: the token of each number.
    length: tokens of a caption; longer captions of the data are cut.
  """

  vocabulary: tuple[str, ...]
  length: int = 16

  def __post_init__(self):
    _check(self.length)

  @staticmethod
  def vocabulary_of(captions: Iterable[str]) -> tuple[str, ...]:
    return PAD, UNKNOWN, *sorted({token for caption in captions for token in _words(caption)} - {UNKNOWN})

  def tokens(self, caption: str) -> list[str]:
    return _words(caption)


@dataclasses.dataclass(frozen=True)
class Bytes:
  """The bytes of UTF-8, for languages and names that no vocabulary has.

  Attributes:
    vocabulary: the token of each number.
    length: bytes of a caption; longer captions of the data are cut.
  """

  vocabulary: tuple[str, ...]
  length: int = 64

  def __post_init__(self):
    _check(self.length)

  @staticmethod
  def vocabulary_of(captions: Iterable[str]) -> tuple[str, ...]:
    return PAD, *(f"<{byte:02x}>" for byte in range(256))

  def tokens(self, caption: str) -> list[str]:
    return [f"<{byte:02x}>" for byte in caption.encode()]


def none() -> None:
  """Captions are not used."""


TOKENIZERS: dict[str, Callable[..., Any]] = {"none": none, "words": Words, "bytes": Bytes}


def open_tokenizer(data: Any, captions: Callable[[], Sequence[str] | None]) -> Tokenizer | None:
  """Returns the tokenizer of config.data.text with the vocabulary of the training captions; None for "none".

  Raises:
    ConfigError: an unknown tokenizer or argument, or a set without captions.
  """
  chosen: Any = choose(TOKENIZERS, data.text.name, "config.data.text.name")
  if chosen is none:
    return tokenizer_of(data, ())
  texts = captions()
  if texts is None:
    raise ConfigError(
      f'config.data.text.name="{data.text.name}": "{data.name}" has no captions; take '
      "--config.data.text=\"{'name': 'none'}\", or a set that has some, as --config.data.name=emoji_people"
    )
  return tokenizer_of(data, chosen.vocabulary_of(texts))


def tokenizer_of(data: Any, vocabulary: tuple[str, ...]) -> Any:
  """Returns the `Tokenizer` of config.data.text with a vocabulary that is known, as from a run's spec."""
  return build(TOKENIZERS, data.text, "data.text", vocabulary=vocabulary)


def cut_note(tokenizer: Tokenizer, captions: Sequence[str]) -> str:
  """Says how many captions are longer than ``length``; "" if none is."""
  lengths = [len(tokenizer.tokens(caption)) for caption in captions]
  count = sum(length > tokenizer.length for length in lengths)
  said = f"{count} of {len(lengths)} training captions are cut to {tokenizer.length} tokens"
  return f"{said}; --config.data.text.length={max(lengths)} keeps them whole" if count else ""


def encode(tokenizer: Tokenizer, captions: Sequence[str], field: str = "") -> np.ndarray:
  """Returns the numbers of the captions' tokens, int32 [N, length].

  Args:
    tokenizer: makes the tokens.
    captions: the texts.
    field: names a user's captions in errors; without it unknown words count as `UNKNOWN` and long captions are cut.

  Raises:
    ConfigError: a caption of ``field`` has a word that is not in the vocabulary, or too many tokens, or none.
  """
  number = {token: i for i, token in enumerate(tokenizer.vocabulary)}
  rows = np.zeros((len(captions), tokenizer.length), np.int32)
  for row, caption in zip(rows, captions, strict=True):
    tokens = tokenizer.tokens(caption)
    if field and not 0 < len(tokens) <= tokenizer.length:
      raise ConfigError(f'{field}="{caption}" has {len(tokens)} tokens; the model takes 1 to {tokenizer.length}')
    if field and (strange := next((token for token in tokens if token not in number), None)):
      raise ConfigError(
        f'{field}="{caption}": no training caption has the word "{strange}"{nearest(strange, number)}; write another, '
        f"or {UNKNOWN} in its place"
      )
    tokens = tokens[: tokenizer.length]
    row[: len(tokens)] = [number.get(token, number.get(UNKNOWN, 0)) for token in tokens]
  return rows


def _check(length: int) -> None:
  if length < 1:
    raise ConfigError(f"length={length} must be above 0; take --.length=16")


def _words(caption: str) -> list[str]:
  plain = unicodedata.normalize("NFKC", caption).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
  return _TOKEN.findall(plain.lower())
