"""The transformer of codes: probabilities, draws in order and by masks, guidance, and what a draw may choose."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from common.errors import ConfigError
from tests.vae.tiny_model import drawn, keys_of
from vae.samplers.transformer import CodeTransformer, _masked, filtered

MAPS = np.asarray(list(itertools.product(range(3), repeat=4)), np.float32)  # all maps of 2x2
WORDS = ("<pad>", "<unk>", "man", "woman")
NET = CodeTransformer((2, 2, 1), 3, 5, WORDS, given="text", width=8, layers=2, heads=2)
CAPTION = np.array([[2, 3, 0]], np.int32)


def text(count, caption=CAPTION):
  return {"text": np.tile(caption, (count, 1))}


@functools.cache
def variables():
  return drawn(lambda key: NET.init(key, MAPS, text(81), method="log_prob"))


@functools.partial(jax.jit, static_argnums=(0, 1), static_argnames="train")
def run(module, method, variables, *args, **ways):
  return module.apply(variables, *args, method=method, **ways)


@functools.cache
def log_p():
  return np.float64(run(NET, "log_prob", variables(), MAPS, text(81)))


def test_probabilities_sum_to_one_and_draws_follow_them():
  count = 3000
  codes = np.asarray(run(NET, "sample", variables(), keys_of(count), text(count)))
  observed = np.bincount(codes.astype(int) @ [27, 9, 3, 1], minlength=81)
  p = np.exp(log_p())
  np.testing.assert_allclose(p.sum(), 1.0, rtol=1e-5)
  assert 0.5 * np.abs(p - 1 / 81).sum() > 0.1  # an even distribution would be noticed
  assert stats.chisquare(observed, p / p.sum() * count).pvalue > 1e-3
  some = np.array([7, 3])
  np.testing.assert_array_equal(run(NET, "sample", variables(), keys_of(count)[some], text(2)), codes[some])


def test_the_steps_of_a_draw_sum_to_its_log_p_in_one_pass():
  """The keys and values that steps keep are those of the whole sequence; also beside padding."""
  tokens, codes = CAPTION.repeat(81, axis=0), MAPS.astype(np.int32)
  caches, total = run(NET, "prefill", variables(), tokens), 0.0
  for place in range(4):
    before = codes[:, place - 1] if place else np.full(81, 3, np.int32)
    logits, caches = run(NET, "step", variables(), caches, before, place, tokens)
    total += np.take_along_axis(np.asarray(jax.nn.log_softmax(logits)), codes[:, place, None], axis=1)[:, 0]
  np.testing.assert_allclose(total, log_p(), atol=1e-5)


@pytest.mark.parametrize("steps", [0, 2])
def test_padding_changes_nothing_and_words_do(steps):
  net = NET.clone(steps=steps)

  def of(caption):
    return np.asarray(run(net, "log_prob", variables(), MAPS, text(81, np.array([caption])), keys_of(81)))

  np.testing.assert_allclose(of([2, 3]), of([2, 3, 0, 0, 0]), atol=1e-5)
  assert np.abs(of([2, 3]) - of([3, 2])).max() > 0.01
  assert np.abs(of([2, 3]) - of([0, 0])).max() > 0.01 and np.all(np.isfinite(of([0, 0])))


def test_guidance_of_1_is_none_and_of_0_ignores_the_caption(monkeypatch):
  plain = run(NET, "sample", variables(), keys_of(9), text(9))
  ignored = NET.clone(guidance=0.0)
  nothing = run(NET, "sample", variables(), keys_of(9), text(9, np.zeros((1, 3), np.int32)))
  np.testing.assert_array_equal(run(ignored, "sample", variables(), keys_of(9), text(9)), nothing)
  assert np.any(nothing != plain)
  logits = np.array([[1.0, 2.0, 0.0], [3.0, 1.0, 1.0]])  # of the caption, and of none
  np.testing.assert_allclose(NET.clone(guidance=3.0)._choice(logits), [[-3.0, 4.0, -2.0]])
  np.testing.assert_allclose(NET.clone(temperature=0.5)._choice(logits), 2.0 * logits)
  monkeypatch.setattr(CodeTransformer, "_null", lambda *_: pytest.fail("a second pass is made"))
  again = jax.jit(lambda v: NET.apply(v, keys_of(9), text(9), method="sample"))(variables())
  np.testing.assert_array_equal(again, plain)


def test_what_top_k_and_top_p_leave():
  logits = np.log(np.array([[0.1, 0.4, 0.2, 0.3], [0.25, 0.25, 0.25, 0.25]]))
  support = [np.isfinite(filtered(logits, *ways)).sum(-1).tolist() for ways in ((0, 1.0), (2, 1.0), (9, 1.0))]
  assert support == [[4, 4], [2, 4], [4, 4]]
  np.testing.assert_array_equal(np.isfinite(filtered(logits[:1], 0, 0.6)), [[False, True, False, True]])
  np.testing.assert_array_equal(np.isfinite(filtered(logits[:1], 0, 0.3)), [[False, True, False, False]])
  np.testing.assert_array_equal(np.isfinite(filtered(logits[:1], 3, 0.9)), [[False, True, True, True]])
  net = NET.clone(top_k=1)  # only the likeliest code is left, so that keys do not matter
  assert len(np.unique(run(net, "sample", variables(), keys_of(9), text(9)), axis=0)) == 1


def test_captions_and_labels_are_hidden_by_row():
  keys = keys_of(2000)
  tokens = np.asarray(NET.clone(drop=0.25)._tokens(text(2000), 2000, keys))
  hidden = ~tokens.any(axis=1)
  np.testing.assert_array_equal(tokens[~hidden], CAPTION.repeat((~hidden).sum(), axis=0))
  assert abs(hidden.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 2000)
  np.testing.assert_array_equal(np.asarray(NET.clone(drop=0.25)._tokens(text(5), 5, keys[5:10])), tokens[5:10])
  labelled = NET.clone(given="label", drop=0.5)
  assert set(np.asarray(labelled._tokens({"label": np.full(99, 4)}, 99, keys[:99]))[:, 0].tolist()) == {4, 5}
  np.testing.assert_array_equal(labelled._tokens({"label": np.arange(3)}, 3), [[0], [1], [2]])


def test_training_drops_and_evaluation_does_not():
  net, args = NET.clone(dropout=0.5, drop=0.0), (MAPS, text(81), keys_of(81))
  np.testing.assert_allclose(run(net, "log_prob", variables(), *args), log_p(), atol=1e-5)
  assert np.abs(run(net, "log_prob", variables(), *args, train=True) - log_p()).max() > 0.1


def test_how_many_codes_are_masked():
  """In evaluation each number as often, in training a share of cos(pi/2 u), which is 2 / pi on average."""
  u = (np.arange(4000) + 0.5) / 4000
  np.testing.assert_array_equal(np.bincount(np.asarray(_masked(u, 8, train=False), int)), [0, *[500] * 8])
  number = np.asarray(_masked(u, 1000, train=True))
  assert number.min() >= 1 and number.max() == 1000 and abs(number.mean() / 1000 - 2 / np.pi) < 1e-3


def test_the_bound_of_masked_codes():
  """Where no code depends on another, it is log p for every draw; of one place it is log p itself."""
  alone = jax.tree.map(np.zeros_like, variables())
  alone["params"]["head"]["bias"] = bias = np.array([0.3, -1.0, 0.5], np.float32)
  net, codes = NET.clone(steps=2), np.full((81, 4), 2, np.float32)
  expected = 4 * np.log(np.exp(bias[2]) / np.exp(bias).sum())
  for train in (False, True):
    np.testing.assert_allclose(
      run(net, "log_prob", alone, codes, text(81), keys_of(81), train=train), expected, rtol=1e-5
    )
  of_two = run(net, "log_prob", alone, MAPS, text(81), keys_of(81))  # of masked places only
  assert np.abs(of_two - run(NET, "log_prob", alone, MAPS, text(81))).max() > 0.1


def test_a_masked_code_is_predicted_from_all_others():
  net, tokens = NET.clone(steps=2), np.zeros((5, 0), np.int32)
  codes = np.array([0, 1, 3, 1], np.int32) + np.eye(5, 4, dtype=np.int32) * [1, 1, 0, 1]  # 3 is the mask
  logits = np.asarray(run(net, "logits", variables(), codes, tokens))[:, 2]
  changed = np.abs(logits - logits[-1]).max(axis=-1)
  np.testing.assert_array_equal(changed > 1e-4, [True, True, False, True, False])


def test_masks_leave_by_a_cosine_the_surest_first():
  """As in the authors' decoder: of 16 codes 14, 11 and 6 stay masked, then none, and what is kept stays.

  The model is surest of the last places at first, and later of the first.
  """
  net, seen = CodeTransformer((4, 4, 1), 3, 0, (), steps=4, choice_temperature=0.0, width=8, heads=2), []
  sharp = np.zeros((1, 16, 3), np.float32)
  sharp[0, :, 1] = 6.0 + 0.3 * np.arange(16)  # later places are surer

  def apply(method, codes, tokens):
    seen.append(np.asarray(codes)[0])
    return jnp.asarray(sharp if len(seen) == 1 else sharp[:, ::-1])

  with jax.disable_jit():
    codes = np.asarray(net._by_masks(apply, keys_of(1), np.zeros((1, 0), np.int32)))
  assert [int((codes == 3).sum()) for codes in seen] == [16, 14, 11, 6] and not np.any(codes == 3)
  assert all(np.all(before[now == 3] == 3) for before, now in itertools.pairwise(seen))
  assert np.flatnonzero(seen[2] == 3).tolist() == list(range(3, 14))  # of the first 14, the last 11
  one = NET.clone(steps=1)
  assert np.asarray(run(one, "sample", variables(), keys_of(5), text(5))).max() < 3


@pytest.mark.parametrize("steps", [0, 2])
def test_every_parameter_has_a_gradient(steps):
  net = NET.clone(steps=steps)
  loss = jax.jit(jax.grad(lambda v: -net.apply(v, MAPS, text(81), keys_of(81), method="log_prob").mean()))
  for path, grad in jax.tree_util.tree_leaves_with_path(loss(variables())):
    assert np.any(np.asarray(grad) != 0.0), jax.tree_util.keystr(path)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"width": 9}, "width=9 must be even"),
    ({"given": "txt"}, 'given="txt" is not one of none, label, text'),
    ({"vocabulary": ()}, 'given="text", and the images of these codes have no text'),
    ({"given": "label", "num_classes": 0}, 'given="label", and the images of these codes have no label'),
    ({"given": "none", "guidance": 2.0}, "guidance=2.0 needs something given"),
    ({"num_codes": 1}, "num_codes=1 must be 2 or more"),
    ({"temperature": 0.0}, "temperature=0.0 above 0"),
    ({"top_p": 0.0}, r"top_p=0.0 in \(0, 1\]"),
    ({"drop": 1.0}, r"drop=1.0 must be in \[0, 1\)"),
  ],
)
def test_settings_that_mean_nothing_are_refused(settings, message):
  with pytest.raises(ConfigError, match=message):
    NET.clone(**settings)
