"""The rules of the house, read from the source: who imports whom, and what is banned.

Each rule sees one file as syntax and yields what breaks it. `test_the_rule_bites` breaks each once.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("common", "configs", "experiments", "gan", "vae", "tests")
FILES = {
  path.relative_to(ROOT).as_posix(): path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))
}

MAY_IMPORT = {
  "common": {"common"},
  "gan": {"gan", "common"},
  "vae": {"vae", "common"},
  "configs": {"configs"},
  "experiments": {"experiments", "gan", "vae", "common", "configs"},
  "tests": set(FOLDERS),
}
HYBRID = "gan/vae_gan.py"  # the one file of a family that knows the other
FLOORS = ("layers", "data", "restoration", "training", "evaluation")  # of common/: a room imports those before it
UPDATERS = ("common/state.py", "common/evaluation/inversion.py")  # of networks, and of latents
OWNERS = {  # what only one file or folder may name
  "orbax": ("common/training/checkpoint.py",),
  "tensorflow_datasets": ("common/data/",),
  "array_record": ("common/data/",),
  "grain": ("common/data/",),
  "absl.flags": ("experiments/",),
  "torch": (),  # tests only
  "jax.pmap": ("common/parallel.py",),
  "jax.shard_map": ("common/parallel.py",),
  "jax.experimental.shard_map": ("common/parallel.py",),
  "jax.make_mesh": ("common/parallel.py",),
  "jax.sharding.NamedSharding": ("common/parallel.py",),
  "jax.distributed": ("common/parallel.py",),
  "jax.lax.pmean": ("common/parallel.py",),
  "jax.lax.psum": ("common/parallel.py",),
  "jax.lax.all_gather": ("common/parallel.py",),
  "optax.apply_updates": UPDATERS,
}
BANNED = {
  "pickle": "code from files",
  "cloudpickle": "code from files",
  "dill": "code from files",
  "joblib": "code from files",
  "flax.linen.Dropout": "common.layers.basic.Dropout draws by row",
  "flax.linen.BatchNorm": "common.layers.normalization.BatchNorm synchronises",
  "flax.linen.Conv": "common.layers.conv.Conv is fast inside lax.scan",
  "flax.linen.ConvTranspose": "common.layers.conv.ConvTranspose is fast",
}
EXEMPT = {  # file: what it may use of the banned
  # Its unpickler admits tensors only; the functions that unpickle anything stay banned.
  "common/evaluation/features/torch_file.py": {"pickle", "pickle.Unpickler", "pickle.UnpicklingError"},
}
DRAWS = {  # module: what of it draws nothing, or carries its seed
  "jax.random": {"key", "fold_in", "split", "key_data", "wrap_key_data"},
  "numpy.random": {"Philox", "RandomState", "Generator"},
  "random": {"Random"},
}


def imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
  """(local name, dotted name) of everything imported, at the top or in a function."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      for alias in node.names:
        yield (alias.asname, alias.name) if alias.asname else (alias.name.partition(".")[0],) * 2
        yield alias.name, alias.name
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, "relative import"
      for alias in node.names:
        yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def dotted(node: ast.AST, known: dict[str, str]) -> str:
  """The full name of ``a.b.c`` with a's import resolved, or an empty string."""
  if isinstance(node, ast.Name):
    return known.get(node.id, "")
  if isinstance(node, ast.Attribute) and (start := dotted(node.value, known)):
    return f"{start}.{node.attr}"
  return ""


def names(tree: ast.AST) -> set[str]:
  """Every imported name, and every attribute chain that starts with one."""
  known = dict(imports(tree))
  return set(known.values()) | {name for node in ast.walk(tree) if (name := dotted(node, known))}


def under(name: str, prefix: str) -> bool:
  return name == prefix or name.startswith(f"{prefix}.")


