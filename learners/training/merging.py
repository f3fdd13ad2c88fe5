"""The cloud's average of edge servers' models (Liu et al. 2020, Algorithm 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from learners.networks.state import Part, Row, State, gather
from learners.training.mixing import Mixing

if TYPE_CHECKING:
    from netsim.work.job import Inputs


def merged(inputs: Sequence[Inputs]) -> list[dict[str, Part]]:
    """Return the means of edge servers' models, part by part; a part that no device has trained stays as it is.

    A model counts by the samples of those devices that its edge server has heard and that hold the part. So with one
    round between two averages they give the mean over all devices. Running statistics are averaged like weights, and
    integer counters are the cloud's own.

    Args:
        inputs: Of each cloud: its ``own`` model; what ``arrived``, models by edge server; and ``amounts`` of samples by
            edge server and part.
    """
    return [_merged(**one) for one in inputs]


def _merged(own: State, arrived: dict[int, State], amounts: dict[int, dict[str, float]]) -> dict[str, Part]:
    parts: dict[str, Part] = {}
    for name, part in own.items():
        of_part = {e: amounts[e][name] for e in arrived if amounts[e].get(name)}
        if not of_part or not part.layout.size:
            parts[name] = part
            continue
        total = sum(of_part.values())
        mixing = Mixing(
            [{e: amount / total for e, amount in of_part.items()}], {e: i for i, e in enumerate(of_part)}
        )
        mean = mixing(gather([arrived[e][name].row for e in of_part]))
        mean[:, part.layout.sent :] = part.row.tensor[part.layout.sent :]
        parts[name] = Part(Row(mean, 0), part.layout)
    return parts


def amounts_by_part(
    devices: Mapping[int, Sequence[int]], samples: Mapping[int, float], parts: Mapping[int, Sequence[str]]
) -> dict[int, dict[str, float]]:
    """Return by edge server and part how many ``samples`` those of its ``devices`` have that hold the part.

    Args:
        devices: Devices by edge server.
        samples: By device.
        parts: Names of the parts that a device holds, by device.
    """
    names = sorted({name for own in parts.values() for name in own})
    return {
        e: {name: sum(samples[k] for k in own if name in parts[k]) for name in names}
        for e, own in devices.items()
    }
