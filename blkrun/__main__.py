"""``python -m blkrun``."""

import sys

from blkrun.cli import main

sys.exit(main())
