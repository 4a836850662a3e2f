PYTHON ?= python3
BIN := .venv/bin
# Tests of one file, and cells of one notebook, stay in one process.
PYTEST := $(BIN)/pytest --numprocesses 2 --dist loadfile
export TRILEMMA_BUILD := $(CURDIR)/build

.PHONY: notebooks test lint browser colab

notebooks: .venv/installed  ## execute all notebooks with the shipped weights; results in build/
	$(BIN)/jupyter nbconvert --to notebook --execute --output-dir build notebooks/*.ipynb
	cat build/scoreboard.md

test: .venv/installed lint  ## unit tests, then strict nbval over every notebook
	$(PYTEST)
	$(PYTEST) --nbval notebooks

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

browser: .venv/installed  ## move every widget in Chromium; pictures before and after in build/browser/
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null \
		|| { echo "Chromium is missing: apt-get update && apt-get install -y chromium chromium-driver"; exit 1; }
	$(BIN)/pip install --quiet selenium==4.51.0
	$(BIN)/pytest tests/browser/check_widgets.py

colab: .venv/installed  ## point badges and set-up cells to REPO=owner/name, by default the remote "origin"
	$(BIN)/python -m study colab $(REPO)

.venv/installed: requirements.txt constraints-ci.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.txt --constraint constraints-ci.txt --editable .
	touch $@
