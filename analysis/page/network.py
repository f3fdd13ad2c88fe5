"""The network over time: where devices are, what is left in their batteries, how fast their links are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.page.figure import numbers
from analysis.plots.labels import SIDES, on_page, ways
from analysis.runs.run import Run
from analysis.runs.units import energy_unit, largest, time_unit
from analysis.tables import energy_account

MOST_LINKS = 1500
MOST_DEVICES = 1500
MOMENTS = 60

LABELLED = 40
"""With more devices their numbers are shown where the pointer is, and nowhere else."""

MAP_PT = 200.0
"""Width of the map on the page, about [points]."""


def network(run: Run) -> dict[str, Any] | None:
    """Return the map for the page's slider: numbers by moment, for nodes and for links.

    Of very many devices or links a part is drawn, evenly spread over their numbers, and ``says`` tells.
    """
    if run.devices.empty or run.spending.empty:
        return None
    end_s = float(run.spending["end_s"].max())
    moments = np.linspace(0.0, end_s, MOMENTS + 1)
    seconds, unit = time_unit(end_s)
    nodes, links, says = run.devices, run.links, []
    if len(nodes) > MOST_DEVICES:
        nodes = nodes.iloc[_spread(len(nodes), MOST_DEVICES)]
        says.append(f"{MOST_DEVICES:,} of {len(run.devices):,} devices are drawn.")
    shown = {*nodes["device"], *run.server["device"]}
    links = links[links["a"].isin(shown) & links["b"].isin(shown)]
    if len(links) > MOST_LINKS:
        says.append(f"{MOST_LINKS:,} of {len(run.links):,} links are drawn.")
        links = links.iloc[_spread(len(links), MOST_LINKS)]
    everyone = pd.concat([nodes, run.server], ignore_index=True)
    place = {int(device): at for at, device in enumerate(everyone["device"])}
    values, label, top = _values(run, nodes, moments)
    return {
        "moments": numbers(moments / seconds),
        "unit": unit,
        "device": everyone["device"].tolist(),
        "x": numbers(everyone["x_m"]),
        "y": numbers(everyone["y_m"]),
        "sides": [SIDES[way] for way in ways(on_page(nodes[["x_m", "y_m"]].to_numpy(dtype=float), MAP_PT))]
        if len(nodes) <= LABELLED
        else [],
        "positions": _positions(run, everyone, moments),
        "modalities": nodes["modalities"].fillna("").tolist(),
        "devices": len(nodes),
        "label": label,
        "top": top,
        "values": [numbers(row) for row in values],
        "dead": _dead(run, nodes, moments),
        "links": [[place[int(a)], place[int(b)]] for a, b in zip(links["a"], links["b"], strict=True)],
        "rates": _rates(run, links, moments),
        "says": " ".join(says),
    }


def _positions(run: Run, everyone: pd.DataFrame, moments: np.ndarray) -> list[dict[str, Any]] | None:
    """Return where everybody is at each moment; None where nobody moves."""
    if run.positions.empty:
        return None
    known = run.positions.sort_values("time_s")
    by_device = {int(str(device)): own for device, own in known.groupby("device")}
    found = {}
    for axis in ("x_m", "y_m"):
        columns = []
        for device, at_first in zip(everyone["device"], everyone[axis], strict=True):
            own = by_device.get(int(device))
            if own is None:
                columns.append(np.full(len(moments), at_first))
                continue
            places = np.concatenate([[at_first], own[axis].to_numpy(dtype=float)])
            columns.append(places[np.searchsorted(own["time_s"].to_numpy(), moments, side="right")])
        found[axis] = np.array(columns).T
    pairs = zip(found["x_m"], found["y_m"], strict=True)
    return [{"x": numbers(x), "y": numbers(y)} for x, y in pairs]


def _spread(count: int, most: int) -> np.ndarray:
    """Return ``most`` of the numbers below ``count``, evenly spread."""
    return np.unique(np.linspace(0, count - 1, most).astype(int))


def _values(run: Run, nodes: pd.DataFrame, moments: np.ndarray) -> tuple[np.ndarray, str, float]:
    """Return what colours the nodes at each moment [moments, nodes], what it is called, and its largest value."""
    account = energy_account(run).set_index("device").reindex(nodes["device"])
    finite = bool(np.isfinite(account["start_j"]).all())
    column = "battery_j" if finite else "total_j"
    spending = run.spending.assign(
        total_j=run.spending[["compute_j", "sending_j", "receiving_j", "idle_j"]].sum(axis=1)
    )
    by_device = dict(list(spending.groupby("device")))
    found = np.zeros((len(moments), len(nodes)))
    for at, device in enumerate(nodes["device"]):
        start = float(account["start_j"].loc[device]) if finite else 0.0
        own = by_device.get(device)
        if own is None:
            found[:, at] = start
            continue
        levels = own[column].to_numpy(dtype=float)
        levels = np.concatenate([[start], levels if finite else np.cumsum(levels)])
        found[:, at] = levels[np.searchsorted(own["end_s"].to_numpy(), moments, side="right")]
        if finite:
            found[:, at] *= 100 / (start or 1.0)
    if finite:
        return found, "Battery [%]", 100.0
    factor, unit = energy_unit(largest(found.ravel()))
    return found / factor, f"Energy spent [{unit}]", float(found.max() / factor) or 1.0


def _dead(run: Run, nodes: pd.DataFrame, moments: np.ndarray) -> list[list[int]]:
    """Return the places in ``nodes`` of the devices that are dead at each moment: dead, and not back since."""
    place = {int(device): at for at, device in enumerate(nodes["device"])}
    found: list[list[int]] = [[] for _ in moments]
    for device in run.dead:
        own = run.spending[run.spending["device"] == device]
        died = (own["outcome"] == "died").to_numpy()
        last = np.searchsorted(own["start_s"].to_numpy(), moments) - 1  # row that had begun before the moment
        for at in np.flatnonzero((moments >= own["end_s"][died].min()) & (last >= 0) & died[last]):
            if device in place:
                found[at].append(place[device])
    return found


def _rates(run: Run, links: pd.DataFrame, moments: np.ndarray) -> list[list[float | None]]:
    """Return the mean rate [Mbit/s] of each link over its transfers since the moment before; None without any."""
    sent = run.transfers[run.transfers["airtime_s"] > 0]
    if sent.empty:
        return []
    both = sent[["sender", "receiver"]].to_numpy()
    sent = sent.assign(a=both.min(axis=1), b=both.max(axis=1))
    sent = sent.merge(links[["a", "b"]].assign(link=range(len(links))), on=["a", "b"])
    frame = np.searchsorted(moments, sent["end_s"].to_numpy(), side="left")
    sums = sent.groupby([frame, "link"])[["sent_bits", "airtime_s"]].sum()
    rates = (sums["sent_bits"] / sums["airtime_s"] / 1e6).unstack("link")
    table = rates.reindex(index=range(len(moments)), columns=range(len(links)))
    return [numbers(row) for row in table.to_numpy(dtype=float)]
