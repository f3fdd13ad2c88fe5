"""What a catalogue says of a component is what its class says."""

from dataclasses import replace

import pytest

from netsim.core import registry
from netsim.core.entry import Entry
from netsim.core.errors import ScenarioError
from netsim.core.options import NoOptions

NAMED = [(kind, name) for kind in registry.KINDS for name in registry.names(kind)]


@pytest.mark.parametrize(("kind", "name"), NAMED)
def test_an_entry_agrees_with_its_class(kind, name):
    entry, cls = registry.entry(kind, name), registry.load(kind, name)
    if isinstance(entry.implementation, str):
        assert entry.implementation == f"{cls.__module__}:{cls.__qualname__}"
    assert replace(entry, implementation=cls) == Entry.of(cls)


def test_learners_and_networks_that_need_pytorch_have_one():
    light = {kind for kind, name in NAMED if isinstance(registry.entry(kind, name).implementation, str)}
    assert light == {"learners", "networks"}


@pytest.mark.parametrize("where", ["learners.nowhere:Nothing", "learners.stub:Nothing"])
def test_a_class_that_is_not_there_is_one_line(where):
    with pytest.raises(ScenarioError, match=f"cannot load '{where}': .*no"):
        Entry(where, NoOptions, "Nothing.").load()
