# boundlint: needs Python 3.10 or newer and make; everything else goes into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
EXAMPLE := examples/support_agent
FAMILY ?=
WATCHED := --quiet --no-header -W ignore --enforce-boundary tests/test_isolation.py

export PIP_ROOT_USER_ACTION = ignore

.PHONY: help demo test test-services lint bench-runtime wheel-check verify-catalog docs bench clean

help:
	@echo "make demo            install, then let boundlint find the leaks of the example agent"
	@echo "make test            install, then run all tests"
	@echo "make test-services   the pytest plugin against a real redis-server and PostgreSQL, its page in a browser"
	@echo "make lint            ruff, format check, mypy --strict"
	@echo "make wheel-check     build wheel and sdist, install the wheel elsewhere, run it"
	@echo "make verify-catalog  check the catalog against installed clients (FAMILY=redis for one)"
	@echo "make docs            write the table of rules of docs/rules.md"
	@echo "make bench           time boundlint beside other linters"
	@echo "make clean           remove .venv, builds and caches"

$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "boundlint needs Python 3.10 or newer")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: $(VENV)/created pyproject.toml setup.py
	$(PIP) --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed $(EXAMPLE)/pyproject.toml
	$(PIP) --editable '.[dev]' --editable '$(EXAMPLE)[test]'
	$(PIP) --no-deps 'arq>=0.26' # it asks for redis<6 and works with what is installed
	@touch $@

# The findings make `check` exit with 1: here that is the success. `compare.py` says whether they are the expected.
demo: $(VENV)/installed-dev
	@$(BIN)/boundlint check $(EXAMPLE); test $$? -eq 1
	@$(BIN)/python examples/compare.py
	@printf '\n== The tests of the agent, watched: each leak is a failure\n'
	@cd $(EXAMPLE) && $(abspath $(BIN))/python -m pytest $(WATCHED); test $$? -eq 1
	@printf '\n== The same tests on the repaired agent\n'
	@$(BIN)/python examples/repaired.py pytest $(WATCHED)

test: $(VENV)/installed-dev
	@cd $(EXAMPLE) && $(abspath $(BIN))/python -m pytest --quiet
	@$(BIN)/python -m pytest --numprocesses auto --dist loadgroup

# The seams against a real redis-server and a real PostgreSQL, which the tests start themselves; the report in a browser.
test-services: $(VENV)/installed-dev
	BOUNDLINT_SERVICES=1 $(BIN)/python -m pytest --quiet tests/test_services.py tests/test_runtime_page.py

# mypy does not follow an editable install whose package has another name than its folder.
$(VENV)/typings/boundlint_rules: $(VENV)/created
	@mkdir -p $(@D)
	ln -sfn $(CURDIR)/rules $@

lint: $(VENV)/installed-dev $(VENV)/typings/boundlint_rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests $(wildcard tools benchmarks)

wheel-check: $(VENV)/installed-dev
	$(BIN)/python -m pytest tests/test_package.py

verify-catalog: $(VENV)/installed
	$(BIN)/python tools/verify_catalog.py $(FAMILY)

docs: $(VENV)/installed
	$(BIN)/python tools/rules_page.py

bench-runtime: $(VENV)/installed-dev
	$(BIN)/python -m benchmarks.runtime --write

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks.run

clean:
	rm -rf $(VENV) build dist *.egg-info $(EXAMPLE)/*.egg-info .boundlint_cache .mypy_cache .pytest_cache .ruff_cache
