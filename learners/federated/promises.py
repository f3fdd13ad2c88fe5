"""What travels between server and clients: promises, handed over before the work behind them is done."""

from __future__ import annotations

from collections.abc import Mapping

from learners.federated.aggregate import Update
from learners.federated.local_update import Trained
from learners.training.state import State


class Version:
    """The server's model after one of its rounds.

    Attributes:
        number: The round; 0 for the first model.
        state: All parts; None until ``combine`` of that round.
        head_weights: z, how much each head's loss counts in training, by modality and for the fused head.
    """

    def __init__(
        self, number: int, state: State | None = None, head_weights: Mapping[str, float] | None = None
    ) -> None:
        self.number = number
        self.state = state
        self.head_weights = head_weights


class Upload:
    """What a client made of a version.

    Attributes:
        device: The client.
        version: What it began with.
        trained: What it sends; None until ``apply``.
    """

    def __init__(self, device: int, version: Version) -> None:
        self.device = device
        self.version = version
        self.trained: Trained | None = None

    @property
    def result(self) -> Trained:
        """What it sends, which is there when it arrives."""
        assert self.trained is not None, "nothing arrives before its sender's job is done"
        return self.trained

    @property
    def update(self) -> Update:
        """The client's model before and after training."""
        assert self.version.state is not None, "nobody trains from a model that is not there"
        return Update(self.version.state, self.result.state)
