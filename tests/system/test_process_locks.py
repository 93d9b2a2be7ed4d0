"""Lock files of processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from imagen._system.process_locks import ProcessLock, is_alive


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path):
    code = (
        "import time; from pathlib import Path\n"
        "from imagen._system.process_locks import ProcessLock\n"
        f"owner = ProcessLock(Path({str(tmp_path)!r}), 'abc')\n"
        "print('on', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        assert is_alive(tmp_path, "abc")
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert not is_alive(tmp_path, "abc")
    assert not is_alive(tmp_path, "unknown")
    mine = ProcessLock(tmp_path, "mine")
    assert is_alive(tmp_path, "mine")
    mine.release()
    assert not is_alive(tmp_path, "mine")
