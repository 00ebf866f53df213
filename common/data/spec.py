"""The properties of a data set that a model depends on. Free of JAX, which processes that stream data do without."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple


class RowType(NamedTuple):
  """One row of a batch: its name, and the shape and dtype of one example's entry as models see it."""

  name: str
  shape: tuple[int, ...]
  dtype: str


@dataclasses.dataclass(frozen=True)
class Spec:
  """The properties of a data set that a model depends on; stored as spec.json, so that sampling needs no data.

  Attributes:
    image_shape: (height, width, channels).
    num_classes: labels are below this number; 0 without labels.
    num_examples: size of the train split.
    kind: "images", or "points" (float32 [B, 1, 1, 2], drawn as a scatter plot).
    pixel_range: (low, high) of images as floats, for the networks' inputs and outputs.
    fingerprint: hashes of the train split's images and labels (if any), by which a resumed run detects other data.
    classes: the labels that occur in training, if some of 0 .. num_classes - 1 do not (letters are 1 .. 26 of 27);
      empty if all of them do.
    class_names: the name of each label; empty if labels are numbers only.
    rows: the rows of a batch besides image and index.
    vocabulary: the token of each number in the row "text"; empty without that row.
  """

  image_shape: tuple[int, int, int]
  num_classes: int
  num_examples: int
  kind: str
  pixel_range: tuple[float, float]
  fingerprint: str
  classes: tuple[int, ...] = ()
  class_names: tuple[str, ...] = ()
  rows: tuple[RowType, ...] = (RowType("label", (), "int32"),)
  vocabulary: tuple[str, ...] = ()

  @property
  def labels(self) -> tuple[int, ...]:
    """The labels that occur in training; others are not sampled."""
    return self.classes or tuple(range(self.num_classes))

  def differences(self, now: "Spec") -> list[str]:
    """Returns one "data.field: own value -> value of now" for each field that differs."""
    old, new = dataclasses.asdict(self), dataclasses.asdict(now)
    if old["vocabulary"] != new["vocabulary"]:  # too long to be printed
      old["vocabulary"], new["vocabulary"] = ("the words of other captions" if x else () for x in (old, new))
    return [f"data.{field}: {value} -> {new[field]}" for field, value in old.items() if value != new[field]]

  @classmethod
  def from_json(cls, record: Mapping[str, Any]) -> "Spec":
    """Restores a spec from the content of spec.json."""
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in record.items()}
    if "rows" in fields:
      fields["rows"] = tuple(RowType(name, tuple(shape), dtype) for name, shape, dtype in fields["rows"])
    return cls(**fields)
