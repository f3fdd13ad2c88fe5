"""FedMD (Li and Wang 2019): parties with different networks agree on scores of public samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import networkx as nx
import torch
from torch import Tensor

from learners.training.batches import batch_sizes, iterations_per_epoch
from learners.training.costs import BITS_PER_NUMBER
from learners.training.distillation.evaluation import means
from learners.training.distillation.fedmd_update import MANY, Consensus, FedMDPlan, Steps, update
from learners.training.distillation.options import FedMDOptions
from learners.training.distillation.per_device import DeviceModels, PerDeviceLearner
from learners.training.distillation.public import load_public
from learners.training.optimizers import Memories, Rule
from netsim.core.errors import ScenarioError
from netsim.core.streams import derive_seed, stream
from netsim.learner import Cost, Message, Metric, Setup, Step
from netsim.work.future import Future, Shared
from netsim.work.torch_device import require_memory

if TYPE_CHECKING:
    from netsim.core.budget import Budget
    from netsim.core.options import Options
    from netsim.work.graph import TaskGraph
    from netsim.work.job import Inputs


class Upload(NamedTuple):
    """The outcome of a party's training.

    Attributes:
        scores: Logits of the round's public samples [samples, C]: this is what it sends.
        model: Its model, which it does not send. The server's metrics are about it, and nothing else.
    """

    scores: Any
    model: Any


def mean_scores(scores: Sequence[Tensor]) -> Tensor:
    """Return f̃ = (1/m) Σ_k f_k of logits [samples, C], in the order given."""
    return torch.stack(list(scores)).mean(0)


class FedMD(PerDeviceLearner):
    """Parties learn public labels, then their own; each round they digest the mean of all parties' public scores.

    A round of the server is: download of the consensus of the round before; digest; a few epochs on own labels
    (revisit); scores of this round's public samples, up to the server; their mean. Without a server each party sends
    its scores to its neighbours, and digests the mean of its own and theirs. No parameter ever travels.
    """

    Options: ClassVar[type[Options]] = FedMDOptions
    METRICS: ClassVar[Mapping[str, str]] = {
        "loss_public": "cross-entropy on public labels, first round, mean over its steps",
        "loss_digest": "mean absolute error to the consensus, mean over the round's steps",
        "loss_task": "cross-entropy on the party's own labels, mean over the round's steps",
        "accuracy": "test accuracy: mean over the parties' models as they were when the server last heard of them; "
        "without a server, of each party's own model",
        "loss_test": "cross-entropy on the test samples, of the same models",
        "accuracy_local": "with a server: test accuracy of one party's own model after its local training",
    }
    SUITS = frozenset({"decentralized", "server"})
    takes_late = False  # scores are those of one round's public samples

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        options = self._options
        self._devices = DeviceModels(setup, options.networks, options.modalities)
        assert self._devices.task is not None
        self._public = load_public(options.public, self._devices.task, self._devices.modality, setup)
        own, public = len(self._devices.classes), len(self._public.classes)
        self._label_space = self._find_label_space()
        heads = {"union": (own + public,), "shared": (own,), "private": (own, public)}[self._label_space]
        self._devices.build(heads)
        self._scored = heads[0]
        self._aligned = min(options.alignment_samples, len(self._public.rows))
        self._begun: dict[int, int] = {}  # by party, the first round that it trained to the end of

    @property
    def _options(self) -> FedMDOptions:
        options = self.setup.options
        assert isinstance(options, FedMDOptions)
        return options

    def _find_label_space(self) -> str:
        """Return the classes of the heads; samples set aside have the private classes already.

        Raises:
            ScenarioError: Classes shall be shared that are not the same.
        """
        asked, own, public = self._options.label_space, self._devices.classes, self._public.classes
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
        """Training on the largest of its batches."""
        if device not in self._devices.samples:
            return 0.0
        options = self._options
        remembered = len(Rule.of(options).memories)
        return self._devices.memory_bytes(
            device, remembered, max(options.batch_size, options.public_batch_size, options.digest_batch_size)
        )

    def facts(self) -> Mapping[str, Any]:
        """Data, networks, public samples and costs, for the run's metadata."""
        return {
            **self._devices.facts(),
            "public": self._public.facts,
            "label_space": self._label_space,
            "score_bits": self._bits,
        }

    def prepare(self, graph: nx.Graph) -> None:
        """Put the data in place."""
        super().prepare(graph)
        require_memory(
            6 * self._devices.states_bytes(),
            self.setup.memory_bytes,
            f"the models of {len(self._devices.samples)} devices and what their optimizers remember",
            "use fewer devices (devices.count) or smaller networks (learner.networks), or allow more",
        )
        self._devices.place()
        self._public_set = Shared(self._public.placed_with(self._devices.store))

    @property
    def _bits(self) -> float:
        """Scores of one round's public samples; which samples are meant everybody knows from the run's seed [bit]."""
        return float(self._aligned * self._scored * BITS_PER_NUMBER)

    def _places(self, round: int) -> Tensor:
        """This round's public samples, drawn without replacement, int64 [samples]."""
        order = stream(self.setup.seed, "alignment", round).permutation(len(self._public.rows))
        return torch.from_numpy(order[: self._aligned])

    def first(self, work: TaskGraph, node: int) -> Step:
        """Return a party's first model; the server has nothing to send yet."""
        if node == self.setup.server:
            heard = {k: self._devices.initial(k) for k in self._devices.samples}
            return Step({"consensus": None, "heard": heard})
        if node not in self._devices.samples:
            return Step()
        memories: tuple[Memories, Memories] = ({}, {})
        model = self._devices.initial(node)
        return Step({"model": model, "memories": memories, "consensus": None, "scores": {}})

    def cost(self, node: int, round: int, peers: Sequence[int], budget: Budget, plan: Any) -> Cost:
        """Return a party's steps and forward passes, and one FLOP for each score that goes into a mean.

        A party's first round is the one with public labels. Means are counted as if everybody answered; they are the
        server's work, or where there is none each party's own.
        """
        others = sum(k in self._devices.samples for k in peers)
        if node == self.setup.server:
            return Cost({}, {"consensus": self._mean_flops(others)})
        if node not in self._devices.samples:
            return Cost()
        options, costs = self._options, self._devices.costs(node)
        steps, own = self._steps(node, round), len(self._devices.samples[node])
        parts = {
            "public": (steps.public, len(self._public.rows), options.public_batch_size, self._public_head),
            "digest": (steps.digest, self._aligned, options.digest_batch_size, 0),
            "own": (steps.own, own, options.batch_size, 0),
        }
        flops = {
            part: sum(batch_sizes(samples, batch, count, options.last_batch)) * costs.step([head])
            for part, (count, samples, batch, head) in parts.items()
        }
        flops["scores"] = self._aligned * costs.forward
        if self.setup.server is None:
            flops["consensus"] = self._mean_flops(1 + others)
        return Cost({self._devices.modality: sum(steps)}, flops)

    def _mean_flops(self, parties: int) -> float:
        return float(parties * self._aligned * self._scored)

    @property
    def _public_head(self) -> int:
        """Return the head that learns public labels."""
        return 1 if self._label_space == "private" else 0

    def _steps(self, device: int, round: int) -> Steps:
        """Return the work of ``round``: the first that a party gets to the end of has public labels and no digest."""
        options, last = self._options, self._options.last_batch
        own = iterations_per_epoch(len(self._devices.samples[device]), options.batch_size, last)
        if self._begun.get(device, round) == round:
            public = iterations_per_epoch(len(self._public.rows), options.public_batch_size, last)
            return Steps(options.public_epochs * public, 0, options.private_epochs * own)
        digest = iterations_per_epoch(self._aligned, options.digest_batch_size, last)
        return Steps(0, options.digest_epochs * digest, options.revisit_epochs * own)

    def messages(
        self, node: int, round: int, receivers: Sequence[int], together: bool = False
    ) -> Sequence[Message]:
        """Return the scores of this round's public samples; from the server, the consensus of the round before."""
        server = self.setup.server
        if node != server and node not in self._devices.samples:
            return ()
        if node != server:
            self._begun.setdefault(node, round)
        parties = tuple(k for k in receivers if k in self._devices.samples or k == server)
        bits = 0.0 if node == server and round == 1 else self._bits
        return [Message(parties, bits)] if parties else ()

    def train(self, work: TaskGraph, node: int, round: int, state: Any, cost: Cost) -> Step:
        """Order the local update; see :func:`learners.training.distillation.fedmd_update.update`. The server has none.

        A divergence stops the run.
        """
        if node == self.setup.server:
            return Step(state, state["consensus"])
        if node not in self._devices.samples:
            return Step()
        steps, plan = self._steps(node, round), self._plan()
        inputs = {
            **self._devices.common(),
            "architecture": self._devices.architectures[node],
            "state": state["model"],
            "memories": state["memories"],
            "device": node,
            "public": self._public_set,
            "steps": steps,
            "consensus": state["consensus"] if steps.digest else None,
            "asked": self._places(round),
            "plan": plan,
            "seed": derive_seed(self.setup.seed, "training", node, round),
            "pace": self._options.schedule.factor(round - 1, self.setup.rounds),
        }
        trained = work.do(update, inputs, round, self._stack(node, plan, MANY, sum(steps)))
        trained = self._finite(work, trained, f"the training of device {node}", round)
        new = {
            "model": trained["state"],
            "memories": trained["memories"],
            "consensus": state["consensus"],
            "scores": {round: trained["scores"]},
        }
        return Step(new, Upload(trained["scores"], trained["state"]), trained["metrics"])

    def _plan(self) -> FedMDPlan:
        options = self._options
        return FedMDPlan(
            Rule.of(options),
            options.batch_size,
            options.public_batch_size,
            options.digest_batch_size,
            public_head=self._public_head,
            public_offset=len(self._devices.classes) if self._label_space == "union" else 0,
            last_batch=options.last_batch,
            bf16=self.setup.precision == "bf16",
        )

    def aggregate(
        self, work: TaskGraph, node: int, round: int, state: Any, arrived: Mapping[int, Any]
    ) -> Step:
        """Take the server's consensus, or order the mean of what arrived; where nothing did, that of before stays."""
        server = self.setup.server
        if node == server:
            heard = state["heard"] | {k: upload.model for k, upload in arrived.items()}
            scores = {k: upload.scores for k, upload in arrived.items()}
            return Step(
                {"consensus": self._consensus(work, round, scores) or state["consensus"], "heard": heard}
            )
        if node not in self._devices.samples:
            return Step()
        if server is not None:
            return Step({**state, "consensus": arrived[server]})
        own = {node: state["scores"][round]} if round in state["scores"] else {}
        scores = own | {k: upload.scores for k, upload in arrived.items()}
        return Step({**state, "consensus": self._consensus(work, round, scores) or state["consensus"]})

    def _consensus(self, work: TaskGraph, round: int, scores: Mapping[int, Any]) -> Consensus | None:
        """Order the mean of ``scores`` by party, in the order of their numbers; None where there are none."""
        if not scores:
            return None
        mean = work.together(means_of_scores, {"scores": [scores[k] for k in sorted(scores)]}, round)
        return Consensus(self._places(round), mean)

    def evaluate(self, work: TaskGraph, node: int, round: int, state: Any) -> Future | None:
        """Order the evaluation of a party's model, or of all as they were when the server last heard of them."""
        if not self._is_evaluated(round) or state is None:
            return None
        server = self.setup.server
        models = state["heard"] if node == server else {node: state["model"]}
        found = [
            self._evaluated(work, node, round, self._devices.architectures[k], model)
            for k, model in models.items()
        ]
        is_local = server is not None and node != server
        inputs = {"evaluated": found, "is_local": is_local, "is_party": node != server}
        return work.together(accuracies, inputs, round)


def means_of_scores(inputs: Sequence[Inputs]) -> list[Tensor]:
    """Return the mean of each list of scores."""
    return [mean_scores(one["scores"]) for one in inputs]


def accuracies(inputs: Sequence[Inputs]) -> list[list[Metric]]:
    """Return mean accuracies over all classes that the heads know; of a party of a server nothing else."""
    found = []
    for one in inputs:
        accuracy, loss = means(one["evaluated"])
        whole = [Metric("accuracy", accuracy), Metric("loss_test", loss)]
        judged = one["evaluated"][0].judged if one["is_party"] else ()
        found.append([*([Metric("accuracy_local", accuracy)] if one["is_local"] else whole), *judged])
    return found


def _listed(classes: Sequence[str]) -> str:
    shown = ", ".join(classes[:3])
    return f"{len(classes)} classes ({shown}{', ...' if len(classes) > 3 else ''})"
