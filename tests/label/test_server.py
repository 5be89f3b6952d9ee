"""MONAI Label 0.8.5 serves and trains the U-Net bundle: everything over HTTP, as a client has it."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
import requests

from label.servers import NAME, Server, infer, run, segment, write_study

# As a scanner gives it: not along the axes, slices from top to bottom, columns to the right.
OBLIQUE = np.array([[0.98, 0.17, 0, -90], [-0.17, 0.98, 0, -120], [0, 0, -3, 60], [0, 0, 0, 1.0]])
STUDIES: dict[str, dict] = {
    "flair": {},
    "three": {"sequences": 3},
    "oblique": {"affine": OBLIQUE},
    **{f"more{number}": {} for number in range(7)},
}


@pytest.fixture(scope="module")
def patients(prepared: Path) -> list[str]:
    return sorted(file.name.removesuffix("_0001.nii.gz") for file in (prepared / "imagesTr").glob("*_0001.nii.gz"))


@pytest.fixture(scope="module")
def studies(prepared: Path, patients: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten studies of six patients."""
    folder = tmp_path_factory.mktemp("studies")
    for number, (name, options) in enumerate(STUDIES.items()):
        write_study(prepared, patients[number % len(patients)], folder / f"{name}.nii.gz", **options)
    return folder


