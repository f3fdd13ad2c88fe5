"""Deadlines: what ends in their very moment is done, whatever the floating-point sums say."""

import math

import pytest

from netsim.core.clock import ROUNDINGS, deadline, succeed_at


def happening(env, at_s, name, seen):
    event = env.event()
    event.callbacks.append(lambda _: seen.append((name, env.now)))
    succeed_at(event, at_s)


def watched(env, at_s, seen):
    event = deadline(env, at_s)
    event.callbacks.append(lambda _: seen.append(("deadline", env.now)))
    return event


def test_a_deadline_comes_after_all_else_in_its_moment(env):
    """Also after what only then is found to be in that moment."""
    seen = []
    watched(env, 2.0, seen)

    def life():
        yield env.timeout(2.0)
        yield env.timeout(0.0)
        yield env.any_of([env.timeout(0.0), env.event()])
        seen.append(("done", env.now))

    env.process(life())
    env.run()
    assert seen == [("done", 2.0), ("deadline", 2.0)]


@pytest.mark.parametrize("moment", [0.5, 123.4, 7e5])
def test_a_moment_is_as_long_as_rounding_errors(env, moment):
    seen = []
    watched(env, moment, seen)
    for ulps in (-1, 3, ROUNDINGS, 100):
        happening(env, moment + ulps * math.ulp(moment), ulps, seen)
    env.run()
    assert [name for name, _ in seen] == [-1, 3, ROUNDINGS, "deadline", 100]
    assert seen[3][1] == moment + ROUNDINGS * math.ulp(moment)


def test_a_deadline_alone_is_exact(env):
    seen = []
    watched(env, 0.1 + 0.2, seen)
    happening(env, 5.0, "later", seen)
    env.run()
    assert seen == [("deadline", 0.1 + 0.2), ("later", 5.0)]


def test_deadlines_of_one_moment_do_not_wait_for_each_other(env):
    """Three of them, an ulp apart, and something due a little later: all come after it."""
    seen = []
    for ulps in (0, 0, 1):
        watched(env, 2.0 + ulps * math.ulp(2.0), seen)
    happening(env, 2.0 + 5 * math.ulp(2.0), "due", seen)
    env.run()
    assert [name for name, _ in seen] == ["due", *["deadline"] * 3]


def test_a_deadline_that_is_past_is_now(env):
    seen = []
    env.run(until=3.0)
    watched(env, 1.0, seen)
    env.run()
    assert seen == [("deadline", 3.0)]
