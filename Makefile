# taiqu: the two commands a new user needs are `make demo` and `make test`.

PYTHON ?= python3
BIN := .venv/bin
SOURCES := gateway protocols simulators tests

.PHONY: demo test torture bench format lint types tests tools docs clean

# Meters, lines, a broker and a head-end that do not exist; the gateway that does.
demo: .venv/ready
	@$(BIN)/taiqu demo $(ARGS)

# Everything: format, lint, types, tests.
test: format lint types tests

# The long form: kills, outages, three years of money, 2,000 streets of switching (75 minutes of 2 cores).
# ARGS="-k daemon": only the kills and outages of the daemon, some ten minutes.
torture: .venv/ready tools
	$(BIN)/pytest -n $$(nproc) --dist worksteal -m torture $(ARGS)

# How fast and how lean, measured against the wire: JSON lines, some ten minutes.  ARGS=--quick: five.
# ARGS="wire urgent": only those.
bench: .venv/ready tools
	@$(BIN)/python -m tests.bench $(ARGS)

format: .venv/ready
	$(BIN)/ruff format --check $(SOURCES)

lint: .venv/ready
	$(BIN)/ruff check $(SOURCES)

types: .venv/ready
	$(BIN)/mypy

# On all cores, and one test more than there are cores: some only wait, for a real line or broker.
# ARGS="-n0 --pdb tests/test_bill.py": one after the other, as pytest does it by itself.
tests: .venv/ready tools
	$(BIN)/pytest -n $$(($$(nproc) + 1)) --dist worksteal $(ARGS)

# Other people's programs that the tests are checked against: a broker, a Modbus master, a tracer for
# power cuts, certificates.  In CI a missing one is a failure, on a desk a test skipped with a reason.
tools:
	@missing=""; for tool in mosquitto mbpoll strace openssl; do \
	  command -v $$tool >/dev/null || test -x /usr/sbin/$$tool || missing="$$missing $$tool"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing$$missing for the tests"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	    --no-install-recommends $$missing >/dev/null; \
	else \
	  echo "not installed:$$missing; tests that need them are skipped;" \
	    "install them with: sudo apt-get install$$missing"; \
	fi

# The message contract as JSON Schema and AsyncAPI, from the models; the diagrams of switching.
docs: .venv/ready
	$(BIN)/taiqu contract --directory docs
	$(BIN)/python -m gateway.disconnection.diagrams > docs/switching.md

.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "taiqu needs Python 3.11 or newer; $(PYTHON) is older: make PYTHON=python3.11 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { \
	  echo "no venv module: install it with: sudo apt-get install python3-venv"; exit 1; }
	@echo "setting up .venv (once)"
	@$(BIN)/pip install -q --disable-pip-version-check -e '.[demo,dev]'
	@touch $@

clean:
	rm -rf .venv build *.egg-info
