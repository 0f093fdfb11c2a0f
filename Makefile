# Sets up what each command needs; `make help` lists the commands.
PYTHON ?= python3
STACK ?= onedl
VENV ?= .venv-$(STACK)
OPS ?=
MMCV_WHEELS ?=
TORCH_INDEX ?=
ARGS ?=

RUN = "$(VENV)/bin/python"
TOOL = PATH="$(abspath $(VENV))/bin:$$PATH"
MAKE_ENV = "$(PYTHON)" tools/make_env.py --venv "$(VENV)" --stack "$(STACK)" \
  --torch-index "$(TORCH_INDEX)" --mmcv-wheels "$(MMCV_WHEELS)"
# A process a core, each with one thread; a test file, whose tests share what its fixtures make, stays in one process.
# Not for the slow tests, which start several processes themselves.
SPREAD = -n auto --maxprocesses 4 --dist loadfile
INSTALL = @$(RUN) -m pip install --quiet --disable-pip-version-check -r

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help python env env-ops env-report lint check test test-slow test-web test-ray demo web docs release clean

help:
	@echo 'make demo        make a data set, train on it (15 to 25 minutes on 2 CPU cores), test and draw'
	@echo 'make web         serve a web page on which to ask about a picture, at http://127.0.0.1:7860'
	@echo 'make env         only the environment: torch, the OpenMMLab stack and this package (once: about 2 minutes)'
	@echo 'make env OPS=1   the same, with the compiled ops of mmcv (once: 10 to 15 minutes more)'
	@echo 'make env-report  what is installed in it, and what is wrong with it'
	@echo 'make check       lint and test'
	@echo 'make lint        ruff, codespell, mypy and import-linter'
	@echo 'make test        the tests, in the environment with compiled ops'
	@echo 'make test-slow   the tests that take minutes'
	@echo 'make test-web    the web page in a headless Chromium (apt-get install chromium chromium-driver)'
	@echo 'make test-ray    the tests of `mmuniqrnet ground --ray` on two workers (installs Ray: 500 MB)'
	@echo 'make docs        the documentation as a site, in docs/_build'
	@echo 'make release     sdist and wheel in dist/, from a checkout without changes'
	@echo 'make clean       remove what these commands made: $(VENV), caches and docs/_build'
	@echo
	@echo 'Each sets up the environment first, once. Settings:'
	@echo 'PYTHON=python3.11        a Python from 3.10 to 3.12 (now: $(PYTHON))'
	@echo 'STACK=onedl|openmmlab    the maintained forks, or upstream with mmcv 2.1 (now: $(STACK))'
	@echo 'VENV=FOLDER              where the environment is (now: $(VENV))'
	@echo 'TORCH_INDEX=URL          package index for torch alone, such as https://download.pytorch.org/whl/cpu'
	@echo 'MMCV_WHEELS=URL|FOLDER   take mmcv with compiled ops from a wheel there, which must fit torch'
	@echo 'ARGS="..."               further arguments for pytest, the demonstration or the web page'

python:
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo 'PYTHON=$(PYTHON) was not found: `apt-get install python3 python3-venv`, or name one from 3.10 to 3.12.' >&2; \
	  exit 1; }

env: python
	@$(MAKE_ENV) $(if $(filter-out 0,$(OPS)),--ops)

env-ops: python
	@$(MAKE_ENV) --ops

env-report: env
	@$(RUN) -m mmuniqrnet.env

lint: env
	$(INSTALL) requirements/lint.txt
	$(TOOL) ruff check .
	$(TOOL) ruff format --check .
	$(TOOL) codespell
	$(TOOL) mypy
	$(TOOL) lint-imports

check: lint test

test: env-ops
	$(INSTALL) requirements/test.txt
	$(RUN) -m pytest -m 'not slow and not web and not ray' $(SPREAD) $(ARGS)

test-slow: env-ops
	$(INSTALL) requirements/test.txt
	$(RUN) -m pytest -m slow $(ARGS)

test-web: env-ops
	$(INSTALL) requirements/test.txt -r requirements/web.txt
	$(RUN) -m pytest tests/web $(ARGS)

test-ray: env-ops
	$(INSTALL) requirements/test.txt -r requirements/ray.txt
	$(RUN) -m pytest tests/apis/scale $(ARGS)

demo: env
	$(RUN) tools/demo.py $(ARGS)

web: env
	$(INSTALL) requirements/web.txt
	$(RUN) -m mmuniqrnet.web $(ARGS)

docs: env
	$(INSTALL) requirements/docs.txt
	$(RUN) -m sphinx -W --keep-going -b html docs docs/_build
	@echo 'open docs/_build/index.html'

release: env
	@test -z "$$(git status --porcelain)" || { \
	  echo 'This checkout has changes (`git status`): build a release from a clone without any.' >&2; exit 1; }
	$(INSTALL) requirements/release.txt
	rm -rf build dist
	$(RUN) -m build --no-isolation --outdir dist .
	$(RUN) -m twine check --strict dist/*

clean:
	@"$(PYTHON)" tools/make_env.py --venv "$(VENV)" --remove
	rm -rf build mmuniqrnet.egg-info mmuniqrnet/.mim .pytest_cache .ruff_cache .mypy_cache .import_linter_cache docs/_build
	find mmuniqrnet tools tests configs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
