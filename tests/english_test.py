"""Wording that a native reader stumbles over, searched for in documents, comments, docstrings and texts of the code.

`FOLDERS` lists the clean folders, without their subfolders; it grows as the rest is rewritten.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "experiments/RESULTS.md")
FOLDERS = (
  "common",
  "common/data",
  "common/data/degradations",
  "common/evaluation",
  "common/evaluation/features",
  "common/evaluation/metrics",
  "common/layers",
  "common/restoration",
  "common/training",
  "configs",
  "experiments",
  "experiments/command_line",
  "experiments/latents",
  "experiments/restoration",
  "experiments/scores",
  "experiments/web",
  "gan",
  "gan/augment",
  "gan/networks",
  "vae",
  "vae/networks",
  "vae/objectives",
  "vae/posteriors",
  "vae/samplers",
)

BANNED = {  # pattern -> what to write instead
  r"\bso many\b": "name the number: N updates",
  r"\beach \w+-th\b": "every N-th",
  r"\bsuch that are\b": "those that are, or a relative clause",
  r"\b(?:have|has) not(?=[.,;:)]|$)": "lack, or: do not have",
  r"\b(?:is|are) of (?!the same\b)(?:an?|the|its|their)\b": "belongs to, consists of, comes from",
  r"\bof before\b": "earlier, previous",
}
BANNED_STARTS = {  # the same for the beginning of a docstring
  r"Of ": "a sentence with a verb",
  r"What (?:a|an|the)\b": "a noun that names it; for a function a verb: Returns, Computes, Writes",
}


def texts(path: Path) -> Iterator[tuple[int, str]]:
  """Yields (line, text) for each paragraph of a document, and for each comment and string of a module."""
  source = path.read_text()
  if path.suffix == ".md":
    line = 1
    for paragraph in source.split("\n\n"):
      yield line, paragraph
      line += paragraph.count("\n") + 2
    return
  kinds = (tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING))
  for token in tokenize.generate_tokens(io.StringIO(source).readline):
    if token.type in kinds:
      yield token.start[0], token.string


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
  """Yields (line, docstring) for a module, its classes and its functions."""
  kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, kinds) and (text := ast.get_docstring(node)):
      yield node.body[0].lineno, text


def broken(text: str, *, starts: bool = False) -> list[str]:
  """Returns the advice for each banned pattern in ``text``, or at its start."""
  if starts:
    return [advice for pattern, advice in BANNED_STARTS.items() if re.match(pattern, text)]
  text = re.sub(r"\s+", " ", text)
  return [f"{found[0]!r}: {advice}" for pattern, advice in BANNED.items() if (found := re.search(pattern, text))]


MODULES = [path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in sorted(ROOT.glob(f"{folder}/*.py"))]


@pytest.mark.parametrize("name", [*DOCUMENTS, *MODULES])
def test_plain_english(name):
  path = ROOT / name
  wrong = [f"{line}: {advice}" for line, text in texts(path) for advice in broken(text)]
  if path.suffix == ".py":
    wrong += [f"{line}: {advice}" for line, text in docstrings(path) for advice in broken(text, starts=True)]
  assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
  "text",
  [
    "the first so many updates",
    "every update, and each n-th of G",
    "the pixels such that are black",
    "told of a score that these images have not.",
    "the mode that a model has not",
    "The file is of an older version.",
    "the rows are of\n  the last run",
    "runs of before commit 1234567",
  ],
)
def test_the_rule_bites(text):
  assert broken(text)


@pytest.mark.parametrize(
  ("name", "source"),
  [
    ("a.py", "x = 1  # the first so many\n"),
    ("a.py", 'x = 1\n\n\ndef f():\n  raise ValueError(f"the first so many of {x}")\n'),
    ("a.md", "A text.\n\nIt names the first so\nmany updates.\n"),
  ],
  ids=["comment", "string", "paragraph"],
)
def test_all_texts_are_read(tmp_path, name, source):
  path = tmp_path / name
  path.write_text(source)
  assert any(broken(text) for _, text in texts(path))


@pytest.mark.parametrize("text", ["Of the means over a split.", "What a run writes down.", "What the trainer needs."])
def test_the_rule_bites_at_the_start_of_a_docstring(text):
  assert broken(text, starts=True)


@pytest.mark.parametrize("text", ["rows that have not been read", "images are of the same size", "the mean of a batch"])
def test_sound_wording_passes(text):
  assert not broken(text)
