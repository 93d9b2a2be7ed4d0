PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-diffusers docs bench clean

demo: $(VENV)/.core  ## install, and draw four images with the built-in engine
	IMAGEN_HOME=demo-images/home $(BIN)/imagen generate "a lighthouse at dusk" -n 4 --model sketch --out demo-images

test: $(VENV)/.dev  ## formatting, lint, types and the whole suite
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/flake8-async --enable=ASYNC --disable=ASYNC109,ASYNC114,ASYNC124,ASYNC9 $$(find imagen imagen_mcp -name '*.py')
	$(BIN)/mypy && $(BIN)/mypy tests/typing_api.py
	$(BIN)/python -m pytest -q

test-diffusers: .venv-diffusers/.done  ## the tests of diffusers with the real packages: 2.7 GB to download
	HF_HUB_OFFLINE=1 .venv-diffusers/bin/python -m pytest -q tests/providers/diffusers

docs: $(VENV)/.docs  ## build the documentation into site/, warnings as errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/.bench  ## the benchmarks, by hand: minutes, and nothing else should run meanwhile
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.latency
	$(BIN)/python -m benchmarks.stream
	$(BIN)/python -m benchmarks.crash
	$(BIN)/python -m benchmarks.library
	$(BIN)/python -m benchmarks.publish

clean:
	rm -rf $(VENV) .venv-diffusers demo-images site

$(VENV)/.core: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --editable ".[bench]"
	touch $@

$(VENV)/.docs: $(VENV)/.core
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	touch $@

.venv-diffusers/.done: pyproject.toml
	$(PYTHON) -m venv .venv-diffusers
	.venv-diffusers/bin/python -m pip install --quiet --editable ".[dev,diffusers]"
	touch $@
