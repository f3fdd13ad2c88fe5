"""Makes a checked, complete scenario of a file and the command line's changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from netsim.core import modules, registry
from netsim.core.entry import Entry
from netsim.core.errors import ScenarioError
from netsim.core.options import Options
from netsim.core.own_code import code_of_ones_own
from netsim.scenario.classes import (
    changed_processor,
    changes_of,
    class_by_device,
    class_findings,
    device_components,
    network_findings,
)
from netsim.scenario.explain import Location, explain
from netsim.scenario.model import COMPONENTS, Component, Devices, Scenario
from netsim.scenario.yaml_file import parse_value, read_yaml
from netsim.world.devices.processor import Processor


@dataclass(frozen=True)
class Part:
    """A component of the scenario, found and checked.

    Attributes:
        name: What the scenario calls it.
        entry: What is known of it.
        options: Its options.
    """

    name: str
    entry: Entry
    options: Options

    @cached_property
    def cls(self) -> Any:
        """Its class, loaded when it is first asked for."""
        return self.entry.load()

    def make(self, *arguments: Any) -> Any:
        """Make the component of its options, and of ``arguments`` behind them."""
        return self.cls(self.options, *arguments)


@dataclass(frozen=True)
class Plan:
    """A scenario with every component found.

    Attributes:
        scenario: The checked scenario.
        parts: Components by the path of their key, e.g. ``"radio.channel"``.
        file: The file that it came from.
        notes: What the reader should know about how the command line changed it.
        own: Folders of the modules of a user's own that it names.
        device_parts: Components of classes of devices and of overrides, by the path of their key.
    """

    scenario: Scenario
    parts: Mapping[str, Part]
    file: Path
    notes: tuple[str, ...] = ()
    own: tuple[Path, ...] = ()
    device_parts: Mapping[Location, Part] = field(default_factory=dict)

    @contextmanager
    def named(self) -> Generator[None]:
        """Put the file before every line of an error that is raised while the block runs.

        Errors of a user's own code, such as a protocol, are told in a line.
        """
        try:
            with code_of_ones_own("code of your own"):
                yield
        except ScenarioError as error:
            lines = str(error).splitlines()
            raise ScenarioError("\n".join(f"{self.file}: {line}" for line in lines)) from error

    def resolved(self) -> dict[str, Any]:
        """Return the whole scenario as plain data, every default filled in; it can be run again as it is."""
        tree = self.scenario.model_dump(mode="python")
        tree["modules"] = list(self.own)
        parts = {tuple(path.split(".")): part for path, part in self.parts.items()}
        for (*parents, last), part in (*parts.items(), *self.device_parts.items()):
            block: Any = tree
            for parent in parents:
                block = block[int(str(parent)) if isinstance(block, list | tuple) else parent]
            block[last] = {"name": part.name, **part.options.model_dump(mode="python")}
        return tree


def _assign(tree: dict[str, Any], text: str, said: str) -> tuple[str, ...]:
    """Carry out the setting ``path=value`` on ``tree``; returns the path. ``said`` is what its user calls it."""
    where = f"{said} {text}"
    path_text, equals, value_text = text.partition("=")
    path = tuple(part for part in path_text.strip().split(".") if part)
    if not equals or not path:
        raise ScenarioError(f"{where}: must be key=value, like {said} learner.learning_rate=1e-3")
    value = parse_value(value_text, where)
    here: Any = tree
    for depth, part in enumerate(path[:-1]):
        place = ".".join(path[: depth + 1])
        if isinstance(here, list):
            here = here[_index(here, part, where)]
        else:
            if isinstance(here.get(part), str) and path[: depth + 1] in COMPONENTS:
                here[part] = {"name": here[part]}
            here = here.setdefault(part, {})
        if here is None or not isinstance(here, dict | list):
            raise ScenarioError(f"{where}: {place} is not a block of keys (it is {here!r})")
    if isinstance(here, list):
        here[_index(here, path[-1], where)] = value
    else:
        here[path[-1]] = value
    return path


def _index(block: list[Any], part: str, where: str) -> int:
    if not part.isdigit() or int(part) >= len(block):
        raise ScenarioError(f"{where}: {part!r} is not the number of an entry, 0 to {len(block) - 1}")
    return int(part)


def _absolute(options: Options, folder: Path) -> Options:
    """Let relative paths start at the scenario's own folder, also those of blocks inside the block."""
    changed: dict[str, Any] = {}
    for key, value in options:
        if isinstance(value, Path) and not value.is_absolute():
            changed[key] = (folder / value).resolve()
        elif isinstance(value, Options) and (inner := _absolute(value, folder)) is not value:
            changed[key] = inner
    return options.model_copy(update=changed) if changed else options


