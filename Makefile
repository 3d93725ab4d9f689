# make run: train digits-cnn under the console. make test: the default suite. README.md says more.
.PHONY: run test test-matrix fuzz coverage e2e life gpu faults soak ssh lint format docs bench bench-gpu clean
VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
# A file's tests stay in one process: its fixtures are set up once.
PARALLEL := -n logical --maxprocesses=4 --dist=loadfile
INPUTS := pyproject.toml setup.py $(CONSTRAINTS)

run: $(VENV)/.installed
	@$(BIN)/torchconsole train digits-cnn

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(PARALLEL) --ignore=tests/e2e --ignore=tests/gpu --ignore=tests/ssh --ignore=tests/faults

# Takes as long as make test for each condition. CONDITIONS="base-5 other-user" and TESTS=tests/tui choose some.
test-matrix: $(VENV)/.installed-dev
	$(BIN)/python -m tests.support.matrix $(CONDITIONS) $(if $(TESTS),-- $(TESTS))

coverage: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term:skip-covered --ignore=tests/e2e --ignore=tests/gpu \
		--ignore=tests/ssh --ignore=tests/faults

# Mutated run folders, registry entries, presets, messages, images and tables, for MINUTES (10).
fuzz: $(VENV)/.installed-dev
	$(BIN)/python -m tests.fuzz $(MINUTES)

e2e: $(VENV)/.installed-dev
	$(BIN)/python -m pytest tests/e2e

life: $(VENV)/.installed-dev
	$(BIN)/python -m pytest tests/faults

gpu: $(VENV)/.installed-dev
	$(BIN)/python -m pytest tests/gpu

ssh: $(VENV)/.installed-dev
	$(BIN)/python -m pytest tests/ssh

faults: $(VENV)/.installed-dev
	FAULTS_FULL=1 $(BIN)/python -m pytest tests/faults

soak: $(VENV)/.installed-dev
	$(BIN)/python -m tests.soak $(MINUTES)

lint: $(VENV)/.installed-dev .typelinks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.installed-dev
	$(BIN)/python docs/generate.py

bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick)

bench-gpu: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.gpu
	$(BIN)/python -m pytest tests/gpu

$(VENV)/.installed: $(INPUTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c $(CONSTRAINTS) -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install -q --disable-pip-version-check -c $(CONSTRAINTS) -e '.[dev]'
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed-dev
	$(BIN)/python -m pip install -q --disable-pip-version-check -c $(CONSTRAINTS) -e '.[bench]'
	@touch $@

# mypy cannot see through the editable install's import hook, so it gets the package as a tree of links.
.typelinks:
	@mkdir -p .typelinks/torchconsole
	@for name in engine tui presets; do ln -sfn ../../$$name .typelinks/torchconsole/$$name; done

clean:
	rm -rf $(VENV) .typelinks build dist *.egg-info
