"""Freed memory that the next image gets."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_PAGES_OF_REPLIES = """
import resource
from imagen._system.memory import keep_freed_memory
if {keeps}:
    keep_freed_memory()
def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def reply():
    return b"".join([bytes(1 << 20) for _ in range(3)]), bytes(3 << 20)
for _ in range(5):
    reply()
before = pages()
for _ in range(50):
    reply()
print(pages() - before)
"""


def pages_of_replies(*, keeps: bool) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _PAGES_OF_REPLIES.format(keeps=keeps)],
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps freed memory")
def test_a_reply_gets_the_memory_of_the_one_before():
    assert pages_of_replies(keeps=True) < 0.1 * pages_of_replies(keeps=False)
