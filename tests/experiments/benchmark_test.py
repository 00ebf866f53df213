"""The command beside PyTorch: that both sides compute the same, that the figures are added up right, that it runs."""

import json

import numpy as np
import pytest

from common.data.dataset import open_dataset
from common.errors import ConfigError
from experiments import build_algorithm
from experiments.benchmark import report
from experiments.benchmark.cases import CASES, all_overrides, load, resolve
from experiments.benchmark.settings import settings_of
from tests.experiments.runs import call, run

SAME_NETWORKS = {"dcgan_32_b128": "dcgan_32", "dcgan_32_b512": "dcgan_32", "dcgan_64": "dcgan_32"}


@pytest.mark.parametrize("name", [name for name in CASES if name not in SAME_NETWORKS])
def test_both_sides_have_the_same_losses_and_gradients(name: str) -> None:
  pytest.importorskip("torch", reason="the extra [benchmark] is not installed")
  from experiments.benchmark.equality import compare

  differences = compare(name, tiny=True, optimize=False)
  kinds = {"net gradient", "loss"} if resolve(name).family == "vae" else {"d_loss", "g_loss"}
  assert kinds <= set(differences) and max(differences.values()) < 1e-4, differences


def test_a_difference_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
  torch = pytest.importorskip("torch", reason="the extra [benchmark] is not installed")
  from experiments.benchmark import equality, torch_steps

  honest = torch_steps.VaeStep.loss
  monkeypatch.setattr(torch_steps.VaeStep, "loss", lambda self, x, eps: honest(self, x, torch.zeros_like(eps)))
  differences = equality.compare("vae_mlp", tiny=True, optimize=False)
  assert min(differences.values()) > 1e-4, differences


def test_every_case_resolves() -> None:
  for name in CASES:
    config, tiny = resolve(name), resolve(name, tiny=True, train__batch_size=4)
    assert config.dtype == "float32" and config.train.batch_size >= 64
    assert tiny.data.name == "blobs" and tiny.train.batch_size == 4
  assert all_overrides("vae_mlp", model__width=3)["model.width"] == 3


@pytest.mark.parametrize("name", [name for name in CASES if name not in SAME_NETWORKS])
def test_the_other_side_gets_the_config_and_the_networks_defaults(name: str) -> None:
  config = resolve(name, tiny=True)
  settings = json.loads(json.dumps(settings_of(config, build_algorithm(config, open_dataset(config.data).spec))))
  for key, given in json.loads(json.dumps(config.to_dict())).items():
    if key in ("generator", "discriminator", "model"):
      assert given.items() <= settings[key].items() and len(given) < len(settings[key])
    elif key != "posterior":
      assert settings[key] == given


def test_an_unknown_override_is_refused() -> None:
  with pytest.raises(ConfigError, match=r"config\.model\.widht is unknown"):
    load("vae:fashion_mnist", {"model.widht": 3})


def test_medians_quartiles_and_ratios_are_of_rounds() -> None:
  # images/s: jax 10, 20, 60; usual 5, 40, 20; memory 10, 10, 100.
  bursts = {
    "jax": [[10, 1.0], [40, 2.0], [30, 0.5]],
    "usual": [[10, 2.0], [40, 1.0], [40, 2.0]],
    "memory": [[10, 1.0], [10, 1.0], [50, 0.5]],
  }
  summary = report.summarize(bursts)
  assert summary["images_per_second"]["jax"] == {"median": 20.0, "quartiles": [15.0, 40.0]}
  assert summary["images_per_second"]["usual"]["median"] == 20.0
  assert summary["best"] == "usual"  # by median, 20 against 10
  assert summary["ratios"] == {"usual": 2.0, "memory": 1.0}  # of (2, 0.5, 3) and (1, 2, 0.6)


def test_one_round_has_no_spread() -> None:
  summary = report.summarize({"jax": [[10, 2.0]]})
  assert summary["images_per_second"]["jax"] == {"median": 5.0, "quartiles": [5.0, 5.0]}
  assert summary["best"] == "" and summary["ratios"] == {}


def test_utilisation() -> None:
  # 100 images/s in batches of 50 are 2 steps/s of 5e9 operations, on a machine of 40e9.
  assert report.utilisation(100.0, 5e9, 50, 40.0) == pytest.approx(0.25)


def test_torch_batches_are_a_permutation_of_the_images() -> None:
  pytest.importorskip("torch", reason="the extra [benchmark] is not installed")
  from experiments.benchmark.torch_networks import as_batch
  from experiments.benchmark.torch_side import index_batches, load_batches

  images = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1) * np.uint8(51)
  for low in (0.0, -1.0):
    batches = [index_batches(as_batch(images, (low, 1.0)), 2), load_batches(images, (low, 1.0), 2)]
    for stream in batches:
      seen = sorted(float(x) for _ in range(3) for x in next(stream).flatten())
      assert seen == pytest.approx(np.linspace(low, 1.0, 6).tolist(), abs=1e-6)


def test_the_command_runs_without_torch(tmp_path) -> None:
  out, _ = run("benchmark", "--smoke", "--cases=vae_mlp", "--variants=", f"--out={tmp_path}")
  results = json.loads((tmp_path / "results.json").read_text())
  assert (tmp_path / "table.md").read_text().strip() == out.strip()
  assert list(results) == ["machine", "protocol", "cases", "extras", "peak_gflops"]
  case = results["cases"]["vae_mlp"]
  assert [len(burst) for burst in case["bursts"]["jax"]] == [2] and list(case["bursts"]) == ["jax"]
  assert case["summary"]["best"] == "" and case["data"] == "blobs" and case["peak_memory_mb"]["jax"] > 0
  assert "| vae_mlp | 8 |" in out and "not run" in out


@pytest.mark.parametrize(
  ("words", "message"),
  [
    (("--cases=vae_mpl",), '--cases: "vae_mpl" is not one of'),
    (("--variants=usual,fast",), '--variants: "fast" is not one of'),
    (("--rounds=0",), "rounds"),
  ],
)
def test_a_wrong_flag_is_one_short_message(words: tuple[str, ...], message: str, capsys) -> None:
  assert call("benchmark.__main__", *words) == 2
  err = capsys.readouterr().err
  assert message in err and "Traceback" not in err
