# make demo | make test | make lint   - each creates .venv on first use
# make test-oldest                    - the same project on the oldest versions it declares
PYTHON ?= python3
VENV   ?= .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.installed

OLDEST := .venv-oldest
OLDEST_PY := $(OLDEST)/bin/python
OLDEST_TESTS := declared_versions eval_scipy runner_schema oracle_* inference_features inference_loading \
                runner_engine runner_infer runner_storage video_files compare_report compare_pages eval_open_ended

.PHONY: demo test test-oldest lint format bench clean

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python >= 3.11 is needed; run e.g. 'make PYTHON=python3.12 $(MAKECMDGOALS)'"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade pip
	$(PY) -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)
	$(PY) scripts/demo.py

test: $(STAMP)
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -n auto --dist loadfile

$(OLDEST)/.installed: pyproject.toml constraints-oldest.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' \
		|| { echo "The oldest versions need Python 3.11 or 3.12: 'make PYTHON=python3.12 test-oldest'"; exit 1; }
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST_PY) -m pip install --quiet -c constraints-oldest.txt -e '.[test]'
	@touch $@

test-oldest: $(OLDEST)/.installed
	HERMES_TEST_OLDEST=1 OMP_NUM_THREADS=1 $(OLDEST_PY) -m pytest -q -n auto --dist loadfile \
		$(OLDEST_TESTS:%=tests/test_%.py)

lint: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(STAMP)
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: $(STAMP)
	$(PY) scripts/bench_memory.py all

clean:
	rm -rf $(VENV) $(OLDEST) .pytest_cache .mypy_cache .ruff_cache