def load_plan(
    path: Path,
    settings: Iterable[str] = (),
    say: Callable[[str], None] = lambda text: None,
    said: str = "--set",
) -> Plan:
    """Read, change and check a scenario, and find all that it names.

    Args:
        path: The scenario file.
        settings: ``key=value`` texts that change it, as given with ``--set``.
        say: Is told of each module that is not this program's, before it is run.
        said: What who gave the settings calls them, for messages.

    Raises:
        ScenarioError: Anything that is wrong with it, one line per finding.
    """
    tree = read_yaml(path)
    before = {key: _name_at(tree, key) for key in COMPONENTS}
    written = set(_paths(tree))
    changed = {_assign(tree, text, said) for text in settings}

    def where(location: Location) -> str:
        words = tuple(str(part) for part in location)
        by_hand = any(words[: len(setting)] == setting for setting in changed)
        renamed = any((*words[:depth], "name") in changed for depth in range(1, len(words)))
        made = words not in written and any(setting[: len(words)] == words for setting in changed)
        return said if by_hand or renamed or made else str(path)

    _fill_in_names(tree)
    try:
        scenario = Scenario.model_validate(tree)
    except ValidationError as error:
        raise ScenarioError(explain(error, Scenario, (), where)) from None
    if not scenario.name:
        scenario = scenario.model_copy(update={"name": path.stem})

    found_in = _find_all(scenario, path.parent.resolve(), where, say)
    parts: dict[str, Part] = {}
    findings: list[str] = []
    notes: list[str] = []
    for key, kind in COMPONENTS.items():
        component = _component_at(scenario, key)
        if component is None:
            continue
        try:
            entry = registry.entry(kind, component.name, f"{where((*key, 'name'))}: {'.'.join(key)}.name")
            given = component.given
            entry = _made_for(entry, given, key, where)
            if before[key] not in (None, component.name) and (*key, "name") in changed:
                # Another learner by --set learner.name=...: options of the old one that the new one does not have
                # go, but not silently; options that the command line itself sets stay and must fit.
                own = {k for k in given if k in entry.options.model_fields or (*key, k) in changed}
                if dropped := sorted(set(given) - own):
                    notes.append(f"{'.'.join(key)}: {component.name!r} has no {', '.join(dropped)}; left out")
                given = {k: given[k] for k in given if k in own}
            options = entry.options.model_validate(given)
            parts[".".join(key)] = Part(component.name, entry, _absolute(options, path.parent.resolve()))
        except ValidationError as error:
            findings.append(explain(error, entry.options, key, where))
        except ScenarioError as error:
            findings.append(str(error))
    count = scenario.devices.count
    for number, change in enumerate(scenario.devices.overrides):
        for device in change.devices:
            if not 0 <= device < count:
                findings.append(
                    f"{path}: devices.overrides.{number}.devices: no device {device}; devices are 0 to {count - 1}"
                )
    device_parts: dict[Location, Part] = {}
    for place, kind, component in _more_components(scenario):
        try:
            entry = registry.entry(kind, component.name, f"{where(place)}: {'.'.join(place)}.name")
            options = entry.options.model_validate(component.given)
            if kind in ("batteries", "harvests"):
                device_parts[place] = Part(component.name, entry, _absolute(options, path.parent.resolve()))
        except ValidationError as error:
            findings.append(explain(error, entry.options, place, where))
        except ScenarioError as error:
            findings.append(str(error))
    findings.extend(_processor_findings(scenario.devices, where))
    wrong = list(class_findings(scenario.devices))
    if (learner := parts.get("learner")) and not learner.entry.network_per_device:
        wrong.extend(network_findings(scenario.devices, learner.name))
    findings.extend(f"{where(place)}: {'.'.join(place)}: {text}" for place, text in wrong)
    findings.extend(f"{where(tuple(key.split('.')))}: {key}: {text}" for key, text in _unfit_policies(parts))
    if protocol := parts.get("protocol"):
        if learner is not None and (text := _unsuited(learner, protocol)):
            findings.append(f"{where(('learner', 'name'))}: learner.name: {text}")
        try:
            protocol.cls.check(protocol.options, None, count)
        except ScenarioError as error:
            findings.append(f"{where(('protocol',))}: {error}")
    if part := parts.get("mobility"):
        try:
            part.cls.check(part.options, count)
        except ScenarioError as error:
            findings.append(f"{where(('mobility',))}: {error}")
    needs_links = protocol is None or not protocol.cls.needs_server
    for key in ("topology.placement", *(("topology.links",) if needs_links else ())):
        if part := parts.get(key):
            try:
                part.make().check(count)
            except ScenarioError as error:
                findings.append(f"{where(tuple(key.split('.')))}: {error}")
    if findings:
        raise ScenarioError("\n".join(findings))
    return Plan(scenario, parts, path, tuple(notes), found_in, device_parts)


