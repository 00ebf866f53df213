"""Objectives by name: from the terms of the bound to one loss for each image."""

from vae.objectives.elbo import Capacity, Elbo
from vae.objectives.importance import ImportanceWeighted
from vae.objectives.mmd import InfoVae, Wae
from vae.objectives.reconstruction import Rae, Reconstruction

OBJECTIVES = {
  "elbo": Elbo,
  "capacity": Capacity,
  "importance_weighted": ImportanceWeighted,
  "info_vae": InfoVae,
  "wae": Wae,
  "reconstruction": Reconstruction,
  "rae": Rae,
}
