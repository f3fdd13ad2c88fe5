"""Meters of unlimited power: every account is exact at every moment."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.world.devices.coverage import Coverage
from netsim.world.devices.unlimited import receive_all


def test_what_lies_ahead_is_not_in_the_account(env, make_device):
    """Two sendings of 1 s and 4 s at 3 W: at 2 s, 3 J + 6 J; at 5 s all 15 J, and a second of idling at 2 W."""
    device = make_device(idle_power_w=2.0)
    device.unlimited.book("sending", 3.0, [1.0, 4.0], 4.0)
    env.run(until=2.0)
    account = device.meter.account()
    assert (account.sending_s, account.sending_j, account.idle_j) == (2, 9, 0)
    env.run(until=5.0)
    account = device.meter.account()
    assert (account.sending_s, account.sending_j, account.idle_j) == (4, 15, 2)


def test_noted_receptions_and_a_process_that_listens_draw_power_once(env, make_device):
    """Noted from 0 to 3 s, listened to from 2 to 6 s, noted from 4 to 5 s: 6 s at 0.5 W."""
    device = make_device(rx_power_w=0.5)
    receive_all([device.unlimited], 0.0, [3.0])

    def listen():
        yield env.timeout(2.0)
        with device.listening():
            yield env.timeout(2.0)
            receive_all([device.unlimited], 4.0, [5.0])
            yield env.timeout(2.0)

    env.process(listen())
    env.run(until=10.0)
    account = device.meter.account()
    assert account[:4] == (0, 0, 6, 4)
    assert account.receiving_j == 3.0


def test_reading_in_between_changes_nothing(env, make_device):
    watched, alone = make_device(0, idle_power_w=0.1), make_device(1, idle_power_w=0.1)
    for device in (watched, alone):
        device.unlimited.book("sending", 1.5, [0.3, 2.7, 1.1], 2.7)
        receive_all([device.unlimited] * 2, 0.0, [0.7, 3.3])
    for at_s in range(1, 50):
        env.run(until=at_s / 10)
        watched.meter.account()
    assert watched.meter.account() == pytest.approx(alone.meter.account(), rel=1e-12)


@given(
    intervals=st.lists(st.tuples(st.floats(0, 20), st.floats(0, 5), st.booleans()), max_size=15),
    looks=st.lists(st.floats(0, 30), max_size=5),
)
def test_covered_time_is_the_length_of_the_union(intervals, looks):
    """Against brute force over all breakpoints, whether ends are known or not, at any moment."""
    changes = [
        *((begin, 0, "cover" if known else "begin", begin + length) for begin, length, known in intervals),
        *((begin + length, 1, "end", math.nan) for begin, length, known in intervals if not known),
        *((look, 2, "look", math.nan) for look in [*looks, 30.0]),
    ]
    coverage = Coverage(0.0)
    for now_s, _, what, end_s in sorted(changes, key=lambda change: change[:2]):
        if what == "cover":
            coverage.cover(now_s, end_s)
        elif what == "look":
            points = sorted({0.0, now_s, *(min(p, now_s) for b, n, _ in intervals for p in (b, b + n))})
            union_s = math.fsum(
                q - p for p, q in pairwise(points) if any(b <= p and q <= b + n for b, n, _ in intervals)
            )
            assert coverage.covered_s(now_s) == pytest.approx(union_s, rel=1e-12, abs=1e-12)
            assert coverage.gaps_s(now_s) == pytest.approx(now_s - union_s, rel=1e-12, abs=1e-12)
        else:
            getattr(coverage, what)(now_s)
