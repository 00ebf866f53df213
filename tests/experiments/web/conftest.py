"""Models of each kind that the page shows, untrained."""

from pathlib import Path

import pytest

from tests.experiments.dcgan_uses_test import untrained

RUNS = ("dcgan:digits,tiny", "cvae:digits,tiny", "text_vae:tiny", "unet:tiny")  # their numbers on the page
NOISE, CLASSES, CAPTIONS, HOLES = range(4)


@pytest.fixture(scope="session")
def workdirs(tmp_path_factory) -> list[Path]:
  folder = tmp_path_factory.mktemp("web")
  return [untrained(folder / variant.partition(":")[0], variant, seed=1) for variant in RUNS]
