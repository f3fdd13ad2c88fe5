"""Federated averaging (McMahan et al. 2017) of a late-fusion network, and what all methods with a server share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import networkx as nx
import torch

from learners.dmml.batches import batch_sizes, iterations_per_epoch
from learners.federated import evaluation, local_update
from learners.federated.aggregate import Rule, aggregate, averaging
from learners.federated.costs import fusion_costs, kept_bytes
from learners.federated.local_update import Trained
from learners.federated.options import FedAvgOptions, FederatedOptions
from learners.federated.plan import LocalPlan
from learners.federated.promises import Upload, Version
from learners.federated.samples import Client, Samples, hold_out
from learners.federated.weights import shares
from learners.networks.choice import choose
from learners.networks.late_fusion import FUSION, LateFusion, late_fusion
from learners.training.costs import BITS_PER_NUMBER, passes_facts, training_bytes
from learners.training.evaluation import judgements
from learners.training.state import State, state_bytes, take
from learners.training.task import Task, load_task
from netsim.core.errors import ScenarioError
from netsim.core.options import Options
from netsim.core.streams import derive_seed, stream
from netsim.learner import Budget, Message, Metric, ServerLearner, Setup, Workload
from netsim.work.job import Stack, TrainingJob
from netsim.work.torch_device import require_memory

LOSSES = {
    "loss_total": "what a client's training minimised, mean over the round's steps",
    "loss_task": "cross-entropy of the prediction in a client's training, mean over the round's steps",
    "loss_head": "cross-entropy of a modality's own head in a client's training, mean over the round's steps",
}
JUDGEMENTS = {
    "accuracy": "test accuracy of the server's model; per modality it is that of the modality's own head",
    "loss_test": "cross-entropy of the server's prediction on the test samples",
}
DROPPED = {
    "dropped": "clients of the round whose training diverged and that were left out of the aggregation"
}


class FedAvg(ServerLearner):
    """Each client trains what it received on its own samples; the server averages, weighed by numbers of samples.

    Clients hold the parts of the modalities that they own and the fused head; each part is averaged over those of the
    round's clients that hold it. Subclasses say what is done with the updates (:meth:`_rule`), what is minimised
    (:meth:`_head_weights`, :meth:`_plan`) and what travels beside the model.
    """

    Options: ClassVar[type[Options]] = FedAvgOptions
    METRICS: ClassVar[Mapping[str, str]] = {**LOSSES, **DROPPED, **JUDGEMENTS}
    looks_ahead: ClassVar[bool] = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        options = self._options
        self._task: Task | None = load_task(setup, options.modalities)
        shapes, dataset = self._task.input_shapes, self._task.dataset
        networks = choose(options.networks, shapes, dataset.modalities)
        self._architecture = late_fusion(
            networks, shapes, len(dataset.classes), options.head_hidden, self._trains_own_heads
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(setup.seed, "initial weights"))
            net = self._architecture.build()
        samples = self._task.examples()
        self._costs = fusion_costs(net, take(net.parts()), samples, options.batch_size, setup.costs)
        self._kept = kept_bytes(net, samples)
        net.to(setup.torch_device)
        dtype = torch.float64 if setup.precision == "float64" else torch.float32
        self._initial: State = take(net.parts(), dtype)
        self._clients: dict[int, Client] = {}
        for k, share in enumerate(self._task.shares):
            client = hold_out(share, options.validation_share, setup.seed, k)
            if client is not None:
                self._clients[k] = client
        self._data_facts = self._task.facts
        heads = self._architecture.heads(self._task.modalities)
        first = Version(0, self._initial, dict.fromkeys(heads, 1 / len(heads)))
        self._versions: dict[int, Version] = {0: first}
        self._uploads: dict[int, dict[int, Upload]] = {}  # by device and its round
        self._asked: dict[int, float] = {}
        self._architectures: dict[tuple[str, ...], LateFusion] = {}
        self._stacks: dict[tuple[str, ...], Stack] = {}

    # What the methods differ in.

    @property
    def _options(self) -> FederatedOptions:
        options = self.setup.options
        assert isinstance(options, FederatedOptions)
        return options

    @property
    def _trains_own_heads(self) -> bool:
        """Whether modalities' own heads are ever trained; those that never are have no place in the network."""
        return getattr(self._options, "losses", "mean") == "mean"

    def _plan(self) -> LocalPlan:
        options = self._options
        return LocalPlan(
            options.batch_size,
            options.learning_rate,
            options.last_batch,
            options.momentum,
            options.weight_decay,
            proximal=getattr(options, "mu", 0.0),
            evaluation_batch_size=self.setup.evaluation.batch_size,
            bf16=self.setup.precision == "bf16",
        )

    def _head_weights(self, version: Version, modalities: tuple[str, ...]) -> dict[str, float]:
        """How much each of a client's heads counts in what it minimises; they sum to 1."""
        heads = self._architecture.heads(modalities)
        return dict.fromkeys(heads, 1 / len(heads))

    def _rule(self, round: int, uploads: Mapping[int, Upload]) -> Rule:
        """What becomes of trained numbers."""
        return averaging(self._data_weights)

    def _aggregate(
        self, round: int, before: Version, uploads: Mapping[int, Upload]
    ) -> tuple[State, Mapping[str, float] | None, list[Metric]]:
        """The server's next model and z, from at least one upload."""
        assert before.state is not None
        updates = {k: upload.update for k, upload in uploads.items()}
        state = aggregate(before.state, updates, self._rule(round, uploads), self._data_weights)
        return state, before.head_weights, []

    def _upload_numbers(self, client: Client) -> int:
        """How many numbers a client sends beside its model."""
        return 0

    def _download_numbers(self) -> int:
        """How many numbers the server sends beside its model."""
        return 0

    def _measured_samples(self, client: Client) -> int:
        """Samples of forward passes that only measure losses, in one round."""
        return 0

    # The hooks.

    def owners(self) -> Mapping[str, frozenset[int]]:
        """See :meth:`netsim.learner.Learner.owners`."""
        return {
            m: frozenset(k for k, client in self._clients.items() if m in client.modalities)
            for m in self._architecture.modalities
        }

    def sample_counts(self) -> Mapping[int, int]:
        """Training samples of each client, and those that it holds out."""
        return {k: len(client.train) + len(client.validation) for k, client in self._clients.items()}

    def training_memory_bytes(self, device: int) -> float:
        """Memory that a client's local update takes [byte]; see :func:`learners.training.costs.training_bytes`.

        Beside each weight lie its velocity, where there is momentum, and what was received, where a proximal term pulls
        back to it.
        """
        client = self._clients.get(device)
        if client is None:
            return 0.0
        layouts = [self._initial[part].layout for part in self._architecture.parts(client.modalities)]
        weights = sum(layout.weights for layout in layouts)
        plan = self._plan()
        return training_bytes(
            weights,
            sum(layout.size for layout in layouts) - weights,
            int(plan.momentum > 0) + int(plan.proximal > 0),
            sum(self._kept[key] for key in (*client.modalities, FUSION)),
            min(plan.batch_size, len(client.train)),
        )

    def facts(self) -> Mapping[str, Any]:
        """Data set, who takes part with how many samples, sizes and costs, for the run's metadata."""
        return {
            "data": self._data_facts,
            "sit_out": [k for k in range(self.setup.device_count) if k not in self._clients],
            "samples": {k: len(client.train) for k, client in self._clients.items()},
            "held_out": {k: len(client.validation) for k, client in self._clients.items()},
            "aggregation_weights": self._options.aggregation_weights,
            "losses": getattr(self._options, "losses", "blended"),
            "numbers_by_part": dict(self._costs.numbers),
            "costs_stated": self.setup.costs.stated is not None,
            **passes_facts(self._costs.passes),
            "bits": dict(self._costs.bits),
        }

    def begin(self, graph: nx.Graph) -> None:
        """Give each client its data and the server the first model."""
        super().begin(graph)
        assert self._task is not None, "begin() is called once"
        # The server's model, its successor and the sum under way; of each client what it received and what it made.
        require_memory(
            (3 + 2 * len(self._clients)) * state_bytes(self._initial),
            self.setup.memory_bytes,
            f"the models of {len(self._clients)} clients",
            "use fewer devices (devices.count) or smaller networks (learner.networks), or allow more",
        )
        self._samples = Samples(self._task.store(self.setup.torch_device, {}), self._clients)
        rows = self._task.test_rows(self.setup.evaluation.samples, self.setup.seed)
        self._test_rows = torch.as_tensor(rows, dtype=torch.int64)
        self._task = None  # the store has the data; where the work is done elsewhere, it is there only

    def download(self, round: int, devices: Sequence[int], together: bool = False) -> Sequence[Message]:
        """The server's model after the round before: to each client its own parts.

        Args:
            round: The server's round.
            devices: Who is to have it; those that have nothing to train on get nothing.
            together: Whether all of them hear one transmission, which then has the parts of all of them.
        """
        version = self._version(round - 1)
        clients = [k for k in devices if k in self._clients]
        asked = sum(self._numbers(self._clients[k].modalities) for k in clients)
        self._asked[round] = self._asked.get(round, 0.0) + asked
        groups: dict[tuple[str, ...], list[int]] = {}
        for k in clients:
            groups.setdefault(self._clients[k].modalities, []).append(k)
        if together and groups:
            owned = tuple(m for m in self._architecture.modalities if any(m in group for group in groups))
            groups = {owned: clients}
        extra = BITS_PER_NUMBER * self._download_numbers()
        return [
            Message(tuple(receivers), self._costs.message_bits(modalities) + extra, version)
            for modalities, receivers in groups.items()
        ]

    def receive(self, device: int, round: int, payload: Version) -> None:
        """What the device will train from in its ``round``."""
        self._uploads.setdefault(device, {})[round] = Upload(device, payload)

    def workload(self, device: int, round: int, budget: Budget) -> Workload:
        """A client's steps and measurements, or the server's sums: two FLOPs per number of each client it has asked.

        The server's is counted from the downloads of the round, as if everybody had answered.
        """
        if device == self.server:
            return Workload({}, {"aggregation": 2 * self._asked.get(round, 0.0)})
        client = self._clients.get(device)
        if client is None:
            return Workload()
        return self._workload(client, self._steps(client, device, round))

    def training_job(self, device: int, round: int, workload: Workload) -> TrainingJob | None:
        """The local update; see :func:`learners.federated.local_update.local_update`. The server has none."""
        client = self._clients.get(device)
        if device == self.server or client is None:
            return None
        # Whatever the device began before has ended, arrived or not.
        self._uploads[device] = {n: one for n, one in self._uploads[device].items() if n >= round}
        return self._local_update(client, device, round, self._uploads[device][round].version)

    def apply(self, device: int, round: int, result: Trained | None) -> Sequence[Metric]:
        """What the client made becomes what it sends; its losses are reported.

        Raises:
            ScenarioError: Its training diverged, and the scenario does not say that such clients are dropped.
        """
        if result is None:
            return ()
        self._stop_if_diverged(device, round, result)
        self._uploads[device][round].trained = result
        return reported(result)

    def messages(self, device: int, round: int, neighbours: Sequence[int]) -> Sequence[Message]:
        """To the server, all parts that the client holds; what is in them is known after ``apply``."""
        client = self._clients.get(device)
        if client is None:
            return ()
        bits = self._costs.message_bits(client.modalities) + BITS_PER_NUMBER * self._upload_numbers(client)
        return [Message((self.server,), bits, self._uploads[device][round])]

    def combine(self, device: int, round: int, arrived: Mapping[int, Upload]) -> Sequence[Metric]:
        """Make the server's next model; where nothing has arrived it is the same as before."""
        if device != self.server:
            return ()
        before, after = self._version(round - 1), self._version(round)
        assert before.state is not None, "the server's rounds follow each other"
        uploads = {k: arrived[k] for k in sorted(arrived) if arrived[k].result.finite}
        metrics: list[Metric] = []
        after.state, after.head_weights = before.state, before.head_weights
        if uploads:
            after.state, after.head_weights, metrics = self._aggregate(round, before, uploads)
        if self._options.on_nan == "drop":
            metrics.append(Metric("dropped", float(len(arrived) - len(uploads))))
        self._forget(round, arrived)
        return metrics

    def evaluation_job(self, device: int, round: int) -> TrainingJob | None:
        """Judge the server's model, after every so many rounds and after the last."""
        settings = self.setup.evaluation
        if device != self.server or (round % settings.every and round != self.setup.rounds):
            return None
        inputs = {
            "architecture": self._architecture,
            "state": self._version(round).state,
            "store": self._samples.store,
            "rows": self._test_rows,
            "batch_size": settings.batch_size,
            "seed": derive_seed(self.setup.seed, "evaluation", device, round),
            "torch_device": self.setup.torch_device,
        }
        return TrainingJob(evaluation.evaluate, inputs, frozenset({"store", "rows"}))

    def judge(self, device: int, round: int, result: Mapping[str, float]) -> Sequence[Metric]:
        """Accuracy of the fused head and of each modality's own, where it has one, and the fused loss."""
        return judgements(result, self._architecture.modalities)

    # What the hooks are made of.

    def _version(self, number: int) -> Version:
        """The server's model after round ``number``: a promise until that round's ``combine``."""
        return self._versions.setdefault(number, Version(number))

    def _forget(self, round: int, arrived: Mapping[int, Upload]) -> None:
        """Earlier versions, and what has arrived: whoever still has one of them has it in hand."""
        self._versions = {n: version for n, version in self._versions.items() if n >= round}
        for k, upload in arrived.items():
            left = {n: one for n, one in self._uploads.pop(k, {}).items() if one is not upload}
            if left:
                self._uploads[k] = left

    def _stop_if_diverged(self, device: int, round: int, result: Trained) -> None:
        if not result.finite and self._options.on_nan == "stop":
            who = "the server" if device == self.server else f"device {device}"
            raise ScenarioError(
                f"learner.learning_rate: the training of {who} diverged in round {round} "
                f"(step size {self._options.learning_rate:g}); lower it, or leave such devices out of the "
                "aggregation with learner.on_nan: drop"
            )

    def _restricted(self, modalities: tuple[str, ...]) -> LateFusion:
        if modalities not in self._architectures:
            self._architectures[modalities] = self._architecture.restricted_to(modalities)
        return self._architectures[modalities]

    def _numbers(self, modalities: tuple[str, ...]) -> int:
        return sum(self._costs.numbers[part] for part in self._architecture.parts(modalities))

    def _data_weights(self, devices: Sequence[int]) -> dict[int, float]:
        """p_i of these clients by their data, n_i/Σn or 1/K."""
        by_samples = self._options.aggregation_weights == "samples"
        return shares({k: float(len(self._clients[k].train)) if by_samples else 1.0 for k in devices})

    def _workload(self, client: Client, steps: int) -> Workload:
        """So many steps with the samples of ``client``."""
        options = self._options
        if self.setup.costs.stated is None:
            seen = sum(batch_sizes(len(client.train), options.batch_size, steps, options.last_batch))
        else:  # what is stated is stated for a step, as if each were a full mini-batch
            seen = steps * options.batch_size
        flops = self._costs.flops(
            {m: client.present(m) for m in client.modalities}, seen, self._measured_samples(client)
        )
        return Workload(dict.fromkeys(client.modalities, steps), flops)

    def _local_update(self, client: Client, device: int, round: int, version: Version) -> TrainingJob:
        """Train ``version`` on the samples of ``client``, which is ``device``."""
        assert version.state is not None, "a device trains from what it has received"
        steps = self._steps(client, device, round)
        inputs = {
            "architecture": self._restricted(client.modalities),
            "state": {part: version.state[part] for part in self._architecture.parts(client.modalities)},
            "samples": self._samples,
            "device": device,
            "steps": steps,
            "head_weights": self._head_weights(version, client.modalities),
            "plan": self._plan(),
            "seed": derive_seed(self.setup.seed, "training", device, round),
            "torch_device": self.setup.torch_device,
        }
        stack = self._stack(client.modalities, steps)
        return TrainingJob(local_update.local_update, inputs, frozenset({"samples"}), stack)

    def _stack(self, modalities: tuple[str, ...], steps: int) -> Stack:
        """How local updates of clients with these modalities are done as one."""
        if modalities not in self._stacks:
            plan, parts = self._plan(), self._architecture.parts(modalities)
            self._stacks[modalities] = Stack(
                f"local update {self._restricted(modalities).text} {plan} {len(parts)} parts",
                local_update.local_updates,
                local_update.shortened,
                max(
                    (
                        self.training_memory_bytes(k)
                        for k, one in self._clients.items()
                        if one.modalities == modalities
                    ),
                    default=0.0,
                ),
                f"training {'+'.join(modalities)}",
                steps,
                local_update.obstacle,
            )
        return self._stacks[modalities]

    def _steps(self, client: Client, device: int, round: int) -> int:
        """τ_i: as stated, or as many mini-batches as the local epochs have."""
        options = self._options
        stated = self._costs.iterations or options.local_steps
        if stated is not None:
            return stated
        epochs = options.local_epochs
        if options.epochs_range is not None:
            fewest, most = options.epochs_range
            epochs = int(stream(self.setup.seed, "epochs", device, round).integers(fewest, most + 1))
        return epochs * iterations_per_epoch(len(client.train), options.batch_size, options.last_batch)


def reported(trained: Trained) -> list[Metric]:
    """The losses of a local update as metrics."""
    heads = [
        Metric("loss_task", value) if head == FUSION else Metric("loss_head", value, head)
        for head, value in trained.losses.items()
    ]
    return [Metric("loss_total", trained.loss), *heads]
