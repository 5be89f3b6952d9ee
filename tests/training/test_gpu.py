"""What only a CUDA device can show: `make test-gpu`. ``BRAINSEG_TEST_DEVICE=cpu`` rehearses the tests without one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from brainseg_unet_scripts.precision import Amp, select_device, select_precision
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from support.bundle_runs import CONFIGS, QUICK, build, load
from support.fixed_bundles import dice, draw_phantom, make_affine
from support.trainings import torchrun
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from monai_brainseg.images.volumes import Volume
from monai_brainseg.prediction.options import choose_device
from monai_brainseg.prediction.segmenters import Segmenter, load_bundle

# With a number, as limits on a device's memory need it.
DEVICE = torch.device(os.environ.get("BRAINSEG_TEST_DEVICE", "cuda:0"))
CPU = torch.device("cpu")
ON_GPU = DEVICE.type == "cuda"
WEIGHTS = CONFIGS.parent / "models" / "model.pt"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(),
        reason="no CUDA device is at hand; BRAINSEG_TEST_DEVICE=cpu rehearses this test on the CPU",
    )
    if ON_GPU
    else pytest.mark.slow,
]
gpu_alone = pytest.mark.skipif(not ON_GPU, reason="only a GPU counts its memory and runs out of it")


def train(dataset: Path, output: Path, stop_after: int | None = None, **options: Any) -> dict[str, Any]:
    """Train a narrow network in this process and return ``last.pt``."""
    device = f"$torch.device('{DEVICE}')"
    workflow = build("train.yaml", "train", dataset, output, **(QUICK | {"device": device} | options))
    if stop_after is not None:

        def stop(engine: Engine) -> None:
            engine.terminate()

        workflow.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=stop_after), stop)
    workflow.run()
    state: dict[str, Any] = torch.load(output / "last.pt", map_location="cpu", weights_only=True)
    return state


def read_losses(output: Path) -> list[float]:
    events = EventAccumulator(str(output / "tensorboard"))
    events.Reload()
    return [event.value for event in events.Scalars("train_loss")]


def load_segmenter(device: torch.device, amp: Amp = False) -> Segmenter:
    return load_bundle(CONFIGS.parent, [WEIGHTS], device, {"amp": amp})


def make_study(seed: int = 0, size: int = 160, slices: int = 12) -> dict[str, Volume]:
    phantom = draw_phantom(size, slices, seed)
    return {"flair": Volume(phantom.images[..., 1], make_affine(phantom), True)}


def test_mixed_precision_trains_as_full_precision_does_and_keeps_its_weights_in_float32(
    prepared_phantoms: Path, tmp_path: Path
) -> None:
    for amp in (True, False):
        state = train(prepared_phantoms, tmp_path / str(amp), amp=amp, epochs=4)
        weights = [value for value in state["network"].values() if value.is_floating_point()]
        assert {value.dtype for value in weights} == {torch.float32}
        assert all(value.isfinite().all() for value in weights)
    mixed, full = read_losses(tmp_path / "True"), read_losses(tmp_path / "False")
    assert mixed == pytest.approx(full, rel=0.05)
    assert mixed != full


def test_batches_of_the_device_are_those_of_the_cpu(prepared_phantoms: Path) -> None:
    """But for noise, whose numbers a device draws by itself."""
    found = []
    for device in (CPU, DEVICE):
        parser = ConfigParser(load("train.yaml"))
        parser.update({"dataset_dir": str(prepared_phantoms), "device": device, "patch_size": [64, 48]})
        parser.update({"pixel_size": 1.0, "train::augmentation::noise": 0})
        loader, augment = (parser.get_parsed_content(f"train::{name}") for name in ("dataloader", "augmentation"))
        loader.set_epoch(1)
        assert loader.dataset[0].slices.device.type == device.type
        for drawing in (loader, augment):
            drawing.set_random_state(seed=1)
        changed, masks = augment(next(iter(loader)), device)
        assert changed.device.type == masks.device.type == device.type
        found.append((changed.cpu(), masks.cpu()))
    torch.testing.assert_close(found[0][0], found[1][0], atol=1e-3, rtol=1e-3)
    assert (found[0][1] != found[1][1]).float().mean() < 1e-3


def test_resumed_training_ends_where_an_uninterrupted_one_does(prepared_phantoms: Path, tmp_path: Path) -> None:
    whole = train(prepared_phantoms, tmp_path / "whole", epochs=4)
    part = train(prepared_phantoms, tmp_path / "parts", epochs=4, stop_after=2)
    assert part["epoch"] == 2
    resumed = train(prepared_phantoms, tmp_path / "parts", epochs=4, resume=True)
    assert resumed["epoch"] == whole["epoch"] == 4
    for name, value in whole["network"].items():
        torch.testing.assert_close(resumed["network"][name], value, atol=1e-3 if ON_GPU else 0, rtol=0)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices; on CPUs: test_multi_process.py")
def test_two_processes_train_on_a_gpu_each(prepared_phantoms: Path, tmp_path: Path) -> None:
    words = torchrun(prepared_phantoms, tmp_path / "run", epochs=2)
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert torch.load(tmp_path / "run" / "last.pt", weights_only=True, map_location="cpu")["epoch"] == 2
    assert done.stdout.count("train_loss") == 2


def test_masks_are_those_of_the_cpu_and_nearly_so_in_16_bit() -> None:
    study = make_study()
    here, there = (load_segmenter(device).segment(study) for device in (CPU, DEVICE))
    assert here.mask.any()
    assert dice(here.mask, there.mask) >= 0.999
    assert np.abs(here.probability - there.probability).max() < 0.02
    for amp in ("auto", True):
        assert dice(load_segmenter(DEVICE, amp).segment(study).mask, here.mask) >= 0.99


@gpu_alone
def test_auto_is_bfloat16_from_the_ampere_generation_on_and_float16_before() -> None:
    native = torch.version.hip is not None or torch.cuda.get_device_capability(DEVICE) >= (8, 0)
    assert select_precision("auto", DEVICE) == (torch.bfloat16 if native else torch.float16)


@gpu_alone
def test_float16_scales_its_loss_and_goes_on_with_the_same_scale(prepared_phantoms: Path, tmp_path: Path) -> None:
    begun = train(prepared_phantoms, tmp_path, epochs=3, stop_after=1, precision="$torch.float16")
    torch.save(begun | {"scaler": begun["scaler"] | {"scale": 128.0}}, tmp_path / "last.pt")
    resumed = train(prepared_phantoms, tmp_path, epochs=3, resume=True)
    assert resumed["identity"]["precision"] == "torch.float16"
    assert 1 <= resumed["scaler"]["scale"] <= 128  # it begins at 65536, and grows after 2000 steps


@gpu_alone
def test_memory_of_the_device_does_not_grow_with_studies() -> None:
    segmenter = load_segmenter(DEVICE)
    left = []
    for seed in range(4):
        torch.cuda.reset_peak_memory_stats(DEVICE)
        segmenter.segment(make_study(seed))
        left.append(torch.cuda.memory_allocated(DEVICE))
        assert torch.cuda.max_memory_allocated(DEVICE) < 2 * 2**30
    assert max(left[1:]) <= left[0] + 2**20


@gpu_alone
def test_out_of_memory_falls_back_to_smaller_batches_with_the_same_mask() -> None:
    """The device is told to have less and less; some limit lets a few slices through and not sixteen."""
    study = make_study(size=512)
    expected = load_segmenter(CPU).segment(study).mask
    whole = torch.cuda.get_device_properties(DEVICE).total_memory
    notes: list[str] = []
    try:
        for limit in (512, 256, 192, 128, 96):
            segmenter = load_segmenter(DEVICE)
            torch.cuda.empty_cache()
            torch.cuda.set_per_process_memory_fraction(limit * 2**20 / whole, DEVICE)
            result = segmenter.segment(study)
            assert dice(result.mask, expected) >= 0.999
            notes += result.notes
            if any("ran out of memory" in note for note in notes):
                break
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, DEVICE)
        torch.cuda.empty_cache()
    assert any("ran out of memory" in note for note in notes)


def test_prediction_takes_the_device_of_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    count = torch.cuda.device_count()
    monkeypatch.setenv("LOCAL_RANK", "3")
    expected = torch.device("cuda", 3 % count) if count else select_device()
    assert choose_device(None) == expected
