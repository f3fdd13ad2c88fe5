"""What is sent, and how what arrived is mixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from learners.training.mixing import Mixing
from learners.training.state import State


class Sent:
    """A device's model of a round: promised when its messages are sent, there when its job is done.

    Attributes:
        round: Round t.
        state: w_{k,t}; None until then.
    """

    def __init__(self, round: int) -> None:
        self.round = round
        self.state: State | None = None


class Parcel:
    """What one neighbour gets of it.

    Attributes:
        sent: The sender's model.
        parts: Names of the parts that travel.
    """

    def __init__(self, sent: Sent, parts: Sequence[str]) -> None:
        self.sent = sent
        self.parts = parts

    @property
    def state(self) -> State:
        """The parts that travelled."""
        assert self.sent.state is not None, "nothing arrives before its sender's job is done"
        return {part: self.sent.state[part] for part in self.parts}


@dataclass(frozen=True)
class Mixture:
    """Who mixes whose parts with which weights.

    Attributes:
        rows: ξ_{k,k'} by receiver k and sender k', senders in the order of device numbers.
        senders: All senders, in the order of device numbers.
        place: Of each sender, its place among them.
        mixing: The same as a matrix.
    """

    rows: Mapping[int, Mapping[int, float]]
    senders: Sequence[int]
    place: Mapping[int, int]
    mixing: Mixing

    @classmethod
    def of(cls, rows: Mapping[int, Mapping[int, float]]) -> Mixture:
        """The mixture with these weights."""
        senders = sorted({sender for row in rows.values() for sender in row})
        place = {sender: index for index, sender in enumerate(senders)}
        return cls(rows, senders, place, Mixing(list(rows.values()), place))
