# make demo | make test | make lint   - each creates .venv on first use
# make test-slow                      - whole programs, killed and not
# make test-devices                   - every memory's stream on GPUs that do not exist
# make test-oldest                    - the same project on the oldest versions it declares
PYTHON ?= python3
VENV   ?= .venv
PY     := $(VENV)/bin/python
# Compiled once, not by every process of every test, even where the environment says otherwise.
QUICK  := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1
STAMP  := $(VENV)/.installed

OLDEST := .venv-oldest
OLDEST_PY := $(OLDEST)/bin/python
OLDEST_TESTS := declared_versions eval_scipy runner_schema oracle_* qwen3_forward qwen3_oracles inference_features inference_loading \
                runner_engine runner_infer runner_storage video_files compare_report compare_pages eval_open_ended

SLOW_TESTS = $(shell grep -l 'pytest\.mark\.slow' tests/test_*.py)
DEVICE_TESTS := $(addprefix tests/test_,$(addsuffix .py,inference_pretended qwen3_pretended efficiency_pretended))

.PHONY: demo test test-slow test-devices test-oldest test-pretended lint format bench clean

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
	$(QUICK) $(PY) -m pytest -q -n auto --dist loadfile --no-loadscope-reorder -m "not slow" \
		$(DEVICE_TESTS:%=--ignore=%)

# Whole programs in processes of their own, ten seconds each.
test-slow: $(STAMP)
	$(QUICK) $(PY) -m pytest -q -n auto -m slow $(SLOW_TESTS)

# Each memory and family on two pretended GPUs, each memory on one: the CPU's stream bit for bit, and
# as many waits and copies as docs/benchmarks.md says (tests/pretended_device.py).
test-devices: $(STAMP)
	$(QUICK) $(PY) -m pytest -q -n auto $(DEVICE_TESTS)

$(OLDEST)/.installed: pyproject.toml constraints-oldest.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' \
		|| { echo "The oldest versions need Python 3.11 or 3.12: 'make PYTHON=python3.12 test-oldest'"; exit 1; }
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST_PY) -m pip install --quiet -c constraints-oldest.txt -e '.[test]'
	@touch $@

test-oldest: $(OLDEST)/.installed
	HERMES_TEST_OLDEST=1 $(QUICK) $(OLDEST_PY) -m pytest -q -n auto --dist loadfile \
		$(OLDEST_TESTS:%=tests/test_%.py)

# The tests of memory, policies and engine once more, on GPUs that do not exist (some minutes): on two
# with layers spread over them, on one where a test looks into the only stack of a memory.
# Left out: golden traces, half precision and renumbering oracles (they compare with arithmetic of
# the host, tensor by tensor), loading (real devices), readers, runner and evaluators (no tensors on
# a device; the runner has its own tests of devices).
pretended = HERMES_TEST_DEVICE=pretended:$(1) $(QUICK) $(PY) -m pytest -q -n auto --dist load \
	$(addprefix tests/test_,$(addsuffix .py,$(2)))
test-pretended: $(STAMP)
	$(call pretended,2,hermes_contracts policies_contracts inference_answering)
	$(call pretended,1,hermes_memory oracle_masking oracle_guidance)

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
