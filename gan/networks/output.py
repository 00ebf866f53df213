"""What every discriminator returns."""

import flax.struct

from common.algorithm import Array


class DiscriminatorOutput(flax.struct.PyTreeNode):
  """logits [B], before the sigmoid; features [B, F], the input of the last layer."""

  logits: Array
  features: Array
