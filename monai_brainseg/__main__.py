"""``python -m monai_brainseg`` is ``brainseg``."""

import sys

from monai_brainseg.cli.main import main

sys.exit(main())
