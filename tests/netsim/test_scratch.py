"""What a killed process leaves behind is cleared away by the next one, and nothing of one that lives."""

import os
import signal
import subprocess
import sys

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
