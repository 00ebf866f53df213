"""Hands a trained model on: python -m experiments.export --workdir=runs/dcgan --out=mine

The directory gets weights.safetensors (with the averages of the weights where the run keeps them), config.json,
spec.json, README.md (what it is, its scores and how to load it) and decode.jax: the map from latents to pictures as
StableHLO, for any batch size, which jax.export loads without this project's code. Every command of this project takes
the directory in the place of a workdir, and experiments.train as --init_from.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from absl import flags

from common.errors import ConfigError
from experiments.command_line import flags as command_line

FLAGS = flags.FLAGS
DECODE = "decode.jax"


def define_flags() -> None:
  flags.DEFINE_string("workdir", "", "directory of the run")
  flags.DEFINE_string("checkpoint", "last", "last, best, or the number of a step")
  flags.DEFINE_string("out", "", "directory to write; it must be new or empty")


def main() -> int:
  command_line.required("workdir")
  command_line.required("out")

  from common.training.log import Status
  from experiments import api
  from experiments.command_line import compilation_cache

  status = Status(enabled=True)
  compilation_cache.start(status)
  with status.phase("exporting"):
    api.export(FLAGS.workdir, FLAGS.out, checkpoint=FLAGS.checkpoint)
  for file in sorted(Path(FLAGS.out).iterdir()):
    print(f"{file}  {file.stat().st_size:,} bytes")
  return 0


def export(run: Any, workdir: Path, out: Path) -> None:
  """Writes the directory; see `experiments.api.export`."""
  if out.exists() and (not out.is_dir() or any(out.iterdir())):
    raise ConfigError(f"--out={out} is not empty; name a new directory")
  command_line.make_directory("out", out)
  try:
    _write(run, workdir, out)
  except BaseException:
    shutil.rmtree(out, ignore_errors=True)  # otherwise the same command would find it not empty
    raise


def _write(run: Any, workdir: Path, out: Path) -> None:
  from common import files
  from common.algorithm import Generative
  from common.training import weights
  from common.training.workdir import write_description
  from configs import schema

  arrays = weights.named(run.state)
  about = {"step": str(run.step), "family": run.config.family}
  sha = weights.save(out / weights.FILE, arrays, about)
  # The decoder has one size of pictures; a network that restores takes any, and stays with the project.
  decodes = isinstance(run.algorithm, Generative) and run.algorithm.has_prior and "seen" not in run.algorithm.given
  if decodes:
    files.write(out / DECODE, serialized_decode(run, arrays))
  files.write(out / "README.md", card(run, workdir, sha, decodes, sum(x.size for x in arrays.values())))
  write_description(out, {"version": schema.VERSION, **run.config.to_dict()}, run.spec)


def serialized_decode(run: Any, arrays: Any) -> bytes:
  """Returns decode(weights, z[, labels or text]) -> images [B, H, W, C] for any B, on CPU, GPU and TPU."""
  import jax
  import jax.export

  from common.training import weights

  layers = run.latents()
  structure, leaves = jax.tree.structure(layers), jax.tree.leaves(layers)
  z = leaves[0] if len(leaves) == 1 else tuple(leaves)  # without the tuple around a VAE's only layer
  given = [row for row in run.spec.rows if row.name in run.algorithm.given]
  inputs = (z, *(jax.ShapeDtypeStruct((1, *row.shape), row.dtype) for row in given))
  shapes = jax.eval_shape(lambda: run.state)

  def one(named: Any, z: Any, *rows: Any) -> Any:
    state = weights.with_named(weights.fresh(shapes), named)
    latents = jax.tree.unflatten(structure, [x[None] for x in jax.tree.leaves(z)])
    own = {kind.name: row[None] for kind, row in zip(given, rows, strict=True)}
    return run.algorithm.decode(state, latents, own or None)[0]  # no row depends on another

  batch = jax.export.symbolic_shape("batch")[0]
  of_batch = jax.tree.map(lambda x: jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype), inputs)
  decode = jax.jit(jax.vmap(one, in_axes=(None, *(0 for _ in inputs))))
  named = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), dict(arrays))
  return bytes(jax.export.export(decode, platforms=("cpu", "cuda", "tpu"))(named, *of_batch).serialize())


_CARD = """# {name}

A {family} trained for {step:,} steps on `{dataset}` ({num_examples:,} images of {shape}{classes}). It has {size:,}
numbers; the sha256 of their file begins with {sha}. `config.json` has every setting. The licence of the training
images is not stated here.

## Scores

{scores}

## Use

With the project that trained it:

```sh
python -m experiments.{command} --workdir=THIS_DIRECTORY
```
"""
_PRIORS = {
  "normal": "N(0, I)",
  "standard_normal": "N(0, I)",
  "uniform": "U[-1, 1)",
  "standard_uniform": "U[-sqrt 3, sqrt 3)",
}
_GIVEN = {  # {row: (the argument of the decoder, what it is)}
  "label": (", labels", "; `labels` are int32 [B]"),
  "text": (", text", "; `text` is int32 [B, T], places in the `vocabulary` of spec.json, and 0 after a caption's end"),
}
_DECODE = """
Without it, after `pip install jax flatbuffers safetensors`:

```python
from jax import export
from safetensors.numpy import load_file

decode = export.deserialize(open("decode.jax", "rb").read())
images = decode.call(load_file("weights.safetensors"), z{given})
```

`z` is {z}, drawn from {prior}{given_doc}. `images` are float32
[B, {height}, {width}, {channels}], from {low:g} (black) to {high:g} (white).
"""


def card(run: Any, workdir: Path, sha: str, decodes: bool, size: int) -> str:
  """Returns the README of an exported model."""
  import jax

  from experiments import api

  spec = run.spec
  height, width, channels = spec.image_shape
  file = workdir / "evaluations.jsonl"
  records = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
  own = [record for record in records if record["source"].get("step") == run.step]
  text = _CARD.format(
    name=workdir.resolve().name,
    family=run.config.family,
    step=run.step,
    dataset=run.config.data.name,
    num_examples=spec.num_examples,
    shape=f"{height}x{width}x{channels}",
    classes=f", {spec.num_classes} classes" if spec.num_classes else "",
    size=size,
    sha=sha[:16],
    command="restore" if "seen" in getattr(run.algorithm, "given", ()) else "sample",
    scores=f"```\n{api.table(own)}\n```" if own else "None was measured at this step.",
  )
  if not decodes:
    return text
  leaves = [f"{x.dtype.name} [B, {', '.join(map(str, x.shape[1:]))}]" for x in jax.tree.leaves(run.latents())]
  argument, meaning = _GIVEN.get(next(iter(run.algorithm.given), ""), ("", ""))
  name = run.config.z_prior if "z_prior" in run.config else run.config.prior.name
  return text + _DECODE.format(
    prior=_PRIORS.get(name, f'the prior "{name}" of config.json, which needs the project'),
    z=leaves[0] if len(leaves) == 1 else f"({', '.join(leaves)})",
    given=argument,
    given_doc=meaning,
    height=height,
    width=width,
    channels=channels,
    low=spec.pixel_range[0],
    high=spec.pixel_range[1],
  )


if __name__ == "__main__":
  command_line.run(main, __doc__, define_flags)
