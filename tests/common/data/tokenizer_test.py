"""Captions as rows of token numbers, from the sources that have some."""

import numpy as np
import pytest

from common.data.dataset import open_dataset
from common.data.prepare import prepare_set
from common.data.tokenizer import Bytes, Words, encode
from common.errors import ConfigError
from tests.common.data.settings import data_config

CAPTIONS = ["Woman: dark skin", "the cook\N{RIGHT SINGLE QUOTATION MARK}s hat", "woman & man"]
VOCABULARY = ("<pad>", "<unk>", "&", "'", ":", "cook", "dark", "hat", "man", "s", "skin", "the", "woman")
WORDS = {"name": "words", "length": 12}


def test_words_and_marks_are_numbered_whatever_the_order():
  assert Words.vocabulary_of(CAPTIONS) == Words.vocabulary_of(CAPTIONS[::-1]) == VOCABULARY
  words = Words(VOCABULARY, length=5)
  expected = [[12, 4, 6, 10, 0], [11, 5, 3, 9, 7], [12, 2, 8, 0, 0]]
  assert encode(words, CAPTIONS).tolist() == expected and encode(words, CAPTIONS).dtype == np.int32
  assert encode(words, ["WOMAN  unknown <unk>", "man man man man man man"]).tolist() == [[12, 1, 1, 0, 0], [8] * 5]


@pytest.mark.parametrize(
  ("caption", "message"),
  [
    ("a wonam", r'--text="a wonam": no training caption has the word "a"'),
    ("wonam", r'has the word "wonam"; did you mean "woman"\?; write another, or <unk> in its place'),
    ("man " * 6, "has 6 tokens; the model takes 1 to 5"),
    ("  ", "has 0 tokens"),
  ],
)
def test_a_users_caption_must_be_known(caption, message):
  words = Words(VOCABULARY, length=5)
  with pytest.raises(ConfigError, match=message):
    encode(words, [caption], "--text")
  assert encode(words, ["<unk> man"], "--text").tolist() == [[1, 8, 0, 0, 0]]


def test_bytes_know_every_caption():
  tokenizer = Bytes(Bytes.vocabulary_of([]), length=8)
  row = encode(tokenizer, ["日本"], "--text")[0]
  assert len(tokenizer.vocabulary) == 257 and bytes((row[:6] - 1).tolist()).decode() == "日本" and not row[6:].any()


def test_a_set_has_rows_of_text_and_its_spec_their_vocabulary():
  dataset = open_dataset(data_config(name="emoji_people", text=WORDS))
  captions = dataset.train.captions()
  assert dataset.spec.vocabulary == Words.vocabulary_of(captions) and len(captions) == len(dataset.train)
  assert ("text", (12,), "int32") in dataset.spec.rows and dataset.notes == []
  row = dataset.train.rows(np.array([7]))["text"][0]
  assert (
    " ".join(dataset.spec.vocabulary[i] for i in row[row > 0]).replace(" :", ":").replace(" - ", "-") == captions[7]
  )
  np.testing.assert_array_equal(row, dataset.train.arrays()["text"][7])
  assert not np.any(dataset.test.arrays()["text"] == 1), "the test captions are new sentences of known words"
  assert "text" not in open_dataset(data_config(name="emoji_people")).train.arrays()


def test_long_captions_are_cut_and_counted():
  (note,) = open_dataset(data_config(name="emoji_people", text={"name": "words", "length": 8})).notes
  assert note.endswith("training captions are cut to 8 tokens; --config.data.text.length=10 keeps them whole")


def test_a_prepared_set_keeps_the_captions(tmp_path):
  before = open_dataset(data_config(name="emoji_people", text=WORDS))
  prepare_set(before.source, tmp_path / "set", (32, 32, 3), "crop")
  after = open_dataset(data_config(name="emoji_people", dir=str(tmp_path / "set"), text=WORDS))
  assert after.spec.vocabulary == before.spec.vocabulary and not after.source.in_memory
  for split in ("train", "test"):
    chosen = np.array([5, 60, 2])
    own, other = (getattr(data, split).rows(chosen) for data in (before, after))
    assert all(np.array_equal(own[name], other[name]) for name in ("image", "label", "text"))


def test_other_captions_are_another_set_to_those_who_read_them(monkeypatch):
  def specs(text):
    found = []
    for ending in ("", "!"):
      dataset = open_dataset(data_config(name="emoji_people", text=text))
      captions = [f"{caption}{ending}" for caption in dataset.train.captions()]
      monkeypatch.setattr(dataset.train, "captions", lambda own=captions: own)
      found.append(dataset.spec)
    return found

  old, new = specs(WORDS)
  assert len(old.differences(new)) == 1 and "fingerprint" in old.differences(new)[0]
  plain, also = specs({"name": "none"})
  assert plain == also and plain.vocabulary == ()


def test_a_set_without_captions_is_refused():
  with pytest.raises(ConfigError, match='text.name="words": "digits" has no captions; take --config.data.text="{'):
    open_dataset(data_config(text=WORDS))
  with pytest.raises(ConfigError, match=r"config\.data\.text: length=0 must be above 0"):
    open_dataset(data_config(name="emoji_people", text={"name": "words", "length": 0}))
