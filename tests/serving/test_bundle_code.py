"""The list of a bundle's code: what reaches outside is named, what does not is left out."""

from __future__ import annotations

import pytest

from monai_brainseg.serving.bundle_code import list_code


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("$torch.load(@f, weights_only=True)['model']", []),
        ("$torch.load(@f)", ["torch.load without weights_only"]),
        ("$torch.load(@f, weights_only=False)", ["torch.load without weights_only"]),
        ("$torch.hub.load('a', 'b')", ["torch.hub.load", "hub"]),
        ("$torch.jit.load(@f)", ["torch.jit.load"]),
        ("$str(torch.load(@f, weights_only=True).get(1))", []),
        ("$monai.data.load_decathlon_datalist(@datalist)", []),
        ("$lambda x: x > 0", []),
        ("$[i for i in range(3)]", []),
        ("$open('/etc/passwd').read()", ["open"]),
        ("$(lambda: eval('1'))()", ["eval"]),
        ("$import os", ["os"]),
        ("$import monai_brainseg.runs.starts as runs", []),
        ("$from torch import os", ["torch.os"]),
        ("$import torch, os", ["os"]),
        ("$from os import path", ["os.path"]),
        ("$torch.utils.tensorboard.SummaryWriter('x')", []),
        ("$torch.utils.tensorboard.summary.np.fromfile('x')", ["torch.utils.tensorboard.summary.np"]),
        ("$torch.utils.tensorboard.os.system('x')", ["torch.utils.tensorboard.os", "os"]),
        ("$torch.os.system('x')", ["torch.os", "os"]),
        ("$[torch][0].os.system('x')", ["os"]),
        ("$torch.random.manual_seed(1)", []),
        ("$monai.transforms.Compose([torch.nn.Identity(), torch.float32, torch.tensor(1)])", []),
        ("$monai.bundle.run('x')", ["monai.bundle.run"]),
        ("$getattr(torch, 'lo' + 'ad')", ["getattr"]),
        ("$1 +", ["cannot be parsed"]),
        ("%other.yaml::x", ["reads a file"]),
        ("plain", None),
    ],
)
def test_expressions_are_told_apart(text: str, named: list[str] | None) -> None:
    found = list_code({"x": text})
    assert [name for code in found for name in code.names] == (named or [])


def test_a_name_that_an_import_hides_is_seen_through() -> None:
    assert list_code({"imports": ["$import shutil as monai"], "x": "$monai.rmtree('/')"})[-1].names == ("shutil",)
    assert list_code({"imports": ["$import monai_brainseg.runs.starts as runs"], "x": "$runs.start_run('a')"}) == []
