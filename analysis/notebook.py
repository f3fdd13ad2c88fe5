"""A run as a notebook shows it."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path

from analysis.runs.run import Run
from analysis.runs.run import load_run as read_run


class NotebookRun(Run):
    """A run that a notebook shows with its curves."""

    def _repr_html_(self) -> str:
        """Return what was run, how it ended, and its curves of accuracy."""
        return as_html(self)


def load_run(folder: str | Path) -> NotebookRun:
    """Read a run folder, also that of a run that is not finished or was killed.

    Args:
        folder: ``runs/<scenario>/<run id>``.

    Raises:
        RunError: It is not a run folder, one of another version, or a file in it cannot be read.
    """
    return NotebookRun(**vars(read_run(folder)))


def as_html(run: Run) -> str:
    """Return a line about the run, one about its end, and its curves of accuracy if there are any, as HTML."""
    from analysis.plots.accuracy import accuracy_figure

    data = (run.metadata.get("data") or {}).get("name")
    what = [run.learner, *([str(data)] if data else []), f"{len(run.devices)} devices", f"seed {run.seed}"]
    ended = [run.progress]
    if run.summary:
        ended.append(f"{run.summary['simulated_h']:.3g} simulated hours")
        ended.append(f"{run.summary['energy_per_device_j']['mean']:.4g} J per device")
        accuracies = run.summary.get("accuracy") or {}
        ended += [f"{modality} {100 * one['final']:.1f} %" for modality, one in accuracies.items()]
    lines = [f"<b>{html.escape(run.name)}</b>: {html.escape(', '.join(what))}"]
    lines.append(html.escape(", ".join(ended)))
    lines.append(f"<code>{html.escape(str(run.folder))}</code>")
    figure = accuracy_figure(run)
    if figure is not None:
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=90)
        text = base64.b64encode(image.getvalue()).decode()
        lines.append(f'<img alt="accuracy over rounds, hours and joules" src="data:image/png;base64,{text}">')
    return "<br>".join(lines)
