# Every target works on a fresh machine that has python3 and make: it makes .venv if there is none.

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= tests,lint
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# In a container one is root, which Jupyter wants to be told.
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: help demo processes notebooks notebooks-afresh test lint types format bench bench-matrices bench-storage \
	programs programs-tpu programs-gpu check clean

help:  ## say what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1	\2/'

$(BIN)/python:
	@$(PYTHON) -m venv $(VENV)

$(READY): pyproject.toml | $(BIN)/python
	@echo "installing gradxform and what it needs in $(VENV): a minute or two, once" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	@touch $@

demo: $(READY)  ## train a network on eight devices; more with ARGS="--help"
	@$(BIN)/python examples/digits.py $(ARGS)

processes: $(READY)  ## train on two processes, kill one, go on; more with ARGS="--help"
	@$(BIN)/python examples/processes.py $(ARGS)

$(VENV)/.notebooks: pyproject.toml | $(BIN)/python
	@echo "installing gradxform and Jupyter in $(VENV): a minute or two, once" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[notebooks]'
	@touch $@

notebooks: $(VENV)/.notebooks  ## open the notebooks in Jupyter; more with ARGS="--no-browser"
	@$(BIN)/jupyter lab --notebook-dir notebooks $(AS_ROOT) $(ARGS)

# Without sliders, behind which there must be a kernel: the rows of pictures are kept.
notebooks-afresh: $(VENV)/.notebooks  ## run all notebooks from clean kernels and keep what they show
	@GRADXFORM_SLIDERS=0 $(BIN)/jupyter nbconvert --to notebook --inplace --execute --ExecutePreprocessor.record_timing=False notebooks/*.ipynb

$(VENV)/.docs: pyproject.toml | $(BIN)/python
	@echo "installing gradxform and what makes its site in $(VENV): a minute or two, once" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

# Always all of it: a page that was read before does not know of one that came since. A terminal is shown how far it is.
.PHONY: docs test-docs
docs: $(VENV)/.docs  ## make the site of the docs, in a minute
	@rm -rf out/site out/doctrees
	@$(BIN)/python -m sphinx $(if $(MAKE_TERMOUT),,--quiet) --fail-on-warning --keep-going \
		--doctree-dir out/doctrees --builder html $(ARGS) docs out/site
	@echo "the site is in out/site; open out/site/index.html in a browser"

test-docs: $(READY) $(VENV)/.docs  ## open the site that docs has made in a browser, and try it
	@$(BIN)/python -m pytest tests/site $(ARGS)

test: $(READY)  ## run the tests; some of them with ARGS="tests/core -x"
	@$(BIN)/python -m pytest -n auto $(ARGS)

.PHONY: test-portable planted
test-portable: $(READY)  ## run those tests that another Python or JAX may fail, and no others
	@$(BIN)/python -m pytest -n auto -m portable $(ARGS)

planted: $(READY)  ## plant faults, and see which the tests find; more with ARGS="--help"
	@$(BIN)/python -m tests.planted $(ARGS)

lint: $(READY)  ## look for faults and style
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(READY)  ## check the types
	@$(BIN)/pyright --pythonpath $(BIN)/python

format: $(READY)  ## put the code in shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(READY)  ## measure beside optax, and torch where it is: five to ten minutes; more with ARGS="--full", ARGS="--help"
	@$(BIN)/python benchmarks/bench.py $(ARGS)

# One thread for OpenBLAS, by which XLA decomposes matrices: more of them wait for each other.
bench-matrices: $(READY)  ## measure steps of matrix methods beside their floors; some with ARGS="muon soap"
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python benchmarks/matrices.py $(ARGS)

# MNIST-1D makes one of its data sets.
$(VENV)/.benchmarks: pyproject.toml | $(BIN)/python
	@echo "installing gradxform and what its benchmarks need in $(VENV): a minute or two, once" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[benchmarks]'
	@touch $@

.PHONY: evidence
evidence: $(VENV)/.benchmarks  ## compare methods at equal tuning: seconds of what is kept, two hours afresh; a look with ARGS="--quick"
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python benchmarks/evidence.py $(ARGS)

bench-storage: $(VENV)/.benchmarks  ## train with state and parameters in fewer bits; less with ARGS="--quick"
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python benchmarks/storage.py $(ARGS)

# The compilers are in JAX's wheels for either device, which do not bear each other's settings.
COMPILER_tpu := jax[tpu]
COMPILER_gpu := jax[cuda12]
.venvs/tpu/.ready .venvs/gpu/.ready: .venvs/%/.ready: pyproject.toml
	@echo "installing gradxform and $(COMPILER_$*) in .venvs/$*: 1.3 GB for a TPU, 5.5 GB for a GPU, once" >&2
	@$(PYTHON) -m venv .venvs/$*
	@.venvs/$*/bin/python -m pip install --quiet --disable-pip-version-check --editable . '$(COMPILER_$*)' tqdm
	@touch $@

programs:  ## compile steps for a TPU and a GPU that are not there, and count; more with ARGS="--full"
	@$(MAKE) --no-print-directory --keep-going programs-tpu programs-gpu
	@$(MAKE) --no-print-directory programs-pods ARGS="--pods 8x8 16x16"

programs-tpu programs-gpu: programs-%: .venvs/%/.ready  ## for one of the two alone
	@.venvs/$*/bin/python benchmarks/programs.py $* $(ARGS)

.PHONY: programs-pods
programs-pods: .venvs/tpu/.ready  ## for pods of TPUs, a step of Muon; more with ARGS="--pods 8x8 16x16"
	@.venvs/tpu/bin/python benchmarks/matrix_programs.py $(ARGS)

$(VENV)/.release: pyproject.toml | $(BIN)/python
	@echo "installing gradxform and what checks a release in $(VENV): a minute or two, once" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[release]'
	@touch $@

.PHONY: release-check
release-check: $(VENV)/.release  ## build what would be published, install and try it: three to six minutes
	@$(BIN)/python release/check.py $(ARGS)

.PHONY: numbers
numbers: $(READY)  ## put the numbers that benchmarks have kept into README and docs
	@$(BIN)/python -m docs.generate.numbers
	@$(BIN)/python -m docs.generate.picture

check: lint types test  ## all that must hold before a change lands

clean:  ## remove what was made
	@rm -rf .venv .venvs out docs/notebooks docs/reference build dist .pytest_cache .ruff_cache .hypothesis
