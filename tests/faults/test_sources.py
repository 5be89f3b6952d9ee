"""What the sources must not do: unpickle, or give a shell a text."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCES = [*Path("monai_brainseg").glob("*.py"), *Path("benchmarks").glob("*.py")]
CONFIGS = [*Path("bundles").rglob("*.yaml"), *Path("configs").rglob("*.yaml")]
FORBIDDEN = {
    "eval", "exec", "os.system", "os.popen", "pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.loads",
    "yaml.load", "yaml.unsafe_load", "joblib.load", "subprocess.getoutput", "shelve.open",
}  # fmt: skip


def list_calls(text: str) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]


def is_true(call: ast.Call, name: str) -> bool:
    return any(k.arg == name and isinstance(k.value, ast.Constant) and k.value.value is True for k in call.keywords)


@pytest.mark.parametrize("file", SOURCES, ids=str)
def test_source_neither_unpickles_nor_starts_a_shell(file: Path) -> None:
    for call in list_calls(file.read_text()):
        name = ast.unparse(call.func)
        assert name not in FORBIDDEN, f"{file}:{call.lineno}"
        assert not is_true(call, "shell"), f"{file}:{call.lineno}"
        assert not is_true(call, "allow_pickle"), f"{file}:{call.lineno}"
        if name == "torch.load":
            assert is_true(call, "weights_only"), f"{file}:{call.lineno}"


@pytest.mark.parametrize("file", CONFIGS, ids=str)
def test_config_loads_weights_alone(file: Path) -> None:
    text = file.read_text()
    assert text.count("torch.load(") == text.count("weights_only=True")
    assert not any(word in text for word in ("pickle", "os.system", "subprocess", "eval(", "exec("))
