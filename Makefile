# Every target works on a fresh machine: it makes .venv and installs what it needs.
#   make demo      synthetic patients, a training, masks and their scores, in a few minutes
#   make check     style and types
#   make test      every test
PYTHON ?= python3
BIN = .venv/bin
RUN = $(BIN)/python -m monai.bundle run
BUNDLE = bundles/brainseg_unet/configs

.PHONY: demo check test install clean

install: .venv/installed

.venv/installed: setup.cfg constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: .venv/installed
	rm -rf demo
	$(BIN)/brainseg phantom --output demo/phantoms --patients 32 --seed 0 --layout kaggle_3m
	$(BIN)/brainseg prepare demo/phantoms --output demo/data --test-share 0.2
	$(RUN) training --config_file "['$(BUNDLE)/train.yaml','configs/demo.yaml']" --dataset_dir demo/data --output_dir demo/run
	$(RUN) evaluating --config_file $(BUNDLE)/evaluate.yaml --dataset_dir demo/data --patch_size "[64,64]" \
	    --checkpoint demo/run/models/model.pt --output_dir demo/masks
	$(BIN)/brainseg evaluate --datalist demo/data/datalist.json --predictions demo/masks --output demo/scores
	@echo
	@echo "masks:      demo/masks (one NIfTI for each held-out patient; open them over demo/data/imagesTs)"
	@echo "scores:     demo/scores/metrics.csv"
	@echo "dashboard:  $(BIN)/tensorboard --logdir demo"

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: .venv/installed-dev
	$(BIN)/python -m pytest

clean:
	rm -rf .venv demo .cache
