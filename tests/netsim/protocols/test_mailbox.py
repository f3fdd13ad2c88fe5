"""What a mailbox shows, and when."""

import pytest

from netsim.protocols.mailbox import LOST, NOTHING, Mailbox


def test_a_promise_is_not_seen_before_its_time(env):
    mailbox = Mailbox(env)
    mailbox.put(1, 7, "early", 2.0)
    mailbox.put(1, 8, "late", 4.0)
    env.run(until=3.0)
    assert mailbox.close(1) == ({7: "early"}, 0)


def test_one_event_at_the_last_arrival(env):
    mailbox = Mailbox(env)
    mailbox.put(1, 7, "a", 0.1)
    complete = mailbox.complete(1, [7, 8])
    assert not complete.triggered
    mailbox.put(1, 8, "b", 0.3)
    env.run(until=complete)
    assert (env.now, complete.value) == (0.3, True)
    assert mailbox.complete(1, [7, 8]) is None
    assert mailbox.close(1) == ({7: "a", 8: "b"}, 0)


def test_who_is_poked_looks_again(env):
    mailbox = Mailbox(env)
    mailbox.put(1, 7, "a", 5.0)
    first = mailbox.complete(1, [7, 8])
    mailbox.poke()  # 8 has died
    env.run(until=first)
    assert (env.now, first.value) == (0, False)
    env.run(until=mailbox.complete(1, [7]))
    assert env.now == 5.0


def test_word_that_nothing_will_come_is_heard_and_not_combined(env):
    mailbox = Mailbox(env)
    mailbox.put(1, 7, NOTHING, 0.0)
    mailbox.put(1, 8, LOST, 0.0)
    assert mailbox.complete(1, [7, 8]) is None
    assert mailbox.close(1) == ({}, 1)


def test_a_round_may_come_before_its_time_and_never_after(env):
    mailbox = Mailbox(env)
    mailbox.put(2, 7, "ahead", 0.0)
    assert mailbox.close(1) == ({}, 0)
    mailbox.put(1, 8, "behind", 0.0)
    assert mailbox.close(2) == ({7: "ahead"}, 0)


@pytest.mark.parametrize("at_s", [0.1 + 0.2, 1e6 / 3, 7e5 + 1e-9])
def test_the_event_comes_at_the_very_time(env, at_s):
    """SimPy adds delays, and now + (at - now) need not be at."""
    mailbox = Mailbox(env)
    env.run(until=0.1)
    mailbox.put(1, 7, "a", at_s)
    env.run(until=mailbox.complete(1, [7]))
    assert env.now == at_s
