"""Submit early, ask late, and the same results whoever does the work."""

import time
from dataclasses import dataclass

import pytest
import torch

from netsim.core.errors import ScenarioError
from netsim.work.batching import Stacking
from netsim.work.executors.inline import Inline
from netsim.work.executors.processes import Processes
from netsim.work.executors.threads import Threads
from netsim.work.job import Stack, TrainingJob


def double(x):
    return 2 * x


def doubles(inputs):
    """Tells how many were done together."""
    return [(2 * each["x"], len(inputs)) for each in inputs]


def fail():
    raise ValueError("no such luck")


def nap():
    time.sleep(0.2)


def leave_a_mark(path):
    path.write_text("was here")


def small_training(state, data, torch_device):
    assert state["weight"].device.type == torch_device
    weight = state["weight"].clone().requires_grad_()
    loss = ((data @ weight) ** 2).mean()
    loss.backward()
    return {"state": {"weight": weight.detach() - 0.1 * weight.grad}, "loss": loss.item()}


def as_it_came(state):
    return state


@dataclass(frozen=True)
class Trainee:
    state: dict
    data: torch.Tensor

    @staticmethod
    def drawn(seed):
        draw = torch.Generator().manual_seed(seed)
        state = {"weight": torch.randn(64, 32, generator=draw)}
        return Trainee(state, torch.randn(100, 64, generator=draw))

    def job(self):
        inputs = {"state": self.state, "data": self.data, "torch_device": "cpu"}
        return TrainingJob(small_training, inputs, kept=frozenset({"data"}))


def doubling(x):
    return TrainingJob(double, {"x": x}, stack=Stack("double", doubles))


def all_of(executor, tickets):
    results = {}
    while missing := [ticket for ticket in tickets if ticket not in results]:
        results |= executor.finish(missing)
    return [results[ticket] for ticket in tickets]


@pytest.mark.parametrize("make", [Inline, Threads])
def test_a_result_that_nobody_asked_for_can_be_taken_to_another_run(make):
    executor = make(None, Stacking("on"))
    executor.workers = 1
    asked, other = executor.submit(doubling(1)), executor.submit(doubling(2))
    assert all_of(executor, [asked]) == [(2, 2)]
    assert executor.early() == {other: (4, 2)}
    again = make(None, Stacking("on"))
    ticket = again.accept(executor.early()[other])
    assert again.early() == {ticket: (4, 2)}
    assert all_of(again, [ticket]) == [(4, 2)] and not again.early()
    executor.close()
    again.close()


def test_workers_that_stack_give_results_to_those_who_wait_only():
    """Else real time would decide what is there to be done together next."""
    executor = Threads(None, Stacking("on"))
    ticket = executor.submit(doubling(1))
    assert executor.finish([ticket], wait=False) == {}
    assert executor.early() == {ticket: 2}  # it is done
    assert executor.finish([ticket], wait=False) == {}
    assert executor.finish([ticket]) == {ticket: 2}
    executor.close()


def test_results_belong_to_their_tickets(executor):
    before = executor.jobs_done
    tickets = [executor.submit(TrainingJob(double, {"x": x})) for x in range(5)]
    assert all_of(executor, tickets[::-1]) == [8, 6, 4, 2, 0]
    assert executor.jobs_done == before + 5
    assert executor.work_wall_s > 0


def test_a_result_is_given_out_once(executor):
    ticket = executor.submit(TrainingJob(double, {"x": 1}))
    assert executor.finish([ticket]) == {ticket: 2}
    assert executor.finish([ticket], wait=False) == {}


def test_results_are_those_of_a_plain_call_to_the_bit(executor):
    trainees = [Trainee.drawn(seed) for seed in range(4)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    expected = [small_training(**trainee.job().inputs) for trainee in trainees]
    tickets = [executor.submit(trainee.job()) for trainee in trainees]
    found = all_of(executor, tickets)
    torch.set_num_threads(threads)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one["state"]["weight"], other["state"]["weight"]) and one["loss"] == other["loss"]


