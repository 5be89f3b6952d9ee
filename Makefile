# Every target works on a fresh machine: it makes .venv and installs what it needs.
#   make demo      synthetic patients, a training, masks and their scores, in a few minutes
#   make check     style and types
#   make test      the fast tests, in some 8 minutes
#   make test-slow the tests that train networks or run for long
#   make test-gpu  the tests that need a CUDA device (first install the CUDA build of PyTorch into .venv)
#   make test-label  tests with a real MONAI Label server, in its own environment
PYTHON ?= python3
BIN = .venv/bin
DEMO = demo
RUN = $(BIN)/python -m monai.bundle run
BUNDLE = bundles/brainseg_unet/configs

.PHONY: demo check test test-slow test-gpu test-label install clean

install: .venv/installed

.venv/installed: setup.cfg constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: .venv/installed
	rm -rf $(DEMO)
	$(BIN)/brainseg phantom --output $(DEMO)/phantoms --patients 48 --seed 0 --layout kaggle_3m
	$(BIN)/brainseg prepare $(DEMO)/phantoms --output $(DEMO)/data --test-share 0.2
	$(RUN) training --config_file "['$(BUNDLE)/train.yaml','configs/demo.yaml']" --dataset_dir $(DEMO)/data --output_dir $(DEMO)/run
	$(RUN) evaluating --config_file "['$(BUNDLE)/inference.yaml','$(BUNDLE)/evaluate.yaml']" --dataset_dir $(DEMO)/data \
	    --patch_size "[64,64]" --checkpoint $(DEMO)/run/models/model.pt --output_dir $(DEMO)/masks
	$(BIN)/brainseg evaluate --datalist $(DEMO)/data/datalist.json --predictions $(DEMO)/masks --output $(DEMO)/scores
	@echo
	@echo "masks:      $(DEMO)/masks (one NIfTI for each held-out patient; open them over $(DEMO)/data/imagesTs)"
	@echo "scores:     $(DEMO)/scores/report.html and metrics.csv"
	@echo "dashboard:  $(BIN)/tensorboard --logdir $(DEMO)"

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Two or more processes of one thread each: libraries with several threads each, on the same cores, wait for one
# another.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

test: .venv/installed-dev
	$(PYTEST) -m 'not slow'

test-slow: .venv/installed-dev
	$(PYTEST) -m slow

test-gpu: .venv/installed-dev
	$(BIN)/python -m pytest -m gpu

LABEL = .venv-label

$(LABEL)/installed: setup.cfg tests/label/requirements.txt tests/label/without-dependencies.txt
	$(PYTHON) -m venv $(LABEL)
	$(LABEL)/bin/python -m pip install --quiet --requirement tests/label/requirements.txt --editable .
	$(LABEL)/bin/python -m pip install --quiet --no-deps --requirement tests/label/without-dependencies.txt
	touch $@

test-label: $(LABEL)/installed
	$(LABEL)/bin/python -m pytest tests/label

clean:
	rm -rf .venv $(LABEL) $(DEMO) .cache
