"""What becomes of z when none of a round's clients has a modality."""

import pytest

from learners.federated.fedhgb import voted


def test_a_head_that_nobody_has_keeps_its_share():
    """Two votes of (0.75, 0.25) divide what depth's 0.2 leaves: 0.8 · 0.75 = 0.6 and 0.8 · 0.25 = 0.2."""
    before = {"inertial": 0.4, "depth": 0.2, "fusion": 0.4}
    after = voted(before, [{"inertial": 0.75, "fusion": 0.25}] * 2)
    assert after == pytest.approx({"inertial": 0.6, "depth": 0.2, "fusion": 0.2})


def test_without_votes_nothing_changes():
    before = {"inertial": 0.5, "fusion": 0.5}
    assert voted(before, []) == before
