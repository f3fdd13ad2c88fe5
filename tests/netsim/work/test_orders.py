"""What is written for the forked process is what it reads; what is shared is written once."""

import re

import pytest

from netsim.core.errors import ScenarioError
from netsim.work.forked.orders import Reader, Writer
from netsim.work.future import Future, Shared
from netsim.work.job import Stack
from netsim.work.task import Task


def steps(jobs):
    return jobs


def task(number):
    return Task(steps, {}, 1, number, None, False)


def test_orders_come_over_as_they_were_written():
    """Futures are those of the reader's tasks; shared values and stacks are one object each, in later messages too."""
    before = Shared("before")
    writer, here, there = Writer(), task(7), task(7)
    reader, new, stack = Reader({7: there}), Shared([1, 2]), Stack("key", steps)
    outbox = {"state": Future(here, ("state",)), "pattern": re.compile("a+")}
    got = []
    for _ in range(2):
        for _ in range(2):
            writer.write(
                "add", 8, None, steps, {"arrived": outbox, "old": before, "new": new}, 2, stack, True
            )
        got += list(reader.orders(writer.message()))
    assert [order[:4] for order in got] == [("add", 8, None, steps)] * 4
    inputs, stacks = [order[4] for order in got], [order[6] for order in got]
    for own in inputs:
        assert own["arrived"]["state"].task is there and own["arrived"]["state"].path == ("state",)
        assert own["arrived"]["pattern"].fullmatch("aaa")
        assert own["old"] is before
        assert own["new"] is inputs[0]["new"] is not new and own["new"].value == [1, 2]
    assert inputs[0]["arrived"] is inputs[1]["arrived"] is not inputs[2]["arrived"]
    assert all(one is stacks[0] for one in stacks) and stacks[0].function is steps
    assert not list(reader.orders(writer.message()))


def test_an_order_may_refer_to_what_the_one_before_it_adds():
    writer, tasks, seen = Writer(), {}, []
    writer.write("add", 3, None, steps)
    writer.write("measure", Future(task(3)))
    for name, given, *_ in Reader(tasks).orders(writer.message()):
        if name == "add":
            tasks[given] = task(given)
        seen.append(given)
    assert seen[1].task is tasks[3]


def test_what_cannot_be_sent_is_named():
    with pytest.raises(ScenarioError, match="task steps cannot be sent to another process"):
        Writer().write("add", 1, None, steps, {"x": lambda: 0}, 1, None, False)
    with pytest.raises(ScenarioError, match="what is given to 'measure' cannot be sent"):
        Writer().write("measure", lambda: 0)
