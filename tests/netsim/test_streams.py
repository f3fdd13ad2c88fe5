import numpy as np

from netsim.core.streams import derive_seed, seed_words, stream, streams


def test_a_stream_is_a_function_of_seed_and_name():
    assert stream(1, "fading", 2, 3).random() == stream(1, "fading", 2, 3).random()
    others = [
        stream(2, "fading", 2, 3),
        stream(1, "fading", 3, 2),
        stream(1, "placement", 2, 3),
        stream(1, "fading", 23),
    ]
    assert len({g.random() for g in [stream(1, "fading", 2, 3), *others]}) == 5


def test_a_number_and_its_text_are_different_names():
    assert derive_seed(0, 1) != derive_seed(0, "1")


def test_seeds_are_the_same_on_every_machine():
    """Pinned: a change here changes every published result."""
    assert derive_seed(0, "fading", 0, 1) == 732376893772371933


def test_many_streams_at_once_are_the_same_streams():
    names = [("fading", k, k + 1) for k in range(40)]
    many = [rng.random(3).tolist() for rng in streams(5, names)]
    assert many == [stream(5, *name).random(3).tolist() for name in names]


def test_words_of_seeds_are_those_of_numpy():
    """Of one word and of two, with all bits and with few."""
    seeds = [0, 1, 2**32 - 1, 2**32, 2**63 - 1, *(3**k for k in range(1, 39))]
    assert seed_words(np.array(seeds, dtype=np.uint64)).tolist() == [
        np.random.SeedSequence(seed).generate_state(4, np.uint64).tolist() for seed in seeds
    ]
