"""Server of the desktop extension."""

from __future__ import annotations

import os
import sys


def _forget_what_is_empty() -> None:
    """A host passes settings that its user left empty as empty text, or as the
    name of the setting itself.
    """
    for name, value in list(os.environ.items()):
        if name.endswith(("_KEY", "IMAGEN_HOME")) and value.startswith("${user_config."):
            del os.environ[name]


if __name__ == "__main__":
    _forget_what_is_empty()
    from imagen_mcp.__main__ import main

    sys.exit(main([]))
