"""Shadowing against its theory: normal in decibels, exponential in space, a function of seed and positions alone."""

import numpy as np
import pytest
from scipy.stats import kstest

from netsim.core.errors import ScenarioError
from netsim.world.radio.path_loss import FreeSpace
from netsim.world.radio.shadowing import WAVES, Shadowing, ShadowingOptions
from netsim.world.radio.tr38901 import UMi
from netsim.world.topology import Link

RNG = np.random.default_rng(1)
ENDS = RNG.random((3000, 2, 2)) * 4000
"""Ends of links some kilometres long, hundreds of decorrelation distances apart."""


def links(ends):
    return [
        Link((k, k + 1), float(np.hypot(*(a - b))), (tuple(a), tuple(b))) for k, (a, b) in enumerate(ends)
    ]


def shadowing(seed=0, **options):
    return Shadowing(ShadowingOptions(**options), seed)


@pytest.mark.parametrize("decorrelation_m", [10.0, 0.0])
def test_it_is_normal_in_decibels(decorrelation_m):
    values_db = shadowing(sigma_db=8.0, decorrelation_m=decorrelation_m).values_db(links(ENDS))
    assert kstest(values_db / 8, "norm").pvalue > 1e-3
    assert abs(values_db.mean() / 8) < 4 / np.sqrt(3000) and abs(values_db.std() / 8 - 1) < 4 / np.sqrt(6000)


@pytest.mark.parametrize(("first", "second"), [(10.0, 0.0), (3.0, 0.0), (5.0, 5.0), (0.0, 20.0)])
def test_correlation_falls_exponentially_with_the_way_of_both_ends(first, second):
    """Over 60 seeds; of each the correlation over 100 links is off by the waves' number and by sampling."""
    angle = RNG.random((100, 2)) * 2 * np.pi
    way = np.stack([np.cos(angle), np.sin(angle)], axis=-1) * np.array([first, second])[:, None]
    here, there = links(ENDS[:100]), links(ENDS[:100] + way)
    found = [np.mean(s.values_db(here) * s.values_db(there)) for s in map(shadowing, range(60))]
    error = np.sqrt((1 / (2 * WAVES) + 2 / 100) / 60)
    assert np.mean(found) / 16 == pytest.approx(np.exp(-(first + second) / 10), abs=4 * error)


def test_ends_near_each_other_have_the_same_deviation_as_others():
    """A link shorter than the decorrelation distance, whose two directions are alike, in 1,000 seeds."""
    for length_m in (0.0, 3.0):
        (link,) = links(np.array([[[5.0, 7.0], [5.0 + length_m, 7.0]]]))
        values_db = [shadowing(seed).values_db([link])[0] for seed in range(1000)]
        assert np.std(values_db) == pytest.approx(4, abs=4 * 4 / np.sqrt(2000))


def test_it_is_a_function_of_seed_and_positions_alone():
    """The same for one link as among many, in both directions, for others at these places; not for another seed."""
    many = links(ENDS[:300])
    values_db = shadowing().values_db(many)
    assert [float(shadowing().values_db([link])[0]) for link in many[:20]] == values_db[:20].tolist()
    assert shadowing().values_db(links(ENDS[:300, ::-1])).tolist() == values_db.tolist()
    others = [link._replace(ends=(7000, "server")) for link in many]
    assert shadowing().values_db(others).tolist() == values_db.tolist()
    assert not np.any(shadowing(1).values_db(many) == values_db)
    assert shadowing().values_db([]).tolist() == []


def test_without_correlation_each_link_has_its_own():
    """Two links between the same places differ; a link that moves keeps its draw."""
    here, there = links(ENDS[:50]), links(ENDS[:50] + 3)
    own = shadowing(decorrelation_m=0)
    assert own.values_db(here).tolist() == own.values_db(there).tolist()
    same_place = [link._replace(positions_m=here[0].positions_m) for link in here]
    assert len(set(own.values_db(same_place))) == 50


def test_a_law_with_shadowing_has_it_beside_its_mean():
    plain, shadowed = (
        FreeSpace(FreeSpace.Options(shadowing=given), 4) for given in (None, {"sigma_db": 6.0})
    )
    means_db, losses_db = (np.array(law.losses_db(links(ENDS[:300]), 2.6e9)) for law in (plain, shadowed))
    assert losses_db - means_db == pytest.approx(shadowing(4, sigma_db=6.0).values_db(links(ENDS[:300])))
    assert shadowed.loss_db(links(ENDS[:300])[0], 2.6e9) == losses_db[0]


@pytest.mark.parametrize(
    ("los", "sigma_db", "decorrelation_m"), [("always", 4.0, 10.0), ("never", 7.82, 13.0)]
)
def test_tr_38901_has_the_deviation_and_distance_of_its_tables(los, sigma_db, decorrelation_m):
    given = {"los": los, "extrapolate": True}
    means_db, losses_db = (
        np.array(UMi(UMi.Options(**given, **more), 0).losses_db(links(ENDS[:300]), 2.6e9))
        for more in ({"shadowing": None}, {})
    )
    expected_db = shadowing(sigma_db=sigma_db, decorrelation_m=decorrelation_m).values_db(links(ENDS[:300]))
    assert losses_db - means_db == pytest.approx(expected_db)


@pytest.mark.parametrize("name", ["free_space", "umi"])
@pytest.mark.parametrize(("key", "value"), [("sigma_db", -1), ("decorrelation_m", -5)])
def test_negative_numbers_are_one_line(simulate, name, key, value):
    radio = {"path_loss": {"name": name, "shadowing": {key: value}}}
    with pytest.raises(
        ScenarioError, match=rf"radio\.path_loss\.shadowing\.{key}: .*must be at least 0"
    ) as found:
        simulate(radio=radio)
    assert len(str(found.value).splitlines()) == 1
