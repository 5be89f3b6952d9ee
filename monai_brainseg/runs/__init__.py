"""A run of ``python -m monai.bundle``: its command line, overlays, machine, processes and record."""
