"""The Slurm scripts, as they are, with stand-ins for Slurm's commands that start every task on this machine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support.bundle_runs import QUICK, assert_equal
from support.fixed_bundles import BRIGHT, bright_state, draw_phantom, make_bundle, save_flair
from support.trainings import torchrun

SCRIPTS = Path(__file__).resolve().parents[2] / "docs" / "slurm"

# Two agents that find each other at a port; srun ends with the first code that is not 0.
SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift; done
for node in 0 1; do SLURM_NODEID=$node "$@" & done
code=0
for job in $(jobs -p); do wait "$job" || code=$?; done
exit $code
"""
SCONTROL = """#!/usr/bin/env bash
[[ "$1 $2" == "show hostnames" ]] && echo localhost && echo elsewhere
"""

# A rank gets SIGKILL in the middle of an epoch, once.
DEATH = """
+train::handlers:
- _target_: StatsHandler
  epoch_log: false
  iteration_print_logger:
    "$lambda engine: (open(@output_dir + '/killed', 'x').close(), os.kill(os.getpid(), 9)) if (int(os.environ['RANK']),
    engine.state.iteration) == (1, 3) and not os.path.exists(@output_dir + '/killed') else None"
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Slurm's variables for a job of two machines, and its commands' stand-ins before all other programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    python = f'#!/usr/bin/env bash\nexec {sys.executable} "$@"\n'
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("python", python)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    mine = {"PATH": f"{folder}:{os.environ['PATH']}", "PORT": str(port), "PROCESSES": "1"}
    slurm = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "node[1-2]"}
    return {**os.environ, **mine, **slurm, "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_two_machines_train_and_a_killed_rank_restarts_the_group_from_the_last_whole_epoch(
    prepared_phantoms: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """The weights are those of a training on one machine that nothing disturbed."""
    death = tmp_path / "death.yaml"
    death.write_text(DEATH)
    script = (SCRIPTS / "train.sh").read_text()
    assert "multi_gpu_train.yaml']" in script
    (tmp_path / "train.sh").write_text(script.replace("multi_gpu_train.yaml']", f"multi_gpu_train.yaml','{death}']"))
    options: dict[str, Any] = {**QUICK, "epochs": 3, "slices_per_volume": 8}  # two steps an epoch
    given = {**options, "dataset_dir": prepared_phantoms, "output_dir": tmp_path / "run"}
    words = [str(text) for name, value in given.items() for text in (f"--{name}", value)]
    command = ["bash", str(tmp_path / "train.sh"), *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
    ) as job:
        try:
            said, _ = job.communicate(timeout=200)
        except subprocess.TimeoutExpired:
            os.killpg(job.pid, signal.SIGKILL)
            raise
    assert job.returncode == 0, said[-3000:]
    assert (tmp_path / "run" / "killed").is_file()
    assert said.count("resumed from") == 1
    alone = torchrun(prepared_phantoms, tmp_path / "whole", **options)
    whole = subprocess.run(alone, capture_output=True, text=True, check=False, timeout=300)
    assert whole.returncode == 0, whole.stderr[-3000:]
    for file in ("last.pt", "models/model.pt"):
        one, other = (torch.load(tmp_path / run / file, weights_only=True) for run in ("run", "whole"))
        assert_equal(one, other)


@pytest.mark.slow
def test_tasks_of_an_array_share_an_archive_and_one_called_again_does_what_is_missing(
    environment: dict[str, str], tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "bright", BRIGHT, bright_state())
    for seed in range(3):
        save_flair(draw_phantom(48, seed=seed), tmp_path / "in" / f"s{seed}.nii.gz")
    words = ["predict.sh", str(tmp_path / "in"), "--bundle", str(bundle), "--output", str(tmp_path / "masks")]
    array = {"SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_MAX": "4", "SLURM_ARRAY_TASK_COUNT": "2"}
    found = []
    for task in ("3", "4"):
        settings = {**environment, **array, "SLURM_ARRAY_TASK_ID": task}
        done = subprocess.run(
            ["bash", *words], capture_output=True, text=True, check=False, cwd=SCRIPTS, env=settings, timeout=120
        )
        assert done.returncode == 0, done.stderr
        found.append(sorted(file.name for file in (tmp_path / "masks").glob("*.nii.gz")))
    assert found == [["s0.nii.gz", "s2.nii.gz"], ["s0.nii.gz", "s1.nii.gz", "s2.nii.gz"]]
    record = json.loads((tmp_path / "masks" / "run.json").read_text())
    assert [case["case"] for case in record["cases"]] == ["s0", "s1", "s2"]


@pytest.mark.parametrize(("tasks", "ok"), [("0 1 2", True), ("7", True), ("0 2 4", False), ("3 7", False)])
def test_array_with_gaps_would_lose_studies_and_is_refused(tasks: str, ok: bool, tmp_path: Path) -> None:
    """A stand-in for python says which share it was given."""
    (tmp_path / "python").write_text("#!/usr/bin/env bash\necho share $RANK of $WORLD_SIZE: $*\n")
    (tmp_path / "python").chmod(0o755)
    numbers = tasks.split()
    array = {"MIN": numbers[0], "MAX": numbers[-1], "COUNT": str(len(numbers))}
    settings = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    settings |= {f"SLURM_ARRAY_TASK_{name}": value for name, value in array.items()}
    for share, number in enumerate(numbers):
        words = ["bash", str(SCRIPTS / "predict.sh"), "in", "--output", "masks"]
        environment = {**settings, "SLURM_ARRAY_TASK_ID": number}
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == (0 if ok else 1)
        if ok:
            assert done.stdout == f"share {share} of {len(numbers)}: -m monai_brainseg predict in --output masks\n"
        else:
            assert done.stdout == ""
            assert done.stderr.count("\n") == 1
            assert "submit the whole array again" in done.stderr
