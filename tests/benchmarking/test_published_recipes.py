"""The recipes of published projects: what they train, two steps of each, and that their weights segment and serve."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigParser
from monai.networks.nets import AutoEncoder, UNet
from support.fixed_bundles import draw_phantom, save_flair

from monai_brainseg.cli.main import main
from monai_brainseg.errors import InputError
from monai_brainseg.runs.recipes import merge_overlay, read_recipe, select_inference
from monai_brainseg.serving.label_contract import check_contract
from monai_brainseg.training.networks import FCNResNet50, PoolingUNet

NETWORKS = {
    "unet": UNet, "unet_bce_dice": UNet, "unet_dice_iou": UNet, "encoder_decoder": AutoEncoder,
    "unet_small_128": PoolingUNet, "fcn_resnet50_ce": FCNResNet50,
}  # fmt: skip
QUICK = {"patch_size": [32, 32], "slices_per_volume": 1, "batch_size": 2, "cache_num": 20, "amp": False}


def load(name: str, **changes: Any) -> ConfigParser:
    """Return the config that a recipe trains by, unresolved."""
    config = ConfigParser(ConfigParser.load_config_files(list(read_recipe(name).training_files)))
    config.update(changes)
    return config


@pytest.mark.parametrize("name", NETWORKS)
def test_each_recipe_trains_two_steps(name: str, prepared_phantoms: Path, tmp_path: Path) -> None:
    config = load(name, dataset_dir=str(prepared_phantoms), output_dir=str(tmp_path), epochs=1, **QUICK)
    config.update({"train::handlers": [], "device": torch.device("cpu")})
    torch.manual_seed(0)
    trainer, network = config.get_parsed_content("train::trainer"), config.get_parsed_content("network_def")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    trainer.run()
    assert type(network) is NETWORKS[name]
    assert trainer.state.iteration == 2
    assert torch.isfinite(trainer.state.output["loss"])
    assert trainer.state.output["pred"].shape == (2, 2, 32, 32)
    assert all(not torch.equal(value, before[name]) for name, value in network.named_parameters() if "weight" in name)


# What each project says of itself, as numbers of the config.
SAID: dict[str, dict[str, Any]] = {
    "unet_bce_dice": {
        "loss_name": "dice_bce", "epochs": 28, "patch_size": [256] * 2, "train::warp::rotate": 35,
        "train::warp::flip": 0.5,
    },
    "unet_dice_iou": {"loss_name": "dice_iou"},
    "unet_small_128": {"loss_name": "bce", "epochs": 20, "batch_size": 8, "patch_size": [128] * 2, "pixel_size": 2.0},
    "fcn_resnet50_ce": {
        "loss_name": "cross_entropy", "epochs": 3, "batch_size": 4, "learning_rate": 0.0001, "patch_size": [256] * 2,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_recipes_say_what_the_projects_say_and_hold_their_rate(name: str) -> None:
    config = load(name)
    assert {item: config[item] for item in SAID.get(name, {})} == SAID.get(name, {})
    # every pixel of a slice of 256 columns is seen, and none twice
    assert config["pixel_size"] * config["patch_size"][0] == 256
    config.update({"network": torch.nn.Linear(1, 1)})
    optimizer, scheduler = config.get_parsed_content("optimizer"), config.get_parsed_content("lr_scheduler")
    assert type(optimizer) is torch.optim.AdamW
    assert optimizer.defaults["weight_decay"] == 0  # and so it is Adam
    rates = set()
    for _ in range(20):
        optimizer.step()
        scheduler.step()
        rates.add(optimizer.param_groups[0]["lr"])
    assert rates == {config["learning_rate"]}


def test_encoder_decoder_and_dice_iou_differ_from_the_unet_by_one_thing_each() -> None:
    unet = load("unet").get()
    for name, thing in (("encoder_decoder", "network_def"), ("unet_dice_iou", "loss_name")):
        other = load(name).get()
        assert {item for item in unet if unet[item] != other[item]} == {thing, "based_on"}
        assert {*other} == {*unet}


def test_encoder_decoder_has_no_way_around_its_narrowest_layer() -> None:
    network = load("encoder_decoder").get_parsed_content("network_def").eval()
    images = torch.randn(1, 3, 32, 32)
    seen: list[torch.Tensor] = []
    network.intermediate.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.inference_mode():
        answer = network(images)
        assert seen[0].shape == (1, 512, 2, 2)
        assert torch.equal(network.decode(seen[0]), answer)


def test_grey_recipe_reads_images_alike_in_training_evaluating_and_inferring(prepared_phantoms: Path) -> None:
    case = json.loads((prepared_phantoms / "datalist.json").read_text())["training"][0]
    files = [prepared_phantoms / file for file in case["image"]]
    red, green, blue = (np.asarray(nib.load(file).dataobj, np.float32) for file in files)
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    wanted = (grey / 255 - 0.5) / 0.5
    recipe = read_recipe("fcn_resnet50_ce")
    inference = recipe.evaluating_files[:1]
    item = {"image": [str(file) for file in files], "label": str(prepared_phantoms / case["label"])}
    for parser, name in (
        (load("fcn_resnet50_ce", pixel_size=2.0), "validate::preprocessing"),
        (merge_overlay(ConfigParser.load_config_files([*recipe.evaluating_files]), recipe.evaluating), "preprocessing"),
        (merge_overlay(ConfigParser.load_config_files(inference), select_inference(recipe)), "preprocessing"),
    ):
        spacing = nib.load(files[0]).header.get_zooms()[0]
        parser.update({"pixel_size": float(spacing)})
        image = parser.get_parsed_content(name)(dict(item))["image"]
        assert image.shape == (3, *wanted.shape)
        assert all(np.allclose(channel, wanted, atol=2e-3) for channel in image.numpy()), name


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_are_promised_of_recipes_that_were_measured_alone(name: str) -> None:
    header = Path(f"configs/recipes/{name}.yaml").read_text()
    measured = f"`{name}`" in Path("docs/results.md").read_text()
    assert "Not run on real patients yet" in header or (measured and "Scores: docs/results.md" in header)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FLAIR of one synthetic patient."""
    return save_flair(draw_phantom(), tmp_path_factory.mktemp("study") / "case.nii.gz")


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """What matters of the folder that `monailabel apps --download` writes."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("from monailabel.tasks.infer.bundle import BundleInferTask\n")
    return tmp_path / "app"


@pytest.mark.parametrize(
    ("chosen", "name"),
    [
        (["--recipe", "configs/fcn.yaml"], "brainseg_unet_fcn"),
        (["--recipe", "fcn_resnet50_ce"], "brainseg_unet_fcn_resnet50_ce"),
        (["--recipe", "{}/auxiliary_fcn.yaml"], "brainseg_unet_auxiliary_fcn"),
        (["--recipe", "encoder_decoder"], "brainseg_unet_encoder_decoder"),
    ],
)
def test_weights_of_other_networks_segment_and_serve(
    chosen: list[str], name: str, study: Path, app: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    (tmp_path / "auxiliary_fcn.yaml").write_text("based_on: [fcn]\nauxiliary: true\n")
    chosen = [word.format(tmp_path) for word in chosen]
    network = load("encoder_decoder").get_parsed_content("network_def")
    if "fcn" in name:
        network = FCNResNet50(auxiliary="auxiliary" in name)
    torch.save({"model": network.state_dict(), "seen": ["images:a"]}, tmp_path / "weights.pt")
    words = [*chosen, "--checkpoint", str(tmp_path / "weights.pt")]
    assert main(["predict", str(study), "--output", str(tmp_path / "masks"), *words]) == 0
    mask = nib.load(tmp_path / "masks" / "case.nii.gz")
    assert mask.shape == nib.load(study).shape
    assert set(np.unique(np.asarray(mask.dataobj))) <= {0, 1}
    record = json.loads((tmp_path / "masks" / "run.json").read_text())
    assert record["checkpoint"][0]["seen"] == ["images:a"]

    assert main(["label", "install", "--app", str(app), *words]) == 0
    copy = app / "model" / name
    assert check_contract(copy) == []
    train, inference = (
        ConfigParser.load_config_file(copy / "configs" / f"{kind}.yaml") for kind in ("train", "inference")
    )
    assert train["network_def"] == inference["network_def"]
    assert train["ckpt_dir"] == "$@bundle_root + '/models'"
    assert [train[item] for item in ("slices_per_volume", "learning_rate")] == [64, 0.0003]
    if "auxiliary" in name:
        assert train["auxiliary"] is inference["auxiliary"] is True
    else:
        recipe = load(chosen[1]).get()
        assert train["patch_size"] == inference["patch_size"] == recipe["patch_size"]
        assert train["loss_name"] == recipe["loss_name"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--recipe", "nonsense"],
            "one of best, bundle, demo, encoder_decoder, fcn, fcn_resnet50_ce, finetune, release, residual_unet, short",
        ),
        (
            ["--recipe", "encoder_decoder"],
            "recipe encoder_decoder: the bundle's weights are not of this recipe; name weights",
        ),
        (
            ["--recipe", "unet"],
            "recipe unet: the bundle's weights are not of this recipe; name weights with --checkpoint",
        ),
        (["--recipe", "unet", "--bundle", "{}/other"], "other: recipe unet is an overlay on brainseg_unet"),
        (["--bundle", "{}/other"], "other/models/model.pt: no weights there; train them"),
    ],
)
def test_what_cannot_be_segmented_by_is_said_in_one_line(
    words: list[str], said: str, study: Path, app: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree("bundles/brainseg_unet", tmp_path / "other", ignore=shutil.ignore_patterns("*.pt"))
    words = [word.format(tmp_path) for word in words]
    assert main(["predict", str(study), "--output", str(tmp_path / "masks"), *words]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert main(["label", "install", "--app", str(app), *words]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not list((app / "model").glob("*"))


def test_recipe_of_a_bundle_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lost.yaml").write_text("bundle_root: bundles/nothing")
    with pytest.raises(InputError, match=r"nothing.*name a folder or brainseg_unet"):
        read_recipe(str(tmp_path / "lost.yaml"))


@pytest.mark.slow
def test_benchmark_compares_recipes_of_two_networks(
    prepared_phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = {"patch_size": [32, 32], "pixel_size": 7.0, "epochs": 1, "slices_per_volume": 1, "cache_num": 20}
    for name in ("fcn_resnet50_ce", "encoder_decoder"):
        content = yaml.safe_load(Path(f"configs/recipes/{name}.yaml").read_text())
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content | quick))
    files = ",".join(str(tmp_path / f"{name}.yaml") for name in ("encoder_decoder", "fcn_resnet50_ce"))
    words = ["--dataset_dir", prepared_phantoms, "--output", tmp_path / "out", "--recipes", files, "--folds", 0]
    assert main(["benchmark", *map(str, words)]) == 0
    table = capsys.readouterr().out
    assert "| encoder_decoder | patient | left out | 4 |" in table
    assert "| fcn_resnet50_ce | patient | left out | 4 |" in table
    assert {"6,113,676", "32,947,266"} <= set(table.replace("|", " ").split())
    known = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert {"recipe encoder_decoder", "recipe fcn_resnet50_ce"} <= set(known)