def test_a_result_outlives_the_jobs_that_follow(executor, do):
    """Whatever memory it came through: it is not written over by the next one."""
    first = do(executor, TrainingJob(as_it_came, {"state": {"w": torch.ones(1000)}}))
    for _ in range(3):
        do(executor, TrainingJob(as_it_came, {"state": {"w": torch.zeros(1000)}}))
    assert first["w"].sum() == 1000
    first["w"] += 1


def test_a_failing_job_fails_where_its_result_is_asked_for(executor):
    ticket = executor.submit(TrainingJob(fail, {}))
    with pytest.raises(ScenarioError, match=r"test_executors\.py, line \d+: ValueError: no such luck"):
        executor.finish([ticket])


def test_a_failing_job_takes_no_result_along(executor):
    good, bad = executor.submit(TrainingJob(double, {"x": 1})), executor.submit(TrainingJob(fail, {}))
    with pytest.raises(ScenarioError, match=r"test_executors\.py, line \d+: ValueError: no such luck"):
        executor.finish([bad])
    assert executor.finish([good]) == {good: 2}


def test_a_discarded_job_is_forgotten(executor):
    dropped = executor.submit(TrainingJob(fail, {}))
    executor.discard(dropped)
    assert executor.finish([dropped], wait=False) == {}


def test_jobs_of_one_shape_are_done_together(executor):
    """Eight for at most two workers: units of four, or one of eight; each job gets its own result."""
    results = all_of(executor, [executor.submit(doubling(x)) for x in range(8)])
    assert [value for value, _ in results] == [2 * x for x in range(8)]
    assert {together for _, together in results} <= {4, 8}


def test_a_job_without_company_is_done_as_it_is(executor, do):
    assert do(executor, TrainingJob(double, {"x": 3})) == 6


def test_only_like_is_stacked_with_like(executor):
    other = Stack("another key", doubles)
    tickets = [executor.submit(doubling(x)) for x in range(4)]
    tickets += [executor.submit(TrainingJob(double, {"x": x}, stack=other)) for x in range(4)]
    results = all_of(executor, tickets)
    assert [value for value, _ in results] == [0, 2, 4, 6, 0, 2, 4, 6]
    assert max(together for _, together in results) <= 4


def test_a_discarded_job_is_not_in_the_stack(executor):
    """Five less one is four: two units of two, or one of four."""
    tickets = [executor.submit(doubling(x)) for x in range(5)]
    executor.discard(tickets[0])
    results = all_of(executor, tickets[1:])
    assert [value for value, _ in results] == [2, 4, 6, 8]
    assert {together for _, together in results} <= {2, 4}


def test_an_inline_job_is_done_when_asked_for_and_not_before(tmp_path):
    executor, mark = Inline(), tmp_path / "mark"
    kept = executor.submit(TrainingJob(leave_a_mark, {"path": mark}))
    dropped = executor.submit(TrainingJob(fail, {}))
    assert executor.finish([kept], wait=False) == {} and not mark.exists()
    executor.discard(dropped)
    assert executor.finish([kept]) == {kept: None}
    assert mark.exists() and executor.jobs_done == 1


def test_an_error_does_not_take_earlier_results_along():
    executor = Threads(Threads.Options(workers=1))
    good, bad = executor.submit(TrainingJob(double, {"x": 1})), executor.submit(TrainingJob(fail, {}))
    while executor.jobs_done < 2:
        time.sleep(0.001)
    assert executor.finish([good, bad]) == {good: 2}
    with pytest.raises(ScenarioError, match=r"test_executors\.py, line \d+: ValueError: no such luck"):
        executor.finish([good, bad])
    executor.close()


@pytest.mark.parametrize("cls", [Threads, Processes])
def test_what_waits_is_dropped_at_the_end(cls):
    executor = cls(cls.Options(workers=1))
    for _ in range(5):
        executor.submit(TrainingJob(nap, {}))
    executor.close()
    assert executor.jobs_done <= 1
