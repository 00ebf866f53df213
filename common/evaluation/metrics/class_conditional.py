"""Whether pictures that were drawn of a class are of that class, and as good and diverse as its real ones."""

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.scipy.sparse.linalg import cg

from common.errors import ConfigError
from common.evaluation.metrics.distances import check_features
from common.evaluation.metrics.frechet import FrechetDistance
from common.evaluation.metrics.labels import labels_of, logits_of, share
from common.evaluation.metrics.score import Need, SampleSet, Score
from common.types import Array

NEWTON_STEPS, CG_STEPS = 50, 200
ROUNDING = 1e-6  # of a float32 loss
CONVERGED = 1e-6  # a gradient of so much of the first one's length


@dataclasses.dataclass(frozen=True)
class IntraFrechet:
  """The mean over the classes of the Frechet distance within a class (Miyato & Koyama 2018, arXiv:1802.05637).

  A class has a part of the samples only, and fewer samples make the distance larger: the method says how few.

  Attributes:
    groups: of the jackknife within each class, 2 or more.
  """

  groups: int = 10
  needs: ClassVar[frozenset[Need]] = frozenset({"features", "labels"})
  better: ClassVar[dict[str, str]] = {"intra_frechet": "min"}

  def __post_init__(self) -> None:
    if self.groups < 2:
      raise ConfigError(f"groups={self.groups}: a jackknife needs 2 or more")

  def least(self) -> tuple[int, int]:
    return FrechetDistance(groups=self.groups).least()

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    distance = FrechetDistance(groups=self.groups)
    sides = {"real": (real, labels_of(real, "real")), "generated": (fake, labels_of(fake, "generated"))}
    fewest, found = min(len(real), len(fake)), []
    classes = np.union1d(*(labels for _, labels in sides.values()))
    for label in classes:
      parts = [_of_class(*sides[whose], label, whose, distance.least()[0]) for whose in sides]
      fewest = min(fewest, *(len(part) for part in parts))
      found.append(distance(parts[0], parts[1], seed)["frechet"])
    error = np.sqrt(sum(score.standard_error**2 for score in found)) / len(found)
    method = f"jackknife over {self.groups} groups within each of {len(classes)} classes of {fewest} or more"
    value, freedom = float(np.mean([score.value for score in found])), len(found) * (self.groups - 1)
    return {"intra_frechet": Score(value, float(error), method, range=(0.0, np.inf), freedom=freedom)}


def _of_class(samples: SampleSet, labels: np.ndarray, label: int, whose: str, least: int) -> SampleSet:
  rows = np.flatnonzero(labels == label)
  if len(rows) < least:
    raise ValueError(f"{len(rows)} {whose} pictures of class {label} are fewer than {least}; take more or fewer groups")
  return SampleSet(samples.images[rows], samples.features[rows])


@dataclasses.dataclass(frozen=True)
class LabelAgreement:
  """The share of generated pictures that the classifier takes for the class they were drawn of.

  "label_agreement_real" is the classifier's own accuracy. A model that has one good picture a class agrees too.
  """

  needs: ClassVar[frozenset[Need]] = frozenset({"logits", "labels"})
  better: ClassVar[dict[str, str]] = {"label_agreement": "max", "label_agreement_real": ""}

  def least(self) -> tuple[int, int]:
    return 1, 1

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    scores = {}
    for end, samples, whose in (("", fake, "generated"), ("_real", real, "real")):
      labels, logits = labels_of(samples, whose), logits_of(samples, whose)
      if not len(labels) or np.max(labels) >= logits.shape[1]:
        raise ValueError(
          f"{len(labels)} {whose} labels up to {np.max(labels, initial=-1)} are not of a classifier of "
          f"{logits.shape[1]} classes; take the one of this data set"
        )
      scores[f"label_agreement{end}"] = share(np.argmax(logits, axis=1) == labels, f"{whose} pictures")
    return scores


def linear_classifier(
  features: np.ndarray, labels: np.ndarray, num_classes: int, weight_decay: float
) -> tuple[np.ndarray, bool]:
  """Multinomial logistic regression to its one optimum: weights [D + 1, K], of which the last row is the bias.

  Minimises mean cross-entropy + weight_decay / 2 * |weights without bias|^2 by Newton's method, each step solved by
  conjugate gradients and halved until the loss falls enough (Nocedal & Wright 2006, Algorithm 7.1); from 0.

  Args:
    features: [N, D], best standardised.
    labels: int [N] below num_classes.
    num_classes: K.
    weight_decay: above 0, so that the optimum is finite.

  Returns:
    The weights, and whether the gradient vanished.
  """
  ones = np.ones((len(features), 1), np.float32)
  weights, ratio = _newton(np.concatenate([features, ones], axis=1), labels, weight_decay, num_classes)
  # Float32 can end a little before the aim.
  return np.asarray(weights), bool(ratio <= 100 * CONVERGED)


