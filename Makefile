# make run: train the preset demo under the console. make test: the default suite. README.md says more.
.PHONY: run test test-matrix fuzz coverage e2e integrations life distributed distributed-quick gpu faults soak ssh lint format docs screenshots bench bench-gpu clean \
	.typelinks
VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
# A file's tests stay in one process: its fixtures are set up once.
PARALLEL := -n logical --maxprocesses=4 --dist=loadfile
FACADE := $(wildcard engine/facade/*.py) engine/facade/py.typed $(patsubst %/,%,$(wildcard engine/facade/[a-z]*/))
# Next to this checkout, Python would take its folder for the package, because the finder of an editable install
# comes last. It comes first unless PYTHONPATH has a package of this name.
FIRST := import sys, importlib.machinery as m; getattr(m.PathFinder.find_spec("torchconsole"), "origin", 0) or sys.meta_path.sort(key=lambda finder: "torchconsole" not in str(finder))
INPUTS := pyproject.toml setup.py $(CONSTRAINTS)

run: $(VENV)/.installed
	@echo "the command is $(BIN)/torchconsole; to have it as torchconsole: source $(BIN)/activate"
	@$(BIN)/torchconsole train demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(PARALLEL) --ignore=tests/e2e --ignore=tests/gpu --ignore=tests/ssh --ignore=tests/faults \
		--ignore=tests/distributed

# Takes as long as make test for each condition. CONDITIONS="base-5 other-user" and TESTS=tests/tui choose some.
test-matrix: $(VENV)/.installed-dev
	$(BIN)/python -m tests.support.matrix $(CONDITIONS) $(if $(TESTS),-- $(TESTS))

coverage: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term:skip-covered --ignore=tests/e2e --ignore=tests/gpu \
		--ignore=tests/ssh --ignore=tests/faults --ignore=tests/distributed

# Mutated run folders, registry entries, presets, messages, images and tables, for MINUTES (10).
fuzz: $(VENV)/.installed-dev
	$(BIN)/python -m tests.fuzz $(MINUTES)

e2e: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(PARALLEL) tests/e2e

# Installs Lightning, transformers, Accelerate, wandb and mlflow, without which these tests are skipped.
integrations: $(VENV)/.installed-integrations
	$(BIN)/python -m pytest tests/e2e/test_callbacks.py tests/e2e/test_examples.py tests/e2e/test_tracking_services.py \
		tests/unit/engine/session/tracking/test_mlflow_log.py

life: $(VENV)/.installed-dev
	$(BIN)/python -m pytest tests/faults

distributed: $(VENV)/.installed-dev
	$(BIN)/python -m pytest tests/distributed

# A test or two of each: losses, commands, faults, FSDP, programs, two machines.
distributed-quick: $(VENV)/.installed-dev
	$(BIN)/python -m pytest tests/distributed -m quick

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
	PYTHONPATH=.typelinks $(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.installed-dev
	$(BIN)/python docs/generate.py

screenshots: $(VENV)/.installed-dev
	$(BIN)/python docs/screenshots.py

bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick)

bench-gpu: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.gpu
	$(BIN)/python -m pytest tests/gpu

$(VENV)/.installed: $(INPUTS)
	@echo "installing torch and the rest into $(VENV), once; this can take some minutes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c $(CONSTRAINTS) -e .
	@echo '$(FIRST)' > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/torchconsole.pth"
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install -q --disable-pip-version-check -c $(CONSTRAINTS) -e '.[dev]'
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed-dev
	$(BIN)/python -m pip install -q --disable-pip-version-check -c $(CONSTRAINTS) -e '.[bench]'
	@touch $@

$(VENV)/.installed-integrations: $(VENV)/.installed-dev
	$(BIN)/python -m pip install -q --disable-pip-version-check -c $(CONSTRAINTS) -e '.[integrations]'
	@touch $@

# mypy and lint-imports cannot see through the editable install's import hook, so they get the package as a
# tree of links.
.typelinks:
	@mkdir -p .typelinks/torchconsole
	@for path in engine tui presets $(FACADE); do ln -sfn ../../$$path .typelinks/torchconsole/$$(basename $$path); done

clean:
	rm -rf $(VENV) .typelinks build dist *.egg-info
