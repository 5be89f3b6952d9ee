"""The ``brainseg`` command: one module a command."""
