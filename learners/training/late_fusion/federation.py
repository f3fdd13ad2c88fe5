"""The clients of a run: their samples, their network and its first weights, and what all of it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from learners.networks.choice import choose
from learners.networks.late_fusion import CLASSES, FUSION, check_frozen, late_fusion, start_from
from learners.networks.state import State, state_bytes, take
from learners.training.batches import batch_sizes, iterations_per_epoch
from learners.training.costs import passes_facts, training_bytes
from learners.training.evaluation import judge_of
from learners.training.late_fusion.costs import fusion_costs, kept_bytes
from learners.training.late_fusion.local_layers import local_columns, with_own
from learners.training.late_fusion.samples import Client, Samples, hold_out
from learners.training.task import Task, load_task
from netsim.core.streams import derive_seed, stream
from netsim.learner import Cost, Setup
from netsim.work.future import Shared
from netsim.work.torch_device import require_memory

if TYPE_CHECKING:
    from learners.training.late_fusion.options import FederatedOptions
    from learners.training.late_fusion.plan import LocalPlan
    from netsim.work.future import Future
    from netsim.work.graph import TaskGraph

__all__ = ["Client", "Federation"]


class Federation:
    """All that is known of a run before its first round, and does not change.

    Attributes:
        architecture: The network with all modalities.
        initial: Its first weights.
        clients: Devices that have something to train on.
        costs: FLOPs and bits.
        local: Places of numbers that devices keep to themselves, by part.
        samples: Everybody's samples; there after :meth:`place_samples`, like the three below.
        store: The data set's tensors.
        test_rows: Rows of them that models are evaluated on, int64 [samples].
        judge: What else is to be known of models; None for nothing.
    """

    samples: Shared
    store: Shared
    test_rows: Shared
    judge: Shared | None

    def __init__(self, setup: Setup, options: FederatedOptions, own_heads: bool) -> None:
        """Load data, deal it, and build the network.

        Args:
            setup: What the learner is built from.
            options: Its options.
            own_heads: Whether modalities' own heads are ever trained; those that never are are not in the network.
        """
        self.setup, self.options = setup, options
        loss = getattr(options, "loss", None)
        self._task: Task | None = load_task(setup, options.modalities, loss)
        shapes, dataset = self._task.input_shapes, self._task.dataset
        networks = choose(options.networks, shapes, dataset.modalities)
        self.architecture = late_fusion(
            networks,
            shapes,
            1 if dataset.real_valued else len(dataset.classes),
            options.head_hidden,
            own_heads,
            options.frozen,
            loss or CLASSES,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(setup.seed, "initial weights"))
            net = self.architecture.build()
        check_frozen(net, options.frozen)
        start_from(net, options.initial)
        samples = self._task.examples()
        first, words = take(net.parts()), getattr(options, "local", ())
        self.local = local_columns(net.parts(), first, words) if words else {}
        self._columns = Shared(self.local)
        self.costs = fusion_costs(net, first, samples, options.batch_size, setup.costs, self.local)
        self._kept = kept_bytes(net, samples)
        net.to(setup.torch_device)
        dtype = torch.float64 if setup.precision == "float64" else torch.float32
        self.initial: State = take(net.parts(), dtype)
        self.clients: dict[int, Client] = {}
        for k, share in enumerate(self._task.shares):
            client = hold_out(share, options.validation_share, setup.seed, k)
            if client is not None:
                self.clients[k] = client
        self._data_facts = self._task.facts
        self._architectures: dict[tuple[str, ...], Shared] = {}
        self._parts: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._owned: dict[tuple[str, ...], tuple[Any, dict[str, Any]]] = {}
        self._rounds: dict[tuple[int, int, int], Cost] = {}

    def place_samples(self) -> None:
        """Bring the samples to where the work is done, if there is memory for what clients make of them.

        Raises:
            ScenarioError: There is not.
        """
        assert self._task is not None, "the samples are placed once"
        setup = self.setup
        # The aggregate, its successor and the sum under way; of each client what it received and what it made.
        require_memory(
            (3 + 2 * len(self.clients)) * state_bytes(self.initial),
            setup.memory_bytes,
            f"the models of {len(self.clients)} clients",
            "use fewer devices (devices.count) or smaller networks (learner.networks), or allow more",
        )
        store = self._task.store(setup.torch_device, {})
        rows = self._task.test_rows(setup.evaluation.samples, setup.seed)
        self.samples, self.store = Shared(Samples(store, self.clients)), Shared(store)
        self.test_rows = Shared(torch.as_tensor(rows, dtype=torch.int64))
        labels = self._task.dataset.labels.numpy()
        of_clients = {k: labels[client.train] for k, client in self.clients.items()}
        judge = judge_of(setup.evaluation, self._task.dataset.classes, of_clients)
        self.judge = Shared(judge) if judge else None
        self._task = None  # the store has the data; where the work is done elsewhere, it is there only

    @property
    def modalities(self) -> tuple[str, ...]:
        """Return the modalities of the task."""
        return self.architecture.modalities

    @property
    def owners(self) -> dict[str, frozenset[int]]:
        """Return the clients that own each modality."""
        return {
            m: frozenset(k for k, client in self.clients.items() if m in client.modalities)
            for m in self.modalities
        }

    @property
    def amounts(self) -> dict[int, float]:
        """Return how much each client's data counts, n_k: its training samples, or 1."""
        by_samples = self.options.aggregation_weights != "uniform"
        return {k: float(len(client.train)) if by_samples else 1.0 for k, client in self.clients.items()}

    @property
    def held(self) -> dict[int, Sequence[str]]:
        """Return the names of the parts of the model that each client holds."""
        return {k: self.parts(client.modalities) for k, client in self.clients.items()}

    def restricted(self, modalities: tuple[str, ...]) -> Shared:
        """Return the network of a device that owns ``modalities`` only, the same object each time."""
        if modalities not in self._architectures:
            self._architectures[modalities] = Shared(self.architecture.restricted_to(modalities))
        return self._architectures[modalities]

    def parts(self, modalities: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names of the parts that a device with ``modalities`` holds."""
        if modalities not in self._parts:
            self._parts[modalities] = self.architecture.parts(modalities)
        return self._parts[modalities]

    def own(self, parts: Any, modalities: tuple[str, ...]) -> dict[str, Any]:
        """Return of ``parts``, or of a future of them, those of a device that owns ``modalities``.

        Clients that own the same get the same mapping of a server's model, so its futures are opened once.
        """
        whole, own = self._owned.get(modalities, (None, {}))
        if whole is not parts:
            own = {part: parts[part] for part in self.parts(modalities)}
            self._owned[modalities] = parts, own
        return own

    def message_bits(self, modalities: Sequence[str], copies: int = 1) -> float:
        """Return the size of a model with ``modalities``, with so many numbers for each trained weight [bit]."""
        bits = self.costs.message_bits(modalities)
        if copies == 1:
            return bits
        trained = sent = 0
        for part in self.parts(tuple(modalities)):
            layout, kept = self.initial[part].layout, self.local.get(part, torch.empty(0))
            trained += layout.weights - int((kept < layout.weights).sum())
            sent += layout.sent - len(kept)
        return bits * (1 + (copies - 1) * trained / max(sent, 1))

    def merged(self, work: TaskGraph, round: int, modalities: tuple[str, ...], own: Any, sent: Any) -> Future:
        """Order what a device with ``modalities`` begins with: parts that were ``sent``, with its ``own`` layers."""
        inputs = {
            "own": self.own(own, modalities),
            "sent": self.own(sent, modalities),
            "columns": self._columns,
        }
        return work.together(with_own, inputs, round)

    def numbers(self, modalities: tuple[str, ...]) -> int:
        """Return how many numbers of a model with ``modalities`` travel."""
        return sum([self.costs.numbers[part] for part in self.parts(modalities)])

    def shared(self, device: int, other: int) -> tuple[str, ...]:
        """Return the modalities that both clients own."""
        theirs = self.clients[other].modalities
        return tuple(m for m in self.clients[device].modalities if m in theirs)

    def steps(self, device: int, round: int) -> int:
        """Return τ_k: as stated, or as many mini-batches as the local epochs have."""
        options = self.options
        stated = self.costs.iterations or options.local_steps
        if stated is not None:
            return stated
        epochs = options.local_epochs
        if options.epochs_range is not None:
            fewest, most = options.epochs_range
            epochs = int(stream(self.setup.seed, "epochs", device, round).integers(fewest, most + 1))
        samples = len(self.clients[device].train)
        return epochs * iterations_per_epoch(samples, options.batch_size, options.last_batch)

    def cost(self, device: int, steps: int, measured: int) -> Cost:
        """Return what so many ``steps`` of a client cost, and forward passes of so many samples besides."""
        known = device, steps, measured  # most devices do the same round after round
        if known not in self._rounds:
            self._rounds[known] = self._cost(self.clients[device], steps, measured)
        return self._rounds[known]

    def _cost(self, client: Client, steps: int, measured: int) -> Cost:
        options = self.options
        if self.setup.costs.stated is None:
            seen = sum(batch_sizes(len(client.train), options.batch_size, steps, options.last_batch))
        else:  # what is stated is stated for a step, as if each were a full mini-batch
            seen = steps * options.batch_size
        present = {m: client.present(m) for m in client.modalities}
        return Cost(dict.fromkeys(client.modalities, steps), self.costs.flops(present, seen, measured))

    def training_memory_bytes(self, device: int, plan: LocalPlan, more: int = 0) -> float:
        """Return the memory of a client's local update [byte]; see :func:`learners.training.costs.training_bytes`.

        Beside each weight lie what the optimizer remembers, ``more`` numbers of the method, and what was received,
        where a proximal term pulls back to it.
        """
        client = self.clients.get(device)
        if client is None:
            return 0.0
        layouts = [self.initial[part].layout for part in self.parts(client.modalities)]
        weights = sum(layout.weights for layout in layouts)
        return training_bytes(
            weights,
            sum(layout.size for layout in layouts) - weights,
            len(plan.rule.memories) + int(plan.rule.proximal > 0) + more,
            sum(self._kept[key] for key in (*client.modalities, FUSION)),
            min(plan.batch_size, len(client.train)),
        )

    def facts(self) -> Mapping[str, Any]:
        """Return data set, who takes part with how many samples, sizes and costs, for the run's metadata."""
        return {
            "data": self._data_facts,
            "sit_out": [k for k in range(self.setup.device_count) if k not in self.clients],
            "samples": {k: len(client.train) for k, client in self.clients.items()},
            "held_out": {k: len(client.validation) for k, client in self.clients.items()},
            "aggregation_weights": self.options.aggregation_weights,
            "losses": getattr(self.options, "losses", "blended"),
            "numbers_by_part": dict(self.costs.numbers),
            "costs_stated": self.setup.costs.stated is not None,
            **passes_facts(self.costs.passes),
            "bits": dict(self.costs.bits),
            **self.options.start_facts(),
        }
