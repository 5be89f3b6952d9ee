"""The notebook runs from its first cell to its last, on commands alone."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from monai_brainseg.images.volumes import read_nifti

TOUR = Path("docs/tour.ipynb")


@pytest.mark.slow
def test_tour_runs_and_leaves_a_report_and_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("bundles", "configs"):
        (tmp_path / name).symlink_to(Path(name).resolve(), target_is_directory=True)
    (tmp_path / "docs").mkdir()
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    book = nbformat.read(TOUR, as_version=4)
    place = {"metadata": {"path": tmp_path / "docs"}}
    NotebookClient(book, timeout=300, kernel_name="python3", resources=place).execute()

    tour = tmp_path / "tour"
    assert "<h2" in (tour / "scores" / "report.html").read_text()
    assert (tour / "check" / "check.html").is_file()
    summary = json.loads((tour / "scores" / "summary.json").read_text())
    assert summary["provenance"]["state"] == "clean"
    masks = sorted((tour / "predicted").glob("*.nii.gz"))
    assert len(masks) == 4
    for mask in masks:
        assert read_nifti(mask).voxels.shape == (64, 64, 8)
    shown = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in shown) == 4


def test_tour_is_kept_without_outputs_and_holds_no_logic_of_its_own() -> None:
    book = nbformat.read(TOUR, as_version=4)
    nbformat.validate(book)
    assert "pip install . jupyterlab" in book.cells[0].source  # no extra brings Jupyter
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    commands = [cell.source for cell in code if cell.source.startswith("%%bash")]
    assert len(commands) >= 7
    for command in commands:
        assert re.match(r"%%bash\n(brainseg [a-z]+|python -m monai\.bundle run) ", command), command
        assert len(re.sub(r" \\\n", " ", command).splitlines()) == 2, "one command a cell"
    logic = re.compile(r"\b(def|class|while|if|torch|numpy|monai_brainseg)\b")
    assert not [cell.source for cell in code if logic.search(cell.source)]
