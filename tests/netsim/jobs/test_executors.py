"""Submit early, ask late, and the same results whoever does the work."""

import os

import pytest

from netsim.jobs import Inline, TrainingJob
from netsim.jobs.processes import Processes
from netsim.jobs.threads import Threads


def double(x):
    return 2 * x


def fail():
    raise ValueError("no such luck")


def leave_a_mark(path):
    path.write_text("was here")


def whoami():
    return os.getpid()


@pytest.fixture(params=[Inline, Threads, Processes])
def executor(request):
    made = request.param()
    yield made
    made.close()


def test_results_belong_to_their_tickets(executor):
    tickets = [executor.submit(TrainingJob(double, {"x": x})) for x in range(5)]
    assert [executor.result(t) for t in reversed(tickets)] == [8, 6, 4, 2, 0]
    assert executor.jobs_done == 5
    assert executor.work_wall_s >= 0


def test_a_failing_job_fails_where_its_result_is_asked_for(executor):
    ticket = executor.submit(TrainingJob(fail, {}))
    with pytest.raises(ValueError, match="no such luck"):
        executor.result(ticket)


def test_an_inline_job_is_done_when_asked_for_and_not_before(tmp_path):
    executor, mark = Inline(), tmp_path / "mark"
    kept = executor.submit(TrainingJob(leave_a_mark, {"path": mark}))
    dropped = executor.submit(TrainingJob(fail, {}))
    assert not mark.exists()
    executor.discard(dropped)
    executor.result(kept)
    assert mark.exists() and executor.jobs_done == 1


def test_a_discarded_job_does_no_harm_in_a_pool():
    executor = Threads(Threads.Options(workers=1))
    first = executor.submit(TrainingJob(double, {"x": 1}))
    executor.discard(executor.submit(TrainingJob(fail, {})))
    assert executor.result(first) == 2
    executor.close()


def test_processes_are_other_processes():
    executor = Processes(Processes.Options(workers=1))
    assert executor.result(executor.submit(TrainingJob(whoami, {}))) != os.getpid()
    executor.close()
