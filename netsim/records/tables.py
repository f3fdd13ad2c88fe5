"""The rows that a run leaves behind: one frozen dataclass per table, every column with its meaning.

``docs/records.md`` is written from these descriptions, so they are the documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray


def column(text: str) -> Any:
    """A dataclass field that knows what it means."""
    return field(metadata={"about": text})


@dataclass(frozen=True)
class DeviceRow:
    """A device as the run began (table ``devices``, one row per device)."""

    device: int = column("number of the device, from 0")
    x_m: float = column("position [m]")
    y_m: float = column("position [m]")
    degree: int = column("number of links")
    modalities: str = column("modalities that it owns, joined by '+'")
    samples: int = column("training samples that it holds")
    frequency_hz: float = column("processor frequency f [Hz]")
    flops_per_cycle: float = column("FLOPs per cycle e")
    effective_capacitance_f: float = column("effective capacitance ε of the processor [F]")
    tx_power_w: float = column("transmit power p [W]")
    battery_j: float = column("battery at the start [J]; inf for mains power")


@dataclass(frozen=True)
class LinkRow:
    """A pair of devices that can hear each other (table ``links``)."""

    a: int = column("the device with the lower number")
    b: int = column("the device with the higher number")
    distance_m: float = column("distance [m]")
    path_loss_db: float = column("path loss without fading [dB]")


@dataclass(frozen=True)
class RoundRow:
    """What one device did in one round (table ``rounds``).

    Each device has its own rounds: one ends when the device has sent and received all that it waits for, or is cut
    off, or dies; the next begins in the same moment. The three busy times may overlap each other (a
    radio receives while it sends), so they need not add up to the round's length; idle is what none of them covers.
    Columns ``iterations_<modality>`` follow, one per modality of the data.
    """

    round: int = column("round t, from 1")
    device: int = column("number of the device")
    outcome: str = column("'finished', 'cut_off' (the deadline ended its own computing or sending) or 'died'")
    start_s: float = column("simulated time at which the round began on this device [s]")
    end_s: float = column("simulated time at which it ended [s]")
    compute_end_s: float = column("simulated time at which its computing ended [s]; NaN if it did not")
    compute_s: float = column("time spent computing [s]")
    sending_s: float = column("time in which at least one of its transfers was on the air [s]")
    receiving_s: float = column("time in which at least one transfer to it was on the air [s]")
    idle_s: float = column("time in which it neither computed, sent nor received [s]")
    compute_j: float = column("energy of computing [J]")
    sending_j: float = column("energy of sending, summed over its transfers [J]")
    receiving_j: float = column("energy of receiving [J]")
    idle_j: float = column("energy of idling [J]")
    battery_j: float = column("battery left at the end of the round [J]; inf for mains power")
    flops: float = column("FLOPs of the round's workload")
    slowdown: float = column("straggler factor: computing took so many times longer than C/(f e)")
    sent: int = column("messages that it sent and that were delivered")
    received: int = column("messages of this round that it combined")
    missed: int = column(
        "neighbours alive at the round's beginning whose message of this round it did not combine"
    )


@dataclass(frozen=True)
class TransferRow:
    """One transfer over one link (table ``transfers``)."""

    round: int = column("the sender's round")
    kind: str = column("'model', 'report' (to the cluster head) or 'decision' (from it)")
    sender: int = column("sending device")
    receiver: int = column("receiving device")
    size_bits: float = column("size of the message [bit]")
    sent_bits: float = column("bits that got through [bit]; equal to size_bits if delivered")
    start_s: float = column("simulated time of the start [s]")
    end_s: float = column("simulated time of the end [s]")
    airtime_s: float = column("time on the air [s]; less than end - start if it waited out an outage")
    energy_j: float = column("energy that the sender spent on it [J]")
    gain: float = column("amplitude gain g at the start")
    snr_db: float = column("signal-to-noise ratio p g²/(B N0) at the start [dB]")
    outcome: str = column("'delivered', 'outage', 'sender_died', 'receiver_died' or 'cut_off'")


@dataclass(frozen=True)
class TransferBatch:
    """Transfers of one sender that began together, by column.

    The columns are those of :class:`TransferRow`: one value where it is the same for all, arrays [transfers] otherwise
    (texts as a plain sequence, which Arrow takes faster than NumPy's).
    """

    round: int
    kind: str
    sender: int
    receiver: NDArray[np.int64]
    size_bits: NDArray[np.float64]
    sent_bits: NDArray[np.float64]
    start_s: float
    end_s: NDArray[np.float64]
    airtime_s: NDArray[np.float64]
    energy_j: NDArray[np.float64]
    gain: NDArray[np.float64]
    snr_db: NDArray[np.float64]
    outcome: Sequence[str]

    def __len__(self) -> int:
        return len(self.receiver)

    @classmethod
    def of(cls, row: TransferRow) -> TransferBatch:
        """A batch of one."""
        values = {
            name: [value] if name == "outcome" else np.array([value]) for name, value in vars(row).items()
        }
        return cls(**values | {name: getattr(row, name) for name in _COMMON})

    def rows(self) -> list[TransferRow]:
        """The same, row by row."""
        values: dict[str, Any] = dict(vars(self))
        for name, value in values.items():
            if name in _COMMON:
                values[name] = [value] * len(self)
            elif name != "outcome":
                values[name] = value.tolist()
        return [TransferRow(*row) for row in zip(*values.values(), strict=True)]


_COMMON = ("round", "kind", "sender", "start_s")
"""Columns that have one value in a batch."""


@dataclass(frozen=True)
class MetricRow:
    """One measured value (table ``metrics``), in long form: learners add names, never columns."""

    round: int = column("the device's round")
    device: int = column("number of the device; -1 for the network as a whole")
    time_s: float = column("simulated time of the measurement [s]")
    name: str = column("what was measured; the learner's page explains each name")
    modality: str = column("the modality that it is about; empty for all together")
    value: float = column("the value")


TABLES: dict[str, type] = {
    "devices": DeviceRow,
    "links": LinkRow,
    "rounds": RoundRow,
    "transfers": TransferRow,
    "metrics": MetricRow,
}


def columns(table: str) -> list[tuple[str, str]]:
    """Name and meaning of every column of ``table``."""
    return [(f.name, f.metadata["about"]) for f in fields(TABLES[table])]
