"""Every device on its own: the lower reference of learning together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from learners.dmml.dmml import DMML
from learners.dmml.options import FusionOptions
from netsim.core.options import Options
from netsim.former.learning import Inbox, Message
from netsim.learner import Metric


class Isolated(DMML):
    """Each device trains on its own data and sends nothing."""

    Options: ClassVar[type[Options]] = FusionOptions

    def messages(self, device: int, round: int, neighbours: Sequence[int]) -> Sequence[Message]:
        """Nothing is sent."""
        return ()

    def combine_all(self, inboxes: Sequence[Inbox]) -> Sequence[Sequence[Metric]]:
        """What was trained is the model, bit for bit."""
        return super().combine_all([Inbox(inbox.device, inbox.round, {}) for inbox in inboxes])
