"""Judging a device's model on the test samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from learners.networks.randomness import drawing_from_its_seed
from learners.training.batched import Alone, Together, Way
from learners.training.objectives import cross_entropy
from learners.training.stack import ALL

if TYPE_CHECKING:
    from learners.networks.architecture import Architecture
    from learners.networks.decomposed import DecomposedNet, Outputs
    from learners.networks.state import State
    from learners.training.evaluation import Judge
    from learners.training.task import Store


@drawing_from_its_seed
def evaluate(
    architecture: Architecture,
    state: State,
    store: Store,
    rows: Tensor,
    batch_size: int,
    torch_device: str,
    judge: Judge | None = None,
    devices: Sequence[int] = (),
) -> dict[str, Any]:
    """Test loss and accuracies of a device that predicts with its own modalities (eq. 5).

    Args:
        architecture: Of the device's own modalities.
        state: Its model.
        store: All samples.
        rows: The test samples, int64 [samples].
        batch_size: Samples per forward pass.
        torch_device: Where to work.
        judge: What else is to be known.
        devices: Whose own mixes of classes count; see :meth:`Judge.judged`.

    Returns:
        ``loss``: mean cross-entropy; ``accuracy``: of the fused prediction; ``accuracy/<modality>``: of each
        modality's own (eq. 27); ``judged``: metrics of the ``judge``.
    """
    way = Alone(architecture.model(torch_device).net, state, None)
    return _evaluated(way, store, rows, batch_size, judge, [devices])[0]


def evaluate_stacked(jobs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Evaluate several devices of one architecture, as :func:`evaluate` does, on the same test samples."""
    architecture, store, rows = (jobs[0][name] for name in ("architecture", "store", "rows"))
    net = architecture.model(jobs[0]["torch_device"]).net
    way = Together(net, [job["state"] for job in jobs], None)
    return _evaluated(
        way, store, rows, jobs[0]["batch_size"], jobs[0]["judge"], [job["devices"] for job in jobs]
    )


def _evaluated(
    way: Way,
    store: Store,
    rows: Tensor,
    batch_size: int,
    judge: Judge | None,
    devices: Sequence[Sequence[int]],
) -> list[dict[str, Any]]:
    """Evaluate one device, or several."""
    net: DecomposedNet = way.net
    net.eval()
    own = net.modalities if len(net.modalities) > 1 else ()  # a single one's logits are the fused ones
    at = store.labels.device
    loss = torch.zeros(way.count, dtype=torch.float64, device=at)
    correct = torch.zeros(way.count, 1 + len(own), dtype=torch.int64, device=at)
    said: list[Tensor] = []
    with torch.no_grad():  # in inference mode PyTorch vectorises no recurrent layer
        for part in rows.to(at).split(batch_size):
            inputs = {m: _for_all(way, store.seen(m, part, way.dtype)) for m in net.modalities}
            labels = _for_all(way, store.labels[part])
            outputs: Outputs = way.forward(ALL, inputs)
            logits = outputs.logits.unsqueeze(-3)
            if own:
                logits = torch.cat([logits, outputs.per_modality], dim=-3)  # [1 + A, B, C]
            correct += (logits.contiguous().argmax(-1) == labels.unsqueeze(-2)).sum(-1)
            loss += cross_entropy(outputs.logits, labels, summed=True)
            said += [outputs.logits.reshape(way.count, *labels.shape[-1:], -1)] if judge is not None else []
    found = [
        _result(total, right, net.modalities, len(rows))
        for total, right in zip(loss.tolist(), correct.tolist(), strict=True)
    ]
    if judge is not None:
        for k, result in enumerate(found):
            result["judged"] = judge.judged([own[k] for own in said], store.labels[rows.to(at)], devices[k])
    return found


def _for_all(way: Way, samples: Tensor) -> Tensor:
    """Return the same samples for each device."""
    return way.own(samples.expand(way.count, *samples.shape))


def shortened(inputs: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """Inputs of an evaluation like this one on about ``steps`` batches, to measure with."""
    return {**inputs, "rows": inputs["rows"][: steps * inputs["batch_size"]]}


def _result(loss: float, correct: Sequence[int], modalities: Sequence[str], samples: int) -> dict[str, Any]:
    """Return shares of ``correct``, the right fused predictions and each modality's; of one modality they are equal."""
    counts = correct if len(modalities) > 1 else [correct[0]] * 2
    names = ["accuracy", *(f"accuracy/{m}" for m in modalities)]
    right = {name: count / samples for name, count in zip(names, counts, strict=True)}
    return {"loss": loss / samples, **right}
