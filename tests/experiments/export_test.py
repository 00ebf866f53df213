"""An exported model draws what its run draws: loaded by this project, and in a process without its code."""

import subprocess
import sys

import jax
import numpy as np
import pytest

from common.errors import ConfigError
from common.training import weights
from experiments import api
from tests.experiments.dcgan_uses_test import untrained
from tests.experiments.runs import call

_LATENTS = """
import sys
import numpy as np
inputs = np.load(sys.argv[1])
z = [inputs[name] for name in sorted(inputs) if name.startswith("z")]
z = z[0] if len(z) == 1 else tuple(z)
labels, text = inputs["labels"], inputs["text"]
"""
_SAVED = """
np.save(sys.argv[2], images)
assert not {"common", "gan", "vae", "experiments", "flax"} & set(sys.modules)
"""


@pytest.mark.parametrize("variant", ["cgan:dcgan,tiny", "sagan:tiny", "vae:tiny", "hvae:tiny", "text_vae:tiny"])
def test_an_exported_model_draws_what_its_run_draws(tmp_path, variant):
  workdir, out = untrained(tmp_path / "run", variant, seed=1), tmp_path / "out"
  api.export(workdir, out)
  run, again = api.load(workdir), api.load(out)
  texts = ["man pilot", "<unk> pilot: dark skin tone"] + 3 * ["woman judge"] if variant == "text_vae:tiny" else None
  images, labels = api.sample(run, 5, seed=3, texts=texts)
  np.testing.assert_array_equal(api.sample(again, 5, seed=3, texts=texts).images, images)
  sampler = api.sampler_of(run)
  z = sampler.latents(run.state, 3, np.arange(5), run.stated(labels, texts) or None)
  given = {f"z{i}": np.asarray(part) for i, part in enumerate(jax.tree.leaves(z))}
  np.savez(
    tmp_path / "in.npz", labels=[] if labels is None else labels, text=run.stated(None, texts).get("text", []), **given
  )
  text = (out / "README.md").read_text()
  code = text.partition("```python\n")[2].partition("```")[0]  # what the card says, in a process without the project
  (tmp_path / "script.py").write_text(_LATENTS + code + _SAVED)
  words = [sys.executable, "-P", str(tmp_path / "script.py"), str(tmp_path / "in.npz"), str(tmp_path / "drawn.npy")]
  done = subprocess.run(words, cwd=out, capture_output=True, text=True, timeout=300, env=_environment())
  assert done.returncode == 0, done.stderr
  np.testing.assert_allclose(np.load(tmp_path / "drawn.npy"), images, rtol=0, atol=2e-5)
  assert ("z, labels)" in text) == (labels is not None) and "None was measured" in text


def _environment() -> dict[str, str]:
  import os

  return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"JAX_PLATFORMS": "cpu"}


def test_the_averages_are_exported_where_they_are_kept(tmp_path):
  workdir = untrained(tmp_path / "run", "r3gan:digits,tiny", seed=1)
  run = api.load(workdir)
  average = jax.tree.map(lambda x: x + 1, run.state.generator.ema_params)
  state = run.state.replace(generator=run.state.generator.replace(ema_params=average))
  names = weights.named(state)
  key = next(name for name in names if name.startswith("generator/params/"))
  raw = weights.named(run.state)[key]
  np.testing.assert_array_equal(names[key], raw + 1)
  again = weights.with_named(run.state, names)
  jax.tree.map(np.testing.assert_array_equal, again.generator.params, average)
  jax.tree.map(np.testing.assert_array_equal, again.generator.ema_params, average)
  with pytest.raises(ConfigError, match=f"other networks, 1 differences: {key}: absent ->"):
    weights.with_named(run.state, {name: x for name, x in names.items() if name != key})


def test_an_export_starts_a_run_and_is_scored(tmp_path, capfd):
  workdir, out = untrained(tmp_path / "run", "vae:digits,tiny", seed=1), tmp_path / "out"
  assert call("export", f"--workdir={workdir}", f"--out={out}") == 0
  assert "weights.safetensors" in capfd.readouterr().out
  (one, *rest), again = api.evaluate(workdir, "model"), api.evaluate(out, "model")
  assert one["value"] == again[0]["value"] and len(again) == 1 + len(rest)
  api.export(workdir, tmp_path / "scored")
  assert "  distortion " in (tmp_path / "scored" / "README.md").read_text()
  train = ("train", "--config=vae:digits,tiny", "--config.train.num_steps=10", "--config.samples.every=0")
  train = (*train, "--config.evaluate.every=0", f"--init_from={out}")
  assert call(*train, f"--workdir={tmp_path / 'a'}") == 0
  assert call(*train, "--config.model.width=16", f"--workdir={tmp_path / 'b'}") == 2
  assert "--init_partly takes what fits" in capfd.readouterr().err
  assert call(*train, "--config.model.width=16", "--init_partly", f"--workdir={tmp_path / 'b'}") == 0
  assert "not from there: net/params/" in capfd.readouterr().err


def test_what_cannot_be_exported_or_loaded_is_said(tmp_path):
  workdir, out = untrained(tmp_path / "run", "gan:digits,tiny", seed=1), tmp_path / "out"
  out.mkdir()
  (out / "mine.txt").write_text("")
  with pytest.raises(ConfigError, match="is not empty; name a new directory"):
    api.export(workdir, out)
  api.export(workdir, tmp_path / "new")
  with pytest.raises(ConfigError, match="is an exported model of step 0; use --checkpoint=last"):
    api.load(tmp_path / "new", "best")
  file = tmp_path / "new" / weights.FILE
  file.write_bytes(file.read_bytes()[:-5])
  with pytest.raises(ConfigError, match="cannot be read"):
    api.load(tmp_path / "new")


def test_a_model_without_a_prior_is_exported_without_a_decoder(tmp_path):
  workdir = untrained(tmp_path / "run", "autoencoder:digits,tiny", seed=1)
  api.export(workdir, tmp_path / "out")
  assert (
    not (tmp_path / "out" / "decode.jax").exists() and "jax.export" not in (tmp_path / "out" / "README.md").read_text()
  )


def test_a_network_that_restores_is_exported_without_a_decoder_of_one_size(tmp_path):
  workdir, out = untrained(tmp_path / "run", "edsr:emoji_people,tiny", seed=1), tmp_path / "out"
  api.export(workdir, out)
  assert not (out / "decode.jax").exists() and "experiments.restore --workdir" in (out / "README.md").read_text()
  picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
  one, again = (api.restore(api.load(place), picture) for place in (workdir, out))
  np.testing.assert_array_equal(one, again)
