"""Every shipped learner keeps the promises of the interface, and the checker notices who does not."""

from __future__ import annotations

import itertools
import subprocess
import sys

import networkx as nx
import pytest
import torch
from tiny_task import Deal, make_setup

from learners.checks import BrokenPromise, check_learner
from learners.data.dataset import MultimodalDataset, Split
from learners.dmml.dmml import DMML
from learners.federated.fedavg import FedAvg
from netsim.core.registry import load, names
from netsim.former.learning import Learner, Message, Workload
from netsim.learner import Metric

PATH = nx.path_graph(3)


DISTILLING = {
    "fedmd": {"public_epochs": 1, "private_epochs": 1, "revisit_epochs": 1},
    "fedzkt": {"distillation_iterations": 2, "server_batch_size": 4, "local_epochs": 1},
    "mhd": {"local_steps": 2, "batch_size": 8},
}
"""Those that learn from one modality, and mostly from public samples."""


class SetAside(Deal):
    """As dealt, and the last rows for everybody."""

    def split(self, data: MultimodalDataset, device_count: int, seed: int) -> Split:
        return Split(self.deal(data, device_count, seed), data.train[-12:])


FORMER = [name for name in names("learners") if issubclass(load("learners", name), Learner)]
"""Those that the checker knows how to play."""


@pytest.mark.parametrize("name", FORMER)
def test_shipped_learners_keep_their_promises(name: str) -> None:
    partition, options = Deal({0: ("audio",), 1: ("audio", "visual")}, rows=16), {}
    if name in DISTILLING:
        partition, options = SetAside(rows=16), {"modalities": ["visual"], **DISTILLING[name]}
    setup = make_setup(name, devices=3, partition=partition, **options)
    check_learner(lambda: load("learners", name)(setup), PATH)


def test_a_learner_without_a_server_needs_a_graph() -> None:
    with pytest.raises(TypeError, match="needs a graph"):
        check_learner(lambda: load("learners", "stub")(make_setup("stub")))


def check_with_server(**methods: object) -> None:
    cls = type("Offender", (FedAvg,), methods)
    check_learner(lambda: cls(make_setup("fedavg", devices=3, head_hidden=6, partition=Deal(rows=8))))


def test_a_server_that_changes_what_arrived_is_caught() -> None:
    def combine(self, device, round, arrived):  # type: ignore[no-untyped-def]
        for upload in arrived.values():
            upload.result.state["fusion"].weights.mul_(0.5)
        return FedAvg.combine(self, device, round, arrived)

    with pytest.raises(BrokenPromise, match=r"device 3, round 1: combine\(\) changed what arrived"):
        check_with_server(combine=combine)


def test_a_client_that_sends_the_server_nothing_is_caught() -> None:
    with pytest.raises(BrokenPromise, match="device 0, round 1: must send the server one message"):
        check_with_server(messages=lambda *_: ())


def test_two_messages_in_one_transmission_are_caught() -> None:
    def download(self, round, devices, together=False):  # type: ignore[no-untyped-def]
        return [Message((k,), 8.0, self._version(round - 1)) for k in devices]

    with pytest.raises(BrokenPromise, match="round 1: more than one message where all hear one transmission"):
        check_with_server(download=download)


def offender(**methods: object) -> type[DMML]:
    return type("Offender", (DMML,), methods)


def check(cls: type[DMML]) -> None:
    check_learner(lambda: cls(make_setup("dmml", devices=3, partition=Deal(rows=8))), PATH)


def test_a_payload_that_changes_after_it_was_sent_is_caught() -> None:
    def combine(self, device, round, arrived):  # type: ignore[no-untyped-def]
        for tensor in self._trained(device, round)["common"].values():
            tensor.add_(1.0)
        return DMML.combine(self, device, round, arrived)

    with pytest.raises(BrokenPromise, match=r"what arrived|payload changed after it was handed over"):
        check(offender(combine=combine))


def test_a_seed_that_is_not_the_only_source_of_chance_is_caught() -> None:
    ticks = itertools.count()

    def workload(self, device, round, budget):  # type: ignore[no-untyped-def]
        return Workload({}, {"chance": float(next(ticks))})

    with pytest.raises(BrokenPromise, match="same seed, different workload: device 0, round 1"):
        check(offender(workload=workload, training_job=lambda *_: None, messages=lambda *_: ()))


def test_a_result_that_depends_on_who_came_first_is_caught() -> None:
    class Offender(DMML):
        def combine(self, device, round, arrived):  # type: ignore[no-untyped-def]
            return [Metric("accuracy", float(next(iter(arrived), -1)))]

    with pytest.raises(BrokenPromise, match="another order, different metrics of combining: device 1"):
        check(Offender)


def test_what_stays_in_the_copy_that_answers_is_caught() -> None:
    class Offender(DMML):
        def workload(self, device, round, budget):  # type: ignore[no-untyped-def]
            self.kept = getattr(self, "kept", 0) + 1
            return DMML.workload(self, device, round, budget)

        def apply(self, device, round, result):  # type: ignore[no-untyped-def]
            metrics = DMML.apply(self, device, round, result)
            return metrics if hasattr(self, "kept") else ()

    with pytest.raises(
        BrokenPromise, match="one copy answers and another one works, different metrics of tr"
    ):
        check(Offender)


def test_a_size_that_follows_from_what_was_learnt_is_caught() -> None:
    class Offender(DMML):
        def messages(self, device, round, neighbours):  # type: ignore[no-untyped-def]
            bits = 64.0 if round > 1 and self._memories else 32.0
            return [m._replace(size_bits=bits) for m in DMML.messages(self, device, round, neighbours)]

    with pytest.raises(BrokenPromise, match=r"device 0, round 2: messages\(\) depends on what was learnt"):
        check(Offender)


def test_what_is_not_taken_home_is_caught() -> None:
    with pytest.raises(BrokenPromise, match=r"device 0: take_home\(\) does not take over all"):
        check(offender(take_home=lambda *_: None))


def test_a_size_that_is_no_size_is_caught() -> None:
    def messages(self, device, round, neighbours):  # type: ignore[no-untyped-def]
        return [Message(tuple(neighbours), float("nan"))]

    with pytest.raises(BrokenPromise, match="size_bits must be finite"):
        check(offender(messages=messages))


def test_a_metric_that_nobody_explained_is_caught() -> None:
    with pytest.raises(BrokenPromise, match="'magic' is not explained in METRICS"):
        check(offender(apply=lambda *_: [Metric("magic", 1.0)]))


def spoil(state: dict[str, dict[str, torch.Tensor]]) -> None:
    state["common"]["bias"].add_(1.0)


def test_a_job_that_changes_its_inputs_is_caught() -> None:
    def training_job(self, device, round, workload):  # type: ignore[no-untyped-def]
        job = DMML.training_job(self, device, round, workload)
        return type(job)(spoil, {"state": job.inputs["state"]})

    with pytest.raises(BrokenPromise, match="the job changed its inputs"):
        check(offender(training_job=training_job))


def test_the_stub_and_the_checker_need_no_pytorch() -> None:
    code = "import learners.stub, learners.checks, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
