"""DICOM files as series and volumes."""