@pytest.fixture(scope="module")
def masks(studies: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """What the weights make of the studies without a server."""
    found = segment(weights, studies, tmp_path_factory.mktemp("inferring"))
    assert sum(0 < mask.mean() < 0.2 for mask in found.values()) >= len(STUDIES) // 2  # else there is little to compare
    return found


@pytest.fixture(scope="module")
def server(studies: Path, masks: dict[str, np.ndarray], start_server: Callable[..., Server]) -> Server:
    return start_server(studies, "--conf", "epistemic_model", NAME)


def test_info_offers_the_model_its_label_its_training_and_the_strategies(server: Server) -> None:
    info = server.client.info()
    assert info["models"][NAME]["labels"] == {"tumor": 1}
    assert info["models"][NAME]["type"] == "segmentation"
    assert info["models"][NAME]["config"]["model_filename"] == ["model.pt"]
    assert info["labels"] == ["tumor"]
    assert list(info["trainers"]) == [NAME]
    assert {"random", "first"} <= set(info["strategies"])


def test_datastore_lists_the_studies(server: Server) -> None:
    assert set(STUDIES) <= set(requests.get(f"{server.url}/datastore/?output=all", timeout=60).json()["objects"])
    assert requests.get(f"{server.url}/datastore/", timeout=60).json()["total"] >= len(STUDIES)


@pytest.mark.parametrize("image", ["flair", "three", "oblique"])
def test_mask_is_that_of_run_inferring_on_the_studys_own_grid(
    image: str, server: Server, masks: dict[str, np.ndarray]
) -> None:
    file, answer = server.client.infer(NAME, image, {"device": "cpu"})
    mask, study = nib.load(file), nib.load(server.studies / f"{image}.nii.gz")
    assert np.array_equal(np.asarray(mask.dataobj), masks[image])
    assert mask.get_data_dtype() == np.uint8
    assert mask.shape == study.shape[:3]
    assert np.allclose(mask.affine, study.affine, atol=1e-4)
    assert answer["label_names"] == {"tumor": 1}


@pytest.mark.parametrize(("image", "words"), [("oblique", []), ("three", ["--keep-scale"])])
def test_mask_is_that_of_brainseg_predict(image: str, words: list[str], server: Server, tmp_path: Path) -> None:
    """Where millimetres are unknown, `brainseg predict` looks at the size of the head, which MONAI alone does not."""
    study = server.studies / f"{image}.nii.gz"
    run("brainseg", "predict", study, "--checkpoint", server.checkpoint, "--output", tmp_path, *words)
    (file,) = tmp_path.glob("*.nii.gz")
    assert np.array_equal(infer(server, image), np.asarray(nib.load(file).dataobj))


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_output_image_is_the_mask_alone_in_the_format_asked_for(
    ending: str, server: Server, masks: dict[str, np.ndarray], tmp_path: Path
) -> None:
    url = f"{server.url}/infer/{NAME}?image=oblique&output=image"
    params = f'{{"device": "cpu", "result_extension": "{ending}"}}'
    answer = requests.post(url, files={"params": (None, params)}, timeout=300)
    assert answer.status_code == 200
    assert ending in answer.headers["content-disposition"]
    file = tmp_path / f"mask{ending}"
    file.write_bytes(answer.content)
    mask, study = itk.imread(str(file)), itk.imread(str(server.studies / "oblique.nii.gz"))
    assert np.array_equal(itk.array_from_image(mask).transpose(), masks["oblique"])
    for ask in ("GetOrigin", "GetSpacing"):
        assert np.allclose(getattr(mask, ask)(), getattr(study, ask)(), atol=1e-3)
    assert np.allclose(mask.GetDirection(), study.GetDirection(), atol=1e-4)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_uploaded_image_is_kept_and_segmented(ending: str, server: Server, masks: dict, tmp_path: Path) -> None:
    """3D Slicer uploads .nrrd. ITK writes an affine that differs by 6e-8, which bfloat16 turns into a few voxels."""
    file = tmp_path / f"uploaded{ending[-4:].replace('.', '_')}{ending}"
    itk.imwrite(itk.imread(str(server.studies / "oblique.nii.gz")), str(file))
    name = file.name.removesuffix(ending)
    assert server.client.upload_image(str(file), name)["image"] == name
    assert requests.get(f"{server.url}/datastore/image?image={name}", timeout=60).content == file.read_bytes()
    answer, _ = server.client.infer(NAME, name, {"device": "cpu"})
    mask = itk.array_from_image(itk.imread(answer)).transpose()
    assert mask.shape == masks["oblique"].shape
    assert 2 * np.sum(mask & masks["oblique"]) / np.sum(mask + masks["oblique"]) > 0.99  # Dice


def test_client_chooses_the_operating_point_of_a_request_and_the_next_one_has_the_default(
    server: Server, masks: dict[str, np.ndarray]
) -> None:
    assert server.client.info()["models"][NAME]["config"]["operating_point"] == "balanced"
    file, _ = server.client.infer(NAME, "flair", {"device": "cpu", "operating_point": "recall"})
    found = np.asarray(nib.load(file).dataobj) > 0
    assert found.sum() > (masks["flair"] > 0).sum()
    assert np.array_equal(infer(server, "flair"), masks["flair"])


def test_ten_inferences_at_once_all_give_their_own_mask(server: Server, masks: dict[str, np.ndarray]) -> None:
    with ThreadPoolExecutor(10) as pool:
        answers = dict(zip(STUDIES, pool.map(lambda image: infer(server, image), STUDIES), strict=True))
    for image, mask in answers.items():
        assert np.array_equal(mask, masks[image]), image


@pytest.mark.parametrize("kind", ["cut off", "empty", "NaN", "two sequences"])
def test_study_that_cannot_be_read_is_answered_by_an_error_and_the_server_goes_on(
    kind: str, server: Server, masks: dict[str, np.ndarray], tmp_path: Path
) -> None:
    file, whole = tmp_path / f"bad-{kind.replace(' ', '-')}.nii.gz", server.studies / "flair.nii.gz"
    image = nib.load(whole)
    voxels = np.asarray(image.dataobj).astype(np.float32)
    if kind == "cut off":
        file.write_bytes(gzip.compress(gzip.decompress(whole.read_bytes())[:5000]))
    elif kind == "empty":
        file.write_bytes(b"")
    else:
        voxels[tuple(side // 2 for side in voxels.shape)] = np.nan
        content = voxels if kind == "NaN" else np.stack([np.asarray(image.dataobj)] * 2, axis=-1)
        nib.save(nib.Nifti1Image(content, image.affine), file)
    answer = requests.post(
        f"{server.url}/infer/{NAME}",
        files={"file": (file.name, file.read_bytes()), "params": (None, '{"device": "cpu"}')},
        timeout=300,
    )
    assert answer.status_code == 500
    assert np.array_equal(infer(server, "flair"), masks["flair"])


def test_scores_of_epistemic_uncertainty_can_be_read_by_a_client(server: Server) -> None:
    """The stock app has no strategy that reads them."""
    requests.post(f"{server.url}/scoring/{NAME}", json={"device": "cpu", "max_samples": 2}, timeout=60)
    assert server.wait("scoring") == "DONE"
    objects = requests.get(f"{server.url}/datastore/?output=all", timeout=60).json()["objects"].values()
    scores = [
        each["image"]["info"]["epistemic_entropy"] for each in objects if "epistemic_entropy" in each["image"]["info"]
    ]
    assert len(scores) >= 2
    assert all(score > 0 for score in scores)


def test_random_gives_a_study_that_has_no_label_yet(server: Server) -> None:
    asked = server.client.next_sample("random", {})
    assert asked["id"] in requests.get(f"{server.url}/datastore/?output=all", timeout=60).json()["objects"]
    assert Path(asked["path"]).is_file()
    server.wait("scoring")  # which the server starts by itself
