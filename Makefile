PYTHON ?= python3
BIN := .venv/bin
# Tests of one file, and cells of one notebook, stay in one process.
PYTEST := $(BIN)/pytest --numprocesses 2 --dist loadfile
export TRILEMMA_BUILD := $(CURDIR)/build

.PHONY: notebooks test lint colab

notebooks: .venv/installed  ## execute all notebooks with the shipped weights; results in build/
	$(BIN)/jupyter nbconvert --to notebook --execute --output-dir build notebooks/*.ipynb
	cat build/scoreboard.md

test: .venv/installed lint  ## unit tests, then strict nbval over every notebook
	$(PYTEST)
	$(PYTEST) --nbval notebooks

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

colab: .venv/installed  ## point badges and set-up cells to REPO=owner/name
	$(BIN)/python -m study colab $(REPO)

.venv/installed: requirements.txt constraints-ci.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.txt --constraint constraints-ci.txt --editable .
	touch $@
