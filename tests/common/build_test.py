"""A section of a config becomes an object, or an error that says which field is wrong and what there is."""

import dataclasses

import flax.linen as nn
import pytest

from common.build import build, parameters
from common.errors import ConfigError, nearest


@dataclasses.dataclass
class Square:
  side: float
  color: str = "black"
  canvas: int = 0

  def __post_init__(self):
    if self.side <= 0:
      raise ConfigError(f"side={self.side} must be above 0")


def circle(radius: float = 1.0) -> tuple[str, float]:
  return "circle", radius


SHAPES = {"square": Square, "circle": circle}


def test_the_signature_is_the_schema():
  assert build(SHAPES, {"name": "square", "side": 2.0}, "shape") == Square(2.0)
  assert build(SHAPES, {"name": "circle", "radius": 3.0}, "shape") == ("circle", 3.0)


def test_context_goes_to_those_that_take_it_and_cannot_be_set():
  assert build(SHAPES, {"name": "square", "side": 2.0}, "shape", canvas=7).canvas == 7
  assert build(SHAPES, {"name": "circle"}, "shape", canvas=7) == ("circle", 1.0)
  with pytest.raises(ConfigError, match=r'config\.shape\.canvas is unknown: "square" takes side, color$'):
    build(SHAPES, {"name": "square", "side": 2.0, "canvas": 1}, "shape", canvas=7)


@pytest.mark.parametrize(
  ("section", "message"),
  [
    ({"name": "sqare"}, r'config\.a\.shape\.name="sqare" is not one of circle, square; did you mean "square"\?'),
    ({"name": "zzz"}, r'config\.a\.shape\.name="zzz" is not one of circle, square$'),
    ({}, r'config\.a\.shape\.name="None" is not one of'),
    ({"name": "square", "side": 1, "colour": 2}, r'config\.a\.shape\.colour is unknown.*did you mean "color"\?'),
    ({"name": "square"}, r'config\.a\.shape lacks side, which "square" needs'),
    ({"name": "square", "side": -1}, r"config\.a\.shape: side=-1 must be above 0"),
  ],
)
def test_errors_name_the_field_and_the_way_out(section, message):
  with pytest.raises(ConfigError, match=message):
    build(SHAPES, section, "a.shape")


def test_the_path_of_a_nested_section_is_whole():
  table = {"frame": lambda inner: build(SHAPES, inner, "inner")}
  with pytest.raises(ConfigError, match=r'^config\.outer\.inner\.name="oval" is not one of'):
    build(table, {"name": "frame", "inner": {"name": "oval"}}, "outer")


def test_a_section_is_not_consumed():
  section = {"name": "circle", "radius": 2.0}
  build(SHAPES, section, "shape")
  assert section == {"name": "circle", "radius": 2.0}


def test_flaxs_own_fields_are_not_settable():
  assert {"parent", "name"}.isdisjoint(parameters(nn.Dense))


def test_nearest_is_silent_without_a_near_word():
  assert nearest("widht", ["width", "depth"]) == '; did you mean "width"?'
  assert nearest("zzz", ["width"]) == ""
