# Sets up everything by itself; `make help` lists what there is.
PYTHON ?= python3
STACK ?= onedl
VENV ?= .venv-$(STACK)
TORCH_INDEX ?=
ARGS ?=

RUN = "$(VENV)/bin/python"

.DEFAULT_GOAL := help
.PHONY: help env check test test-slow test-web demo docs web clean

help:
	@echo 'make env        virtual environment with torch, the OpenMMLab stack and this package (once: 15 to 25 minutes)'
	@echo 'make check      versions in it, and what is wrong with them'
	@echo 'make test       env, and the tests'
	@echo 'make test-slow  env, and the tests that take minutes'
	@echo 'make test-web   env, and the web page in a headless Chromium (apt-get install chromium chromium-driver)'
	@echo 'make demo       env, and the demonstration: data, training, evaluation and pictures'
	@echo 'make web        env, and the web page on http://127.0.0.1:7860 (ARGS="--port 8000" for another port)'
	@echo 'make docs       env, and the documentation as a site, in docs/_build'
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
	$(RUN) -m pytest -m 'not slow and not web' $(ARGS)

test-slow: env
	$(RUN) -m pytest -m slow $(ARGS)

test-web: env
	@$(RUN) -m pip install -q --disable-pip-version-check -r requirements/web.txt
	$(RUN) -m pytest tests/web $(ARGS)

demo: env
	$(RUN) tools/demo.py $(ARGS)

web: env
	@$(RUN) -m pip install -q --disable-pip-version-check -r requirements/web.txt
	$(RUN) -m mmuniqrnet.web $(ARGS)

docs: env
	$(RUN) -m sphinx -W --keep-going -b html docs docs/_build
	@echo 'open docs/_build/index.html'

clean:
	@"$(PYTHON)" tools/make_env.py --venv "$(VENV)" --remove
	rm -rf mmuniqrnet.egg-info mmuniqrnet/.mim .pytest_cache docs/_build
	find mmuniqrnet tools tests configs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
