"""What a start may wait for: each import that is not needed up to the first step costs every start its time."""

import subprocess
import sys

import pytest

from experiments.reliability import ROOT


@pytest.mark.parametrize(
  ("module", "absent"),
  [
    # A wrong setting and --help are answered without JAX.
    *(
      (f"experiments.{command}", ("jax", "numpy")) for command in ("train", "evaluate", "sample", "arithmetic", "probe")
    ),
    # Data are read while JAX is imported.
    ("common.data.dataset", ("jax", "PIL", "tensorflow_datasets", "grain")),
    ("common.trainer", ("orbax", "PIL", "tensorflow_datasets", "grain", "torch", "matplotlib", "tensorboardX")),
  ],
)
def test_imports_none_of(module, absent):
  code = f"import sys, {module}; print(*sorted(set(sys.modules) & {set(absent)!r}))"
  done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
  assert done.stdout.split() == []
