"""Recipes: which ids of an overlay concern evaluating too, and the recipes of the repository."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from monai_brainseg.errors import InputError
from monai_brainseg.recipes import count_parameters, read_recipe, select_shared

BUNDLE = Path("bundles/brainseg_unet")
RECIPES = [file.stem for file in Path("configs/recipes").glob("*.yaml") if not file.name.endswith(".evaluate.yaml")]


def test_ids_that_both_configs_have_are_shared_with_what_they_refer_to() -> None:
    brought = {"epochs": 3, "network_def::channels": "@width", "width": "$[@base] * 5", "base": 4, "initialize": []}
    shared = select_shared(brought, {"network_def": {}, "patch_size": [], "initialize": []})
    assert shared == {"network_def::channels": "@width", "width": "$[@base] * 5", "base": 4}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_of_the_repository_fit_the_bundle(name: str) -> None:
    recipe = read_recipe(name, BUNDLE)
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
