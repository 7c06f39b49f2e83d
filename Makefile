# Everything sets itself up: a virtual environment in .venv, and for the tests the real servers from Debian's packages.

PYTHON ?= python3
BIN = .venv/bin

.PHONY: help run test test-servers test-deb unit lint end-to-end bench fuzz faults soak clean

help:
	@echo "make run         the daemon, on this machine's mail log or a demonstration log; touches nothing outside a private folder"
	@echo "make test        everything: lint, types, unit tests, and end-to-end tests with real servers (root, Debian 12, a machine to throw away)"
	@echo "make unit        lint, types and unit tests only; needs no root"
	@echo "make test-servers  only the tests of other mail servers than Postfix, as root"
	@echo "make test-deb    only the tests of the Debian package, as root"
	@echo "make faults      minutes of faults under real daemons: rotations, kills, clocks, full disks; make soak: hours"
	@echo "make fuzz        hostile text into every pattern, until it is stopped"
	@echo "make bench       the benchmarks that the README's figures come from"

run: .venv/run
	$(BIN)/python contrib/demo/demo.py

test: lint
	@[ "$$(id -u)" = 0 ] || { echo "make test needs root, to install and run real servers; make unit does not"; exit 77; }
	tests/end_to_end/install-servers
	$(BIN)/python -m pytest tests --ignore tests/end_to_end
	tests/end_to_end/make-package
	$(BIN)/python -m tests.faults --faults 400
	$(BIN)/python -m tests.end_to_end

# The tests of the mail servers that cannot be installed beside Postfix; `make test` runs them too.
test-servers: .venv/dev
	tests/end_to_end/install-servers
	tests/end_to_end/enter $(CURDIR)/$(BIN)/python -m pytest tests/end_to_end/test_sendmail.py tests/end_to_end/test_sendmail_rules.py tests/end_to_end/test_exim.py $(WITH_SENDMAIL)

# The Debian package, built and installed on a Debian 12 in a folder; `make test` does it too.
test-deb: .venv/dev
	tests/end_to_end/install-servers
	tests/end_to_end/make-package
	tests/end_to_end/enter $(CURDIR)/$(BIN)/python -m pytest tests/end_to_end/test_debian_package.py

WITH_SENDMAIL = tests/mtas/test_sendmail.py

unit: lint
	$(BIN)/python -m pytest tests --ignore tests/end_to_end

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fuzz: .venv/dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]' || echo 'no atheris for this Python: fuzzing blindly'
	$(BIN)/python -m tests.fuzz

bench: .venv/dev
	tests/end_to_end/install-servers
	tests/end_to_end/enter $(CURDIR)/$(BIN)/python benchmarks/latency.py
	$(BIN)/python benchmarks/maps.py
	apt-get install -y --no-install-recommends ripgrep fail2ban
	$(BIN)/python benchmarks/reading.py
	$(BIN)/python benchmarks/following.py
	tests/end_to_end/enter $(CURDIR)/$(BIN)/python benchmarks/journal.py

# Minutes of faults; SEED chooses which.
faults: .venv/dev
	tests/end_to_end/install-servers
	$(BIN)/python -m tests.faults --faults 2000 $(if $(SEED),--seed $(SEED))

# Hours of them.
soak: .venv/dev
	tests/end_to_end/install-servers
	$(BIN)/python -m tests.faults --faults 100000 $(if $(SEED),--seed $(SEED)) --json soak.json --keep-going

# Debian keeps venv in a package of its own.
.venv/bin/python:
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || apt-get install -y --no-install-recommends python3-venv
	$(PYTHON) -m venv .venv

.venv/run: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/dev: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@ .venv/run

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
