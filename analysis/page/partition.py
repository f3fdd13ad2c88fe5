"""The partition on the page: samples of each device."""

from __future__ import annotations

import numpy as np

from analysis.page.figure import Figure, layout
from analysis.plots.style import CYCLE
from analysis.runs.run import Run

MOST = 300


def partition(run: Run) -> Figure | None:
    """Return the training samples of each device by class, or, if the records do not say, by modalities."""
    data = run.metadata.get("data") or {}
    counts, classes = data.get("by_class"), data.get("classes")
    if not counts or not classes:
        return _samples(run)
    devices = run.devices["device"].tolist()
    says = "Training samples of each device by class: darker is more."
    if len(devices) > MOST:
        keep = np.unique(np.linspace(0, len(devices) - 1, MOST).astype(int))
        devices, counts = [devices[at] for at in keep], [counts[at] for at in keep]
        says += f" {MOST} of {len(run.devices):,} devices."
    trace = {
        "type": "heatmap",
        "x": [str(device) for device in devices],
        "y": [str(name) for name in classes],
        "z": np.array(counts).T.tolist(),
        "colorscale": "Blues",
        "reversescale": True,
        "zmin": 0,
        "colorbar": {"title": {"text": "Samples"}},
        "hovertemplate": "device %{x}, %{y}: %{z} samples<extra></extra>",
    }
    axes = layout("Device", "", xaxis={"type": "category"}, yaxis={"type": "category"})
    return Figure("partition", "Partition", says, [trace], axes)


def _samples(run: Run) -> Figure | None:
    if "samples" not in run.devices or not run.devices["samples"].any() or len(run.devices) > MOST:
        return None
    traces = [
        {
            "type": "bar",
            "name": str(owned) or "no modality",
            "x": own["device"].astype(str).tolist(),
            "y": own["samples"].tolist(),
            "marker": {"color": CYCLE[place % len(CYCLE)]},
        }
        for place, (owned, own) in enumerate(run.devices.fillna({"modalities": ""}).groupby("modalities"))
    ]
    numbers = run.devices["device"].astype(str).tolist()
    order = {"type": "category", "categoryorder": "array", "categoryarray": numbers}
    look = layout("Device", "Training samples", xaxis=order)
    return Figure(
        "partition", "Partition", "Training samples of each device, by what it measures.", traces, look
    )
