"""Worker processes may die, shared memory must not stay, and data travels once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from jobs_for_workers import Data, double_at_the_second_attempt

from netsim.core.errors import ScenarioError
from netsim.work.executors.processes import ATTEMPTS, Processes
from netsim.work.executors.shared_memory import Block, Reader
from netsim.work.executors.threads import Threads
from netsim.work.forking import obstacle
from netsim.work.job import TrainingJob


def whoami():
    return os.getpid()


def double(x):
    return 2 * x


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def total(data, again):
    return (data.numbers + again.numbers).sum().item(), Data.unpacked


class Unpicklable(Exception):
    def __init__(self, one, two):
        super().__init__(one + two)


def fail_oddly():
    raise Unpicklable("out of ", "luck")


def give_a_lambda():
    return lambda: 1


def forever(mark):
    Path(mark).write_text(str(os.getpid()))
    time.sleep(600)


def until(mark):
    while not Path(mark).exists():
        time.sleep(0.01)


@pytest.fixture(scope="module")
def executor():
    made = Processes(Processes.Options(workers=1))
    yield made
    folder = Path(made._folder)
    assert folder.exists()
    made.close()
    assert not folder.exists()


def test_they_are_other_processes(executor, do):
    assert do(executor, TrainingJob(whoami, {})) != os.getpid()


def test_a_killed_worker_changes_no_result(executor, do, tmp_path):
    x = torch.arange(5.0)
    job = TrainingJob(double_at_the_second_attempt, {"x": x, "mark": str(tmp_path / "mark")})
    after = [executor.submit(TrainingJob(double, {"x": x + i})) for i in range(3)]
    assert torch.equal(do(executor, job), 2 * x)
    for i, ticket in enumerate(after):
        assert torch.equal(executor.finish([ticket])[ticket], 2 * (x + i))


def test_a_worker_killed_while_idle_is_replaced(executor, do):
    first = do(executor, TrainingJob(whoami, {}))
    os.kill(first, signal.SIGKILL)
    assert do(executor, TrainingJob(whoami, {})) != first


def test_kept_inputs_are_packed_once_and_unpacked_once(executor, do):
    Data.packed = 0
    data = Data()
    data.numbers = torch.arange(10.0)
    kept = frozenset({"data", "again"})
    for _ in range(3):
        found = do(executor, TrainingJob(total, {"data": data, "again": data}, kept))
        assert found == (90.0, 1)
    assert Data.packed == 1


@pytest.mark.parametrize(
    "job, words", [(fail_oddly, "out of luck"), (give_a_lambda, "lambda")], ids=["error", "result"]
)
def test_what_cannot_travel_back_is_told_in_words(executor, do, job, words):
    with pytest.raises(Exception, match=words):
        do(executor, TrainingJob(job, {}))


def test_what_cannot_travel_there_is_an_error(executor, do):
    with pytest.raises(Exception, match="lambda"):
        do(executor, TrainingJob(double, {"x": lambda: 1}))


def test_a_job_that_kills_every_worker_ends_the_run(do, monkeypatch):
    monkeypatch.setattr("netsim.work.executors.processes.ATTEMPTS", 1)
    executor = Processes(Processes.Options(workers=1))
    with pytest.raises(ScenarioError, match=r"died in each of 1 attempts .*exit code -9"):
        do(executor, TrainingJob(die, {}))
    executor.close()
    assert ATTEMPTS > 1


def test_workers_are_forked_but_not_while_a_thread_is_in_a_job(do, tmp_path, monkeypatch):
    """A forked process could wait for ever for a lock that the thread has, for nobody there would give it up."""
    monkeypatch.setattr("netsim.work.forking.sees_gpu", lambda: False)
    mark, threads = tmp_path / "mark", Threads(Threads.Options(workers=1))
    threads.submit(TrainingJob(until, {"mark": str(mark)}))
    assert obstacle() == ""  # a run that forks later is not refused for it
    kinds = []
    for _ in range(2):
        executor = Processes(Processes.Options(workers=1))
        do(executor, TrainingJob(double, {"x": 1}))
        kinds.append(type(executor._workers[0]._process).__name__)
        executor.close()
        mark.touch()
        threads._pool.shutdown()
    assert kinds == ["SpawnProcess", "ForkProcess"]


def test_closing_does_not_wait_for_a_job(tmp_path):
    executor, mark = Processes(Processes.Options(workers=1)), tmp_path / "mark"
    executor.submit(TrainingJob(forever, {"mark": str(mark)}))
    wait_for(mark.exists)
    begin = time.perf_counter()
    executor.close()
    assert time.perf_counter() - begin < 5


def test_a_killed_simulator_leaves_neither_workers_nor_memory(tmp_path):
    mark, folder = tmp_path / "mark", tmp_path / "folder"
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import test_processes as t\n"
        "if __name__ == '__main__':\n"
        "    executor = t.Processes(t.Processes.Options(workers=1))\n"
        f"    open({str(folder)!r}, 'w').write(executor._folder)\n"
        f"    executor.submit(t.TrainingJob(t.forever, {{'mark': {str(mark)!r}}}))\n"
        "    t.time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)])
    wait_for(lambda: mark.exists() and mark.read_text())
    worker, shared = int(mark.read_text()), Path(folder.read_text())
    assert is_alive(worker) and shared.exists()
    parent.kill()
    parent.wait()
    wait_for(lambda: not is_alive(worker) and not shared.exists())


def test_a_block_grows_and_is_read_where_it_lies(tmp_path):
    block, reader = Block(str(tmp_path / "block")), Reader()
    small, large = memoryview(b"ab"), memoryview(bytes(3_000_000))
    first = reader.read(block.write([small, memoryview(b""), small]))
    assert [bytes(part) for part in first] == [b"ab", b"", b"ab"]
    (second,) = reader.read(block.write([large]))
    assert second.nbytes == 3_000_000
    assert len(list(tmp_path.iterdir())) == 1
    assert bytes(first[0]) == b"ab"  # still mapped, though its file is gone


def test_too_little_shared_memory_is_said_at_once(tmp_path, monkeypatch):
    def full(file, start, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ScenarioError, match=r"no room for 2 MB in shared memory .*No space left"):
        Block(str(tmp_path / "block")).write([memoryview(bytes(2_000_000))])
    assert not list(tmp_path.iterdir())


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
