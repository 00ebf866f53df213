"""Pictures of any size and number of channels through one model."""

import numpy as np
import pytest

from common.errors import ConfigError
from experiments import api
from experiments.restoration.restorer import Restorer
from tests.experiments.restoration.fake import REACH, run_of

PICTURE = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)


def test_tiles_of_a_network_give_the_untiled_result_to_the_bit_and_compile_once():
  run = run_of()
  whole = run.algorithm.decode(run.state, np.zeros((1, 0)), {"seen": PICTURE[None] / np.float32(255)})
  restorer = Restorer(run, tile=24, overlap=REACH)
  found = restorer(PICTURE)
  np.testing.assert_array_equal(found, np.clip(np.rint(np.asarray(whole) * 255), 0, 255))
  restorer(PICTURE[:10, :31])
  assert restorer._step._cache_size() == 1
  assert api.restore(run, PICTURE).shape == found.shape == (1, 100, 140, 3)


def test_draws_differ_and_depend_on_seed_and_name_only():
  run = run_of(z_dim=4)
  three = Restorer(run, tile=24, overlap=REACH, draws=3, seed=1)(PICTURE, name="a")
  again = Restorer(run, tile=32, overlap=REACH, draws=3, seed=1)(PICTURE, name="a")
  one = Restorer(run, tile=24, overlap=REACH, seed=1)(PICTURE, name="a")
  other = Restorer(run, tile=24, overlap=REACH, seed=1)(PICTURE, name="b")
  np.testing.assert_array_equal(three, again)  # the latents belong to the picture, not to a tile
  np.testing.assert_array_equal(three[:1], one)
  assert len({x.tobytes() for x in [*three, *other]}) == 4


def test_draws_of_a_prior_that_is_given_what_is_seen_follow_each_tile():
  run, flat = run_of(scale=1, z_dim=1, follows=True), np.full((60, 60, 3), 100, np.uint8)
  flat[:, 30:] = 150
  found = Restorer(run, tile=30, overlap=0, seed=1)(flat)[0].astype(int)
  still = Restorer(run_of(scale=1, z_dim=1), tile=30, overlap=0, seed=1)(flat)[0].astype(int)
  np.testing.assert_allclose((found - still)[[15, 45]][:, [15, 45], 0], [[10, 15], [10, 15]], atol=1)


def test_a_network_of_one_size_gets_tiles_of_that_size():
  restorer = Restorer(run_of(size=16), tile=64, overlap=8)
  assert restorer.tile == (16, 16) and restorer.overlap == 4
  assert restorer(PICTURE).shape == (1, 100, 140, 3)
  assert Restorer(run_of(), tile=96).tile == (96, 96)
  assert Restorer(run_of(), tile=96, longest=50).tile == (64, 64)  # one tile for each picture


@pytest.mark.parametrize(
  ("model", "depth", "expected", "said"),
  [
    ({"channels": 3}, 3, 3, ""),
    ({"channels": 3}, 1, 1, "grey, as color and back"),
    ({"channels": 1}, 3, 3, "each channel by itself"),
    ({"channels": 3, "grey": True}, 3, 3, "made grey"),
    ({"channels": 3, "grey": True}, 1, 3, ""),
  ],
)
def test_channels(model, depth, expected, said):
  restorer = Restorer(run_of(**model), tile=32, overlap=REACH)
  flat = np.full((20, 20, depth), 100, np.uint8)
  found = restorer(flat)
  assert found.shape == (1, 40, 40, expected) and restorer.change(depth) == said
  assert np.all(found[:, 8:-8, 8:-8] == 100)
  if said == "each channel by itself":
    colours = flat * np.array([0, 1, 2], np.uint8)
    assert np.all(restorer(colours)[0, 20, 20] == [0, 100, 200])


def test_a_hole_is_filled_and_the_rest_stays():
  hole = np.zeros((50, 70), bool)
  hole[10:20, 30:50] = True
  restorer = Restorer(run_of(scale=1, mask=True), tile=32, overlap=REACH)
  found = restorer(PICTURE, hole)[0]
  np.testing.assert_array_equal(found[~hole], PICTURE[~hole])
  assert np.all(found[13:17, 33:47] == 0)  # the hole is black for the network
  with pytest.raises(ConfigError, match="needs a mask"):
    restorer(PICTURE)
  with pytest.raises(ConfigError, match="takes no mask"):
    Restorer(run_of())(PICTURE, hole)


def test_what_does_not_go_together_is_said():
  with pytest.raises(ConfigError, match="has no latents"):
    Restorer(run_of(), draws=2)
  with pytest.raises(ConfigError, match="less than half"):
    Restorer(run_of(), tile=64, overlap=32)
