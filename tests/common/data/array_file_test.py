"""Rows that stay in their file are those of the array, and a file that is damaged meanwhile is an error."""

import zipfile

import numpy as np
import pytest

from common.data.array_file import open_array
from common.errors import ConfigError

RNG = np.random.RandomState(0)


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.float16, ">f4"])
def test_rows_are_those_of_the_array(tmp_path, dtype):
  array = RNG.randint(0, 256, (30, 4, 3)).astype(dtype)
  np.save(tmp_path / "a.npy", array)
  np.savez(tmp_path / "a.npz", first=array[:7], images=array)
  with zipfile.ZipFile(tmp_path / "a.npz") as archive:
    member_at = archive.getinfo("images.npy").header_offset
  for file in (open_array(tmp_path / "a.npy"), open_array(tmp_path / "a.npz", member_at)):
    assert (file.shape, file.dtype, file.nbytes, len(file)) == (array.shape, array.dtype, array.nbytes, 30)
    for rows in ([], [3], [4, 5, 6], RNG.permutation(30), [7, 7, 8, 2, 3, 1, 0, 29]):
      np.testing.assert_array_equal(file[np.asarray(rows, int)], array[np.asarray(rows, int)])


def test_what_has_another_order_or_no_numbers_is_not_opened(tmp_path):
  np.save(tmp_path / "a.npy", np.asfortranarray(RNG.rand(3, 4)))
  np.save(tmp_path / "b.npy", np.asarray([{}]), allow_pickle=True)
  assert open_array(tmp_path / "a.npy") is open_array(tmp_path / "b.npy") is None


def test_a_file_that_is_cut_off_or_removed_is_named(tmp_path):
  np.save(tmp_path / "a.npy", RNG.rand(30, 4))
  file = open_array(tmp_path / "a.npy")
  with (tmp_path / "a.npy").open("r+b") as content:
    content.truncate(file.offset + 20 * 32 + 5)
  assert len(file[np.arange(20)]) == 20
  with pytest.raises(ConfigError, match="a.npy is cut off before row 20 of 30; copy it again"):
    file[np.asarray([3, 20])]
  (tmp_path / "a.npy").unlink()
  with pytest.raises(ConfigError, match="a.npy cannot be read: No such file or directory; copy it again"):
    file[np.asarray([3])]
