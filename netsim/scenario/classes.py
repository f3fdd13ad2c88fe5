"""Tells which device is of which class, and finds mistakes in a scenario's classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from netsim.core import registry
from netsim.scenario.model import Component, DeviceChange, DeviceClass, Devices, Difference
from netsim.world.devices.processor import Processor

Place = tuple[str, ...]
"""The path of a key."""

Finding = tuple[Place, str]
"""The path of a key, and what is wrong there."""


def class_by_device(options: Devices) -> dict[int, str]:
    """Map each device that has a class to its name, in the order of device numbers.

    A class that lists devices has those. Classes that list none share the devices that no class lists, in turn and in
    the order of the file; where every class lists its devices, the others have no class.
    """
    listed = {device: name for name, block in options.classes.items() for device in block.devices or ()}
    sharing, rest = _sharing(options)
    shared = {device: sharing[place % len(sharing)] for place, device in enumerate(rest)} if sharing else {}
    return dict(sorted((listed | shared).items()))


def class_findings(options: Devices) -> Iterator[Finding]:
    """Find mistakes in the lists of devices."""
    first: dict[int, str] = {}
    for name, block in options.classes.items():
        key = ("devices", "classes", name, "devices")
        for device in block.devices or ():
            if not 0 <= device < options.count:
                yield key, f"no device {device}; devices are 0 to {options.count - 1}"
            elif first.setdefault(device, name) != name:
                yield (
                    key,
                    f"device {device} is of class {first[device]!r} already, and a device has one class; take it out "
                    "of one of the two lists",
                )
    sharing, rest = _sharing(options)
    for name in sharing[len(rest) :]:
        yield (
            ("devices", "classes", name),
            f"no device is left for this class: {len(sharing)} classes list no devices and share those that no class "
            f"lists, of which there are {len(rest)}; raise devices.count, list fewer devices in the other classes, or "
            "leave the class out",
        )


def changes_of(
    options: Devices, number: int, classes: Mapping[int, str]
) -> list[tuple[Place, DeviceClass | DeviceChange]]:
    """Return what changes device ``number``, with the paths of their keys: its class and then overrides; later win."""
    changes: list[tuple[Place, DeviceClass | DeviceChange]] = []
    if number in classes:
        changes.append((("devices", "classes", classes[number]), options.classes[classes[number]]))
    for place, one in enumerate(options.overrides):
        if number in one.devices:
            changes.append((("devices", "overrides", str(place)), one))
    return changes


def changed_processor(processor: Processor, changes: Iterable[Difference]) -> Processor:
    """Return ``processor`` with the changes.

    Raises:
        ValidationError: They do not fit together.
    """
    for change in changes:
        given = change.processor.model_dump(exclude_none=True)
        processor = Processor(**{**processor.model_dump(), **given}) if given else processor
    return processor


def device_components(options: Devices) -> Iterator[tuple[Place, str, Component]]:
    """Yield the components that classes and overrides name, with the paths of their keys and their kinds."""
    for place, network in class_networks(options):
        yield place, "networks", network
    blocks: list[tuple[Place, Difference]] = [
        *((("devices", "classes", name), block) for name, block in options.classes.items()),
        *((("devices", "overrides", str(place)), one) for place, one in enumerate(options.overrides)),
    ]
    for place, block in blocks:
        for key, kind in (("battery", "batteries"), ("harvest", "harvests")):
            if component := getattr(block, key):
                yield (*place, key), kind, component


def class_networks(options: Devices) -> Iterator[tuple[tuple[str, ...], Component]]:
    """Yield the networks that classes name, with the paths of their keys."""
    for name, block in options.classes.items():
        for modality, network in block.networks.items():
            yield ("devices", "classes", name, "networks", modality), network


def network_findings(options: Devices, learner: str) -> Iterator[Finding]:
    """Find networks of classes; for use where ``learner`` does not take one per device."""
    for name in (name for name, block in options.classes.items() if block.networks):
        fitting = [
            one for one in registry.names("learners") if registry.entry("learners", one).network_per_device
        ]
        yield (
            ("devices", "classes", name, "networks"),
            f"learner {learner!r} needs the same network on every device, for what it exchanges are parameters; leave "
            "networks out here, or use a learner that takes one per device: "
            f"{', '.join(fitting) or 'none is registered'}",
        )


def _sharing(options: Devices) -> tuple[list[str], list[int]]:
    """Return the classes that list no devices, and the devices that no class lists."""
    listed = {device for block in options.classes.values() for device in block.devices or ()}
    sharing = [name for name, block in options.classes.items() if block.devices is None]
    if not options.classes:
        return [], []
    return sharing, [device for device in range(options.count) if device not in listed]
