"""Finds components by name: Python entry points, or ``package.module:Class`` in a scenario."""

from __future__ import annotations

import difflib
import pkgutil
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from netsim.core import modules
from netsim.core.entry import Entry
from netsim.core.errors import ScenarioError

KINDS = {
    "learners": "algorithms: what to train, what to send, how to combine",
    "datasets": "data that the devices learn from",
    "partitions": "which device holds which samples of which modalities",
    "networks": "neural networks for a modality",
    "metrics": "what a model's predictions on test samples are worth",
    "schedules": "how step sizes change from round to round",
    "compressors": "fewer bits for what a learner sends",
    "server_optimizers": "what an edge server makes of its clients' mean",
    "channels": "small-scale fading of a link",
    "rates": "rate of a transfer, from its bandwidth and SNR, and what is lost on the way",
    "path_losses": "loss of a link without its fading: over distance, by shadowing",
    "accesses": "how bandwidth is divided among transfers",
    "schedulers": "which transfer gets how many sub-carriers of OFDMA",
    "placements": "where the devices are",
    "links": "which devices hear each other",
    "mobilities": "how devices move",
    "stragglers": "who is slow, and by how much",
    "batteries": "how long a device's energy lasts",
    "harvests": "what charges a device's battery",
    "churns": "who is away, and when",
    "protocols": "who waits for whom",
    "policies": "clock frequencies, transmit powers, local steps and links of each round",
    "selections": "which devices take part in a server's round",
    "executors": "what runs the training jobs",
}

BASES = {
    "learners": "netsim.learner:Learner",
    "datasets": "learners.data.dataset:DataSource",
    "partitions": "learners.data.split:Partition",
    "networks": "learners.networks.network:Network",
    "metrics": "learners.training.scores:Score",
    "schedules": "learners.training.schedules:Schedule",
    "compressors": "learners.training.compression:Compressor",
    "server_optimizers": "learners.training.late_fusion.server_optimizers:ServerOptimizer",
    "channels": "netsim.world.radio.fading:Channel",
    "rates": "netsim.world.radio.rate:Rate",
    "path_losses": "netsim.world.radio.path_loss:PathLoss",
    "accesses": "netsim.world.radio.access:Access",
    "schedulers": "netsim.world.radio.schedulers:Scheduler",
    "placements": "netsim.world.topology.placement:Placement",
    "links": "netsim.world.topology.links:LinkRule",
    "mobilities": "netsim.world.mobility.mobility:Mobility",
    "stragglers": "netsim.world.devices.stragglers:Stragglers",
    "batteries": "netsim.world.devices.battery:Battery",
    "harvests": "netsim.world.devices.harvest:Harvest",
    "churns": "netsim.world.devices.churn:Churn",
    "protocols": "netsim.protocols.protocol:Protocol",
    "policies": "netsim.world.policies.policy:Policy",
    "selections": "netsim.world.selection:Selection",
    "executors": "netsim.work.executor:Executor",
}
"""What a class of each kind is derived from."""

_installed = cache(entry_points)  # reading them takes as long for one kind as for all


@cache
def _entries(kind: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in _installed().select(group=f"netsim.{kind}")}


def names(kind: str) -> list[str]:
    """Return the names that a scenario can use for a component of ``kind``, sorted."""
    return sorted(_entries(kind))


def find(kind: str, name: str, where: str = "") -> modules.Found | None:
    """Find ``name`` without importing anything.

    Args:
        kind: One of :data:`KINDS`.
        name: A registered name, or ``package.module:Class``.
        where: File and key, for the error.

    Returns:
        Its module if it is a class by its full name; None if the name is registered.

    Raises:
        ScenarioError: Nothing of that name can be found; says where it was looked for.
    """
    if ":" in name:
        with _at(where):
            return modules.find(name)
    if name not in _entries(kind):
        near = difflib.get_close_matches(name, names(kind), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        with _at(where):
            raise ScenarioError(
                f"unknown name {name!r}.{hint} Known {kind}: {', '.join(names(kind))}; "
                "or package.module:Class for one of your own."
            )
    return None


def entry(kind: str, name: str, where: str = "") -> Entry:
    """Describe the component called ``name``; a class of a user's own is loaded for that.

    Args:
        kind: One of :data:`KINDS`.
        name: A registered name, or ``package.module:Class``.
        where: File and key, for the error.

    Raises:
        ScenarioError: Nothing of that name can be found or imported.
    """
    if ":" not in name:
        find(kind, name, where)
    with _at(where):
        if ":" in name:
            found = modules.load_class(name)
            if not issubclass(found, pkgutil.resolve_name(BASES[kind])):
                raise ScenarioError(
                    f"cannot load {name!r}: a class for {kind} must be derived from {BASES[kind]}"
                )
            return Entry.of(found)
        try:
            return _registered(kind, name)
        except (ImportError, AttributeError) as error:
            raise ScenarioError(f"cannot load {name!r}: {error}") from error


@cache  # learners ask for each device's update
def _registered(kind: str, name: str) -> Entry:
    found = _entries(kind)[name].load()
    return found if isinstance(found, Entry) else Entry.of(found)


def load(kind: str, name: str, where: str = "") -> Any:
    """Return the class called ``name``.

    Args:
        kind: One of :data:`KINDS`.
        name: A registered name, or ``package.module:Class``.
        where: File and key, for the error.

    Raises:
        ScenarioError: Nothing of that name can be found or imported.
    """
    found = entry(kind, name, where)
    with _at(where):
        return found.load()


@contextmanager
def _at(where: str) -> Generator[None]:
    """Put the file and the key before the error."""
    try:
        yield
    except ScenarioError as error:
        raise ScenarioError(f"{where}: {error}" if where else str(error)) from error


def options_of(kind: str, name: str, given: Mapping[str, Any]) -> Any:
    """Validate the options of the component called ``name``, for blocks that name one of their own.

    Raises:
        ScenarioError: Nothing of that name can be found, or it has no such option.
        pydantic.ValidationError: A value does not fit.
    """
    model = entry(kind, name).options
    for key in given:
        if key not in model.model_fields:
            known = sorted(model.model_fields)
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(known) or 'none'}."
            raise ScenarioError(f"{name!r} has no option {key!r}. {hint}")
    return model.model_validate(dict(given))


def describe(kind: str) -> list[tuple[str, str]]:
    """List every registered component of ``kind`` with its line of explanation, or why it cannot be loaded."""
    rows = []
    for name in names(kind):
        try:
            rows.append((name, _without_roles(entry(kind, name).about)))
        except ScenarioError as error:
            rows.append((name, f"({error})"))
    return rows


def _without_roles(text: str) -> str:
    """Write reStructuredText for readers of plain text: without the roles of names, and with single backquotes."""
    return re.sub(r":\w+:(?=`)", "", text).replace("``", "`")
