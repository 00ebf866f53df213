"""A VAE that is given an image reconstructs it, by the weights and beside the rows that are its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.evaluation.sampling import Sampler
from common.parallel import make_mesh
from tests.tiny import filled
from tests.vae.tiny_model import SPEC, keys_of, model_of
from vae.reconstructing import Reconstructing


@pytest.fixture(scope="module")
def labelled():
  """A deterministic autoencoder that is given labels, whose averaged weights are half of the trained ones."""
  sections = {"posterior": "deterministic", "prior": "none", "objective": "reconstruction", "conditioning": "concat"}
  settings = {axis: {"name": name} for axis, name in sections.items()}
  vae, state, batch = model_of(compiled=False, **settings, ema={"name": "decay", "decay": 0.5})
  state = filled(jax.eval_shape(state))
  halved = jax.tree.map(lambda x: 0.5 * x, state.net.params)
  return vae, state.replace(net=state.net.replace(ema_params=halved)), batch


@pytest.mark.parametrize("ema", [True, False])
def test_a_sample_is_the_reconstruction_of_its_own_image_beside_its_own_label(labelled, ema):
  vae, state, batch = labelled
  given = {"label": batch["label"]}
  expected = vae.network.apply(state.net.variables(ema=ema), batch["image"], given, keys_of(8), method="reconstruct")
  rows = lambda index: {name: batch[name][index] for name in ("image", "label")}  # noqa: E731
  sampler = Sampler(Reconstructing(vae, ema), SPEC, make_mesh(1), ema=ema, batch_size=4, examples=rows)
  assert not sampler.labelled
  order = np.array([3, 1, 0, 2, 7, 6, 4, 5])
  np.testing.assert_allclose(sampler(state, 0, order), expected[jnp.asarray(order)], rtol=1e-5, atol=1e-6)
