"""What a penalty sees of an update of the discriminator, and what it must offer."""

from typing import Any, NamedTuple, Protocol

from common.types import Array, Images, PyTree


class ApplyD(Protocol):
  """Images [B, H, W, C] -> logits [B]; ``half`` says whose augmentation, "real" or "fake", they go through first."""

  def __call__(self, x: Images, half: str = "real") -> Array: ...


class Seen(NamedTuple):
  """One batch in an update of D.

  Attributes:
    apply_d: D in training mode, which keeps BatchNorm statistics and spectral vectors as they are. Derivatives by vjp
      only: common/layers/conv.py has no forward mode.
    params: D's parameters, which the loss is differentiated by.
    real: images [B, H, W, C].
    fake: images [B, H, W, C], constants.
    real_logits: [B], of the pass that the loss has.
    fake_logits: [B], the same.
    updates: int32, updates of D before this one.
    rows: keys [B] to draw from, this penalty's own.
    axis_name: the device axis for statistics over the batch, None for the global view.
  """

  apply_d: ApplyD
  params: PyTree
  real: Images
  fake: Images
  real_logits: Array
  fake_logits: Array
  updates: Array
  rows: Array
  axis_name: str | None


class Penalty(Protocol):
  """A frozen dataclass whose fields are its settings."""

  @property
  def every(self) -> int:
    """It is computed at each so many-th update of D, and then counts so many times (Karras et al. 2020, App. B).

    There it has an update of its own, and the optimizer is rescaled for having more of them; so here where
    config.lazy_penalties is "update" (`common.optim.with_lazy_updates`). Where it is "term", it is part of an update
    for the loss, of which there are as many as without it: nothing is rescaled.
    """
    ...

  def init(self) -> Any:
    """Its running state, a tree of arrays; () for none."""
    ...

  def __call__(self, seen: Seen, aux: Any) -> tuple[Array, Any]:
    """What is added for each pair of a real and a fake image, [B], with its weight; and the new running state."""
    ...
