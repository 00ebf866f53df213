# make demo: from nothing to pictures. make test: lint, types and tests. Both set up .venv first.
# make test-slow: every row of the covering arrays takes its step, which make test does of some (3 minutes more).
# Tests keep what they compiled in .pytest_cache (tests/gan/gan_test.py: 44 s of processor time, then 13); pytest
# --cache-clear forgets it.
# make test-all: what .ci/run calls, lint, types and all tests in one run, which fails where one is skipped.
PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= dev
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses=4 --dist worksteal
DEMO ?= runs/demo

.PHONY: demo test test-slow test-all lint format clean

$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than Python 3.11; use make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS)]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/python -m experiments.train --config=vae:digits,conv --workdir=$(DEMO)/vae
	$(BIN)/python -m experiments.train --config=dcgan:digits --workdir=$(DEMO)/dcgan
	$(BIN)/python -m experiments.train --config=text_vae:emoji_people --workdir=$(DEMO)/text
	$(BIN)/python -m experiments.train --config=edsr:emoji_people,x2,quick --workdir=$(DEMO)/x2
	@echo
	@echo "people at twice the size, who were not trained on; the floor is bicubic enlargement:"
	@$(BIN)/python -m experiments.evaluate --workdir=$(DEMO)/x2 --metrics=psnr
	@echo "pictures of digits that no hand wrote, and of six captions that training never had:"
	@$(BIN)/python -m experiments.sample --workdir=$(DEMO)/vae --out=$(DEMO)/vae.png
	@$(BIN)/python -m experiments.sample --workdir=$(DEMO)/dcgan --out=$(DEMO)/dcgan.png
	@$(BIN)/python -m experiments.sample --workdir=$(DEMO)/text --text_file=experiments/demo_captions.txt --out=$(DEMO)/text.png

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: lint
	$(PYTEST)

test-slow: $(VENV)/installed
	$(PYTEST) -m slow

test-all: lint
	$(PYTEST) -m 'slow or not slow' --no-skips

clean:
	rm -rf $(VENV)
