"""What learning through a server is measured by: every client on its own, and one learner with all the data.

Both have the network, the data, the first weights and the rounds of the methods beside them. Nothing is sent: messages
have no bits, take no time and no energy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import networkx as nx
import numpy as np

from learners.federated import evaluation
from learners.federated.fedavg import JUDGEMENTS, LOSSES, FedAvg, reported
from learners.federated.local_update import Trained
from learners.federated.promises import Upload, Version
from learners.federated.samples import Client, Samples
from learners.training.state import State
from netsim.former.learning import Message, Workload
from netsim.learner import Metric, Setup
from netsim.work.job import TrainingJob
from netsim.world.budget import Budget


class Silent(FedAvg):
    """Base of the yardsticks: the server's rounds go on, and nothing is in their messages."""

    def download(self, round: int, devices: Sequence[int], together: bool = False) -> Sequence[Message]:
        """Word that a round begins."""
        return [_empty(message) for message in super().download(round, devices, together)]

    def messages(self, device: int, round: int, neighbours: Sequence[int]) -> Sequence[Message]:
        """Word that it is over here."""
        return [_empty(message) for message in super().messages(device, round, neighbours)]


def _empty(message: Message) -> Message:
    return message._replace(size_bits=0.0)


class IsolatedClients(Silent):
    """Each client trains a model of its own, whenever it is chosen: the lower reference.

    Whoever is cut off, or whose training diverges, keeps the model that it had.

    Accuracies are means over all clients, each judged with the modalities that it owns.
    """

    METRICS: ClassVar[Mapping[str, str]] = {
        **FedAvg.METRICS,
        "accuracy": "test accuracy, mean over the clients' own models; per modality over those that own it",
        "loss_test": "cross-entropy of the prediction on the test samples, mean over the clients' own models",
    }

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._own: dict[int, State] = {
            k: {part: self._initial[part] for part in self._architecture.parts(client.modalities)}
            for k, client in self._clients.items()
        }

    def workload(self, device: int, round: int, budget: Budget) -> Workload:
        """The clients' is that of the other methods; the server aggregates nothing."""
        return Workload() if device == self.server else super().workload(device, round, budget)

    def training_job(self, device: int, round: int, workload: Workload) -> TrainingJob | None:
        """Train on from where the client was."""
        if device in self._clients:
            self._uploads[device][round].version = Version(round - 1, self._own[device])
        return super().training_job(device, round, workload)

    def _aggregate(
        self, round: int, before: Version, uploads: Mapping[int, Upload]
    ) -> tuple[State, Mapping[str, float] | None, list[Metric]]:
        """Each client keeps what it made; not before the round ends, for the round's judgement is about that moment."""
        assert before.state is not None
        self._own |= {k: upload.result.state for k, upload in uploads.items()}
        return before.state, before.head_weights, []

    def evaluation_job(self, device: int, round: int) -> TrainingJob | None:
        """Judge every client's model."""
        job = super().evaluation_job(device, round)
        if job is None:
            return None
        shared = {key: value for key, value in job.inputs.items() if key not in ("architecture", "state")}
        models = [(self._restricted(self._clients[k].modalities), own) for k, own in self._own.items()]
        return TrainingJob(evaluation.evaluate_each, {"models": models, **shared}, job.kept)


class CentralizedServer(Silent):
    """The server trains on all clients' training samples with all their modalities: the upper reference.

    A round is as many epochs of all that data as a client does of its own. How the data came to the server is not
    charged; its training is, on its own processor. Clients only say that they are there.
    """

    METRICS: ClassVar[Mapping[str, str]] = {
        **{name: about.replace("a client's", "the server's") for name, about in LOSSES.items()},
        **JUDGEMENTS,
    }

    def training_memory_bytes(self, device: int) -> float:
        """Clients train nothing."""
        return 0.0

    def begin(self, graph: nx.Graph) -> None:
        """Pool the data."""
        super().begin(graph)
        rows = np.unique(np.concatenate([client.train for client in self._clients.values()]))
        self._pool = Client(self._architecture.modalities, rows, rows[:0], {})
        self._samples = Samples(self._samples.store, {self.server: self._pool})

    def workload(self, device: int, round: int, budget: Budget) -> Workload:
        """All of it is the server's."""
        if device != self.server:
            return Workload()
        return self._workload(self._pool, self._steps(self._pool, device, round))

    def training_job(self, device: int, round: int, workload: Workload) -> TrainingJob | None:
        """The server trains on from its model."""
        if device != self.server:
            return None
        return self._local_update(self._pool, device, round, self._version(round))

    def combine(self, device: int, round: int, arrived: Mapping[int, Upload]) -> Sequence[Metric]:
        """Nothing but its own model is there to go on from."""
        if device == self.server:
            self._version(round).state = self._version(round - 1).state
            self._version(round).head_weights = self._version(round - 1).head_weights
            self._forget(round, arrived)
        return ()

    def apply(self, device: int, round: int, result: Trained | None) -> Sequence[Metric]:
        """What the server made is its model, unless the training diverged."""
        if result is None:
            return ()
        self._stop_if_diverged(device, round, result)
        if result.finite:
            self._version(round).state = result.state
        return reported(result)
