"""Published files, read and checked, become NIfTI volumes and a datalist."""