def arrows(path: str, tree: ast.Module) -> Iterator[str]:
  """Section 1: who may import whom."""
  folder = path.split("/")[0]
  for _, name in imports(tree):
    top = name.split(".")[0]
    hybrid = (path, top) == (HYBRID, "vae")
    if top in FOLDERS and top not in MAY_IMPORT[folder] and not hybrid:
      yield f"imports {name}"
    shared = any(under(name, f"configs.{module}") for module in ("recipes", "schema"))
    if folder == "configs" and not (shared or under(name, "ml_collections") or top in sys.stdlib_module_names):
      yield f"imports {name}: a launcher reads configs without a device"


def floors(path: str, tree: ast.Module) -> Iterator[str]:
  """Section 1: inside common/, evaluation -> training -> data -> layers."""
  room = path.split("/")[1]
  if not path.startswith("common/") or path.count("/") < 2:
    return
  for _, name in imports(tree):
    for above in FLOORS[FLOORS.index(room) + 1 :]:
      if under(name, f"common.{above}"):
        yield f"imports {name}, which is above it"


def owners(path: str, tree: ast.Module) -> Iterator[str]:
  """One owner a library."""
  if path.startswith("tests/"):
    return
  for name in names(tree):
    for owned, places in OWNERS.items():
      if under(name, owned) and not path.startswith(places):
        yield f"uses {name}, which belongs to {places[0] if places else 'tests/'}"


def banned(path: str, tree: ast.Module) -> Iterator[str]:
  """What has a safer or faster replacement here."""
  if path.startswith("tests/"):
    return
  for name in names(tree) - EXEMPT.get(path, set()):
    for word, reason in BANNED.items():
      if under(name, word):
        yield f"uses {name}: {reason}"
  for node in ast.walk(tree):
    if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
      yield f"allow_pickle={ast.unparse(node.value)}"


def at_import(path: str, tree: ast.Module) -> Iterator[str]:
  """Nothing reads the environment, sets JAX up or looks at flags because it was imported."""
  if path.startswith("experiments/") or path.endswith("conftest.py"):
    return
  known = dict(imports(tree))
  pending: list[ast.AST] = list(tree.body)
  while pending:
    node = pending.pop()
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
      pending += [*node.decorator_list, *node.args.defaults, *[d for d in node.args.kw_defaults if d]]
      continue
    if isinstance(node, ast.Lambda):
      continue
    name = dotted(node, known)
    words = ("jax.config", *(() if path.startswith("tests/") else ("os.environ", "os.getenv", "absl.flags.FLAGS")))
    if any(under(name, word) for word in words):
      yield f"{name} at import time"
    pending += ast.iter_child_nodes(node)


def draws(path: str, tree: ast.Module) -> Iterator[str]:
  """Section 3: rows draw from their own keys, in common/random.py; those of common/layers/basic.py have none."""
  if path == "common/random.py" or path.startswith("tests/"):
    return
  inits = (f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) and f.name == "init")
  exempt = {id(node) for init in inits for node in ast.walk(init)} if path == "common/layers/basic.py" else set()
  known = dict(imports(tree))
  for node in ast.walk(tree):
    name = dotted(node, known)
    for module, allowed in DRAWS.items():
      drawn = under(name, module) and name != module and name.removeprefix(f"{module}.").split(".")[0] not in allowed
      if drawn and id(node) not in exempt:
        yield f"draws with {name}; common/random.py draws by row"


def optimizers(path: str, tree: ast.Module) -> Iterator[str]:
  """Only state.py updates a network, and inversion.py latents, by ``tx.update(grads, state)``."""
  known = dict(imports(tree))
  for node in ast.walk(tree):
    called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "update"
    if not called or path.startswith((*UPDATERS, "tests/")) or dotted(node.func, known) == "jax.config.update":
      continue
    if len(node.args) > 1:
      yield f"calls {ast.unparse(node)}; common.state.apply_gradients does that"


