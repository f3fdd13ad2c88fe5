"""Local updates of late-fusion networks whose trunks begin with a wide linear layer, in dual form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from learners.data.dataset import Transform
from learners.networks.late_fusion import FUSION, trunk_part
from learners.training.dual_form import DualForm, has_dual_form, with_weights
from learners.training.late_fusion.samples import Client, Samples

if TYPE_CHECKING:
    from learners.networks.late_fusion import LateFusionNet
    from learners.networks.state import Part, State
    from learners.training.late_fusion.plan import LocalPlan


@dataclass(frozen=True)
class Problem:
    """Several clients' training.

    Attributes:
        states: Their states.
        samples: Their samples, of those clients whose numbers are in ``devices``.
        devices: Their numbers in ``samples``.
    """

    states: Sequence[State]
    samples: Samples
    devices: Sequence[int]


class Ready(Transform):
    """Inputs as they are stored, in the working precision."""

    def test(self, batch: Tensor) -> Tensor:
        """Return ``batch``."""
        return batch


class Dual:
    """A problem, with those trunks in dual form that it makes less work of."""

    def __init__(
        self, net: LateFusionNet, problem: Problem, plan: LocalPlan, corrected: bool = False
    ) -> None:
        """Find the trunks; there may be none.

        Args:
            net: The clients' network.
            problem: What they are to train on.
            plan: How.
            corrected: Whether something is added to gradients, which is no sum over samples.
        """
        self.problem, self._forms = problem, dict[str, DualForm]()
        own = [problem.samples.clients[device] for device in problem.devices]
        store, most = problem.samples.store, max(len(client.train) for client in own)
        chosen = [
            m
            for m in net.modalities
            if not (plan.bf16 or corrected)
            and type(store.transforms[m]).change is Transform.change  # samples are the same in each step
            and has_dual_form(
                net.trunks[m],  # type: ignore[arg-type]
                problem.states[0][trunk_part(m)].layout,
                plan.rule,
                most,
            )
        ]
        if chosen:
            self.problem = self._changed(net, problem, own, chosen)

    def _changed(
        self, net: LateFusionNet, problem: Problem, clients: Sequence[Client], chosen: Sequence[str]
    ) -> Problem:
        """Return the problem with the trunks of the ``chosen`` modalities in dual form."""
        states, store = problem.states, problem.samples.store
        held = [np.concatenate([client.train, client.validation]) for client in clients]
        starts = list(accumulate(map(len, held), initial=0))
        rows = torch.from_numpy(np.concatenate(held)).to(store.labels.device)
        dtype = states[0][FUSION].row.bank.dtype
        places = [slice(start, start + len(one.train)) for start, one in zip(starts, clients, strict=False)]
        inputs, transforms = {}, dict(store.transforms)
        parts: list[dict[str, Part]] = [dict(state) for state in states]
        for m in net.modalities:
            if m not in chosen:
                inputs[m] = store.inputs[m].index_select(0, rows)
                continue
            part, first = trunk_part(m), net.trunks[m].first_linear
            form = self._forms[part] = DualForm(
                f"{first}.weight",
                [with_weights(state[part]) for state in states],
                store.seen(m, rows, dtype).flatten(1),
                places,
            )
            inputs[m], transforms[m] = form.inputs, Ready()
            for own, short in zip(parts, form.parts(), strict=True):
                own[part] = short
        numbered = {
            k: _renumbered(client, own, start)
            for k, (client, own, (start, _)) in enumerate(zip(clients, held, pairwise(starts), strict=True))
        }
        labels = store.labels.index_select(0, rows)
        changed = replace(store, inputs=inputs, labels=labels, transforms=transforms, shares={})
        return Problem(parts, Samples(changed, numbered), range(len(clients)))

    def restored(self, states: Sequence[State]) -> Sequence[State]:
        """Return the clients' ``states`` after their training, with weights in place of coefficients."""
        if not self._forms:
            return states
        found: list[dict[str, Part]] = [dict(state) for state in states]
        for part, form in self._forms.items():
            for own, long in zip(found, form.restored([one[part] for one in states]), strict=True):
                own[part] = long
        return list[Mapping[str, "Part"]](found)


def _renumbered(client: Client, held: np.ndarray, start: int) -> Client:
    """Return ``client`` with its samples ``held`` numbered from ``start``: those for training, then the others."""
    numbers = start + np.arange(len(held))
    trained = len(client.train)
    absent = {m: numbers[np.isin(held, lacking)] for m, lacking in client.absent.items()}
    return Client(client.modalities, numbers[:trained], numbers[trained:], absent)
