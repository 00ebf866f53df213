"""What a start may wait for: each import that is not needed up to the first step costs every start its time."""

import subprocess
import sys

import pytest

from experiments import ROOT


@pytest.mark.parametrize(
  ("module", "absent"),
  [
    # A wrong setting and --help are answered without JAX.
    *(
      (f"experiments.{command}", ("jax", "numpy")) for command in ("train", "evaluate", "sample", "arithmetic", "probe")
    ),
    # The processes that stream data have no use for JAX.
    ("common.data.dataset", ("jax", "PIL", "tensorflow_datasets", "grain")),
    ("common.training.trainer", ("orbax", "PIL", "tensorflow_datasets", "grain", "torch", "tensorboardX")),
  ],
)
def test_imports_none_of(module, absent):
  code = f"import sys, {module}; print(*sorted(set(sys.modules) & {set(absent)!r}))"
  done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
  assert done.stdout.split() == []


_LOADED = """
import atexit, runpy, sys

atexit.register(lambda: print(*(name for name in sys.modules if name.startswith("common.")), file=sys.stderr))
sys.argv = ["train", "--config=dcgan:digits,tiny", "--check", "--compilation_cache="]
runpy.run_module("experiments.train", run_name="__main__")
"""


def test_training_without_metrics_of_pictures_imports_no_extractor_and_no_metric():
  done = subprocess.run([sys.executable, "-c", _LOADED], cwd=ROOT, capture_output=True, text=True, timeout=300)
  assert done.returncode == 0, done.stderr
  loaded = {name for name in done.stderr.split() if name.startswith("common.evaluation.")}
  assert "common.evaluation.validation" in loaded
  unused = ("features", "metrics", "sample_validation", "scoring", "records", "pictures", "linear_svm")
  assert not {name for name in loaded if name.split(".")[2] in unused}
