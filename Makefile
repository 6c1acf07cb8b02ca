# Each target makes the virtual environment it needs on first use; nothing but Python 3.11+ and make beforehand.
PYTHON ?= python3
VENV ?= .venv
CORE ?= $(VENV)-core
BIN := $(VENV)/bin

# Tests and experiments over other people's learning curves run where there are some.
ifneq ($(wildcard ../shared/data),)
export RUNGWISE_DATA ?= $(abspath ../shared/data)
endif

# Executors and stores over other people's engines, and a browser, each in a virtual environment of its own.
EXECUTORS := dask ray slurm
ENGINES := $(EXECUTORS) cloud browser

# Kept between runs: make would take them for files on the way.
.PRECIOUS: $(VENV)-%/engine.installed

.PHONY: demo boosting nas text ddp test core engines engines-bench fuzz lint bench faults peers evidence tables clean

demo: $(VENV)/demo.installed
	$(BIN)/python examples/digits.py

boosting: $(VENV)/demo.installed
	$(BIN)/python examples/boosting.py

nas: $(VENV)/nas.installed
	$(BIN)/python examples/nas.py

text: $(VENV)/nas.installed
	$(BIN)/python examples/text.py

ddp: $(VENV)/nas.installed
	$(BIN)/python examples/ddp.py

test: $(VENV)/test.installed
	$(BIN)/python -m pytest

core: $(CORE)/core.installed
	RUNGWISE_CORE=1 $(CORE)/bin/python -m pytest src tests/core tests/laws tests/search tests/test_imports.py \
		tests/test_space.py tests/test_study.py tests/test_trial.py tests/test_loop.py tests/test_several_metrics.py

engines: $(ENGINES:%=engine-%)

engine-%: $(VENV)-%/engine.installed
	RUNGWISE_ENGINE=$* $(VENV)-$*/bin/python -m pytest tests/engines

engines-bench: $(VENV)/test.installed $(EXECUTORS:%=$(VENV)-%/engine.installed)
	$(BIN)/python benchmarks/engines.py local
	for name in $(EXECUTORS); do $(VENV)-$$name/bin/python benchmarks/engines.py $$name || exit 1; done

# The properties in `make test` are always tried on the same examples; here on others each time. SEED=… repeats a run.
SEED ?= $(shell date +%s)
ROUNDS ?= 5
fuzz: $(VENV)/test.installed
	for round in $$(seq 0 $$(( $(ROUNDS) - 1 ))); do \
		seed=$$(( $(SEED) + round )); echo "seed $$seed (make fuzz SEED=$$seed ROUNDS=1 repeats it)"; \
		RUNGWISE_FUZZ=1 $(BIN)/python -m pytest -m hypothesis --hypothesis-seed=$$seed --timeout=900 || exit 1; \
	done

lint: $(VENV)/lint.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/test.installed
	$(BIN)/python benchmarks/bench.py

faults: $(VENV)/test.installed
	cd tests && ../$(BIN)/python faults/world.py --seeds 10000
	RUNGWISE_KILLS=200 $(BIN)/python -m pytest tests/faults

peers: $(VENV)/test.installed
	$(BIN)/python benchmarks/peers/run.py

evidence: $(VENV)/test.installed
	$(BIN)/python benchmarks/evidence.py

tables: $(VENV)/test.installed
	$(BIN)/python benchmarks/tables/digits_mlp.py
	$(BIN)/python benchmarks/tables/fashion_cells.py
	$(BIN)/python benchmarks/tables/boosted_trees.py
	$(BIN)/python benchmarks/tables/fashion_cnn.py

$(VENV)/%.installed: pyproject.toml tests/constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint tests/constraints.txt \
		--editable '.[$*]'
	touch $@

# A virtual environment with none of the extras.
$(CORE)/core.installed: pyproject.toml
	test -x $(CORE)/bin/python || $(PYTHON) -m venv $(CORE)
	$(CORE)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[core-test]'
	touch $@

$(VENV)-%/engine.installed: pyproject.toml tests/constraints.txt
	test -x $(VENV)-$*/bin/python || $(PYTHON) -m venv $(VENV)-$*
	$(VENV)-$*/bin/python -m pip install --quiet --disable-pip-version-check --constraint tests/constraints.txt \
		--editable '.[core-test,$*-test]'
	touch $@

clean:
	rm -rf $(VENV) $(CORE) $(ENGINES:%=$(VENV)-%)