def _processor_findings(devices: Devices, where: Callable[[Location], str]) -> Iterator[str]:
    """Find changes of processors that do not fit together, each once."""
    classes = class_by_device(devices)
    seen = set()
    for number in range(devices.count) if classes or devices.overrides else ():
        changes = changes_of(devices, number, classes)
        places = tuple(place for place, _ in changes)
        if places in seen:
            continue
        seen.add(places)
        try:
            changed_processor(devices.processor, (change for _, change in changes))
        except ValidationError as error:
            yield explain(error, Processor, (*places[-1], "processor"), where)


def _unfit_policies(parts: Mapping[str, Part]) -> Iterator[tuple[str, str]]:
    """Yield the keys of policies that cannot decide what they are named for, and why."""
    for key, part in parts.items():
        block, _, decision = key.partition(".")
        if block == "policies" and decision not in (decided := part.cls.decisions()):
            yield key, f"{part.name!r} decides {' and '.join(decided) or 'nothing'}, not that"
    protocol = parts.get("protocol")
    if "policies.links" in parts and protocol is not None and not protocol.cls.thins:
        yield (
            "policies.links",
            f"rounds of protocol {protocol.name!r} have no links to choose from; use decentralized_rounds",
        )


def _unsuited(learner: Part, protocol: Part) -> str:
    """Return why the learner's method cannot be run under the protocol, with what would fit; empty if it can."""
    family, suits = protocol.cls.FAMILY, learner.entry.suits
    if family in suits:
        return ""
    protocols = [
        name for name in registry.names("protocols") if registry.load("protocols", name).FAMILY in suits
    ]
    learners = [
        name for name in registry.names("learners") if family in registry.entry("learners", name).suits
    ]
    if not learners:
        known = sorted(
            {one for name in registry.names("learners") for one in registry.entry("learners", name).suits}
        )
        return (
            f"{learner.name!r} suits no protocol of family {family!r}, as {protocol.cls.__name__}.FAMILY says; "
            f"learners here suit {', '.join(known)}"
        )
    return (
        f"{learner.name!r} cannot be run under protocol {protocol.name!r}; use protocol: {' or '.join(protocols)}, "
        f"or a learner that suits {protocol.name}: {', '.join(learners)}"
    )


def _made_for(
    entry: Entry, given: Mapping[str, Any], key: Location, where: Callable[[Location], str]
) -> Entry:
    """Return the entry for a block with the options ``given``; see :meth:`netsim.learner.Learner.made_for`.

    Raises:
        ScenarioError: As there.
    """
    if isinstance(entry.implementation, str) or not hasattr(entry.implementation, "made_for"):
        return entry
    try:
        return Entry.of(entry.implementation.made_for(given))
    except ScenarioError as error:
        option = str(error).partition(":")[0]
        raise ScenarioError(f"{where((*key, option))}: {'.'.join(map(str, key))}.{error}") from error


