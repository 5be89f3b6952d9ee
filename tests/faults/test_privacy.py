"""What files say of a person reaches no log, record, page, dashboard, header or name of a file that is written."""

from __future__ import annotations

import gzip
import json
import shutil
import warnings
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.uid import MRImageStorage, generate_uid
from support.bundle_runs import NARROW, QUICK, run
from support.fixed_bundles import BRIGHT, bright_state, draw_phantom, make_bundle

from monai_brainseg.cli.main import main

SECRETS = ("Quentina", "Zyxwvut", "19010203", "PID778899", "Dr Vxyz", "Elm Street", "ACC4711", "Hospital Qrst")
UIDS = [generate_uid(entropy_srcs=["brainseg", str(number)]) for number in range(20)]


def list_leaks(folder: Path, leave_out: str = "nothing") -> list[str]:
    """Return where a secret stands in names and contents below a folder, packed or not."""
    leaks = []
    for file in [path for path in folder.rglob("*") if path.is_file() and path.suffix != leave_out]:
        data = file.read_bytes()
        if file.suffix == ".gz":
            data += gzip.decompress(data)
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                data += b"".join(archive.read(name) for name in archive.namelist())
        text = data.decode("latin-1") + str(file.relative_to(folder))
        leaks += [f"{file}: {secret}" for secret in SECRETS if secret.lower() in text.lower()]
    return leaks


def write_dicom(folder: Path, description: str = "AX FLAIR", **more: object) -> None:
    """Write a small MR series that says much of a person."""
    folder.mkdir(parents=True)
    images = draw_phantom(size=48, slices=8).images[..., 1].astype(np.uint16)
    for z in range(images.shape[2]):
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = MRImageStorage
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = UIDS[z]
        known = {
            "PatientName": "Zyxwvut^Quentina", "PatientBirthDate": "19010203", "PatientID": "PID778899",
            "PatientAddress": "Elm Street 5", "ReferringPhysicianName": "Dr Vxyz", "AccessionNumber": "ACC4711",
            "InstitutionName": "Hospital Qrst", "PatientSex": "F", "StudyID": "1", "StudyDate": "20200101",
            "StudyTime": "120000", "Modality": "MR", "Manufacturer": "none", "SeriesNumber": 4,
            "SeriesDescription": description, "StudyInstanceUID": UIDS[18], "SeriesInstanceUID": UIDS[19],
            "FrameOfReferenceUID": UIDS[17], "InstanceNumber": z + 1, "Rows": 48, "Columns": 48,
            "PixelSpacing": [4.0, 4.0], "SliceThickness": 10.0, "ImagePositionPatient": [0.0, 0.0, 10.0 * z],
            "ImageOrientationPatient": [1.0, 0, 0, 0, 1, 0], "SamplesPerPixel": 1, "BitsAllocated": 16,
            "PhotometricInterpretation": "MONOCHROME2", "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 0,
            "ImageComments": "Quentina moved", "PositionReferenceIndicator": "", "Laterality": "",
        }  # fmt: skip
        for name, value in (known | more).items():
            setattr(dataset, name, value)
        dataset.PixelData = np.ascontiguousarray(images[..., z].T).tobytes()
        dataset.save_as(folder / f"{z:03d}.dcm", enforce_file_format=True)


# Fields that DICOM SEG refuses, and pydicom and highdicom repeat in what they raise: not only those of the patient.
ODD = {
    "odd birthday": {"PatientBirthDate": "Quentina 1901"},
    "odd sex": {"PatientSex": "ZYXWVUT quentina"},
    "odd date": {"StudyDate": "ACC4711 Q"},
    "odd time": {"StudyTime": "Hospital Qrst"},
}


@pytest.mark.parametrize("fault", ["none", *ODD, "two series", "cut short", "a slice missing"])
def test_dicom_says_nothing_of_a_person(fault: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bundle = make_bundle(tmp_path / "bundle", BRIGHT, bright_state())
    study = tmp_path / "study"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, of what is written here
        write_dicom(study, **ODD.get(fault, {}))
    if fault == "two series":
        write_dicom(tmp_path / "more", SeriesInstanceUID=UIDS[16], SeriesNumber=5)
        for file in (tmp_path / "more").iterdir():
            shutil.copy(file, study / f"b{file.name}")
    elif fault == "cut short":
        file = study / "003.dcm"
        file.write_bytes(file.read_bytes()[:1500])
    elif fault == "a slice missing":
        (study / "003.dcm").unlink()
    capfd.readouterr()
    masks = tmp_path / "masks"
    code = main(["predict", str(study), "--bundle", str(bundle), "--output", str(masks), "--uncertainty"])
    said = "".join(capfd.readouterr())
    assert [secret for secret in SECRETS if secret.lower() in said.lower()] == []
    assert (code == 0) == (fault == "none" or fault in ODD)
    if fault in ODD:
        assert "no DICOM SEG can be made" in said
    # A DICOM SEG belongs to its study, and so names the patient as the images do.
    assert list_leaks(masks, leave_out=".dcm") == []
    if code == 0:
        assert (masks / "study.nii.gz").is_file()
    if fault == "none":
        assert list_leaks(masks) == [f"{masks / 'study.dcm'}: {s}" for s in SECRETS if s in _read_text(masks)]


def _read_text(masks: Path) -> str:
    return (masks / "study.dcm").read_bytes().decode("latin-1")


def plant(file: Path) -> None:
    """Write a person into every text of a NIfTI header, and into an extension of it."""
    image = nib.load(file)
    made = nib.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header)
    for name, text in (("descrip", "Zyxwvut Quentina 19010203"), ("aux_file", "PID778899"), ("db_name", "Dr Vxyz")):
        made.header[name] = text.encode()
    made.header["intent_name"] = b"Elm Street"
    made.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Hospital Qrst, ACC4711"))
    nib.save(made, file)


@pytest.mark.slow
def test_texts_in_nifti_headers_end_there(prepared_phantoms: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(prepared_phantoms, tmp_path / "data"))
    for file in data.rglob("*.nii.gz"):
        plant(file)
    assert list_leaks(data)
    output = tmp_path / "out"
    trained = run("training", "train.yaml", data, output / "run", **(QUICK | {"epochs": 1}))
    assert trained.returncode == 0, trained.stderr
    weights = output / "run/models/model.pt"
    inferred = run("inferring", "inference.yaml", data, output / "masks", checkpoint=weights, **NARROW)
    assert inferred.returncode == 0, inferred.stderr
    bundle = make_bundle(tmp_path / "bundle", BRIGHT, bright_state())
    assert main(["predict", str(data), "--bundle", str(bundle), "--output", str(output / "ours"), "--probability"]) == 0
    words = ["--datalist", str(data), "--predictions", str(output / "ours"), "--output", str(output / "scores")]
    assert main(["evaluate", *words]) == 0
    assert main(["check", str(data), "--output", str(output / "check")]) in (0, 1)
    assert main(["prepare", str(data), "--output", str(output / "again"), "--folds", "2"]) == 0
    assert list_leaks(output) == []
    assert not any(secret in trained.stdout + trained.stderr + inferred.stdout + inferred.stderr for secret in SECRETS)
    assert json.loads((output / "scores/summary.json").read_text())["patients"]
