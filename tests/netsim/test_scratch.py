"""What a killed process leaves behind is cleared away by the next one, and nothing of one that lives."""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading

from netsim.core.scratch import delete_scratch, new_scratch


def test_the_folder_of_a_killed_process_is_cleared_away_and_no_other(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from netsim.core.scratch import new_scratch; "
        "print(new_scratch(Path(sys.argv[1]), 'x-'), flush=True); time.sleep(600)"
    )
    (tmp_path / "y-not").mkdir()
    words = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
        theirs = other.stdout.readline().strip()
        mine = new_scratch(tmp_path, "x-")
        assert os.path.isdir(theirs) and mine.is_dir()
        other.send_signal(signal.SIGKILL)
    again = new_scratch(tmp_path, "x-")
    assert {path.name for path in tmp_path.iterdir()} == {"y-not", mine.name, again.name}
    delete_scratch(mine)
    delete_scratch(again)
    assert [path.name for path in tmp_path.iterdir()] == ["y-not"]


def test_a_folder_that_somebody_clears_away_as_it_is_made_is_not_given_out(tmp_path, monkeypatch):
    """Between its making and its lock, another run may take it for one that was left behind."""
    make, cleared = tempfile.mkdtemp, []

    def made(**words):
        folder = make(**words)
        if not cleared:
            lock = os.open(folder, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            cleared.append(folder)
            threading.Timer(0.1, lambda: (os.rmdir(folder), os.close(lock))).start()
        return folder

    monkeypatch.setattr(tempfile, "mkdtemp", made)
    folder = new_scratch(tmp_path, "x-")
    assert cleared and list(tmp_path.iterdir()) == [folder] != cleared
    delete_scratch(folder)
