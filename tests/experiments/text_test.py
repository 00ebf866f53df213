"""Pictures of captions, from a run on captioned pictures: the command, the library, and mistakes."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from common.data.catalogue import open_source
from common.data.tokenizer import encode, tokenizer_of
from common.errors import ConfigError
from experiments import ROOT, api
from tests.common.data.settings import data_config
from tests.experiments.dcgan_uses_test import untrained
from tests.experiments.runs import call

CAPTION = "woman pilot: dark skin tone"


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> Path:
  return untrained(tmp_path_factory.mktemp("text") / "run", "text_vae:tiny", seed=1)


def test_a_caption_is_drawn_from_the_workdir_alone(workdir, tmp_path):
  """Each picture from a latent of its own; the row of tokens is that of training."""
  run = api.load(workdir)
  images, labels = api.sample(run, 3, seed=5, texts=[CAPTION] * 3)
  assert labels is None and images.shape == (3, 32, 32, 3) and np.abs(images[0] - images[1]).max() > 0
  row = encode(tokenizer_of(run.config.data, run.spec.vocabulary), [CAPTION])
  given = {"text": row.repeat(3, axis=0)}
  z = api.sampler_of(run).latents(run.state, 5, np.arange(3), given)
  direct = jax.jit(run.algorithm.decode)(run.state, z, given)
  np.testing.assert_allclose(images, direct, atol=1e-5)

  out = tmp_path / "sheet.png"
  assert call("sample", f"--workdir={workdir}", f"--text={CAPTION}", "--num=3", f"--out={out}") == 0
  with Image.open(out) as sheet:
    assert sheet.size == (240, 68 + 18)
  captions = tmp_path / "captions.txt"
  captions.write_text(f"man pilot\n\n{CAPTION}\n<unk> pilot\n")
  assert call("sample", f"--workdir={workdir}", f"--text_file={captions}", "--columns=4", f"--out={out}") == 0
  with Image.open(out) as sheet:
    assert sheet.size == (4 * 68, 3 * (68 + 18))


def test_pictures_are_scored_by_the_pictures_of_their_captions(workdir, capfd):
  """The two copies stand beside each score."""
  assert call("evaluate", f"--workdir={workdir}", "--metrics=psnr,retrieval") == 0
  lines = capfd.readouterr().out.splitlines()
  for metric in ("psnr", "recall_at_1", "sibling_accuracy"):
    [line] = [line for line in lines if line.strip().startswith(f"{metric} ")]
    assert re.search(r"[\d.]+ \(closest caption\), [\d.]+ \(nearest picture\)$", line)


@pytest.mark.parametrize(
  ("words", "message"),
  [
    (["--text=woman piolt"], 'no training caption has the word "piolt"; did you mean "pilot"'),
    ([], "this model is given text, which is not drawn; write some, --text=CAPTION"),
    (["--labels=3"], "this model is unconditional and takes no labels"),
    (["--text_file=/nowhere"], "--text_file=/nowhere cannot be read"),
    (["--text=man", "--text_file=x"], "--text_file=x and --text both say which pictures"),
    (["--num=6", "--text_file=x"], "leave one out; --columns sets the pictures of a caption"),
  ],
)
def test_mistake(workdir, words, message, capfd):
  assert call("sample", f"--workdir={workdir}", *words) == 2
  assert message in capfd.readouterr().err


def test_captions_are_for_models_of_captions(tmp_path, workdir):
  with pytest.raises(ConfigError, match="the model is given text; only latents of models of labels are found"):
    api.encode(api.load(workdir), np.zeros((1, 32, 32, 3), np.uint8))
  run = api.load(untrained(tmp_path / "run", "vae:digits,tiny", seed=1))
  with pytest.raises(ConfigError, match="this model is given nothing, and not text"):
    run.stated(texts=["man"])


def test_the_captions_of_the_demo_are_not_trained_on():
  captions = (ROOT / "experiments" / "demo_captions.txt").read_text(encoding="utf-8").splitlines()
  test = open_source(data_config(name="emoji_people")).read("test", np.arange(128))["text"]
  assert len(captions) == 6 and set(captions) <= set(test)
