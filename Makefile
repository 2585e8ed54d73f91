# make run [ARGS="--http-port 8443"]   a server in this checkout, its state in priv/
# make test [TESTS=tests.test_tls]     the tests, or some of them; TRIAL_ARGS goes to trial
# make torture [RUNS=5] [SEED=…] [SABOTAGE=…] [JOBS=2]
#                                      the crash test of docs/reliability.md; bad runs leave their files in torture/
# make bench [ONLY=latency,idle] [REPEATS=5] [BENCH_ARGS="--driver python"]
#                                      the speed of a fresh server; docs/performance.md says more
# make bench-peers [REPEATS=5] [BENCH_ARGS="--quick"]
#                                      simple_im beside those of ejabberd, Prosody and Mosquitto that are installed
# make bench-layers [BENCH_ARGS="--source DIR"]
#                                      what a message costs, layer by layer, of this checkout or another
# make pictures RESULT=benchmarks/results/X.json [PEERS=X.jsonl] [PICTURES=docs/pictures]
# make check                           ruff, mypy and the tests
# make clean                           removes what the others made, and never priv/

PYTHON ?= python3
ARGS ?=
TESTS ?= tests
TRIAL_ARGS ?=
RUNS ?= 5
SEED ?=
SABOTAGE ?=
JOBS ?= 2
ONLY ?=
REPEATS ?= 5
BENCH_ARGS ?=
PICTURES ?= docs/pictures
PEERS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
NEEDS := setup.cfg pyproject.toml

.PHONY: run test torture bench bench-layers bench-peers pictures lint check clean

# No pid file: the lock on the state directory keeps a second server out, also after a crash.
run: $(VENV)/.installed
	@exec $(BIN)/twistd --pidfile= -n simple_im $(ARGS)

test: $(VENV)/.installed-test
	$(BIN)/python -m twisted.trial $(TRIAL_ARGS) $(TESTS)

torture: $(VENV)/.installed-test
	@$(BIN)/python -m benchmarks.torture --runs $(RUNS) --jobs $(JOBS) --seed "$(SEED)" --sabotage "$(SABOTAGE)" --keep torture

bench: $(VENV)/.installed
	@$(BIN)/python -m benchmarks.load --repeats $(REPEATS) $(if $(ONLY),--only $(ONLY)) $(BENCH_ARGS)

bench-layers: $(VENV)/.installed-bench
	@$(BIN)/python -m benchmarks.layers $(BENCH_ARGS)

bench-peers: $(VENV)/.installed
	@$(BIN)/python -m benchmarks.peers --repeats $(REPEATS) $(if $(ONLY),--only $(ONLY)) $(BENCH_ARGS)

pictures: $(VENV)/.installed-bench
	@$(BIN)/python -m benchmarks.load draw $(RESULT) $(PICTURES) $(if $(PEERS),--peers $(PEERS))

lint: $(VENV)/.installed-dev
	$(BIN)/python -m ruff check benchmarks simple_im tests twisted
	$(BIN)/python -m mypy simple_im
	MYPYPATH=. $(BIN)/python -m mypy --explicit-package-bases benchmarks

check: lint test

clean:
	@$(MAKE) -s -C benchmarks/imbench/gen clean
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .hypothesis _trial_temp*
	find benchmarks simple_im tests twisted -name __pycache__ -prune -exec rm -rf {} +
	rm -f twisted/plugins/dropin.cache

# A stamp is written when a step is done, so an interrupted one is done again.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit(f"{sys.executable} is Python {sys.version.split()[0]}, simple_im needs 3.11 or newer: say make PYTHON=/path/to/python3.11")'
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made $(NEEDS)
	$(PIP) install --editable .
	@touch $@

# Some tests compile a library; where no C compiler is installed, one comes as a package.
$(VENV)/.installed-test: $(VENV)/.made $(NEEDS)
	$(PIP) install --editable '.[test]'
	@command -v cc gcc clang >/dev/null || $(PIP) install --editable '.[compiler]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: $(VENV)/.made $(NEEDS)
	$(PIP) install --editable '.[bench]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: $(VENV)/.made $(NEEDS)
	$(PIP) install --editable '.[dev]'
	@touch $@ $(VENV)/.installed
