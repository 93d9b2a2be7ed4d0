"""`python -m imagen` is the command `imagen`."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
