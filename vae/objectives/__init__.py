"""What is minimised, by name: from the terms of the bound to one loss an image."""

from vae.objectives.elbo import Capacity, Elbo, FreeBits
from vae.objectives.importance import ImportanceWeighted
from vae.objectives.mmd import InfoVae, Wae
from vae.objectives.reconstruction import Rae, Reconstruction

OBJECTIVES = {
  "elbo": Elbo,
  "capacity": Capacity,
  "free_bits": FreeBits,
  "importance_weighted": ImportanceWeighted,
  "info_vae": InfoVae,
  "wae": Wae,
  "reconstruction": Reconstruction,
  "rae": Rae,
}
