"""What a mailbox shows, and when."""

import pytest

from netsim.protocols.mailbox import LOST, NOTHING, Mailbox, Post, put_all


def post(arrived, silent=0, **more):
    """All of it in time."""
    return Post(arrived, len(arrived), silent, **more)


def test_a_promise_is_not_seen_before_its_time(env):
    mailbox = Mailbox(env)
    mailbox.put(1, 7, "early", 2.0)
    mailbox.put(1, 8, "late", 4.0)
    env.run(until=3.0)
    assert mailbox.close(1) == post({7: "early"})


def test_one_event_at_the_last_arrival(env):
    mailbox = Mailbox(env)
    mailbox.put(1, 7, "a", 0.1)
    complete = mailbox.complete(1, [7, 8])
    assert not complete.triggered
    mailbox.put(1, 8, "b", 0.3)
    env.run(until=complete)
    assert (env.now, complete.value) == (0.3, True)
    assert mailbox.complete(1, [7, 8]) is None
    assert mailbox.close(1) == post({7: "a", 8: "b"})


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
    assert mailbox.close(1) == post({}, silent=1)


def test_a_round_may_come_before_its_time_and_never_after(env):
    mailbox = Mailbox(env)
    mailbox.put(2, 7, "ahead", 0.0)
    assert mailbox.close(1) == post({})
    mailbox.put(1, 8, "behind", 0.0)
    assert mailbox.close(2) == post({7: "ahead"}, late=1)


def put(mailbox, round, sender, payload):
    put_all([mailbox], round, sender, [payload], [mailbox.env.now])


@pytest.fixture
def keeping(env):
    """Round 5 is over here."""
    mailbox = Mailbox(env, keeps_late=True)
    mailbox.close(5)
    return mailbox


def test_what_is_late_counts_for_the_round_in_which_it_comes_and_for_that_only(keeping):
    put(keeping, 5, 8, "late")
    put(keeping, 6, 7, "in time")
    assert keeping.close(6) == Post({7: "in time", 8: "late"}, in_time=1, silent=0, late=1)
    assert keeping.close(7) == post({})


def test_of_several_from_one_sender_the_newest_is_combined(keeping):
    for round, payload in ((5, "new"), (4, "old"), (3, "older")):
        put(keeping, round, 8, payload)
    assert keeping.close(6) == Post({8: "new"}, in_time=0, silent=0, late=3)


@pytest.mark.parametrize("in_round_6", ["before", "after"])
def test_what_is_late_gives_way_to_what_is_in_time(keeping, in_round_6):
    for round in (5, 6) if in_round_6 == "after" else (6, 5):
        put(keeping, round, 8, round)
    assert keeping.close(6) == post({8: 6}, late=1)


def test_word_that_nothing_will_come_is_never_late(keeping):
    keeping.put(5, 7, LOST, 0.0)
    keeping.put(5, 8, NOTHING, 0.0)
    assert keeping.close(6) == post({})


def test_nobody_is_woken_by_what_is_late(env, keeping):
    complete = keeping.complete(6, [7])
    put(keeping, 5, 7, "late")
    assert not complete.triggered


@pytest.mark.parametrize("at_s", [0.1 + 0.2, 1e6 / 3, 7e5 + 1e-9])
def test_the_event_comes_at_the_very_time(env, at_s):
    """SimPy adds delays, and now + (at - now) need not be at."""
    mailbox = Mailbox(env)
    env.run(until=0.1)
    mailbox.put(1, 7, "a", at_s)
    env.run(until=mailbox.complete(1, [7]))
    assert env.now == at_s
