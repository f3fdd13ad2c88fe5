"""FedMD (Li and Wang 2019): parties with different networks agree on scores of public samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import networkx as nx
import torch
from torch import Tensor

from learners.distillation.evaluation import Judgement
from learners.distillation.fedmd_update import Consensus, Epochs, FedMDPlan, Trained, update
from learners.distillation.fleet import Fleet, OfAFleet
from learners.distillation.options import FedMDOptions
from learners.distillation.public import PublicSet, load_public
from learners.dmml.batches import batch_sizes, iterations_per_epoch
from learners.training.costs import BITS_PER_NUMBER
from learners.training.optimizers import Memories, Rule
from netsim.core.errors import ScenarioError
from netsim.core.options import Options
from netsim.core.streams import derive_seed, stream
from netsim.former.learning import Message, ServerLearner, Workload
from netsim.learner import Metric, Setup
from netsim.work.job import TrainingJob
from netsim.work.torch_device import require_memory
from netsim.world.budget import Budget


class Agreement:
    """What the server has after a round: promised when it is sent, there when the round is combined.

    Attributes:
        consensus: What the parties agreed on last; None until there is something.
    """

    def __init__(self) -> None:
        self.consensus: Consensus | None = None


class Scores:
    """What a party sends: scores, and nothing of its model.

    Attributes:
        scores: Logits [samples, C]; None until its job is done.
    """

    def __init__(self) -> None:
        self.scores: Tensor | None = None


def mean_scores(scores: Sequence[Tensor]) -> Tensor:
    """f̃ = (1/m) Σ_k f_k of logits [samples, C], in the order given."""
    return torch.stack(list(scores)).mean(0)


class FedMD(OfAFleet, ServerLearner):
    """Parties learn public labels, then their own; each round they digest the mean of all parties' public scores.

    A round of the server is: download of the consensus of the round before; digest; a few epochs on own labels
    (revisit); scores of this round's public samples, up to the server; their mean. No parameter ever travels.
    """

    Options: ClassVar[type[Options]] = FedMDOptions
    METRICS: ClassVar[Mapping[str, str]] = {
        "loss_public": "cross-entropy on public labels, first round, mean over its steps",
        "loss_digest": "mean absolute error to the consensus, mean over the round's steps",
        "loss_task": "cross-entropy on the party's own labels, mean over the round's steps",
        "accuracy": "test accuracy, mean over the parties' models as they were when the server last heard of them",
        "loss_test": "cross-entropy on the test samples, mean over the parties' models",
        "accuracy_local": "test accuracy of one party's own model after its local training",
    }
    looks_ahead: ClassVar[bool] = True
    in_rounds_only: ClassVar[bool] = True
    judges_devices: ClassVar[bool] = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        options = self._options
        self._fleet = Fleet(setup, options.networks, options.modalities)
        assert self._fleet.task is not None
        self._public = load_public(options.public, self._fleet.task, self._fleet.modality, setup)
        own, public = len(self._fleet.classes), len(self._public.classes)
        self._label_space = self._find_label_space()
        heads = {"union": (own + public,), "shared": (own,), "private": (own, public)}[self._label_space]
        self._fleet.build(heads)
        self._scored = heads[0]
        self._aligned = min(options.alignment_samples, len(self._public.rows))
        self._states = {k: self._fleet.initial(k) for k in self._fleet.samples}
        self._heard = dict(self._states)
        self._memories: dict[int, tuple[Memories, Memories]] = {}
        self._begun: dict[int, int] = {}
        self._agreements = {0: Agreement()}
        self._received: dict[int, dict[int, Agreement]] = {}
        self._sent: dict[tuple[int, int], Scores] = {}
        self._asked: dict[int, int] = {}

    @property
    def _options(self) -> FedMDOptions:
        options = self.setup.options
        assert isinstance(options, FedMDOptions)
        return options

    def _find_label_space(self) -> str:
        """What the heads know; samples set aside have the private classes already.

        Raises:
            ScenarioError: Classes shall be shared that are not the same.
        """
        asked, own, public = self._options.label_space, self._fleet.classes, self._public.classes
        if self._options.public is None:
            return "shared"
        if asked == "shared" and own != public:
            raise ScenarioError(
                f"learner.label_space: shared needs public samples of the private classes, but {self._public.name} has "
                f"{_listed(public)}, and the devices have {_listed(own)}; use union (one head for both) or private "
                "(a head for the public ones, used in the first round only)"
            )
        return asked

    # The hooks.

    def training_memory_bytes(self, device: int) -> float:
        """Training with Adam on the largest of its batches."""
        if device not in self._fleet.samples:
            return 0.0
        options = self._options
        return self._fleet.memory_bytes(
            device, 2, max(options.batch_size, options.public_batch_size, options.digest_batch_size)
        )

    def facts(self) -> Mapping[str, Any]:
        """Data, networks, public samples and costs, for the run's metadata."""
        return {
            **self._fleet.facts(),
            "public": self._public.facts,
            "label_space": self._label_space,
            "score_bits": self._bits,
        }

    def begin(self, graph: nx.Graph) -> None:
        """Put the data in place."""
        super().begin(graph)
        require_memory(
            6 * self._fleet.states_bytes(),
            self.setup.memory_bytes,
            f"the models of {len(self._states)} devices and what their optimizers remember",
            "use fewer devices (devices.count) or smaller networks (learner.networks), or allow more",
        )
        self._fleet.place()
        self._shared: PublicSet = self._public.beside(self._fleet.store)

    @property
    def _bits(self) -> float:
        """Scores of one round's public samples; which samples are meant everybody knows from the run's seed [bit]."""
        return float(self._aligned * self._scored * BITS_PER_NUMBER)

    def _places(self, round: int) -> Tensor:
        """This round's public samples, drawn without replacement, int64 [samples]."""
        order = stream(self.setup.seed, "alignment", round).permutation(len(self._public.rows))
        return torch.from_numpy(order[: self._aligned])

    def download(self, round: int, devices: Sequence[int], together: bool = False) -> Sequence[Message]:
        """The consensus of the round before; nothing is in the first message."""
        parties = tuple(k for k in devices if k in self._fleet.samples)
        self._asked[round] = len(parties)
        bits = self._bits if round > 1 else 0.0
        return [Message(parties, bits, self._agreement(round - 1))] if parties else []

    def receive(self, device: int, round: int, payload: Agreement) -> None:
        """What the party will digest."""
        self._received.setdefault(device, {})[round] = payload

    def workload(self, device: int, round: int, budget: Budget) -> Workload:
        """A party's steps and forward passes, or the server's mean: one FLOP per score that it has asked for.

        A party's first round is the one with public labels. The server's FLOPs are counted as if everybody answered.
        """
        if device == self.server:
            return Workload(
                {}, {"consensus": float(self._asked.get(round, 0) * self._aligned * self._scored)}
            )
        if device not in self._fleet.samples:
            return Workload()
        options, costs = self._options, self._fleet.costs(device)
        epochs, own = self._epochs(device, round), len(self._fleet.samples[device])
        steps = {
            "public": (epochs.public, len(self._public.rows), options.public_batch_size, self._public_head),
            "digest": (epochs.digest, self._aligned, options.digest_batch_size, 0),
            "own": (epochs.own, own, options.batch_size, 0),
        }
        flops, taken = {}, 0
        for part, (passes, samples, batch, head) in steps.items():
            count = passes * iterations_per_epoch(samples, batch, options.last_batch)
            flops[part] = sum(batch_sizes(samples, batch, count, options.last_batch)) * costs.step([head])
            taken += count
        flops["scores"] = self._aligned * costs.forward
        return Workload({self._fleet.modality: taken}, flops)

    @property
    def _public_head(self) -> int:
        """The head that learns public labels."""
        return 1 if self._label_space == "private" else 0

    def _epochs(self, device: int, round: int) -> Epochs:
        """The first round that a party gets to the end of has public labels and no digest."""
        options = self._options
        if self._begun.get(device, round) == round:
            return Epochs(options.public_epochs, 0, options.private_epochs)
        return Epochs(0, options.digest_epochs, options.revisit_epochs)

    def training_job(self, device: int, round: int, workload: Workload) -> TrainingJob | None:
        """The local update; see :func:`learners.distillation.fedmd_update.update`. The server has none."""
        if device == self.server or device not in self._fleet.samples:
            return None
        options = self._options
        epochs, received = self._epochs(device, round), self._taken(device, round)
        inputs = {
            "architecture": self._fleet.architectures[device],
            "state": self._states[device],
            "memories": self._memories.get(device, ({}, {})),
            "store": self._fleet.store,
            "modality": self._fleet.modality,
            "device": device,
            "public": self._shared,
            "epochs": epochs,
            "consensus": received.consensus if epochs.digest else None,
            "asked": self._places(round),
            "plan": FedMDPlan(
                Rule("adam", options.learning_rate),
                options.batch_size,
                options.public_batch_size,
                options.digest_batch_size,
                public_head=self._public_head,
                public_offset=len(self._fleet.classes) if self._label_space == "union" else 0,
                last_batch=options.last_batch,
                bf16=self.setup.precision == "bf16",
            ),
            "seed": derive_seed(self.setup.seed, "training", device, round),
            "torch_device": self.setup.torch_device,
        }
        return TrainingJob(update, inputs, frozenset({"store", "public"}))

    def apply(self, device: int, round: int, result: Trained | None) -> Sequence[Metric]:
        """The local update's model becomes the party's; its scores become what it sends.

        Raises:
            ScenarioError: Training diverged.
        """
        if result is None:
            return ()
        if not result.finite:
            raise self._diverged(f"the training of device {device}", round)
        self._states[device], self._memories[device] = result.state, result.memories
        self._scores(device, round).scores = result.scores
        return [Metric(name, value) for name, value in result.losses.items()]

    def messages(self, device: int, round: int, neighbours: Sequence[int]) -> Sequence[Message]:
        """Scores of this round's public samples, to the server."""
        if device not in self._fleet.samples:
            return ()
        self._begun.setdefault(device, round)
        return [Message((self.server,), self._bits, self._scores(device, round))]

    def combine(self, device: int, round: int, arrived: Mapping[int, Scores]) -> Sequence[Metric]:
        """The mean of what arrived; where nothing did, the consensus is that of before."""
        if device != self.server:
            return ()
        agreement = self._agreement(round)
        agreement.consensus = self._agreement(round - 1).consensus
        self._heard |= {k: self._states[k] for k in arrived}
        if arrived:
            scores = [arrived[k].scores for k in sorted(arrived)]
            there = [one for one in scores if one is not None]
            assert len(there) == len(scores), "nothing arrives before its sender's job is done"
            agreement.consensus = Consensus(self._places(round), mean_scores(there))
        self._agreements = {n: one for n, one in self._agreements.items() if n >= round}
        self._sent = {key: one for key, one in self._sent.items() if key[1] > round}
        return ()

    def evaluation_job(self, device: int, round: int) -> TrainingJob | None:
        """Judge a party's own model, or as the server's round ends those of all parties as they last sent scores.

        What a party has learnt since, whose upload was lost, may or may not be done by now.
        """
        if not self._fleet.judged_in(round):
            return None
        if device == self.server:
            models = [(self._fleet.architectures[k], state) for k, state in self._heard.items()]
            return self._fleet.evaluation_job(models, device, round)
        if device not in self._fleet.samples:
            return None
        return self._fleet.evaluation_job(
            [(self._fleet.architectures[device], self._states[device])], device, round
        )

    def judge(self, device: int, round: int, result: Sequence[Judgement]) -> Sequence[Metric]:
        """Accuracy over all classes that the heads know."""
        accuracies = [found.accuracy() for found in result]
        if device != self.server:
            return [Metric("accuracy_local", accuracies[0])]
        losses = [found.loss for found in result]
        return [
            Metric("accuracy", math.fsum(accuracies) / len(accuracies)),
            Metric("loss_test", math.fsum(losses) / len(losses)),
        ]

    # What the hooks are made of.

    def _agreement(self, round: int) -> Agreement:
        """What the server has after ``round``: a promise until that round's ``combine``."""
        return self._agreements.setdefault(round, Agreement())

    def _taken(self, device: int, round: int) -> Agreement:
        """What ``device`` received in ``round``; what it received before that is for trainings that were cut off."""
        received = self._received[device]
        found = received[round]
        self._received[device] = {n: one for n, one in received.items() if n > round}
        return found

    def _scores(self, device: int, round: int) -> Scores:
        return self._sent.setdefault((device, round), Scores())


def _listed(classes: Sequence[str]) -> str:
    shown = ", ".join(classes[:3])
    return f"{len(classes)} classes ({shown}{', ...' if len(classes) > 3 else ''})"
