"""Writing of the page."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from plotly.offline import get_plotlyjs

from analysis.page import course, curves, spending
from analysis.page.compared import comparison
from analysis.page.figure import Figure
from analysis.page.network import network
from analysis.page.partition import partition
from analysis.page.text import facts, headline, tables
from analysis.runs.checksums import add_checksums
from analysis.runs.run import Run
from analysis.runs.whole import write_whole

FIGURES: tuple[Callable[[Run], Figure | None], ...] = (
    curves.accuracy,
    spending.by_device,
    spending.over_time,
    course.course,
    course.stragglers,
    spending.latency,
    partition,
    curves.metrics,
)


def write_page(runs: Sequence[Run], path: Path) -> Path:
    """Write one HTML file about ``runs``, with all that it needs inside, and return its path.

    Args:
        runs: One run, or several, which are compared on top of the page.
        path: The file.

    Raises:
        OSError: It cannot be written; what was there stays.
    """
    parts = [_part(run, f"run{place}") for place, run in enumerate(runs)]
    compared = comparison(runs) if len(runs) > 1 else None
    data: dict[str, dict[str, Any]] = {"figures": {}, "networks": {}}
    for part in parts:
        data["figures"] |= {f"{part['id']}-{one.name}": _as_dict(one) for one in part["figures"]}
        if part["network"]:
            data["networks"][f"{part['id']}-network"] = part["network"]
    if compared:
        data["figures"] |= {one.name: _as_dict(one) for one in compared.figures}
    loader = jinja2.PackageLoader("analysis.page", "template")
    template = jinja2.Environment(loader=loader, autoescape=True).get_template("page.html")
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} runs"
    text = template.render(
        title=title,
        parts=parts,
        compared=compared,
        style=_file("page.css"),
        script=_file("page.js"),
        plotly=get_plotlyjs(),
        data=_as_json(data),
    )
    write_whole(path, text.encode())
    for run in runs:
        add_checksums(run.folder, [path])
    return path


def _part(run: Run, name: str) -> dict[str, Any]:
    return {
        "id": name,
        "run": run,
        "headline": headline(run),
        "facts": facts(run),
        "figures": [figure for figure in (draw(run) for draw in FIGURES) if figure is not None],
        "network": network(run),
        "tables": tables(run),
    }


def _as_dict(figure: Figure) -> dict[str, Any]:
    return figure._asdict() | {"choices": dict(figure.choices), "panels": dict(figure.panels)}


def _file(name: str) -> str:
    return (files("analysis.page") / "template" / name).read_text(encoding="utf-8")


def _as_json(data: Any) -> str:
    """Return data as JSON that stands inside a script element whatever texts it holds."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
