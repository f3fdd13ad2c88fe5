"""Events of a run: rows, one named tuple per table of the records, and observers that receive them.

Each column has a type and a description, from which ``docs/records.md`` is written. Observers do not change a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_type_hints

import numpy as np
from numpy.typing import NDArray


class DeviceRow(NamedTuple):
    """A device, or the edge server, as the run began (table ``devices``, one row for each)."""

    device: Annotated[
        int, "number of the device, from 0; servers' are those after the last, and then the cloud's"
    ]
    role: Annotated[str, "'device', 'server' or 'cloud'"]
    device_class: Annotated[str, "its class in the scenario, 'devices.classes'; empty where it has none"]
    x_m: Annotated[float, "position [m]"]
    y_m: Annotated[float, "position [m]"]
    degree: Annotated[int, "number of links"]
    modalities: Annotated[str, "modalities that it owns, joined by '+'"]
    samples: Annotated[int, "training samples that it holds"]
    frequency_hz: Annotated[float, "processor frequency f [Hz]"]
    flops_per_cycle: Annotated[float, "FLOPs per cycle e"]
    effective_capacitance_f: Annotated[float, "effective capacitance ε of the processor [F]"]
    tx_power_w: Annotated[float, "transmit power p [W]"]
    battery_j: Annotated[float, "battery at the start [J]; inf for unlimited power"]


class LinkRow(NamedTuple):
    """A pair of devices that can send to each other (table ``links``)."""

    a: Annotated[int, "the device with the lower number"]
    b: Annotated[int, "the device with the higher number"]
    distance_m: Annotated[float, "distance [m]"]
    path_loss_db: Annotated[float, "path loss without fading [dB]"]


class PositionRow(NamedTuple):
    """The place of a device as a round ends (table ``positions``; only runs whose devices move)."""

    round: Annotated[int, "the round"]
    time_s: Annotated[float, "simulated time at which the last device ended it [s]"]
    device: Annotated[int, "number of the device"]
    x_m: Annotated[float, "position [m]"]
    y_m: Annotated[float, "position [m]"]


class RoundRow(NamedTuple):
    """Time, energy and messages of one device in one round (table ``rounds``).

    Each device has its own rounds. A round ends when the device has sent and received all that it waits for, or is cut
    off, or dies; with a deadline and a shared schedule it lasts until the deadline. The next begins in the same moment.
    The three busy times may overlap each other (a radio receives while it sends), so they need not add up to the
    round's length. The idle time is the time outside all three.
    Columns ``iterations_<modality>`` follow, one per modality of the data.
    """

    round: Annotated[int, "round t, from 1"]
    device: Annotated[int, "number of the device"]
    outcome: Annotated[
        str,
        "'finished', 'cut_off' (a deadline, or a server that had enough, ended its own computing or sending), 'died' "
        "or 'away' (its battery ran empty, or it went, while the round lasted; it may be back by the round's end), "
        "'lost' (the server's message to it, or its own to the server, did not get through) or 'idle' (not chosen)",
    ]
    start_s: Annotated[float, "simulated time at which the round began on this device [s]"]
    end_s: Annotated[float, "simulated time at which it ended [s]"]
    compute_end_s: Annotated[float, "simulated time at which its computing ended [s]; NaN if it did not"]
    compute_s: Annotated[float, "time spent computing [s]"]
    sending_s: Annotated[float, "time in which at least one of its transfers was on the air [s]"]
    receiving_s: Annotated[float, "time in which at least one transfer to it was on the air [s]"]
    idle_s: Annotated[float, "time in which it neither computed, sent nor received [s]"]
    compute_j: Annotated[float, "energy of computing [J]"]
    sending_j: Annotated[float, "energy of sending, summed over its transfers [J]"]
    receiving_j: Annotated[float, "energy of receiving [J]"]
    idle_j: Annotated[float, "energy of idling [J]"]
    battery_j: Annotated[float, "battery left at the end of the round [J]; inf for unlimited power"]
    flops: Annotated[float, "FLOPs of the round's workload"]
    slowdown: Annotated[float, "straggler factor: computing took so many times longer than C/(f e)"]
    sent: Annotated[int, "messages of its own that were delivered while the round lasted"]
    received: Annotated[int, "messages that it combined"]
    missed: Annotated[
        int, "neighbours alive at the round's beginning whose message of this round it did not combine"
    ]
    late: Annotated[
        int,
        "messages of earlier rounds that arrived in this one: dropped, or with 'protocol.late: keep' combined if the "
        "sender had nothing newer",
    ] = 0

    @property
    def asked(self) -> bool:
        """Return whether the device was to take part, also if it died meanwhile; False if not chosen by the server."""
        if self.outcome in ("died", "away"):
            return any(map(np.any, (self.flops, self.received, self.missed)))
        return self.outcome != "idle"


class OutsideRow(NamedTuple):
    """Time and energy that a device, or the edge server, spent outside its rounds (table ``outside``).

    A device that has ended its last round idles until the run ends, and may still receive. A device of an asynchronous
    server waits to be chosen again. Where a run ends early (block ``stop``), what a device has done in a
    later round is here, too. Together with ``rounds`` and ``server`` these rows hold all energy until the end
    of the run: a device's battery at the start equals their sum plus the energy left.
    """

    device: Annotated[int, "number of the device; the server's is the one after the last"]
    round: Annotated[int, "its round before; 0 before its first"]
    outcome: Annotated[
        str,
        "'waited', 'died' (its battery ran empty meanwhile), 'dead' (it had run empty before, also if it was away as "
        "well), or 'away' (it was not there, or went meanwhile)",
    ]
    start_s: Annotated[float, "simulated time at which that round ended [s]"]
    end_s: Annotated[float, "simulated time at which its next round began, the run ended, or it died [s]"]
    compute_s: Annotated[float, "time spent computing [s]"]
    sending_s: Annotated[float, "time in which at least one of its transfers was on the air [s]"]
    receiving_s: Annotated[float, "time in which at least one transfer to it was on the air [s]"]
    idle_s: Annotated[float, "time in which it neither computed, sent nor received [s]"]
    compute_j: Annotated[float, "energy of computing [J]"]
    sending_j: Annotated[float, "energy of sending [J]"]
    receiving_j: Annotated[float, "energy of receiving [J]"]
    idle_j: Annotated[float, "energy of idling [J]"]
    battery_j: Annotated[float, "battery left at its end [J]; inf for unlimited power"]


class ChargeRow(NamedTuple):
    """Energy that a battery took in and lost (table ``charges``; only runs with a harvester or a lossy battery).

    There is one for each row of ``rounds`` and ``outside`` of such a device, with the same end; so after each,
    capacity - battery left = energy spent - harvested + wasted, all summed up.
    """

    device: Annotated[int, "number of the device"]
    round: Annotated[int, "the round of that row"]
    start_s: Annotated[float, "simulated time of its beginning [s]"]
    end_s: Annotated[float, "simulated time of its end [s]"]
    harvested_j: Annotated[float, "energy harvested [J]"]
    wasted_j: Annotated[
        float, "energy harvested that found the battery full, or lost in the battery itself [J]"
    ]


class ServerRow(NamedTuple):
    """A round of the edge server (table ``server``; only runs that have one)."""

    round: Annotated[int, "round t, from 1"]
    outcome: Annotated[str, "'aggregated', or 'empty' (nothing arrived; the model is what it was)"]
    start_s: Annotated[float, "simulated time at which it began [s]"]
    end_s: Annotated[float, "simulated time at which it ended, aggregation included [s]"]
    chosen: Annotated[int, "devices that were chosen"]
    arrived: Annotated[int, "uploads that were aggregated"]
    compute_s: Annotated[float, "time spent computing [s]"]
    sending_s: Annotated[float, "time in which the downlink was on the air [s]"]
    receiving_s: Annotated[float, "time in which at least one upload was on the air [s]"]
    idle_s: Annotated[float, "time in which it neither computed, sent nor received [s]"]
    compute_j: Annotated[float, "energy of computing [J]"]
    sending_j: Annotated[float, "energy of sending [J]"]
    receiving_j: Annotated[float, "energy of receiving [J]"]
    idle_j: Annotated[float, "energy of idling [J]"]
    flops: Annotated[float, "FLOPs of the server's own workload"]


class EdgeRow(NamedTuple):
    """A round of an edge server below a cloud, or an average of the cloud (table ``edges``; only runs that have one).

    The cloud's row lasts from its last average to the moment at which the edge servers have the new one.
    """

    round: Annotated[
        int, "round t of the edge server, from 1; of the cloud the round after which it averages"
    ]
    server: Annotated[int, "number of the edge server; the cloud's is the last"]
    outcome: Annotated[str, "'aggregated', or 'empty' (nothing arrived; the model is what it was)"]
    start_s: Annotated[float, "simulated time at which it began [s]"]
    end_s: Annotated[float, "simulated time at which it ended, aggregation included [s]"]
    attached: Annotated[int, "living devices that belonged to the edge server; of the cloud all edge servers"]
    handovers: Annotated[int, "of these devices, those that belonged to another edge server before"]
    chosen: Annotated[int, "devices that were chosen"]
    arrived: Annotated[int, "uploads that were aggregated, or models that were averaged"]
    compute_s: Annotated[float, "time spent computing [s]"]
    sending_s: Annotated[float, "time in which it was sending [s]"]
    receiving_s: Annotated[float, "time in which at least one upload was on the air [s]"]
    idle_s: Annotated[float, "time in which it neither computed, sent nor received over the air [s]"]
    compute_j: Annotated[float, "energy of computing [J]"]
    sending_j: Annotated[float, "energy of sending [J]"]
    receiving_j: Annotated[float, "energy of receiving [J]"]
    idle_j: Annotated[float, "energy of idling [J]"]
    flops: Annotated[float, "FLOPs of its own workload"]


class TransferRow(NamedTuple):
    """One transfer over one link (table ``transfers``)."""

    round: Annotated[int, "the sender's round"]
    kind: Annotated[
        str,
        "'model', 'report' (to the cluster head), 'decision' (from it), 'download' (from the edge server), "
        "'upload' (to it), 'acknowledgement' (of a model or an upload) or 'backhaul' (between edge server and cloud)",
    ]
    sender: Annotated[int, "sending device"]
    receiver: Annotated[int, "receiving device"]
    size_bits: Annotated[float, "size of the message [bit]"]
    sent_bits: Annotated[float, "bits that got through [bit]; equal to size_bits if delivered"]
    start_s: Annotated[float, "simulated time of the start [s]"]
    end_s: Annotated[float, "simulated time of the end [s]"]
    airtime_s: Annotated[float, "time on the air [s]; less than end - start if it waited out an outage"]
    energy_j: Annotated[float, "energy that the sender spent on it [J]"]
    gain: Annotated[float, "amplitude gain g at the start"]
    snr_db: Annotated[float, "signal-to-noise ratio p g²/(B N0) at the start [dB]"]
    outcome: Annotated[
        str,
        "'delivered', 'lost' (a block of it), 'outage', 'sender_died', 'receiver_died' (it died or left) or 'cut_off'",
    ]
    lost_bits: Annotated[
        float,
        "bits on the air that brought the receiver nothing: of lost blocks, of repetitions for others, of a block cut "
        "short [bit]; sent_bits and these are what was on the air; only where radio.rate loses blocks",
    ] = 0.0


SINGLE = (str, int, float, np.generic)
"""Types of a value that is the same for all rows of a batch."""


def each(column: Any, count: int) -> Sequence[Any]:
    """Return the ``count`` values of a column of a batch: one value for all, an array, or a sequence of texts."""
    if isinstance(column, np.ndarray):
        return list(column.tolist())
    return [column] * count if isinstance(column, SINGLE) else list(column)


@dataclass(eq=False)
class RowBatch:
    """Rows of a table that are recorded together, stored by column.

    Attributes:
        columns: A row that has an array [rows] in place of each value that is not the same for all.
        count: Number of rows.
    """

    columns: Any
    count: int = 1

    def rows(self) -> Iterator[Any]:
        """Return the rows, one after the other."""
        values = [each(column, self.count) for column in self.columns]
        return map(type(self.columns)._make, zip(*values, strict=True))


@dataclass(eq=False)
class RoundBatch(RowBatch):
    """Rounds that are recorded together; they have one outcome, and all or none of the devices were asked.

    Attributes:
        iterations: Iterations by modality: one number that is the same for all, or an array [rows].
    """

    iterations: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Sequence[RoundRow], iterations: Sequence[Mapping[str, int]]) -> Iterator[RoundBatch]:
        """Yield batches of ``rows``, in their order, and of the ``iterations`` of each."""
        both = zip(rows, iterations, strict=True)
        for _, group in groupby(both, key=lambda one: (one[0].outcome, one[0].asked, *one[1])):
            alike, counts = zip(*group, strict=True)
            if len(alike) == 1:
                yield cls(alike[0], 1, counts[0])
                continue
            columns: list[Any] = [np.array(column) for column in zip(*alike, strict=True)]
            row = RoundRow(*columns)._replace(outcome=alike[0].outcome)
            yield cls(row, len(alike), {m: np.array([own[m] for own in counts]) for m in counts[0]})

    def iterations_of_each(self) -> Iterator[dict[str, int]]:
        """Return the iterations of each round by modality."""
        columns = [each(column, self.count) for column in self.iterations.values()]
        for own in zip(*columns, strict=True) if columns else [()] * self.count:
            yield dict(zip(self.iterations, own, strict=True))

    def at(self, places: slice | NDArray[np.int64]) -> RoundBatch:
        """Return the rounds at some places of a batch whose rounds have different times."""
        row, by_modality = self.columns, self.iterations
        columns: list[Any] = [column[places] if isinstance(column, np.ndarray) else column for column in row]
        iterations = {name: column[places] for name, column in by_modality.items()}
        return RoundBatch(RoundRow(*columns), len(row.end_s[places]), iterations)

    def followed_by(self, other: RoundBatch) -> RoundBatch:
        """Return these rounds and then those of ``other``, which has one value for all where this batch has."""
        columns: list[Any] = [
            np.concatenate(two) if isinstance(two[0], np.ndarray) else two[0]
            for two in zip(self.columns, other.columns, strict=True)
        ]
        iterations = {
            name: np.concatenate([self._iterations(name), other._iterations(name)])
            for name in {**self.iterations, **other.iterations}
        }
        return RoundBatch(RoundRow(*columns), self.count + other.count, iterations)

    def _iterations(self, modality: str) -> Any:
        return self.iterations.get(modality, np.zeros(self.count, dtype=np.int64))


@dataclass(eq=False)
class TransferBatch:
    """Transfers that are recorded together, stored by column.

    The columns are those of :class:`TransferRow`: one value where it is the same for all, arrays [transfers] otherwise
    (texts as a plain sequence, which Arrow takes faster than NumPy's).
    """

    round: int | NDArray[np.int64]
    kind: str
    sender: int | NDArray[np.int64]
    receiver: NDArray[np.int64]
    size_bits: float | NDArray[np.float64]
    sent_bits: float | NDArray[np.float64]
    start_s: float | NDArray[np.float64]
    end_s: NDArray[np.float64]
    airtime_s: NDArray[np.float64]
    energy_j: NDArray[np.float64]
    gain: NDArray[np.float64]
    snr_db: NDArray[np.float64]
    outcome: str | Sequence[str]
    lost_bits: float | NDArray[np.float64] = 0.0

    def __len__(self) -> int:
        return len(self.receiver)

    @classmethod
    def of(cls, row: TransferRow) -> TransferBatch:
        """Return a batch of one transfer."""
        single = {name: np.array([getattr(row, name)]) for name in _ARRAYS}
        return cls(**row._asdict() | single)

    def each(self, column: str) -> Sequence[Any]:
        """Return the values of ``column``, one for each transfer."""
        return each(getattr(self, column), len(self))

    def of_rounds(self, every: int) -> TransferBatch | None:
        """Return the transfers of every so-many-th round; None if there are none."""
        if every == 1:
            return self
        if not isinstance(self.round, np.ndarray):
            return None if self.round % every else self
        places = np.flatnonzero(self.round % every == 0)
        if len(places) in (0, len(self)):
            return self if len(places) else None
        kept = {name: getattr(self, name) for name in TransferRow._fields}
        for name, value in kept.items():
            if isinstance(value, np.ndarray):
                kept[name] = value[places]
            elif not isinstance(value, SINGLE):
                kept[name] = [value[place] for place in places.tolist()]
        return TransferBatch(**kept)

    def rows(self) -> list[TransferRow]:
        """Return the transfers, row by row."""
        return [TransferRow(*row) for row in zip(*map(self.each, TransferRow._fields), strict=True)]


def joined(pieces: Sequence[Any], lengths: Sequence[int]) -> NDArray[Any]:
    """Return one column of several batches as an array, from ``pieces``: numbers, or arrays of numbers."""
    if set(map(type, pieces)) == {np.ndarray}:
        return np.concatenate(pieces)
    values, times = runs(pieces, lengths)
    return np.repeat(np.array(values), np.array(times, dtype=np.int64))


def runs(pieces: Sequence[Any], lengths: Sequence[int]) -> tuple[Sequence[Any], Sequence[int]]:
    """Return the values of a column of several batches, and the number of times that each is repeated."""
    if set(map(type, pieces)) <= {*SINGLE}:
        return pieces, lengths
    values: list[Any] = []
    times: list[int] = []
    for piece, length in zip(pieces, lengths, strict=True):
        if isinstance(piece, SINGLE):
            values.append(piece)
            times.append(length)
        else:
            values.extend(piece)  # not +=, which adds numbers to an array
            times.extend([1] * length)
    return values, times


_ARRAYS = ("receiver", "end_s", "airtime_s", "energy_j", "gain", "snr_db")
"""Columns of a batch that are always arrays."""


class MetricRow(NamedTuple):
    """One measured value (table ``metrics``) in long form: learners add names, not columns."""

    round: Annotated[int, "the device's round"]
    device: Annotated[int, "number of the device; -1 for the network as a whole"]
    time_s: Annotated[float, "simulated time of the measurement [s]"]
    name: Annotated[str, "what was measured; the learner's page explains each name"]
    modality: Annotated[
        str, "the modality that it is about, or the class or the device; empty for all together"
    ]
    value: Annotated[float, "the value"]


class AnswerRow(NamedTuple):
    """A learnt value that the clock waited for (table ``answers``; only runs whose learner asks ``work.value``)."""

    round: Annotated[int, "round of the task that computed it"]
    value: Annotated[
        str, "the value as JSON; empty if it is not made of numbers and texts alone, or very long"
    ]


TABLES: dict[str, type] = {
    "devices": DeviceRow,
    "links": LinkRow,
    "positions": PositionRow,
    "rounds": RoundRow,
    "outside": OutsideRow,
    "charges": ChargeRow,
    "server": ServerRow,
    "edges": EdgeRow,
    "transfers": TransferRow,
    "metrics": MetricRow,
    "answers": AnswerRow,
}


class Column(NamedTuple):
    """A column of a table: its name, the type of its values, and its description."""

    name: str
    type: type
    about: str


def columns(table: str) -> list[Column]:
    """Return every column of ``table``, in order."""
    hints = get_type_hints(TABLES[table], include_extras=True)
    return [Column(name, hint.__origin__, hint.__metadata__[0]) for name, hint in hints.items()]


class Observer:
    """A receiver of events with hooks to override; a run with observers equals the run without them."""

    def on_transfers(self, batch: TransferBatch) -> None:
        """Receive transfers that have ended, with any outcome; ``batch.rows()`` lists them.

        Transfers that nothing could disturb come together when the last of them is over: those of a sender, those of a
        server's round, or of decentralized rounds what is over as the next begins. Any other comes alone when it ends.
        """

    def on_metrics(self, rows: Sequence[MetricRow]) -> None:
        """Receive the measurements of a round, in the order of simulated time."""

    def on_rounds(self, batch: RoundBatch) -> None:
        """Receive rounds that devices have ended: several where they are computed as arrays, otherwise one."""
        if type(self).on_round_end is not Observer.on_round_end:
            for row, iterations in zip(batch.rows(), batch.iterations_of_each(), strict=True):
                self.on_round_end(row, iterations)

    def on_answers(self, rows: Sequence[AnswerRow]) -> None:
        """Receive the learnt values that the clock has waited for."""

    def on_round_end(self, row: RoundRow, iterations: Mapping[str, int]) -> None:
        """Receive the record of a round that one device has ended."""

    def on_server_round(self, row: ServerRow) -> None:
        """Receive the record of a round that the edge server has ended."""

    def on_edge_round(self, row: EdgeRow) -> None:
        """Receive the record of a round of one of several edge servers, or of an average of the cloud above them."""

    def on_outsides(self, batch: RowBatch) -> None:
        """Receive rows of table ``outside``: several where rounds are computed as arrays, otherwise one."""
        if type(self).on_outside is not Observer.on_outside:
            for row in batch.rows():
                self.on_outside(row)

    def on_outside(self, row: OutsideRow) -> None:
        """Receive the record of time and energy that a device or the server spent outside its rounds."""

    def on_positions(self, batch: RowBatch) -> None:
        """Receive where all devices are as a round ends, if they move."""

    def on_charge(self, row: ChargeRow) -> None:
        """Receive the record of what a battery took in and lost."""

    def on_death(self, device: int, time_s: float) -> None:
        """Receive the time at which a device's battery became empty [s]."""

    def on_revival(self, device: int, time_s: float) -> None:
        """Receive the time at which the battery of a device that had died was charged enough [s]."""

    def on_round_closed(self, round: int, time_s: float) -> None:
        """Receive the end of ``round``: every living device has ended it and its evaluations are done."""

    def on_snapshot(self, file: Path | None, took_s: float, problem: str = "") -> None:
        """Receive the hidden file of a snapshot of what has been learnt so far, and how long it took to write [s].

        If there can be none from now on, there is no file, and ``problem`` says why.
        """


class Observers(Observer):
    """A group of observers that acts as one observer."""

    def __init__(self, *observers: Observer) -> None:
        self.observers = list(observers)

    def on_transfers(self, batch: TransferBatch) -> None:
        """Pass the transfers on to each observer."""
        for observer in self.observers:
            observer.on_transfers(batch)

    def on_metrics(self, rows: Sequence[MetricRow]) -> None:
        """Pass the measurements on to each observer."""
        for observer in self.observers:
            observer.on_metrics(rows)

    def on_rounds(self, batch: RoundBatch) -> None:
        """Pass the rounds on to each observer."""
        for observer in self.observers:
            observer.on_rounds(batch)

    def on_answers(self, rows: Sequence[AnswerRow]) -> None:
        """Pass the values on to each observer."""
        for observer in self.observers:
            observer.on_answers(rows)

    def on_round_end(self, row: RoundRow, iterations: Mapping[str, int]) -> None:
        """Pass the record on to each observer."""
        self.on_rounds(RoundBatch(row, 1, iterations))

    def on_server_round(self, row: ServerRow) -> None:
        """Pass the record on to each observer."""
        for observer in self.observers:
            observer.on_server_round(row)

    def on_edge_round(self, row: EdgeRow) -> None:
        """Pass the record on to each observer."""
        for observer in self.observers:
            observer.on_edge_round(row)

    def on_outsides(self, batch: RowBatch) -> None:
        """Pass the rows on to each observer."""
        for observer in self.observers:
            observer.on_outsides(batch)

    def on_outside(self, row: OutsideRow) -> None:
        """Pass the record on to each observer."""
        self.on_outsides(RowBatch(row))

    def on_positions(self, batch: RowBatch) -> None:
        """Pass the positions on to each observer."""
        for observer in self.observers:
            observer.on_positions(batch)

    def on_charge(self, row: ChargeRow) -> None:
        """Pass the record on to each observer."""
        for observer in self.observers:
            observer.on_charge(row)

    def on_death(self, device: int, time_s: float) -> None:
        """Pass the time on to each observer."""
        for observer in self.observers:
            observer.on_death(device, time_s)

    def on_revival(self, device: int, time_s: float) -> None:
        """Pass the time on to each observer."""
        for observer in self.observers:
            observer.on_revival(device, time_s)

    def on_round_closed(self, round: int, time_s: float) -> None:
        """Pass the end of the round on to each observer."""
        for observer in self.observers:
            observer.on_round_closed(round, time_s)

    def on_snapshot(self, file: Path | None, took_s: float, problem: str = "") -> None:
        """Pass the snapshot on to each observer."""
        for observer in self.observers:
            observer.on_snapshot(file, took_s, problem)