def config_defaults(path: str, tree: ast.Module) -> Iterator[str]:
  """A config has every key, so that a typo is an error and not a default."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Call):
      method = isinstance(node.func, ast.Attribute) and node.func.attr in ("get", "pop", "setdefault")
      getter = isinstance(node.func, ast.Name) and node.func.id == "getattr" and len(node.args) == 3
      target = node.func.value if method else node.args[0] if getter else None
      if target is not None and re.fullmatch(r"(\w+\.)?_?(config|options|\w+_options)[\w.\[\]']*", ast.unparse(target)):
        yield f"reads a config with a default: {ast.unparse(node)}"


def nouns(path: str, tree: ast.Module) -> Iterator[str]:
  """One file, one noun."""
  if re.search(r"(^|[/_])(utils?|helpers?|misc)(\.py$|/)", path):
    yield "is named for nothing in particular"


RULES = (arrows, floors, owners, banned, at_import, draws, optimizers, config_defaults, nouns)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_holds(rule: Callable[[str, ast.Module], Iterator[str]]) -> None:
  broken = [f"{path} {what}" for path, file in FILES.items() for what in rule(path, ast.parse(file.read_text("utf-8")))]
  assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
  ("rule", "path", "code"),
  [
    (arrows, "common/a.py", "import gan"),
    (arrows, "gan/a.py", "def f():\n  from vae import priors"),
    (arrows, "gan/vae_gan.py", "from experiments import api"),
    (arrows, "vae/a.py", "from gan import gan"),
    (arrows, "vae/a.py", "from tests import tiny"),
    (arrows, "configs/a.py", "import jax"),
    (arrows, "configs/a.py", "from configs import gan"),
    (floors, "common/training/a.py", "from common.evaluation import sampling"),
    (floors, "common/layers/a.py", "import common.data.spec"),
    (owners, "common/training/trainer.py", "import orbax.checkpoint as ocp"),
    (owners, "gan/gan.py", "from jax import lax\nlax.pmean(1, 'data')"),
    (owners, "vae/vae.py", "import jax\njax.shard_map(f)"),
    (owners, "common/evaluation/evaluate.py", "from absl import flags"),
    (owners, "experiments/train.py", "import torch"),
    (banned, "gan/a.py", "from flax import linen as nn\nnn.Dropout(0.5)"),
    (banned, "common/evaluation/features/inception_weights.py", "import pickle\nclass A(pickle.Unpickler):\n  pass"),
    (banned, "common/evaluation/features/torch_file.py", "import pickle\npickle.loads(b)"),
    (banned, "common/evaluation/features/torch_file.py", "from pickle import load"),
    (banned, "common/a.py", "import numpy as np\nnp.load(f, allow_pickle=True)"),
    (at_import, "common/a.py", "import os\nclass A:\n  b = os.environ['C']"),
    (at_import, "tests/a_test.py", "import jax\njax.config.update('jax_enable_x64', True)"),
    (draws, "gan/a.py", "import jax\ndef f(key):\n  return jax.random.normal(key, (8, 2))"),
    (draws, "gan/a.py", "from jax.random import uniform as u\nu(key, (8, 2))"),
    (draws, "common/layers/basic.py", "import jax\ndef f(key):\n  return jax.random.normal(key, (8, 2))"),
    (draws, "common/data/a.py", "import numpy as np\nnp.random.permutation(5)"),
    (draws, "experiments/a.py", "import random\nrandom.shuffle(x)"),
    (optimizers, "gan/gan.py", "self.tx.update(grads, state, params)"),
    (config_defaults, "gan/gan.py", "self.config.get('n_critic', 1)"),
    (config_defaults, "vae/vae.py", "getattr(config.model, 'beta', 1.0)"),
    (nouns, "common/image_utils.py", ""),
  ],
)
def test_the_rule_bites(rule: Callable[[str, ast.Module], Iterator[str]], path: str, code: str) -> None:
  assert list(rule(path, ast.parse(code)))
