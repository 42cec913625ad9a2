# make demo    install, train a network of parallel convolutions, print where its page is
# make test    install what the tests need, run them
#
# Another Python: PYTHON=python3.12 make test. It replaces the environment in .venv; to keep both,
# give a folder too: PYTHON=python3.13 VENV=.venv-3.13 make test.

PYTHON ?= python3.11
VENV ?= .venv
RUN := $(VENV)/bin

.PHONY: demo test test-part test-slow lint docs clean

demo: $(VENV)/.demo
	$(RUN)/jconv train configs/digits.yaml --overwrite

test: $(VENV)/.test
	$(RUN)/python -m pytest -n 2 -m "not slow"

# What depends most on the versions of Python and JAX, in a few minutes.
test-part: $(VENV)/.test
	$(RUN)/python -m pytest -n 2 -m "not slow" tests/test_architecture.py tests/test_imports.py \
	  tests/_core tests/selection tests/transforms tests/analysis tests/data tests/cli \
	  tests/train/test_config.py

test-slow: $(VENV)/.test
	$(RUN)/python -m pytest -n 2

lint: $(VENV)/.test
	$(RUN)/ruff check . && $(RUN)/ruff format --check . && $(RUN)/pyright

docs: $(VENV)/.docs
	$(RUN)/mkdocs build --strict --quiet

$(VENV)/.test: $(VENV)/.demo
	$(RUN)/python -m pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/.docs: $(VENV)/.demo
	$(RUN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

$(VENV)/.demo: pyproject.toml $(VENV)/.python
	$(RUN)/python -m pip install --quiet --editable .
	touch $@

# Holds the version that the environment was made with, and is older than it until that changes.
$(VENV)/.python: FORCE
	@version=$$($(PYTHON) -c 'import sys; print(sys.version, sys.base_prefix)') || \
	  { echo "jconv needs Python 3.11 or newer as '$(PYTHON)'; set PYTHON=..."; exit 1; }; \
	if [ "$$version" != "$$(cat $@ 2>/dev/null)" ]; then \
	  rm -rf $(VENV) && $(PYTHON) -m venv $(VENV) && \
	  $(RUN)/python -m pip install --quiet --upgrade pip && echo "$$version" > $@; \
	fi

.PHONY: FORCE
FORCE:

clean:
	rm -rf $(VENV)
