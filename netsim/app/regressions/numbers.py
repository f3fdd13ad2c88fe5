"""Numbers of a run that are stored, and how they are compared."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from netsim.core.errors import ScenarioError
from netsim.scenario.regressions import Tolerance


def numbers_of(summary: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the numbers of a run's summary that a change of physics or learning moves; None where one is infinite."""
    energy, lengths = summary["energy_per_device_j"], summary.get("round_s") or {}
    found: dict[str, Any] = {"simulated_s": summary["simulated_s"]}
    found |= {f"energy_{key}_j": value for key, value in energy.items() if isinstance(value, float | int)}
    found |= {"sent_bits": summary.get("sent_bits"), "round_q90_s": lengths.get("q90")}
    found |= {"airtime_median_s": (summary.get("airtime_s") or {}).get("median")}
    found |= {"transfers": sum(summary.get("transfers", {}).values())}
    found |= {"dead_devices": len(summary.get("dead_devices", ()))}
    found |= {f"accuracy_{kind}": value["final"] for kind, value in (summary.get("accuracy") or {}).items()}
    return {
        name: None if value is None or not math.isfinite(value) else float(value)
        for name, value in found.items()
    }


class Gap(NamedTuple):
    """A number that is not what was stored.

    Attributes:
        name: Its name.
        stored: What was stored; None for nothing.
        found: What the run gave; None for nothing.
        allowed: How far it may be off.
    """

    name: str
    stored: float | None
    found: float | None
    allowed: float


def gaps(
    stored: Mapping[str, float | None],
    found: Mapping[str, float | None],
    tolerances: Mapping[str, Tolerance],
) -> list[Gap]:
    """Return the numbers that are off by more than ``tolerances`` allow; of patterns that fit, the last one counts."""
    wrong = []
    for name in dict.fromkeys([*stored, *found]):
        fitting = [tolerance for pattern, tolerance in tolerances.items() if fnmatchcase(name, pattern)]
        tolerance = fitting[-1] if fitting else Tolerance()
        before, after = stored.get(name), found.get(name)
        allowed = max(tolerance.absolute, tolerance.relative * abs(before or 0.0))
        known = before is not None and after is not None
        if (known and abs(after - before) > allowed) or (not known and before != after):  # type: ignore[operator]
            wrong.append(Gap(name, before, after, allowed))
    return wrong


def table(wrong: list[Gap]) -> str:
    """Return gaps as lines with aligned columns."""
    rows: list[tuple[str, ...]] = [("number", "stored", "found", "difference", "allowed")]
    for gap in wrong:
        off = "" if gap.stored is None or gap.found is None else f"{gap.found - gap.stored:+.4g}"
        shown = ["–" if value is None else f"{value:.12g}" for value in (gap.stored, gap.found)]
        rows.append((gap.name, *shown, off, f"{gap.allowed:.3g}"))
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def read_stored(file: Path) -> dict[str, float | None]:
    """Return stored numbers by name.

    Raises:
        ScenarioError: There are none, or the file is not such.
    """
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ScenarioError(
            f"{file}: nothing is stored; pytest --netsim-regen stores what the run gives"
        ) from None
    except (OSError, ValueError) as error:
        raise ScenarioError(f"{file}: cannot be read as JSON: {error}") from None
    if not isinstance(stored, dict) or not all(isinstance(v, float | int | None) for v in stored.values()):
        raise ScenarioError(f"{file}: must hold numbers by name; pytest --netsim-regen stores new ones")
    return stored


def store(file: Path, found: Mapping[str, float | None]) -> None:
    """Write numbers by name, a line each."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
