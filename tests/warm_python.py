"""``python`` in a process of its own, from any folder, without the seconds that PyTorch takes to load.

The process is a copy of one that has loaded all libraries, and nothing of a test's. A test that asks what is loaded, or
what takes a library's place, needs an interpreter that is really new.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType

TESTS = Path(__file__).parent
_COPIES = multiprocessing.get_context("forkserver")
_COPIES.set_forkserver_preload(
    [
        "analysis.report",
        "analysis.plots.save",
        "netsim.app.build",
        "netsim.app.summary",
        "netsim.records.run_folder",
        "learners.algorithms.fedavg",
        "learners.algorithms.dmml",
        "learners.algorithms.mhd",
    ]
)


def python(*words: object, cwd: Path) -> CompletedProcess[str]:
    """Run ``python WORDS`` in the folder ``cwd``: ``-m module ...``, ``-c code ...`` or ``file.py ...``."""
    with started(*words, cwd=cwd) as (_, end):
        return end()


@contextmanager
def started(*words: object, cwd: Path) -> Iterator[tuple[int, Callable[[], CompletedProcess[str]]]]:
    """Start ``python WORDS``; yield the number of the process, and a function that waits for its end."""
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder, name) for name in ("out", "err")]
        typed = [str(word) for word in words]
        copy = _COPIES.Process(target=_be, args=(typed, str(cwd), dict(os.environ), *map(str, said)))
        copy.start()
        assert copy.pid is not None

        def end() -> CompletedProcess[str]:
            copy.join()
            assert copy.exitcode is not None
            texts = (path.read_text() if path.exists() else "" for path in said)  # it may never have begun
            return CompletedProcess(typed, copy.exitcode, *texts)

        try:
            yield copy.pid, end
        finally:
            copy.kill()
            copy.join()


def _be(words: list[str], cwd: str, environment: Mapping[str, str], out: str, err: str) -> None:
    """Be the interpreter that was started with ``words``."""
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell has what is in its background ignore it
    kind, *rest = words
    sys.path[:] = [path for path in sys.path if not Path(path).is_relative_to(TESTS)]
    try:
        if kind == "-m":
            sys.path.insert(0, cwd)
            sys.argv = rest
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        elif kind == "-c":
            sys.path.insert(0, "")
            sys.argv = ["-c", *rest[1:]]
            main = sys.modules["__main__"] = ModuleType("__main__")
            exec(rest[0], main.__dict__)
        else:
            sys.path.insert(0, str(Path(kind).parent))
            sys.argv = words
            runpy.run_path(kind, run_name="__main__")
    except SystemExit:
        raise
    except BaseException:
        traceback.print_exc()
        sys.exit(1)
