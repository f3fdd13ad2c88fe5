"""``python -m netsim``, and ``netsim``."""

import atexit
import io
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    # Python looks in the current folder first, where a file named random.py would take the place of its own. What a
    # scenario names is found there all the same (netsim.core.modules), after libraries.
    if sys.path[0] == os.getcwd() != str(Path(__file__).parents[1]):
        del sys.path[0]

from netsim.core.interrupts import INTERRUPTED, heard


def main() -> None:
    """Start the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name of a file may not be text
    try:
        with heard():  # to the very end, where Python's own handlers would print a traceback
            from netsim.app.commands.cli import app

            app()
    except BrokenPipeError:  # a reader that has seen enough (netsim list | head) is no error of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted before the first round; nothing was recorded", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except SystemExit as end:
        if end.code != INTERRUPTED:
            raise
        sys.stdout.flush()
        atexit._run_exitfuncs()
        os._exit(INTERRUPTED)  # threads in the middle of a job would be waited for


if __name__ == "__main__":
    main()
