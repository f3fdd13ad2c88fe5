"""Memories of replays, in the cache: who retimes a run again waits neither for PyTorch nor for the run's data."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from netsim.app.replayed import Replay
from netsim.core.files import write_whole
from netsim.core.modules import loaded_from
from netsim.records.checksums import CHECKSUMS, checksums_of, is_drawn
from netsim.records.metadata import code_digest, versions
from netsim.records.run_folder import plain
from netsim.replay.memory import Memory, about
from netsim.scenario.classes import class_by_device
from netsim.scenario.loading import Plan

MOST_QUESTIONS = 300_000
"""Of a run with more nothing is remembered: its file would be large, and its replay takes longer than what is saved."""

ASKED_A_ROUND = 2
"""Questions about each device that finishes a round, at least: what its training costs, and the training."""

OURS = "netsim", "learners"
"""Packages whose code the name of a memory follows from."""


def seal(folder: Path) -> str:
    """Return what a memory of the run in ``folder`` is found by; nothing if its files are not as they were written.

    It follows from them, and from the program.
    """
    try:
        lines = (folder / CHECKSUMS).read_text(encoding="utf-8").splitlines(keepends=True)
        sums = "".join(line for line in lines if not is_drawn(line.rstrip("\n")[66:]))
        if sums != checksums_of(folder):
            return ""
    except (OSError, ValueError):
        return ""
    return hashlib.sha256(repr([sums, code_digest(()), versions()]).encode()).hexdigest()


def recalled(cache: Path, sealed: str) -> Memory | None:
    """Return the memory of a run; None if there is none."""
    try:
        content = _file(cache, sealed).read_bytes()
        text = zlib.decompress(content[32:])
        if hashlib.sha256(text).digest() != content[:32]:
            return None
        return Memory(**json.loads(text))
    except (OSError, ValueError, TypeError, zlib.error):
        return None


def remember(cache: Path, sealed: str, replay: Replay, means: Mapping[str, float]) -> None:
    """Keep what the learner has said in ``replay``, if it is all that it says follows from.

    Code of a user's own may have changed until the next time, so nothing is kept that it has had a part in. A cache
    that cannot be written keeps nothing.
    """
    notes = replay.notes
    if notes is None or not (notes.whole and is_ours(replay.plan)) or len(notes.asked) > MOST_QUESTIONS:
        return
    known = {**about(replay.learner, means), "facts": plain(replay.learner.facts())}
    memory = Memory(known, notes.asked, replay.results.measurements, replay.course.ends, edges(replay))
    with suppress(OSError, TypeError):
        text = json.dumps(vars(memory), default=lambda number: number.item()).encode()
        file = _file(cache, sealed)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, hashlib.sha256(text).digest() + zlib.compress(text, 1))


def is_ours(plan: Plan) -> bool:
    """Return whether no code of a user's own has a part in a run of ``plan``."""
    parts = [part.cls for part in (*plan.parts.values(), *plan.device_parts.values())]
    return all(cls.__module__.partition(".")[0] in OURS for cls in parts) and not loaded_from(plan.own)


def same_learner(was: Plan, now: Plan, changed: Mapping[str, Any]) -> bool:
    """Return whether the learner is made of the same in both plans, and whether no more than its memory is needed."""
    classes = [class_by_device(plan.scenario.devices) for plan in (was, now)]
    return (
        classes[0] == classes[1]
        and was.scenario.stop is None
        and not any(key.startswith(("costs.", "devices.classes.")) for key in changed)
        and all(one.memory_bytes is None for one in now.scenario.devices.classes.values())
    )


def edges(replay: Replay) -> list[list[int]]:
    """Return who hears whom as the run begins."""
    return sorted(sorted(map(int, edge)) for edge in replay.network.first.graph.edges)


def _file(cache: Path, sealed: str) -> Path:
    return cache / "replays" / sealed[:32]
