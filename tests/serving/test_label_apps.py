"""Bundles put into a MONAI Label app."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from monai.bundle import ConfigParser
from support.bundle_runs import CONFIGS

from monai_brainseg.cli.main import main
from monai_brainseg.errors import InputError
from monai_brainseg.serving.label_apps import adapt_config, install

# What BundleInferTask of MONAI Label 0.8.5 does with the config: without our package, the device put in as a text.
SERVE = """
import sys
sys.modules["monai_brainseg"] = None
import torch
from monai.bundle import ConfigItem, ConfigParser
bundle = sys.argv[1]
sys.path.insert(0, bundle)
config = ConfigParser()
config.read_config(bundle + "/configs/inference.yaml")
config.config.update({"bundle_root": bundle})
network = config.get_parsed_content("network_def", instantiate=True).eval()
config.config.update({"device": "cpu"})
config.ref_resolver.items["device"] = ConfigItem(config="cpu", id="device")
inferer = config.get_parsed_content("inferer", instantiate=True)
sys.path.remove(bundle)
kinds = set()
network.register_forward_hook(lambda module, inputs, output: kinds.add(output.dtype))
with torch.no_grad():
    answer = inferer(torch.rand(1, 3, 64, 64, 4), network)
assert kinds == {config.get_parsed_content("precision")}, kinds
print(answer.dtype, tuple(answer.shape))
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """What matters of the folder that `monailabel apps --download` writes."""
    folder = tmp_path / "apps" / "monaibundle"
    folder.mkdir(parents=True)
    (folder / "main.py").write_text("from monailabel.tasks.infer.bundle import BundleInferTask\n")
    return folder


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Random weights of the U-Net bundle."""
    config = ConfigParser(ConfigParser.load_config_file(CONFIGS / "inference.yaml"))
    file = tmp_path / "run" / "best.pt"
    file.parent.mkdir()
    torch.save({"model": config.get_parsed_content("network_def").state_dict(), "seen": ["a"]}, file)
    return file


def test_bundles_of_one_app_whose_python_differs_are_refused(app: Path, weights: Path, tmp_path: Path) -> None:
    install(app, [], weights)
    other = shutil.copytree(CONFIGS.parent, tmp_path / "other", ignore=shutil.ignore_patterns("*.pt"))
    assert install(app, [str(other)], weights) == ["other"]
    with (other / "brainseg_unet_scripts" / "cases.py").open("a") as file:
        file.write("# of another version\n")
    with pytest.raises(InputError, match="brainseg_unet_scripts: differs from .*the server would run one of them for"):
        install(app, [str(other)], weights, overwrite=True)
    shutil.rmtree(app / "model" / "brainseg_unet")
    assert install(app, [str(other)], weights, overwrite=True) == ["other"]


def test_copy_serves_the_weights_given_and_trains_into_itself(
    app: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["label", "install", "--app", str(app), "--checkpoint", str(weights)]) == 0
    copy = app / "model" / "brainseg_unet"
    assert sorted(path.name for path in (copy / "models").glob("*.pt")) == ["model.pt"]
    assert (copy / "models" / "model.pt").read_bytes() == weights.read_bytes()
    assert (copy / "configs" / "inference.yaml").read_bytes() == (CONFIGS / "inference.yaml").read_bytes()
    config = ConfigParser(ConfigParser.load_config_file(copy / "configs" / "train.yaml"))
    config["bundle_root"] = str(copy)
    assert config.get_parsed_content("ckpt_dir") == str(copy / "models")
    assert config.get_parsed_content("output_dir") == str(copy / "training")
    start = capsys.readouterr().out.splitlines()[-1].split()
    assert start[:4] == ["monailabel", "start_server", "--app", str(app)]
    assert start[start.index("--host") + 1] == "127.0.0.1"
    assert start[start.index("models") + 1] == "brainseg_unet"
    assert sorted(path.name for path in (app / "model").iterdir()) == ["brainseg_unet"]


def test_inferer_that_the_server_takes_from_a_copy_computes_in_the_precision_by_monai_alone(
    app: Path, weights: Path, tmp_path: Path
) -> None:
    install(app, [], weights)
    words = [sys.executable, "-c", SERVE, str(app / "model" / "brainseg_unet")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ})
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "torch.float32 (1, 2, 64, 64, 4)"


def test_adapted_config_differs_in_a_few_lines_and_keeps_comments() -> None:
    text = (CONFIGS / "train.yaml").read_text()
    adapted = adapt_config(text)
    changed = [new for old, new in zip(text.splitlines(), adapted.splitlines(), strict=True) if old != new]
    assert changed == [
        "output_dir: $@bundle_root + '/training'",
        "ckpt_dir: $@bundle_root + '/models'",
        "val_interval: 2 # epochs between two validations",
        "slices_per_volume: 64 # drawn from each volume in an epoch",
        "learning_rate: 0.0003",
        "pretrained: false # start with ImageNet's weights, if network_def has such an encoder",
        "overwrite: true # True replaces a training in output_dir",
    ]
    assert yaml.safe_load(adapted).keys() == yaml.safe_load(text).keys()


def test_server_trains_as_the_overlay_for_a_few_studies_does() -> None:
    overlay = yaml.safe_load(Path("configs/finetune.yaml").read_text())
    adapted = yaml.safe_load(adapt_config((CONFIGS / "train.yaml").read_text()))
    for name in ("val_interval", "slices_per_volume", "learning_rate"):
        assert adapted[name] == overlay[name]


def test_config_without_these_lines_is_refused() -> None:
    with pytest.raises(InputError, match="0 lines 'ckpt_dir: "):
        adapt_config("output_dir: runs\n")


def test_bundle_that_is_there_is_replaced_on_demand_only(app: Path, weights: Path) -> None:
    install(app, ["brainseg_unet"], weights)
    trained = app / "model" / "brainseg_unet" / "models" / "model.pt"
    trained.write_bytes(b"what the server trained")
    with pytest.raises(InputError, match="--overwrite"):
        install(app, ["brainseg_unet"], weights)
    assert trained.read_bytes() == b"what the server trained"
    assert install(app, ["brainseg_unet"], weights, overwrite=True) == ["brainseg_unet"]
    assert trained.read_bytes() == weights.read_bytes()


def test_copy_that_the_server_could_not_use_is_not_put_in(app: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pt"
    torch.save({"model": torch.nn.Conv2d(3, 2, 3).state_dict()}, other)
    with pytest.raises(InputError, match=r"other\.pt: holds weights of another network"):
        install(app, ["brainseg_unet"], other)
    assert list((app / "model").iterdir()) == []


def test_bundle_of_its_own_folder_goes_by_that_name_with_its_own_weights(
    app: Path, weights: Path, tmp_path: Path
) -> None:
    shutil.copytree(CONFIGS.parent, tmp_path / "mine", ignore=shutil.ignore_patterns("*.pt"))
    shutil.copy(weights, tmp_path / "mine" / "models" / "model.pt")
    assert install(app, [str(tmp_path / "mine")]) == ["mine"]
    assert (app / "model" / "mine" / "models" / "model.pt").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--app", "tests"], "is not a MONAI Label bundle app"),
        (["--checkpoint", "nowhere.pt"], "nowhere.pt: no weights there"),
        (["--checkpoint", "tests"], "tests: is a folder; name a file of weights"),
        (["--bundle", "nothing"], "nothing"),
        (["--bundle", "brainseg_unet", "--bundle", "brainseg_unet", "--checkpoint", "x.pt"], "one at a time"),
    ],
)
def test_mistakes_end_in_one_line(words: list[str], said: str, app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["label", "install", "--app", str(app), *words]) == 1
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_app_in_a_folder_with_a_space_is_refused(app: Path, tmp_path: Path) -> None:
    app.rename(tmp_path / "my app")
    with pytest.raises(InputError, match="spaces"):
        install(tmp_path / "my app", ["brainseg_unet"])
