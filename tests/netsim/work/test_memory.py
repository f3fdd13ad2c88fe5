"""How much memory there is, what does not fit, and stacks that are cut to fit."""

from __future__ import annotations

import math

import psutil
import pytest

from netsim.core.errors import ScenarioError
from netsim.work.batching import Stacking
from netsim.work.executors.inline import Inline
from netsim.work.job import Stack, TrainingJob
from netsim.work.torch_device import GIB, SHARE, free_memory_bytes, require_memory


def square(x, sizes):
    sizes.append(1)
    return x * x


def squares(inputs):
    inputs[0]["sizes"].append(len(inputs))
    return [each["x"] ** 2 for each in inputs]


def jobs(count, row_bytes):
    """Jobs of one shape, and a list of the sizes of the units that they were done in."""
    sizes = []
    stack = Stack("square", squares, row_bytes=row_bytes)
    return [TrainingJob(square, {"x": x, "sizes": sizes}, stack=stack) for x in range(count)], sizes


@pytest.mark.parametrize("torch_device", ["cpu", "cuda:0"])
@pytest.mark.parametrize("gib", [0.25, 3])
def test_stated_memory_is_taken_at_its_word(gib, torch_device):
    assert free_memory_bytes(gib, torch_device) == gib * 1024**3


def test_otherwise_it_is_most_of_what_programs_can_have(monkeypatch):
    """Memory that caches files counts as free: 0.3 GiB are unused here, 20 GiB can be had."""
    here = psutil.virtual_memory()._replace(free=int(0.3 * GIB), available=20 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: here)
    assert free_memory_bytes(None, "cpu") == SHARE * 20 * GIB


def test_of_a_gpu_it_is_most_of_what_is_free_there(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "torch.cuda.mem_get_info", lambda device: asked.append(device) or (10 * GIB, 80 * GIB)
    )
    assert free_memory_bytes(None, "cuda:1") == SHARE * 10 * GIB
    assert asked == ["cuda:1"]


@pytest.mark.parametrize("allowed", [5.0, 5.0 * GIB, math.inf])
def test_what_fits_is_no_error(allowed):
    require_memory(5.0, allowed, "the models", "use fewer")


def test_what_does_not_fit_is_said_with_both_numbers_and_a_way_out():
    with pytest.raises(ScenarioError) as error:
        require_memory(2.5 * GIB, 1.25 * GIB, "the models of 3 devices", "use fewer devices")
    text = str(error.value)
    assert text.startswith("jobs.memory_gib: the models of 3 devices take 2.5")
    assert "may take 1.25 GiB" in text and text.endswith("; use fewer devices")


@pytest.mark.parametrize("mode", ["on", "auto"])
@pytest.mark.parametrize(
    ("limit_bytes", "most"), [(1000, 10), (999, 5), (350, 3), (200, 2), (100, 1), (50, 1), (math.inf, 10)]
)
def test_no_unit_takes_more_than_allowed(mode, limit_bytes, most):
    """Ten jobs of 100 bytes each; one that exceeds the limit alone is run alone."""
    work, sizes = jobs(10, row_bytes=100)
    executor = Inline(None, Stacking(mode, limit_bytes))
    tickets = [executor.submit(job) for job in work]
    found = {}
    while missing := [ticket for ticket in tickets if ticket not in found]:
        found |= executor.finish(missing)
    assert [found[ticket] for ticket in tickets] == [x * x for x in range(10)]
    assert max(sizes) <= most
    if mode == "on":
        assert sum(sizes) == 10 and len(sizes) == math.ceil(10 / most)
        assert max(sizes) - min(sizes) <= 1
