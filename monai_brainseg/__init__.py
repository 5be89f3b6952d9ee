"""Brain-MRI tumour segmentation on MONAI: what stands before the datalist and after the masks."""

__version__ = "0.1.0"
