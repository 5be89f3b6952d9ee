"""The package from Python: three functions that do what the commands do, loaded when they are used."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import monai_brainseg
from monai_brainseg.errors import InputError
from monai_brainseg.phantoms.patients import write_phantoms


def read_example(name: str) -> str:
    """Return the code beneath ``Example::`` in a function's docstring."""
    text = inspect.getdoc(getattr(monai_brainseg, name)) or ""
    block = text.split("Example::\n", 1)[1].split("\n\nArgs:", 1)[0]
    return textwrap.dedent(block)


def test_the_examples_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_phantoms(Path("kaggle_3m"), 6, seed=0, slices=8)
    for name in ("prepare", "segment", "evaluate"):
        exec(compile(read_example(name), name, "exec"), {})
    said = capsys.readouterr().out.splitlines()
    listed = json.loads(Path("data/lgg/datalist.json").read_text())
    assert {item["patient"] for item in listed["test"]} == {file.name[:-7] for file in Path("masks").glob("*.nii.gz")}
    mean = json.loads(Path("scores/summary.json").read_text())["per_patient"]["dice"]["mean"]
    assert float(said[-1]) == mean


def test_a_study_that_cannot_be_segmented_raises_what_the_command_prints(tmp_path: Path) -> None:
    (tmp_path / "bad.nii.gz").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"1 of 1 studies failed: bad: .*bad\.nii\.gz"):
        monai_brainseg.segment(tmp_path / "bad.nii.gz", tmp_path / "masks", say=lambda line: None)
    with pytest.raises(InputError, match="give one of them"):
        monai_brainseg.segment(output=tmp_path / "masks")


def test_importing_the_package_loads_nothing() -> None:
    heavy = {"torch", "numpy", "monai", "nibabel", "itk", "matplotlib", "jinja2"}
    code = f"import sys, monai_brainseg; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
    assert {"segment", "prepare", "evaluate", "__version__"} <= set(dir(monai_brainseg))
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        monai_brainseg.train  # noqa: B018


def test_help_loads_no_library_of_charts_or_networks() -> None:
    code = (
        "import sys; from monai_brainseg.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(sorted({'torch', 'monai', 'matplotlib', 'jinja2'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert said.splitlines()[-1] == "[]"


def test_paths_may_be_texts_and_odd_arguments_are_refused_in_one_line(tmp_path: Path) -> None:
    weights = str(Path("bundles/brainseg_unet/models/model.pt").resolve())
    write_phantoms(tmp_path / "studies", 1, seed=0, slices=8, size=64, layout="nifti")
    studies, masks = str(tmp_path / "studies"), str(tmp_path / "masks")
    for files in (weights, Path(weights), [weights]):
        assert len(monai_brainseg.segment(studies, masks, checkpoints=files, say=lambda line: None)) == 1
    for options, said in (
        ({"amp": "zz"}, "--amp zz: must be auto, True or False"),
        ({"operating_point": "zz"}, "--operating_point zz: must be balanced or recall"),
        ({"oper": "x"}, "oper: unknown option; the options are bundle, "),
        ({"fold": 1}, "--fold 1: only a prepared folder has folds"),
        ({"series": "5"}, "--series 5: only DICOM files have a series"),
    ):
        with pytest.raises(InputError, match=said):
            monai_brainseg.segment(studies, masks, say=lambda line: None, **options)
    for labels in ("1,4", ["1"]):
        with pytest.raises(InputError, match="must be whole numbers"):
            monai_brainseg.prepare(studies, tmp_path / "data", tumor_labels=labels)  # type: ignore[arg-type]
