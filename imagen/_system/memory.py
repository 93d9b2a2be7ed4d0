"""Memory that is freed, kept for the next image."""

from __future__ import annotations

__all__ = ["keep_freed_memory"]

# More than a reply of several images takes.
_BLOCK_BYTES = 16 << 20


def keep_freed_memory() -> None:
    """Have the C library keep memory that is freed, up to 32 MiB.

    glibc gives the memory of a reply back to the system, and asks for it again
    page by page for the next one. It keeps blocks as large as one that was freed
    before: mallopt(3), M_MMAP_THRESHOLD. This one is never written to, so it
    takes no memory itself. Other C libraries ignore it.
    """
    bytes(_BLOCK_BYTES)
