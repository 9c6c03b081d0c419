# Every command installs what it needs first: `make run`, `make demo`, `make test`, `make check`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
LOCAL  := shared services/gateway services/stt-worker services/agent-worker services/tts-worker clients/python stack
PROJECTS := $(addsuffix /pyproject.toml,$(LOCAL))
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --no-emit-package voicebus --no-emit-package voicebus-client --no-emit-package voicebus-gateway --custom-compile-command "make lock"
ARGS   ?=
ALONE  := tests/faults/test_slow_reader.py tests/faults/test_peer_socketio_clients.py::test_a_client_reads_slowly  # what others do would show

.DEFAULT_GOAL := help
.PHONY: help install run demo test compose-test model mutants kills faults faults-mutants soak observability-test check docs lock clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

install: $(VENV)/.installed  ## make the virtual environment (the other targets do it when needed)

$(VENV)/.installed: requirements-dev.txt $(PROJECTS)
	@echo "installing into $(VENV) (once) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Voicebus needs Python 3.11 or newer" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation $(addprefix -e ./,$(LOCAL))
	@$(BIN)/python -m compileall -q $(addsuffix /src,$(LOCAL))
	@touch $@

run: install  ## run every service in the foreground; Ctrl-C stops all
	@$(BIN)/python -m voicebus_stack.run $(ARGS)

demo: install  ## one spoken turn through the whole stack (ARGS='--text "…"', --wav, --mcp, --url, --turns)
	@$(BIN)/python -m voicebus_stack.demo $(ARGS)

test: install  ## every test, on a Redis of their own
	@$(BIN)/python -m pytest $(ARGS)

compose-test: install  ## docker-compose.yml on a Docker engine: build, turns, kills, scaling, restarts (needs one; DOCKER_HOST names it)
	@COMPOSE_TEST=1 $(BIN)/python -m pytest -q -n 0 tests/compose $(ARGS)

kills: install  ## kill -9 of every worker, 20 times each, 100 interruptions, ten minutes of silence (SEED=… repeats)
	@FAULTS=small KILLS=20 SILENCE_MINUTES=10 INTERRUPTIONS=100 $(BIN)/python -m pytest -q -n 0 -s tests/faults/test_kills.py tests/faults/test_silence.py tests/faults/test_unknown_outcome.py tests/e2e/test_barge_in.py $(ARGS)

mutants: install  ## break each invariant: the tests must notice (ARGS=name …)
	@PYTHONPATH=tests $(BIN)/python -m mutants.run mutants.broken $(ARGS)

faults: install  ## the fault suite at full size, on one Redis and on a cluster; writes docs/reliability.md (SEEDS="1 2 3": one run each)
	@rm -f out/faults.jsonl && mkdir -p out
	@for seed in $(or $(SEEDS),$(SEED),$(shell date +%s)); do \
	  export SEED=$$seed FAULTS=full FAULTS_RESULTS=out/faults.jsonl; \
	  $(BIN)/python -m pytest -q -n 2 tests/faults $(addprefix --deselect=,$(ALONE)) || exit 1; \
	  $(BIN)/python -m pytest -q -n 0 $(ALONE) || exit 1; done
	@PYTHONPATH=tests $(BIN)/python -m faults.table out/faults.jsonl docs/reliability.md

faults-mutants: install  ## break what the fault suite watches, one promise at a time: it must notice (ARGS=name …)
	@PYTHONPATH=tests $(BIN)/python -m mutants.run faults.mutants $(ARGS)

soak: install  ## steady load for a while: memory, keys and open files stay flat, Redis's file bounded (MINUTES=30, SEED=… repeats)
	@SOAK_MINUTES=$(or $(MINUTES),30) $(BIN)/python -m pytest -q -n 0 -s tests/faults/test_soak.py $(ARGS)

model: install  ## random processes, crashes and lost calls against the bus's promises (MINUTES=20, SEED=… repeats)
	@MODEL_MINUTES=$(or $(MINUTES),20) SEED=$(SEED) $(BIN)/python -m pytest -q -n 0 -s tests/model/test_model.py tests/model/broken.py $(ARGS)

observability-test: install  ## load against the stack with a real Prometheus: every panel and alert must have data
	@OBSERVABILITY=1 $(BIN)/python -m pytest -q -n 0 tests/observability $(ARGS)

check: install  ## lint, types, import rules, dependencies
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary $(addsuffix /src,$(LOCAL)) tests
	@$(BIN)/lint-imports --no-logo | tail -n 3
	@for p in $(LOCAL); do (cd $$p && $(CURDIR)/$(BIN)/deptry src > /dev/null 2>&1 || { $(CURDIR)/$(BIN)/deptry src; exit 1; }) || exit 1; done
	@echo "check: clean"

docs: install  ## write the tables that are made from the code
	@$(BIN)/python docs/tables.py

lock: install  ## pin every dependency anew, with hashes
	@for s in gateway stt-worker agent-worker tts-worker; do \
	  $(COMPILE) services/$$s/pyproject.toml -o services/$$s/requirements.txt || exit 1; done
	@$(COMPILE) $(PROJECTS) --group dev -o requirements-dev.txt

clean:  ## remove the virtual environment and what tools left
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache out
