# make run [ARGS="--http-port 8443"]   a server in this checkout, its state in priv/
# make test [TESTS=tests.test_tls]     the tests, or some of them; TRIAL_ARGS goes to trial
# make torture [RUNS=5] [SEED=…] [SABOTAGE=…] [JOBS=2]
#                                      the crash test of docs/reliability.md; bad runs leave their files in torture/
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

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
NEEDS := setup.cfg pyproject.toml

.PHONY: run test torture lint check clean

# No pid file: the lock on the state directory keeps a second server out, also after a crash.
run: $(VENV)/.installed
	@exec $(BIN)/twistd --pidfile= -n simple_im $(ARGS)

test: $(VENV)/.installed-test
	$(BIN)/python -m twisted.trial $(TRIAL_ARGS) $(TESTS)

torture: $(VENV)/.installed-test
	@$(BIN)/python -m benchmarks.torture --runs $(RUNS) --jobs $(JOBS) --seed "$(SEED)" --sabotage "$(SABOTAGE)" --keep torture

lint: $(VENV)/.installed-dev
	$(BIN)/python -m ruff check benchmarks simple_im tests twisted
	$(BIN)/python -m mypy simple_im
	MYPYPATH=. $(BIN)/python -m mypy --explicit-package-bases benchmarks

check: lint test

clean:
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

$(VENV)/.installed-dev: $(VENV)/.made $(NEEDS)
	$(PIP) install --editable '.[dev]'
	@touch $@ $(VENV)/.installed
