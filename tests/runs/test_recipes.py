"""Recipes: which ids of an overlay concern evaluating too, and the recipes of the repository."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from monai_brainseg.errors import InputError
from monai_brainseg.runs import recipes
from monai_brainseg.runs.commands import Command
from monai_brainseg.runs.config_checks import check_command
from monai_brainseg.runs.recipes import count_parameters, read_recipe, read_trained, select_shared

BUNDLE = Path("bundles/brainseg_unet")
REPOSITORY = Path(__file__).resolve().parents[2]
RECIPES = [file.stem for file in Path("configs/recipes").glob("*.yaml")] + ["fcn", "residual_unet"]


def test_ids_that_both_configs_have_are_shared_with_what_they_refer_to() -> None:
    brought = {"epochs": 3, "network_def::channels": "@width", "width": "$[@base] * 5", "base": 4, "initialize": []}
    shared = select_shared(brought, {"network_def": {}, "patch_size": [], "initialize": []})
    assert shared == {"network_def::channels": "@width", "width": "$[@base] * 5", "base": 4}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_of_the_repository_fit_the_bundle(name: str) -> None:
    recipe = read_recipe(name)
    assert recipe.name == name
    assert count_parameters(recipe) > 0


def test_recipe_bundle_is_the_bundle_as_it_is() -> None:
    assert yaml.safe_load(read_recipe("bundle", BUNDLE).files[0].read_text()) == {}


def test_recipe_is_laid_over_those_that_it_is_based_on_each_once(tmp_path: Path) -> None:
    (tmp_path / "wide.yaml").write_text("based_on: [unet, fcn]\nepochs: 7")
    (tmp_path / "wider.yaml").write_text("based_on: [unet, wide]\npixel_size: 3.0")
    recipe = read_recipe(str(tmp_path / "wider.yaml"))
    assert [file.stem for file in recipe.files] == ["residual_unet", "unet", "fcn", "wide", "wider"]
    assert (recipe.content["epochs"], recipe.content["loss_name"], recipe.content["pixel_size"]) == (7, "bce", 3.0)
    assert recipe.evaluating["network_def"]["_target_"].endswith("FCNResNet50")
    assert recipe.evaluating["pixel_size"] == 3.0
    assert "epochs" not in recipe.evaluating
    assert recipe.digest != read_recipe("unet").digest


def test_recipe_without_the_one_that_it_is_based_on_is_refused(tmp_path: Path) -> None:
    train, recipe = str(BUNDLE / "configs/train.yaml"), "configs/recipes/unet_dice_iou.yaml"
    bases = ("configs/residual_unet.yaml", "configs/recipes/unet.yaml")
    check_command(Command("training", (train, *bases, recipe), {}))
    with pytest.raises(InputError, match=r"iou.yaml: is based on unet.yaml; name that before it in --config"):
        check_command(Command("training", (train, recipe), {}))
    (tmp_path / "lost.yaml").write_text("based_on: [nowhere]")
    with pytest.raises(InputError, match="^nowhere: no such recipe"):
        read_recipe(str(tmp_path / "lost.yaml"))


def test_scaling_of_images_is_shared_and_what_training_alone_would_read_otherwise_is_refused(tmp_path: Path) -> None:
    (tmp_path / "grey.yaml").write_text("normalizing: {_target_: Identityd, keys: image}")
    assert "normalizing" in read_recipe(str(tmp_path / "grey.yaml"), BUNDLE).evaluating
    (tmp_path / "wide.yaml").write_text("reading: []\npatch_size: [64, 64]")
    with pytest.raises(InputError, match="wide.yaml: 'reading' changes how images are read in training only"):
        read_recipe(str(tmp_path / "wide.yaml"), BUNDLE)


def test_recipe_with_a_mistyped_id_is_refused(tmp_path: Path) -> None:
    (tmp_path / "typo.yaml").write_text("epoch: 3")
    with pytest.raises(InputError, match="did you mean 'epochs'"):
        read_recipe(str(tmp_path / "typo.yaml"), BUNDLE)


@pytest.mark.parametrize("name", RECIPES)
def test_weights_of_a_recipe_are_the_bundles_for_recipe_bundle_alone(name: str, tmp_path: Path) -> None:
    assert read_trained(name, None, [tmp_path / "any.pt"]).name == name
    if name == "bundle":
        assert read_trained(name, None, []).bundle.name == "brainseg_unet"
        return
    with pytest.raises(
        InputError,
        match=f"^recipe {name}: the bundle's weights are not of this recipe; name weights with --checkpoint$",
    ):
        read_trained(name, None, [])


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_laid_over_their_own_bundle_from_any_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(BUNDLE / "configs", tmp_path / "other" / "configs")
    monkeypatch.chdir(tmp_path)
    assert read_recipe(name).bundle.resolve() == (REPOSITORY / "bundles" / "brainseg_unet").resolve()
    if name == "bundle":
        assert read_recipe(name, "other").bundle.name == "other"
        return
    with pytest.raises(
        InputError, match=f"^--bundle other: recipe {name} is an overlay on brainseg_unet; leave it out"
    ):
        read_recipe(name, "other")


def test_a_copy_of_the_recipes_bundle_is_taken_where_it_is_given(tmp_path: Path) -> None:
    copy = tmp_path / "brainseg_unet"
    shutil.copytree(BUNDLE / "configs", copy / "configs")
    assert read_recipe("unet", copy).bundle == copy
    (tmp_path / "linked").symlink_to(copy)
    assert read_recipe("unet", str(tmp_path / "linked")).bundle == tmp_path / "linked"


def test_without_a_folder_of_recipes_a_line_says_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "_FOLDERS", (tmp_path,))
    with pytest.raises(InputError) as raised:
        read_recipe("unet")
    assert str(raised.value) == (
        "unet: no such recipe; named recipes are in the repository's configs; name the path of a YAML file"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("based_on: [a]", "is based on a, which is based on it"),
        ("based_on: [b]", "is based on a, which is based on it"),
        ("based_on: 3", "must be a list of names"),
        ("based_on: unet", "must be a list of names"),
        ("based_on:", "must be a list of names"),
        ("based_on: [{x: 1}]", "must be a list of names"),
    ],
)
def test_what_a_recipe_is_based_on_is_a_list_of_others(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(content)
    (tmp_path / "b.yaml").write_text("based_on: [a]")
    with pytest.raises(InputError, match=said):
        recipes.read_recipe(str(tmp_path / "a.yaml"))


def test_an_id_within_the_network_of_a_base_is_part_of_what_evaluating_gets() -> None:
    recipe = read_recipe("short")
    assert recipe.evaluating["network_def"]["_target_"] == "UNet"
    assert recipe.evaluating["network_def"]["channels"] == [16, 32, 64, 128, 256]
    assert read_recipe("best").evaluating["network_def"]["channels"] == [32, 64, 128, 256, 512]
    assert not [name for name in recipe.content if name.startswith("network_def::")]
