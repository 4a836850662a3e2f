PYTHON ?= python3
BIN := .venv/bin
# A .venv of another version of Python than that of PYTHON is made anew.
ASK_VERSION := import sys; print("%d.%d" % sys.version_info[:2])
VERSION := $(shell $(PYTHON) -c '$(ASK_VERSION)')
ifeq ($(VERSION),)
$(error PYTHON is "$(PYTHON)", which does not run; expected Python 3.11, 3.12 or 3.13, for example PYTHON=python3.13)
endif
INSTALLED := .venv/installed-$(VERSION)
# Tests of one file, and cells of one notebook, stay in one process.
PYTEST := $(BIN)/pytest --numprocesses 2 --dist loadfile
export TRILEMMA_BUILD := $(CURDIR)/build

.PHONY: notebooks test lint browser colab

notebooks: $(INSTALLED)  ## execute all notebooks with the shipped weights; results in build/
	$(BIN)/jupyter nbconvert --to notebook --execute --output-dir build notebooks/*.ipynb
	cat build/scoreboard.md

test: $(INSTALLED) lint  ## unit tests, then strict nbval over every notebook
	$(PYTEST)
	$(PYTEST) --nbval notebooks

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

browser: $(INSTALLED)  ## move every widget in Chromium; pictures before and after in build/browser/
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null \
		|| { echo "Chromium is missing: apt-get update && apt-get install -y chromium chromium-driver"; exit 1; }
	$(BIN)/pip install --quiet selenium==4.51.0
	$(BIN)/pytest tests/browser/check_widgets.py

colab: $(INSTALLED)  ## point badges and set-up cells to REPO=owner/name, by default the remote "origin"
	$(BIN)/python -m study colab $(REPO)

$(INSTALLED): requirements.txt constraints-ci.txt pyproject.toml
	@test ! -e .venv || test "$$($(BIN)/python -c '$(ASK_VERSION)')" = "$(VERSION)" \
		|| { echo "making .venv anew, for Python $(VERSION)"; rm -rf .venv; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.txt --constraint constraints-ci.txt --editable .
	touch $@