def _find_all(
    scenario: Scenario, folder: Path, where: Callable[[Location], str], say: Callable[[str], None]
) -> tuple[Path, ...]:
    """Find all that the scenario names before anything is imported, and say whose code will be run.

    Returns:
        Folders of the modules of a user's own.

    Raises:
        ScenarioError: Something is not there, one line each.
    """
    folders = [(folder / given).resolve() for given in scenario.modules]
    modules.look_in([*folders, folder])
    findings = [
        f"{where(('modules', number))}: modules.{number}: no such folder: {given}"
        for number, given in enumerate(folders)
        if not given.is_dir()
    ]
    own: dict[modules.Found, list[str]] = {}
    for place, kind, name in _names_in(scenario):
        key = ".".join(place)
        try:
            found = registry.find(kind, name, f"{where(place)}: {key}")
            if found and (found.folder or name.partition(".")[0] not in ("netsim", "learners")):
                own.setdefault(found, []).append(key)
        except ScenarioError as error:
            findings.append(str(error))
    if findings:
        raise ScenarioError("\n".join(findings))
    for found, keys in own.items():
        beside = found.file.is_relative_to(folder)
        file = f"{found.file.relative_to(folder)} beside the scenario" if beside else found.file
        say(f"own code: {', '.join(keys)} from {file}")
    return tuple(sorted({found.folder for found in own if found.folder}))


def _names_in(scenario: Scenario) -> Generator[tuple[tuple[str, ...], str, str]]:
    """Yield path of the key, kind, and name of each component that can be told before anything is loaded."""
    for key, kind in COMPONENTS.items():
        if component := _component_at(scenario, key):
            yield (*key, "name"), kind, component.name
            yield from (((*key, *inner), kind, name) for inner, name in _own_names_in(component.given))
    for place, kind, component in _more_components(scenario):
        yield (*place, "name"), kind, component.name


def _more_components(scenario: Scenario) -> Generator[tuple[tuple[str, ...], str, Component]]:
    """Yield path of the key, kind, and component of each that is one of several: of classes of devices, and metrics."""
    yield from device_components(scenario.devices)
    for number, metric in enumerate(scenario.evaluation.metrics):
        yield ("evaluation", "metrics", str(number)), "metrics", metric


def _own_names_in(block: Mapping[str, Any], named: bool = False) -> Generator[tuple[tuple[str, ...], str]]:
    """Yield modules of a user's own in the blocks of a component, such as ``networks: {image: "mine:Net"}``."""
    for key, value in block.items():
        if isinstance(value, Mapping):
            yield from (((key, *inner), name) for inner, name in _own_names_in(value, key == "networks"))
        elif (
            isinstance(value, str)
            and (named or key in ("name", "of", "public", "schedule", "then", "server_optimizer"))
            and re.fullmatch(r"[\w.]+:[A-Za-z_]\w*", value)
        ):
            yield (key,), value


def _fill_in_names(tree: dict[str, Any]) -> None:
    """Give a block without a name the default's: ``protocol: {deadline_s: 60}`` means the default protocol."""
    for key in COMPONENTS:
        model: type[Options] = Scenario
        here: Any = tree
        for part in key[:-1]:
            model = type(model.model_fields[part].get_default()) if part != "devices" else Devices
            here = here.get(part) if isinstance(here, dict) else None
        default = model.model_fields[key[-1]].get_default()
        block = here.get(key[-1]) if isinstance(here, dict) else None
        if isinstance(default, Component) and isinstance(block, dict):
            block.setdefault("name", default.name)


def _paths(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the paths of all blocks and keys that are written in ``tree``."""
    yield path
    for key, value in tree.items() if isinstance(tree, dict) else ():
        yield from _paths(value, (*path, str(key)))


def _name_at(tree: dict[str, Any], key: tuple[str, ...]) -> str | None:
    here: Any = tree
    for part in key:
        here = here.get(part) if isinstance(here, dict) else None
    return here.get("name") if isinstance(here, dict) else here if isinstance(here, str) else None


def _component_at(scenario: Scenario, key: tuple[str, ...]) -> Component | None:
    here: Any = scenario
    for part in key:
        here = getattr(here, part)
    return here if isinstance(here, Component) else None
