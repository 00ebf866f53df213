"""The rows of a batch that a model is given, such as "label": its pictures are conditioned on them."""

from collections.abc import Mapping

from common.types import Array, Given


def given_of(batch: Mapping[str, Array], names: tuple[str, ...]) -> Given:
  """Returns the rows of ``names`` in a batch; None if there are no names."""
  return {name: batch[name] for name in names} or None


def check_given(given: Given, names: tuple[str, ...]) -> None:
  """Raises ValueError unless ``given`` has exactly the rows that a model is given."""
  if set(given or ()) != set(names):
    has, needs = (", ".join(each) or "nothing" for each in (given or (), names))
    raise ValueError(f"this model is given {needs}, and not {has}")
