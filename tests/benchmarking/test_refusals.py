"""What `brainseg benchmark` cannot do is said in one line before any work."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.quick_benchmarks import NARROW, benchmark

from monai_brainseg.benchmarking.benchmark import check_identity
from monai_brainseg.benchmarking.plan import make_plan
from monai_brainseg.cli.main import main
from monai_brainseg.runs.processes import hold_folder


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--recipes", "nonsense"],
            "best, bundle, demo, encoder_decoder, fcn, fcn_resnet50_ce, finetune, release, residual_unet, short, ",
        ),
        (["--recipes", "nowhere.yaml"], "nowhere.yaml: no such recipe file"),
        (["--recipes", "best,best"], "each once"),
        (["--folds", "7"], "--folds 7: no such fold"),
        (["--folds", "one"], "--folds one: expected whole numbers"),
        (["--seeds", "-1"], "a seed is 0 or more"),
        (["--split", "volume"], "patient or slice"),
        (["--ensemble"], "add --final"),
        (["--bundle", "nonsense"], "brainseg_unet"),
        (["--bundle", "{other}", "--recipes", "bundle,unet"], "recipe unet is an overlay on brainseg_unet"),
        (["--budget", "0"], "must be above 0"),
        (["--processes", "0"], "must be above 0"),
        (["--epochs", "0"], "epochs are 1 or more"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_before_any_work(
    prepared_phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    other = shutil.copytree("bundles/brainseg_unet/configs", tmp_path / "other" / "configs").parent
    words = [word.format(other=other) for word in words]
    assert main(["benchmark", "--dataset_dir", str(prepared_phantoms), "--output", str(tmp_path / "out"), *words]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_data_set_with_fewer_patients_than_folds_is_refused(
    prepared_phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((prepared_phantoms / "datalist.json").read_text())
    for name in ("imagesTr", "labelsTr", "imagesTs", "labelsTs"):
        (tmp_path / name).symlink_to(prepared_phantoms / name)
    (tmp_path / "datalist.json").write_text(json.dumps(content | {"training": content["training"][:1]}))
    assert benchmark(tmp_path, tmp_path / "out", "best") == 1
    assert "1 training patients in 1 of 2 folds" in capsys.readouterr().err


@pytest.mark.parametrize("change", [["--epochs", "5"], ["--recipes", "{other}"]])
def test_output_of_a_benchmark_with_other_settings_is_refused(
    prepared_phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: list[str]
) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "quick.yaml").write_text(NARROW + f"seed: {len(name)}")
    check_identity(make_plan(prepared_phantoms, [str(tmp_path / "one" / "quick.yaml")], tmp_path / "out"))
    words = [word.format(other=tmp_path / "other" / "quick.yaml") for word in change]
    assert benchmark(prepared_phantoms, tmp_path / "out", tmp_path / "one" / "quick.yaml", *words) == 1
    error = capsys.readouterr().err
    assert "holds a benchmark with other" in error
    assert error.count("\n") == 1


def test_folder_that_another_benchmark_is_at_work_in_is_refused(
    prepared_phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with hold_folder(tmp_path):
        assert benchmark(prepared_phantoms, tmp_path, "best") == 1
    assert "is in use by another command" in capsys.readouterr().err


def test_recipe_that_reads_images_otherwise_for_training_alone_is_refused(
    prepared_phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "dark.yaml"
    recipe.write_text("reading: []")
    assert benchmark(prepared_phantoms, tmp_path / "out", recipe) == 1
    assert "changes how images are read in training only" in capsys.readouterr().err
