"""Checks before a run starts, and the last line of one that cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.bundle_runs import CONFIGS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run_id", "config", "words", "said"),
    [
        ("training", "train.yaml", "--learning_rte 3", "did you mean 'learning_rate'"),
        ("training", "train.yaml", "--dataset_dir nowhere", "brainseg prepare"),
        ("evaluating", "evaluate.yaml", "--prt test", "did you mean 'part'"),
        ("inferring", "inference.yaml", "--dataset_dir nowhere", "no such folder"),
        ("inferring", "inference.yaml", "--amp false", "--amp false: must be auto, True or False"),
        ("evaluating", "evaluate.yaml", "--amp 1", "--amp 1: must be auto, True or False"),
        ("inferring", "inference.yaml", "--dataset_dir tests", "holds no .nii"),
    ],
)
def test_the_last_line_says_what_is_wrong_and_the_run_fails(
    run_id: str, config: str, words: str, said: str, tmp_path: Path
) -> None:
    names = ["inference.yaml", "evaluate.yaml"] if run_id == "evaluating" else [config]
    files = str([str(CONFIGS / name) for name in names])
    command = [sys.executable, "-m", "monai.bundle", "run", run_id, "--config_file", files]
    command += [*words.split(), "--output_dir", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert said in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("names", [["evaluate.yaml"], ["evaluate.yaml", "inference.yaml"]])
def test_evaluate_yaml_alone_or_first_ends_in_one_line_that_shows_the_right_command(names: list[str]) -> None:
    evaluate = CONFIGS / "evaluate.yaml"
    configs = str([str(CONFIGS / name) for name in names])
    command = [sys.executable, "-m", "monai.bundle", "run", "evaluating", "--config_file", configs]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    files = f"['{CONFIGS / 'inference.yaml'}','{evaluate}']"
    assert done.stderr.strip().splitlines()[-1] == (
        f'evaluating: {evaluate}: is an overlay on inference.yaml; give --config_file "{files}"'
    )
    assert "Traceback" not in done.stderr


# How configs of runs named things before they moved: from the package's own modules, and from its folders.
EARLIER = {
    "first": """
imports: [$import os, $import monai_brainseg.runs as runs, $import monai_brainseg.handlers as handlers]
output_dir: out
initialize:
- $runs.start_run(@output_dir, datalist='x', fold=0)
training:
- $print('trained')
""",
    "second": """
imports: [$import monai_brainseg.runs.starts as runs]
output_dir: out
reading: [{_target_: monai_brainseg.training.readers.ThreadedLoadImaged, keys: image}]
initialize:
- $runs.start_run(@output_dir, datalist='x', fold=0)
training:
- $print('trained')
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("version", EARLIER)
def test_config_that_an_earlier_version_kept_with_a_run_is_refused_in_one_line(version: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(EARLIER[version])
    command = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", str(tmp_path / "config.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith(f"training: {tmp_path / 'config.yaml'}: was written by an earlier version; train again with")
    assert "Traceback" not in done.stderr
