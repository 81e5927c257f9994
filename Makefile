# Two commands do everything on a fresh machine with Python 3.11: `make demo` and `make test`.
# On Windows use the lines in README.md instead.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test ui benchmarks clean

demo: $(VENV)/.installed
	$(BIN)/post-pai run data/demo

ui: $(VENV)/.installed
	$(BIN)/post-pai ui data/demo

test: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2

benchmarks: $(VENV)/.installed-test
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info data/dagster data/demo/build data/demo/review data/demo/decisions data/demo/exports
