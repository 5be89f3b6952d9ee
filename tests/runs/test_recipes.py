"""Recipes: which ids of an overlay concern evaluating too, and the recipes of the repository."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from monai_brainseg.errors import InputError
from monai_brainseg.runs import recipes
from monai_brainseg.runs.recipes import count_parameters, read_recipe, read_trained, select_shared

BUNDLE = Path("bundles/brainseg_unet")
REPOSITORY = Path(__file__).resolve().parents[2]
RECIPES = [file.stem for file in Path("configs/recipes").glob("*.yaml") if not file.name.endswith(".evaluate.yaml")]


def test_ids_that_both_configs_have_are_shared_with_what_they_refer_to() -> None:
    brought = {"epochs": 3, "network_def::channels": "@width", "width": "$[@base] * 5", "base": 4, "initialize": []}
    shared = select_shared(brought, {"network_def": {}, "patch_size": [], "initialize": []})
    assert shared == {"network_def::channels": "@width", "width": "$[@base] * 5", "base": 4}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_of_the_repository_fit_the_bundle(name: str) -> None:
    recipe = read_recipe(name)
    assert recipe.name == name
    assert count_parameters(recipe) > 0


def test_best_is_the_bundle_as_it_is() -> None:
    assert yaml.safe_load(read_recipe("best", BUNDLE).file.read_text()) == {}


def test_companion_says_what_evaluating_alone_knows(tmp_path: Path) -> None:
    (tmp_path / "wide.yaml").write_text("normalizing: []\npatch_size: [64, 64]")
    with pytest.raises(InputError, match=r"wide\.evaluate\.yaml"):
        read_recipe(str(tmp_path / "wide.yaml"), BUNDLE)
    (tmp_path / "wide.evaluate.yaml").write_text("preprocessing::transforms: []")
    shared = read_recipe(str(tmp_path / "wide.yaml"), BUNDLE).evaluating
    assert shared == {"patch_size": [64, 64], "preprocessing::transforms": []}
    assert read_recipe(str(tmp_path / "wide.yaml"), BUNDLE).digest != read_recipe("best", BUNDLE).digest


def test_recipe_with_a_mistyped_id_is_refused(tmp_path: Path) -> None:
    (tmp_path / "typo.yaml").write_text("epoch: 3")
    with pytest.raises(InputError, match="did you mean 'epochs'"):
        read_recipe(str(tmp_path / "typo.yaml"), BUNDLE)


@pytest.mark.parametrize("name", RECIPES)
def test_weights_of_a_recipe_are_the_bundles_for_best_alone(name: str, tmp_path: Path) -> None:
    assert read_trained(name, None, [tmp_path / "any.pt"]).name == name
    if name == "best":
        assert read_trained(name, None, []).bundle.name == "brainseg_unet"
        return
    with pytest.raises(
        InputError, match=f"^recipe {name}: its weights are not the bundle's; name them by --checkpoint$"
    ):
        read_trained(name, None, [])


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_laid_over_their_own_bundle_from_any_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = "brainseg_fcn" if name.startswith("fcn") else "brainseg_unet"
    monkeypatch.chdir(tmp_path)
    assert read_recipe(name).bundle.resolve() == (REPOSITORY / "bundles" / own).resolve()
    if name == "best":
        assert read_recipe(name, "brainseg_fcn").bundle.name == "brainseg_fcn"
        return
    other = "brainseg_unet" if name.startswith("fcn") else "brainseg_fcn"
    with pytest.raises(InputError, match=f"^--bundle {other}: recipe {name} is laid over {own}; leave it out"):
        read_recipe(name, other)


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
        "unet: no such recipe; recipes with a name are in the repository's configs; name the path of a YAML file"
    )
