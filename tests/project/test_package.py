"""The wheel alone, in an environment where the repository is not: bundles, weights and commands come with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
import yaml
from support.fixed_bundles import dice, read_mask

from monai_brainseg import __version__
from monai_brainseg.cli.main import main

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "NOTICE", "monai_brainseg", "bundles", "configs")


def run(*words: object, folder: Path) -> str:
    """Run a program that must not find the repository, and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False, cwd=folder, env=environment
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of a copy, so that nothing is left in the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder)
    options = ("--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", folder / "dist")
    run(sys.executable, "-m", "pip", "wheel", *options, ".", folder=folder)
    (file,) = (folder / "dist").glob("*.whl")
    return file


@pytest.mark.slow
def test_wheel_holds_the_bundles_whole_with_weights_and_licenses(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    bundles = REPOSITORY / "bundles"
    recipes = {file.name for file in (REPOSITORY / "configs" / "recipes").glob("*.yaml")}
    assert {f"monai_brainseg/configs/recipes/{name}" for name in recipes} <= names
    tracked = subprocess.run(["git", "ls-files", "bundles"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    files = {name.removeprefix("bundles/") for name in tracked.stdout.split() if not name.endswith(".gitkeep")}
    assert "brainseg_unet/models/model.pt" in files
    assert {f"monai_brainseg/bundles/{name}" for name in files} <= names
    assert "brainseg_unet/brainseg_unet_scripts/encoders.py" in files
    assert {"monai_brainseg/py.typed", "monai_brainseg/configs/residual_unet.yaml"} <= names
    templates = {str(file.relative_to(REPOSITORY)) for file in (REPOSITORY / "monai_brainseg").rglob("*.html")}
    assert templates | {"monai_brainseg/reporting/style.css", "monai_brainseg/reporting/sort.js"} <= names
    assert {Path(name).name for name in names if "/licenses/" in name} == {"LICENSE", "NOTICE"}
    assert (
        zipfile.ZipFile(wheel).read("monai_brainseg/bundles/brainseg_unet/models/model.pt")
        == (bundles / "brainseg_unet/models/model.pt").read_bytes()
    )


@pytest.mark.slow
def test_installed_wheel_segments_a_phantom_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    """Its dependencies are this environment's own, by a path that goes after the wheel's."""
    venv.create(tmp_path / "env", symlinks=True)
    bin_folder = tmp_path / "env" / "bin"
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    python = bin_folder / "python"
    install = ("-m", "pip", "--quiet", "install", "--no-deps", "--no-index", "--force-reinstall", "--prefix")
    run(python, *install, tmp_path / "env", wheel, folder=tmp_path)
    where = run(python, "-c", "import monai_brainseg as m; print(m.__file__, m.__version__)", folder=tmp_path).split()
    assert Path(where[0]).is_relative_to(site)
    assert where[1] == __version__
    away = tmp_path / "away"
    away.mkdir()
    code = (
        "from monai_brainseg.runs.recipes import count_parameters, read_recipe; recipe = read_recipe('residual_unet'); "
        "print(recipe.files[0], count_parameters(recipe))"
    )
    overlay, parameters = run(python, "-c", code, folder=away).split()
    assert Path(overlay).is_relative_to(site)
    assert parameters == "6501324"
    run(bin_folder / "brainseg", "phantom", "--output", "in", "--patients", "1", "--size", "64", folder=away)
    run(bin_folder / "brainseg", "check", "in", "--output", "look", folder=away)
    assert (away / "look" / "check.html").is_file()
    run(bin_folder / "brainseg", "predict", "in", "--output", "masks", "--probability", folder=away)
    assert main(["predict", str(away / "in"), "--output", str(tmp_path / "here"), "--probability"]) == 0
    (one,), (other,) = ([*each.glob("*_probability.nii.gz")] for each in (away / "masks", tmp_path / "here"))
    assert read_mask(one).max() > 0.1
    assert dice(read_mask(one) > 0.1, read_mask(other) > 0.1) > 0.999
    words = [bin_folder / "brainseg", "predict", "in", "--output", "by_recipe", "--recipe", "bundle"]
    assert "1 study" in run(*words, folder=away)


def test_changelog_and_citation_are_of_this_version_and_cite_the_papers_of_the_notice() -> None:
    assert f"## {__version__}" in (REPOSITORY / "CHANGELOG.md").read_text()
    assert yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())["version"] == __version__
    notice = (REPOSITORY / "NOTICE").read_text()
    cited = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())["references"]
    assert all(reference["title"].split(":")[0] in " ".join(notice.split()) for reference in cited)
    assert len(cited) == 2