@functools.partial(jax.jit, static_argnames="num_classes")
def _newton(x: Array, labels: Array, weight_decay: Array, num_classes: int) -> tuple[Array, Array]:
  """Weights [D + 1, K], and the gradient's length there over that at 0."""

  def loss(w: Array) -> Array:
    logits = jnp.matmul(x, w, precision=lax.Precision.HIGHEST)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return jnp.mean(losses) + 0.5 * weight_decay * jnp.sum(w[:-1] ** 2)

  gradient = jax.grad(loss)
  zero = jnp.zeros((x.shape[1], num_classes))
  first = jnp.linalg.norm(gradient(zero))

  def halved(w: Array, step: Array, slope: Array) -> Array:
    """The length 1, 1/2, 1/4 ... at which the loss falls by a share of the slope; 0 where none does."""
    # Near the optimum a fall is smaller than the rounding of the loss, which the slack lets pass.
    start = loss(w) * (1.0 + ROUNDING)
    falls = lambda t: loss(w + t * step) <= start + 1e-4 * t * slope  # noqa: E731
    t = lax.while_loop(lambda t: ~falls(t) & (t > 1e-4), lambda t: 0.5 * t, jnp.ones(()))
    return jnp.where(falls(t), t, 0.0)

  def newton(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
    i, w, g, _ = carry
    product = lambda v: jax.jvp(gradient, (w,), (v,))[1]  # noqa: E731
    precision = jnp.minimum(0.1, jnp.sqrt(jnp.linalg.norm(g) / first))
    step = cg(product, -g, tol=precision, maxiter=CG_STEPS)[0]
    length = halved(w, step, jnp.sum(g * step))
    w = w + length * step
    return i + 1, w, gradient(w), length

  def unfinished(carry: tuple[Array, Array, Array, Array]) -> Array:
    i, _, g, length = carry
    return (i < NEWTON_STEPS) & (jnp.linalg.norm(g) > CONVERGED * first) & (length > 0.0)

  _, w, g, _ = lax.while_loop(unfinished, newton, (jnp.zeros((), jnp.int32), zero, gradient(zero), jnp.ones(())))
  return w, jnp.linalg.norm(g) / first


@dataclasses.dataclass(frozen=True)
class LinearClassificationAccuracy:
  """The accuracy on real pictures of a classifier that was trained on generated ones with their labels only.

  The linear-probe version of the classification accuracy score, CAS, of Ravuri & Vinyals 2019 (arXiv:1905.10887). They
  train a whole network on the pictures; here it is logistic regression on the extractor's features, which has one
  optimum and no recipe of training. Its figures are not theirs. The error is of the real pictures, for these generated.

  Attributes:
    weight_decay: of the regression on features that are standardised by the generated ones.
  """

  weight_decay: float = 1e-4
  needs: ClassVar[frozenset[Need]] = frozenset({"features", "labels"})
  better: ClassVar[dict[str, str]] = {"linear_classification_accuracy": "max"}

  def __post_init__(self) -> None:
    if self.weight_decay <= 0.0:
      raise ConfigError(
        f"weight_decay={self.weight_decay} must be above 0: classes that can be told apart have no optimum"
      )

  def least(self) -> tuple[int, int]:
    return 1, 2

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    test, train = check_features(real.features, "real features"), check_features(fake.features, "generated features")
    if test.shape[1] != train.shape[1]:
      raise ValueError(f"features of {test.shape[1]} and {train.shape[1]} numbers are not of one extractor")
    truth, labels = labels_of(real, "real"), labels_of(fake, "generated")
    if len(np.unique(labels)) < 2:
      raise ValueError(f"the generated pictures are all of class {labels[0]}; draw 2 classes or more")
    mean, deviation = np.mean(train, axis=0, dtype=np.float64), np.std(train, axis=0, dtype=np.float64)
    deviation[deviation == 0.0] = 1.0
    test, train = (((rows - mean) / deviation).astype(np.float32) for rows in (test, train))
    weights, converged = linear_classifier(train, labels, int(np.max(labels)) + 1, self.weight_decay)
    if not converged:
      raise ValueError(f"logistic regression with weight_decay={self.weight_decay} did not converge; raise it")
    predicted = np.argmax(test @ weights[:-1] + weights[-1], axis=1)
    what = f"real pictures, logistic regression on {len(train)} generated"
    return {"linear_classification_accuracy": share(predicted == truth, what)}
