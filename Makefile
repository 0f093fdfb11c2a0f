# Sets up everything by itself; `make help` lists what there is.
PYTHON ?= python3
STACK ?= onedl
VENV ?= .venv-$(STACK)
TORCH_INDEX ?=
ARGS ?=

RUN = "$(VENV)/bin/python"

.DEFAULT_GOAL := help
.PHONY: help env check test test-slow demo clean

help:
	@echo 'make env        virtual environment with torch, the OpenMMLab stack and this package (once: 15 to 25 minutes)'
	@echo 'make check      versions in it, and what is wrong with them'
	@echo 'make test       env, and the tests'
	@echo 'make test-slow  env, and the tests that take minutes'
	@echo 'make demo       env, and the demonstration: data, training, evaluation and pictures'
	@echo 'make clean      remove what these commands made: $(VENV) and caches'
	@echo
	@echo 'PYTHON=python3.11      a Python from 3.10 to 3.12 (now: $(PYTHON))'
	@echo 'STACK=onedl|openmmlab  the maintained forks, or upstream with mmcv 2.1 (now: $(STACK))'
	@echo 'VENV=FOLDER            where the environment goes (now: $(VENV))'
	@echo 'TORCH_INDEX=URL        package index for torch alone, as https://download.pytorch.org/whl/cpu'
	@echo 'ARGS="..."             further arguments for pytest or the demonstration'

env:
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo 'PYTHON=$(PYTHON) was not found: `apt-get install python3 python3-venv`, or name one from 3.10 to 3.12.' >&2; \
	  exit 1; }
	@"$(PYTHON)" tools/make_env.py --venv "$(VENV)" --stack "$(STACK)" --torch-index "$(TORCH_INDEX)"

check: env
	@$(RUN) -m mmuniqrnet.env

test: env
	$(RUN) -m pytest -m 'not slow' $(ARGS)

test-slow: env
	$(RUN) -m pytest -m slow $(ARGS)

demo: env
	$(RUN) tools/demo.py $(ARGS)

clean:
	@"$(PYTHON)" tools/make_env.py --venv "$(VENV)" --remove
	rm -rf mmuniqrnet.egg-info mmuniqrnet/.mim .pytest_cache
	find mmuniqrnet tools tests configs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
