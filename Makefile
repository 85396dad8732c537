# `make demo` and `make test` are all a new clone needs; both set up `.venv` first.

# The first Python that is new enough; `make PYTHON=/path/to/python3.11` overrides it.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.11 python3 python python3.12 python3.13; do \
  $$p -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
# By pip, which unlike uv finds a local file of the CPU build; `make TORCH= test-extras` omits it.
TORCH ?= torch==2.13.0
OF_SERVER := tests/serving/server_test.py tests/export/triton_test.py
BUILDIFIER := @bazel/buildifier@8.2.1
# Short ones that need no peer; the others are described in their docstrings.
BENCHMARKS := auc_speed conv3d coverage onnx_conv3d sliding_window
CODE := dtc_jax datasets configs launch.py

.DEFAULT_GOAL := help
.PHONY: help setup demo serve-demo test test-extras lint format docs bench clean

help:
	@echo "make demo    train and evaluate SE-Net on a phantom cohort"
	@echo "make serve-demo  export it, and ask it on a server"
	@echo "make test    run the tests"
	@echo "make test-extras  run those that take minutes, several processes or heavy libraries"
	@echo "make lint    ruff, mypy, buildifier"
	@echo "make format  let ruff and buildifier rewrite the files"
	@echo "make docs    build the documentation as a site, .build/site/index.html"
	@echo "make bench   run the benchmarks"
	@echo "make clean   remove .venv and everything built; data/ and runs/ stay"

setup: .venv/.installed

demo: setup
	@$(BIN)/python launch.py --config=configs/senet.py:demo

# Its run is exported anew if it was trained anew.
serve-demo: demo .venv-serve/.installed
	@rm -rf runs/senet-demo-bundle
	@$(BIN)/python launch.py --mode=export --workdir=runs/senet-demo --out=runs/senet-demo-bundle
	@.venv-serve/bin/python -m benchmarks.served runs/senet-demo-bundle

test: setup
	@$(BIN)/python -m pytest -n 2 --dist=loadfile $(PYTEST_FLAGS)

# Heavy libraries get an environment of their own, so that the other tests run without them.
test-extras: .venv-extras/.installed .venv-serve/.installed
	@.venv-extras/bin/python -m pytest -n 2 --dist=loadfile -m extras $(PYTEST_FLAGS)
	@.venv-serve/bin/python -m pytest -m extras $(OF_SERVER) $(PYTEST_FLAGS)
	@.venv-serve/bin/python -m pytest -m extras tests/datasets/beam_test.py $(PYTEST_FLAGS)

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(CODE)
	@if command -v buildifier >/dev/null; then \
	  buildifier -mode=check -lint=warn BUILD MODULE.bazel; \
	elif command -v npx >/dev/null; then \
	  npx --yes $(BUILDIFIER) -mode=check -lint=warn BUILD MODULE.bazel; \
	else echo "buildifier: neither it nor npx is here; BUILD's format was not checked."; fi

format: .venv/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	npx --yes $(BUILDIFIER) -mode=fix -lint=fix BUILD MODULE.bazel

docs: .venv/.installed-docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet  # of a later MkDocs

bench: setup
	@for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python -m benchmarks.$$name || exit 1; done

# The versions Bazel takes; pip users get the ranges of setup.cfg.
requirements.txt: setup.cfg .venv/.installed
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate \
	  --extra beam --extra dicomweb --extra ray --extra slurm --extra test --output-file $@ setup.cfg

clean:
	rm -rf .venv .venv-extras .venv-serve .build .mypy_cache .pytest_cache .ruff_cache *.egg-info

# What most programs here import. uv does not compile it, and where PYTHONDONTWRITEBYTECODE is set, as
# images of containers do, Python would compile 3 000 modules anew in every process, 10 s of each.
IMPORTED := import onnxruntime, pytest, dtc_jax.runs.evaluate, dtc_jax.runs.export, \
  dtc_jax.runs.pipeline, dtc_jax.runs.predict, dtc_jax.runs.report, dtc_jax.runs.train

# uv installs in seconds what takes pip minutes; where it fails, pip does it.
define install
	@$(BIN)/uv pip install --quiet --python $(@D)/bin/python --editable '.[$(1)]' || \
	  $(@D)/bin/python -m pip install --quiet --editable '.[$(1)]'
	@env -u PYTHONDONTWRITEBYTECODE $(@D)/bin/python -c '$(IMPORTED)'
	@touch $@
endef

.venv/.installed: setup.cfg pyproject.toml
	@test -x $(BIN)/python || test -n "$(PYTHON)" || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "Setting up .venv; it takes about 1.7 GB ..."
	@test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv || \
	  echo "uv could not be installed; pip takes over."
	$(call install,test)

.venv/.installed-dev: .venv/.installed
	$(call install,dev)

.venv/.installed-docs: .venv/.installed
	$(call install,docs)

.venv-extras/.installed: setup.cfg pyproject.toml .venv/.installed
	@test -x $(@D)/bin/python || $(BIN)/python -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH) || \
	  echo "PyTorch could not be installed; the tests that need it will skip."
	$(call install,test-extras)

.venv-serve/.installed: setup.cfg pyproject.toml .venv/.installed
	@test -x $(@D)/bin/python || $(BIN)/python -m venv $(@D)
	$(call install,server)
