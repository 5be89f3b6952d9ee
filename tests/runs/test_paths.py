"""Paths on the command line of a run are texts, never numbers or code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from brainseg_unet_scripts.copies import check_copy
from brainseg_unet_scripts.errors import BundleError
from brainseg_unet_scripts.paths import list_overrides, take_paths
from support.bundle_runs import BUNDLE, CONFIGS
from support.fixed_bundles import draw_phantom, save_flair

from monai_brainseg.benchmarking.runs import make_command
from monai_brainseg.runs.commands import read_command

WORDS = "python -m monai.bundle run training --config_file a.yaml"
HOSTILE = "$__import__('os').system('touch executed')"


@pytest.mark.parametrize(
    ("given", "read"),
    [("2024", "2024"), ("007", "007"), ("1e3", "1e3"), ("None", "None"), ("[1]", "[1]"), ("True", "True")]
    + [("$x", "./$x"), ("@network", "./@network"), ("%x.yaml", "./%x.yaml"), ("/data/$x", "/data/$x"), ("a b", "a b")],
)
def test_a_path_is_the_text_that_was_given(given: str, read: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for word in (["--dataset_dir", given], [f"--dataset_dir={given}"]):
        argv = [*WORDS.split(), *word, "--epochs", "3"]
        command = read_command(argv)
        assert command is not None
        assert command.overrides == {"dataset_dir": read, "epochs": 3}
        monkeypatch.setattr(sys, "orig_argv", argv)
        resolved: dict[str, object] = {}
        take_paths(resolved)
        assert resolved == {"dataset_dir": read}


def test_other_programs_have_no_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "monailabel.main", "--dataset_dir", "$x"])
    assert list(list_overrides(sys.orig_argv)) == []


def test_a_benchmark_gives_whole_paths_to_its_runs() -> None:
    words = make_command("training", Path("@b"), ["c.yaml"], {"output_dir": Path("$x"), "epochs": 2})
    assert words[-4:] == ["--output_dir", str(Path.cwd() / "$x"), "--epochs", "2"]
    assert str(Path.cwd() / "@b") in words


def test_a_bundle_that_is_not_there_is_refused_if_the_command_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    check_copy("nowhere")
    monkeypatch.setattr(sys, "orig_argv", [*WORDS.split(), "--bundle_root", "nowhere"])
    with pytest.raises(BundleError, match="--bundle_root nowhere: no such folder; give the bundle's own folder"):
        check_copy("nowhere")


def run(run_id: str, config: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path.cwd()}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    command = [
        sys.executable,
        "-m",
        "monai.bundle",
        "run",
        run_id,
        "--config_file",
        str((CONFIGS / config).resolve()),
    ]
    return subprocess.run(
        [*command, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["2024", HOSTILE.replace("/", ""), "@network"])
def test_inferring_takes_folders_of_any_name(name: str, tmp_path: Path) -> None:
    save_flair(draw_phantom(), tmp_path / name / "A.nii.gz").rename(tmp_path / name / "A.NII.GZ")
    output = name.replace("touch", "echo")
    done = run(
        "inferring",
        "inference.yaml",
        tmp_path,
        "--dataset_dir",
        name,
        "--output_dir",
        output,
        "--bundle_root",
        str(BUNDLE.resolve()),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / output / "A.nii.gz").is_file()
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["$x", "@network", "2024", HOSTILE.replace("/", "")])
@pytest.mark.parametrize("equals", [True, False])
def test_inferring_takes_a_bundle_of_any_name(name: str, equals: bool, tmp_path: Path) -> None:
    (tmp_path / name).symlink_to(BUNDLE.resolve(), target_is_directory=True)
    save_flair(draw_phantom(), tmp_path / "scans" / "A.nii.gz")
    root = [f"--bundle_root={name}"] if equals else ["--bundle_root", name]
    done = run("inferring", "inference.yaml", tmp_path, "--dataset_dir", "scans", "--output_dir", "masks", *root)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "masks" / "A.nii.gz").is_file()
    assert not (tmp_path / "executed").exists()


def test_inferring_elsewhere_without_the_bundle_names_the_remedy(tmp_path: Path) -> None:
    save_flair(draw_phantom(), tmp_path / "A.nii.gz")
    done = run("inferring", "inference.yaml", tmp_path, "--dataset_dir", ".")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("inferring: bundles/brainseg_unet/models/model.pt: no weights there;")
    assert "in another folder than the repository, give --bundle_root" in last
    assert "Traceback" not in done.stderr


def test_training_takes_the_folder_of_the_bundle_as_a_text(tmp_path: Path) -> None:
    done = run("training", "train.yaml", tmp_path, "--dataset_dir", "nowhere", "--bundle_root", HOSTILE)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("training: nowhere/datalist.json: is missing;")
    assert not (tmp_path / "executed").exists()
