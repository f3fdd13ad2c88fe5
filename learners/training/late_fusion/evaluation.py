"""Evaluation of a model on the test samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from learners.networks.late_fusion import CLASSES, FUSION, LateFusion
from learners.networks.randomness import drawing_from_its_seed
from learners.networks.state import State, lend
from learners.training.objectives import loss_of

if TYPE_CHECKING:
    from learners.training.evaluation import Judge
    from learners.training.task import Store


@drawing_from_its_seed
def evaluate(
    architecture: LateFusion,
    state: State,
    store: Store,
    rows: Tensor,
    batch_size: int,
    torch_device: str,
    judge: Judge | None = None,
    devices: Sequence[int] = (),
) -> dict[str, Any]:
    """Test loss and accuracies of a model, on samples that have all its modalities.

    Args:
        architecture: Of the model's modalities.
        state: The model.
        store: All samples.
        rows: The test samples, int64 [samples].
        batch_size: Samples per forward pass.
        torch_device: Where to work.
        judge: What else is to be known.
        devices: Whose own mixes of classes count; see :meth:`Judge.judged`.

    Returns:
        ``loss``: the fused head's mean loss; where labels are classes, ``accuracy``: of its prediction, and
        ``accuracy/<modality>``: of the modality's own head, where it has one; ``judged``: metrics of the ``judge``.
    """
    net = architecture.net(torch_device)
    lend(net.parts(), state)
    dtype = state[FUSION].row.bank.dtype
    net.eval()
    said: list[Tensor] = []
    own = tuple(net.heads)
    loss = torch.zeros((), dtype=torch.float64, device=torch_device)
    correct = torch.zeros(1 + len(own), dtype=torch.int64, device=torch_device)
    with torch.inference_mode():
        for part in rows.to(torch_device).split(batch_size):
            labels = store.labels[part]
            inputs = {m: store.seen(m, part, dtype) for m in net.modalities}
            outputs = net(inputs, len(part))
            logits = torch.stack([outputs.fused, *(outputs.heads[m] for m in own)])  # [1 + M, B, C]
            correct += (logits.argmax(-1) == labels).sum(1)
            loss += loss_of(net.loss, outputs.fused, labels, summed=True)
            said += [outputs.fused] if judge is not None else []
    names = ["accuracy", *(f"accuracy/{m}" for m in own)]
    right = {name: count / len(rows) for name, count in zip(names, correct.tolist(), strict=True)}
    right = right if net.loss == CLASSES else {}
    judged = judge.judged(said, store.labels[rows.to(torch_device)], devices) if judge is not None else []
    return {"loss": loss.item() / len(rows), **right, "judged": judged}
