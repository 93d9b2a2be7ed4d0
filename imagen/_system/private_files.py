"""Folders and files that only their user may read.

The library holds prompts and images. Folders that exist keep their rights: the
user may have named one that is shared on purpose.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["make_private_file", "make_private_folder"]

_FOLDER_MODE, _FILE_MODE = 0o700, 0o600


def make_private_folder(path: Path) -> None:
    """Make a folder and its missing parents, if it is not there. Blocking.

    Raises:
        OSError: it cannot be made.
    """
    if path.is_dir():
        return
    make_private_folder(path.parent)
    path.mkdir(mode=_FOLDER_MODE, exist_ok=True)


def make_private_file(path: Path) -> None:
    """Make an empty file, if it is not there. Blocking.

    Raises:
        OSError: it cannot be made.
    """
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, _FILE_MODE))
