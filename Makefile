# make demo   a photo in, expressions out          make check     linters and types
# make test   the quick tests, on all cores        make test-all  the slow tests, too
# make serve  the HTTP API and the page at http://localhost:8000
# make bench  time it all (DATA=fer2013.zip)       make clean     remove what these made
# make torture MINUTES=60  broken files, kills and faults: the harness of tests/robustness
# make test-oldest  the quick tests with the oldest dependencies that setup.cfg allows
# make audit-deps   known vulnerabilities of what is installed     make sbom  a list of it, CycloneDX

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
TOOLS = $(VENV)/tools/bin
OLDEST = $(VENV)/oldest/bin/python

.PHONY: demo serve test test-all test-oldest check bench clean torture audit-deps sbom

demo: $(VENV)/.demo
	$(BIN)/ferembed demo

serve: $(VENV)/.demo
	$(BIN)/ferembed serve

test: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --dist worksteal $(PYTEST_FLAGS)

test-all: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --dist worksteal -m "" $(PYTEST_FLAGS)

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m benchmarks.readme --check

bench: $(VENV)/.test
	@test -n "$(DATA)" || { echo "Say where FER2013 is: make bench DATA=fer2013.zip"; exit 1; }
	$(BIN)/python -m benchmarks.speed $(ROWS) --data $(DATA)

torture: $(VENV)/.test
	$(BIN)/python -m tests.robustness.torture --minutes $(or $(MINUTES),10) --keep torture --output torture.json

test-oldest: $(VENV)/oldest/.test
	$(OLDEST) -m pytest -n auto --dist worksteal $(PYTEST_FLAGS)

audit-deps: $(VENV)/.demo $(VENV)/tools/.made
	$(TOOLS)/pip-audit --strict --skip-editable --path "$$($(BIN)/python -c \
	  'import sysconfig; print(sysconfig.get_path("purelib"))')"

sbom: $(VENV)/.demo $(VENV)/tools/.made
	$(TOOLS)/cyclonedx-py environment --output-reproducible --output-file sbom.json $(BIN)/python

clean:
	rm -rf $(VENV) torture torture.json sbom.json build dist demo *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/.demo: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' || \
	  { echo "ferembed needs Python 3.10 to 3.13. Name one: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "Python cannot make environments. On Debian: apt install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --editable '.[fast,serve]'
	@$(BIN)/python -c 'import cv2' || \
	  { echo "OpenCV lacks a system library. On Debian: apt install libxcb1"; exit 1; }
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --editable '.[fast,serve,test,dev]'
	@touch $@

$(VENV)/tools/.made:
	$(PYTHON) -m venv $(VENV)/tools
	$(TOOLS)/python -m pip install --quiet 'cyclonedx-bom>=7' 'pip-audit>=2.10'
	@touch $@

$(VENV)/oldest/.test: setup.cfg
	$(PYTHON) -m venv --clear $(VENV)/oldest
	$(OLDEST) -m pip install --quiet 'uv>=0.13'
	$(OLDEST) -m uv pip install --quiet --python $(OLDEST) --resolution lowest-direct \
	  --editable '.[fast,serve,dask,test]'
	@touch $@
