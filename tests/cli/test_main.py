"""What is mistyped on the command line is named, with the nearest that there is, in one line."""

from __future__ import annotations

import pytest

from monai_brainseg.cli.main import main


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("prepare data --outputs out", "brainseg prepare: unknown option --outputs, did you mean --output?"),
        ("prepare data --outputs=out", "brainseg prepare: unknown option --outputs, did you mean --output?"),
        ("predict data --output out --ttaa", "brainseg predict: unknown option --ttaa, did you mean --tta?"),
        ("benchmark --dataset_dir d --output o --fold 2", "brainseg benchmark: unknown option --fold, did you mean"),
        ("label install --ap apps", "brainseg label install: unknown option --ap, did you mean --app?"),
        ("predict data --output out --zzzz", "brainseg predict: unknown option --zzzz; see brainseg predict --help"),
        ("predict data", "brainseg predict: the following arguments are required: --output; see"),
        ("predct data", "brainseg: argument COMMAND: invalid choice: 'predct'"),
    ],
)
def test_mistyped_words_are_named_in_one_line(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(words.split())
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(said)
    assert line.endswith("--help")
