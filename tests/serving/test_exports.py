"""Weights in other forms answer as the network does, on real slices too."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from monai.bundle import ConfigParser
from support.bundle_runs import BUNDLE, NARROW_UNET
from support.fixed_bundles import (
    BRIGHT,
    bright_state,
    dice,
    make_bundle,
    random_state,
    save_weights,
)

from monai_brainseg.cli.main import main
from monai_brainseg.data.case_voxels import find_own, read_images
from monai_brainseg.inputs.search import find_studies
from monai_brainseg.prediction.segmenters import load_bundle, load_network
from monai_brainseg.serving import onnx_files
from monai_brainseg.training.networks import FCNResNet50

SHAPES = [(1, 3, 16, 16), (5, 3, 48, 32), (2, 3, 80, 112)]


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a small U-Net of random weights."""
    folder = tmp_path_factory.mktemp("bundles") / "narrow"
    return make_bundle(folder, NARROW_UNET, random_state(NARROW_UNET, 3))


def export(*words: object) -> None:
    assert main(["export", *map(str, words)]) == 0


def test_torchscript_answers_as_the_network_and_carries_metadata_and_config(narrow: Path, tmp_path: Path) -> None:
    export("--bundle", narrow, "--format", "torchscript", "--output", tmp_path / "model.ts")
    found = {"metadata.json": "", "inference.json": ""}
    script = torch.jit.load(tmp_path / "model.ts", _extra_files=found).eval()
    network = load_network(narrow, [narrow / "models/model.pt"])
    for shape in SHAPES:
        images = torch.rand(shape)
        with torch.inference_mode():
            torch.testing.assert_close(script(images), network(images))
    assert json.loads(found["metadata.json"])["version"]
    assert json.loads(found["inference.json"])["network_def"]["channels"] == NARROW_UNET["channels"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.ts"]


def test_onnx_takes_any_number_and_size_of_images_and_answers_as_the_network(narrow: Path, tmp_path: Path) -> None:
    import onnxruntime

    file = tmp_path / "model.onnx"
    weights = save_weights(tmp_path / "other.pt", random_state(NARROW_UNET, 4))
    export(weights, "--bundle", narrow, "--format", "onnx", "--output", file)
    onnx.checker.check_model(file, full_check=True)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    assert [(each.name, each.shape) for each in (*session.get_inputs(), *session.get_outputs())] == [
        ("image", ["batch", 3, "height", "width"]),
        ("pred", ["batch", 2, "height", "width"]),
    ]
    network = load_network(narrow, [weights])
    for shape in SHAPES:
        images = torch.rand(shape)
        with torch.inference_mode():
            torch.testing.assert_close(
                torch.from_numpy(session.run(None, {"image": images.numpy()})[0]), network(images), atol=1e-4, rtol=1e-4
            )
    told = {each.key: each.value for each in onnx.load(file).metadata_props}
    assert "CC BY-NC-SA" in told["license"]
    assert told["bundle"] == "narrow"


@pytest.mark.real_data
@pytest.mark.slow
def test_masks_of_real_slices_are_the_same_by_torchscript_and_onnx(
    real_patients: Callable[[int], Path], tmp_path: Path
) -> None:
    import onnxruntime

    export("--format", "torchscript", "--output", tmp_path / "model.ts")
    export("--format", "onnx", "--output", tmp_path / "model.onnx")
    weights = [BUNDLE / "models" / "model.pt"]
    plain, script, runtime = (load_bundle(BUNDLE, weights, torch.device("cpu"), {"amp": False}) for _ in range(3))
    script.network = torch.jit.load(tmp_path / "model.ts").eval()
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    runtime.network = AnsweredBy(session)
    cases = find_studies([real_patients(3)], naming=None, part="test", fold=None, series=None, leave_out=None).cases
    assert len(cases) == 3
    for case in cases:
        images = find_own(read_images(case))
        truth = plain.segment(images).mask
        assert truth.sum() > 500
        for other in (script, runtime):
            assert dice(other.segment(images).mask, truth) >= 0.999


class AnsweredBy(torch.nn.Module):
    """A network whose answers come from ONNX Runtime."""

    def __init__(self, session: Any) -> None:
        super().__init__()
        self.session = session

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return ``[batch, class, x, y]`` for images ``[batch, sequence, x, y]``."""
        return torch.from_numpy(self.session.run(None, {"image": images.numpy()})[0])


class Stubborn(torch.nn.Conv2d):
    """A network that neither TorchScript nor ONNX can hold."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Unpack a list, which scripting refuses, and transform, which the ONNX exporter has no word for."""
        *_, last = [images, torch.fft.ifft2(torch.fft.fft2(images)).real]
        return super().forward(last)


@pytest.mark.parametrize(("form", "name"), [("torchscript", "TorchScript"), ("onnx", "ONNX")])
def test_a_network_that_cannot_be_exported_is_said_in_one_line(
    form: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = BRIGHT | {"_target_": f"{Stubborn.__module__}.Stubborn"}
    bundle = make_bundle(tmp_path / "stubborn", network, bright_state())
    output = tmp_path / "written" / "model.ts"
    assert main(["export", "--bundle", str(bundle), "--format", form, "--output", str(output)]) == 1
    error = capsys.readouterr().err
    assert f"stubborn: cannot be written as {name} (" in error
    assert error.count("\n") == 1
    assert list(output.parent.iterdir()) == []


@pytest.mark.slow
def test_weights_of_a_recipe_are_exported_in_every_form_but_the_zip(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import onnxruntime

    weights, words = tmp_path / "fcn.pt", ["--recipe", "configs/fcn.yaml", "--output"]
    torch.manual_seed(0)
    network = FCNResNet50()
    save_weights(weights, network.eval().state_dict())
    export(weights, *words, tmp_path / "model.ts", "--format", "torchscript")
    script = torch.jit.load(tmp_path / "model.ts").eval()
    export(weights, *words, tmp_path / "model.onnx", "--format", "onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    images = torch.rand(2, 3, 40, 56)
    with torch.inference_mode():
        wanted = network(images)
        torch.testing.assert_close(script(images), wanted)
    torch.testing.assert_close(
        torch.from_numpy(session.run(None, {"image": images.numpy()})[0]), wanted, atol=1e-4, rtol=1e-4
    )
    export(weights, *words, tmp_path / "half.pt")
    assert (tmp_path / "half.pt").stat().st_size < 0.55 * weights.stat().st_size
    capsys.readouterr()
    assert main(["export", str(weights), *map(str, words), str(tmp_path / "a.zip"), "--format", "bundle"]) == 1
    error = capsys.readouterr().err
    assert "--recipe configs/fcn.yaml: the zip would describe the bundle's own network; copy the bundle" in error
    assert error.count("\n") == 1


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A copy of the bundle whose network is too large for the zoo, with weights of it."""
    bundle = shutil.copytree(BUNDLE, tmp_path / "brainseg_large", ignore=shutil.ignore_patterns("*.pt"))
    inference = bundle / "configs/inference.yaml"
    text = inference.read_text().replace("bundles/brainseg_unet", "bundles/brainseg_large")
    inference.write_text(text.replace("[128, 64, 32, 16, 16]", "[1024, 512, 256, 64, 16]"))
    config = ConfigParser(ConfigParser.load_config_file(inference))
    save_weights(bundle / "models/model.pt", config.get_parsed_content("network_def").state_dict())
    return bundle


@pytest.mark.slow
def test_zip_of_large_weights_is_refused_unless_they_are_listed_as_a_download(
    large: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", "--bundle", str(large), "--format", "bundle", "--output", str(tmp_path / "a.zip")]
    assert main(words) == 1
    error = capsys.readouterr().err
    assert "MiB, but the zoo accepts at most 25; put it where it can be downloaded and list it in" in error
    assert error.count("\n") == 1
    (large / "large_files.yml").write_text("large_files: [{path: models/model.pt, url: 'https://example.org/a.pt'}]\n")
    assert main(words) == 0
    assert "brainseg_large/large_files.yml" in zipfile.ZipFile(tmp_path / "a.zip").namelist()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.pt", "--format", "onnx", "--output", "{}/a.onnx"], "nowhere.pt: no weights there"),
        (["{}", "--format", "onnx", "--output", "{}/a.onnx"], ": is a folder; name a file of weights"),
        (
            ["--bundle", "{}/empty", "--output", "{}/a.pt"],
            "no weights there; train them with `run training`, or name a file of",
        ),
        (["--bundle", "nothing", "--format", "onnx", "--output", "{}/a.onnx"], "--bundle nothing: is not a bundle"),
        (["--format", "torchscript", "--output", "{}/a.pt"], "must end in .ts"),
        (["--format", "bundle", "--output", "{}"], "is a folder"),
        (["{}/other.pt", "--format", "torchscript", "--output", "{}/a.ts"], "weights of another network"),
        (["{}/other.pt", "--format", "onnx", "--output", "{}/other.pt"], "is the checkpoint itself"),
    ],
)
def test_mistakes_end_in_one_line_and_leave_no_file(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_weights(tmp_path / "other.pt", bright_state())
    shutil.copytree(BUNDLE / "configs", tmp_path / "empty" / "configs")
    assert main(["export", *(word.format(tmp_path) for word in words)]) == 1
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert "--checkpoint" not in captured.err  # an option that export has not
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "other.pt"]


def test_without_the_extra_a_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(onnx_files, "find_spec", lambda name: None)
    assert main(["export", "--format", "onnx", "--output", str(tmp_path / "a.onnx")]) == 1
    assert "onnx: the package is not installed; pip install '.[onnx]'" in capsys.readouterr().err
