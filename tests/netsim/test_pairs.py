import numpy as np
import pytest

from netsim.core.pairs import Pairs

PAIRS = Pairs(np.array([[0, 1], [0, 3], [2, 3]]), np.array([5.0, 6.0, 7.0]))


def test_pairs_are_a_mapping():
    assert PAIRS == {(0, 1): 5.0, (0, 3): 6.0, (2, 3): 7.0} and list(PAIRS) == [(0, 1), (0, 3), (2, 3)]
    assert PAIRS[2, 3] == 7.0 and len(Pairs(np.zeros((0, 2), dtype=np.int64), np.zeros(0))) == 0


@pytest.mark.parametrize("pair", [(1, 0), (0, 2), (2, 4), (0, 5), (3, 3), (9, 9)])
def test_a_pair_that_is_not_there_is_a_key_error(pair):
    """(0, 5) would be (1, 1) in a table of four columns."""
    assert pair not in PAIRS


def test_numbers_of_many_pairs_are_found_at_once():
    assert PAIRS.numbers[PAIRS.places(np.array([2, 0, 0]), np.array([3, 3, 1]))].tolist() == [7.0, 6.0, 5.0]
