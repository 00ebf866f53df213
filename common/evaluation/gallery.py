"""The pictures that a run draws of itself: samples of the same latents at each stated step, and what its model adds."""

import jax
import jax.numpy as jnp
import numpy as np

from common import random
from common.algorithm import Generative
from common.data import images
from common.data.preprocess import preprocess
from common.evaluation.sampling import Sampler
from common.training.program import Program
from common.types import PyTree

COLUMNS = 8  # of a sample grid
ROWS = 8  # where there are no labels
CLASSES = 20  # rows at most where there are


class Gallery:
  """Pictures of a Generative; compiled once."""

  def __init__(self, program: Program, algorithm: Generative):
    self._program, self._spec = program, program.dataset.spec
    self._conditional = algorithm.conditional
    self._sampler = Sampler(algorithm, self._spec, program.mesh) if algorithm.has_prior else None
    self._visualize = jax.jit(algorithm.visualize)

  def __call__(self, state: PyTree) -> dict[str, np.ndarray]:
    """{name: uint8 picture [H, W, C]}: "samples", a row a class where there are labels, and what `visualize` names.

    A model without a prior has no samples.
    """
    spec, program = self._spec, self._program
    labels = np.repeat(spec.labels[:CLASSES], COLUMNS) if self._conditional else None
    num = COLUMNS * ROWS if labels is None else len(labels)
    pictures = {"samples": self._sampler(state, program.config.seed, num, labels)} if self._sampler else {}
    validation, data = program.dataset.validation, program.config.data
    rows = validation.rows(np.arange(min(COLUMNS * ROWS // 2, len(validation))))
    raw = jax.tree.map(jnp.asarray, {**rows, "index": np.arange(len(rows["label"]), dtype=np.int32)})
    rng = random.stream(program.key, "visualize")
    batch = preprocess(raw, rng, spec=spec, flip=False, dequantize=data.dequantize, binarize=data.binarize, train=False)
    pictures |= {name: np.asarray(x) for name, x in self._visualize(state, batch, rng).items()}
    return {name: images.picture(x, spec.kind, spec.pixel_range, columns=COLUMNS) for name, x in pictures.items()}
