"""A run as a notebook shows it."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.runs.run import Run


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
