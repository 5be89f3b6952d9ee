"""Studies unlike those of a training: the distance against scikit-learn's, what is usual, and what weights carry."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from sklearn.covariance import ShrunkCovariance

from monai_brainseg.errors import InputError
from monai_brainseg.prediction.familiarity import (
    KEY,
    Familiar,
    Signs,
    StudyDescriber,
    TrainingSpace,
    Usual,
    find_usual,
    from_checkpoint,
    measure_oddness,
    to_checkpoint,
)
from monai_brainseg.weights.checkpoints import read_checkpoint, write_checkpoint, write_half_precision


def draw_studies(count: int = 30, features: int = 50) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, 5)) @ rng.normal(size=(5, features)) + rng.normal(size=(count, features))


def test_distance_is_scikit_learns_of_features_of_unit_variance() -> None:
    studies = draw_studies()
    scale = studies.std(0)
    theirs = ShrunkCovariance(shrinkage=0.1).fit(studies / scale)
    for study in (studies[0], studies[1] + 3, studies.mean(0) + scale):
        expected = theirs.mahalanobis((study / scale)[None])[0] / len(scale)
        assert TrainingSpace(studies).measure(study, 0.5).distance == pytest.approx(math.log(expected), abs=1e-4)


def test_likeness_to_t1_is_the_log_ratio_of_two_normal_densities() -> None:
    studies = draw_studies()
    t1 = studies.mean(0) + studies.std(0)
    covariance = ShrunkCovariance(shrinkage=0.1).fit(studies / studies.std(0)).covariance_
    for study in (studies[0], t1, studies.mean(0)):
        densities = [
            multivariate_normal(center / studies.std(0), covariance).logpdf(study / studies.std(0))
            for center in (studies.mean(0), t1)
        ]
        expected = 2 * (densities[1] - densities[0]) / len(study)
        assert TrainingSpace(studies, t1).measure(study, 0.5).t1_likeness == pytest.approx(expected, abs=1e-4)


@given(st.integers(20, 200), st.integers(0, 5), st.booleans())
def test_one_in_twenty_of_the_usual_studies_is_flagged_by_any_sign(count: int, seed: int, with_t1: bool) -> None:
    rng = np.random.default_rng(seed)
    likenesses = rng.normal(-200, 40, count).tolist() if with_t1 else [None] * count
    studies = [
        Signs(*each) for each in zip(rng.normal(2, 0.5, count), rng.uniform(0.6, 0.9, count), likenesses, strict=True)
    ]
    usual = find_usual(studies, 0.05)
    flagged = sum(measure_oddness(each, usual).value > usual.limit for each in studies)
    assert flagged == pytest.approx(0.05 * count, abs=1)
    odd = {
        "confidence": studies[0]._replace(confidence=-1.0),
        "distance": studies[0]._replace(distance=12.0),
        **({"t1_likeness": studies[0]._replace(t1_likeness=200.0)} if with_t1 else {}),
    }
    for sign, study in odd.items():
        oddness = measure_oddness(study, usual)
        assert (oddness.sign, oddness.value > usual.limit) == (sign, True)


def test_slices_with_a_head_describe_a_study_and_air_does_not() -> None:
    class Encoder(torch.nn.Module):
        def forward(self, batch: torch.Tensor) -> list[torch.Tensor]:
            return [batch, batch, batch, batch[:, :1, ::2, ::2]]

    network = torch.nn.Sequential()
    network.add_module("encoder", Encoder())
    describer = StudyDescriber(network)
    head = torch.rand(3, 3, 8, 8) + 0.5
    describer.start()
    network(torch.cat([head, torch.zeros(2, 3, 8, 8)]))
    found = describer.finish()
    small = head[:, :1, ::2, ::2]
    expected = [head.mean((2, 3)), small.mean((2, 3)), head.std((2, 3)), small.std((2, 3))]
    assert found is not None
    np.testing.assert_allclose(found, torch.cat(expected, 1).mean(0), atol=1e-6)
    describer.start()
    network(torch.zeros(2, 3, 8, 8))
    assert describer.finish() is None


def make_familiar() -> Familiar:
    studies = draw_studies()
    return Familiar(studies, Usual((0.5, 0.2), (0.8, 0.1), 2.0, (-1.0, 0.5)), studies.mean(0) + 1)


def test_weights_without_a_likeness_to_t1_still_tell_the_rest() -> None:
    content = to_checkpoint(Familiar(draw_studies(), Usual((0.5, 0.2), (0.8, 0.1), 2.0)))
    del content[KEY]["t1"]
    del content[KEY]["usual"]["t1_likeness"]
    found = from_checkpoint(content, "older.pt")
    assert found is not None
    assert found.measure(draw_studies()[3], 0.8) == make_familiar().measure(draw_studies()[3], 0.8)


def test_weights_carry_it_to_a_file_and_through_half_precision(tmp_path: Path) -> None:
    familiar = make_familiar()
    write_checkpoint({"model": {"w": torch.ones(2)}, "seen": [], **to_checkpoint(familiar)}, tmp_path / "model.pt")
    write_half_precision(tmp_path / "model.pt", tmp_path / "half.pt")
    found = from_checkpoint(read_checkpoint(tmp_path / "half.pt"), "half.pt")
    assert found is not None
    assert found.usual == familiar.usual
    study = draw_studies()[3]
    assert found.measure(study, 0.8).value == pytest.approx(familiar.measure(study, 0.8).value, abs=1e-3)
    assert found.measure(None, 0.8).value == math.inf
    assert from_checkpoint({"model": {}}, "other.pt") is None


@pytest.mark.parametrize(
    "damage",
    [
        {"descriptors": torch.zeros(3)},
        {"descriptors": torch.full((3, 4), torch.nan)},
        {"descriptors": "text"},
        {"usual": {"distance": [1.0], "confidence": [1.0, 2.0], "limit": 1.0}},
        {"usual": {"distance": [1.0, 1.0]}},
        {"usual": None},
        {"t1": torch.zeros(3)},
        {"t1": torch.full((50,), torch.inf)},
    ],
)
def test_a_damaged_part_is_refused_in_one_line_that_names_the_file(damage: dict[str, object]) -> None:
    content = to_checkpoint(make_familiar())
    content[KEY] |= damage
    with pytest.raises(InputError, match=r"^model.pt: its part 'familiar' cannot be used; write it again with"):
        from_checkpoint(content, "model.pt")
