# A newcomer needs two targets: `make demo` and `make test`. Both work in a virtual environment of their own.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo

.PHONY: demo test slow lint

# pip compiles what it installs, also where PYTHONDONTWRITEBYTECODE is set: every process would else
# compile TensorFlow anew.
$(VENV)/installed: setup.py setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@

# Train on simulated chambers, score on chambers never seen, count a folder of images.
demo: $(VENV)/installed
	$(BIN)/cellzoo demo --out $(DEMO)

# One thread for each of the two workers: with more they wait for each other.
ONE_THREAD := OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1

test: $(VENV)/installed lint
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 --dist loadscope --durations=40

# Tests that take minutes, or gigabytes.
slow: $(VENV)/installed
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/lint-imports
