import pytest

from common.data.splits import split_range
from common.errors import ConfigError

SIZES = {"train": 100, "test": 10}


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("train", ("train", 0, 100)),
    ("train[:80]", ("train", 0, 80)),
    ("train[80:]", ("train", 80, 100)),
    ("train[20:30]", ("train", 20, 30)),
    ("train[-5:]", ("train", 95, 100)),
    ("test[:-4]", ("test", 0, 6)),
    ("test[:]", ("test", 0, 10)),
  ],
)
def test_a_split_is_a_name_and_a_range(text, expected):
  assert split_range(text, SIZES, "config.data.train_split") == expected


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("trian", 'did you mean "train"'),
    ("validation", "the set has train, test"),
    ("train[:200]", 'out of range: "train" has 100 examples'),
    ("train[-101:]", "out of range"),
    ("train[50:50]", "is empty"),
    ("train[100:]", "is empty"),
    ("train[:10%]", "is not a split"),
    ("train[5]", "is not a split"),
    ("", "is not a split"),
  ],
)
def test_a_bad_split_is_an_error_that_names_the_field(text, message):
  with pytest.raises(ConfigError, match="config.data.train_split") as error:
    split_range(text, SIZES, "config.data.train_split")
  assert message in str(error.value)
