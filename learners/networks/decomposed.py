"""The multi-modal network: a trunk per modality, linear classifiers, one bias (DMML-KD, Figs. 3 and 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from learners.networks.folded import project
from learners.networks.network import Trunk

EVERYWHERE = "common"
"""The part that all modalities share."""


class Outputs(NamedTuple):
    """The outputs of one forward pass, for A active modalities, a batch of B and C classes.

    Of K networks all have a first axis [K] more.

    Attributes:
        common: Modality-common features ĥ [A, B, L̂]; empty in the concatenating network.
        specific: Modality-specific features ȟ [A, B, L̂], or all features [A, B, L] in the concatenating network.
        common_logits: ŵ ĥ [A, B, C], without bias; empty in the concatenating network.
        modality_logits: Each modality's part of the logits [A, B, C], without bias.
        logits: Their sum plus the bias [B, C] (eqs. 2, 5 and 17).
        generated_logits: ŵ h^G [B, C] of generated features, without bias; None where there were none.
        bias: b [C].
    """

    common: Tensor
    specific: Tensor
    common_logits: Tensor
    modality_logits: Tensor
    logits: Tensor
    generated_logits: Tensor | None
    bias: Tensor

    @property
    def per_modality(self) -> Tensor:
        """Return each active modality's own prediction, with its share b/A of the bias [A, B, C] (eq. 27)."""
        return self.modality_logits + self.bias[..., None, None, :] / self.modality_logits.shape[-3]


class Head(nn.Module):
    """The part shared by all modalities: the common classifier ŵ (unless the network concatenates) and the bias b."""

    def __init__(self, feature_count: int, class_count: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(feature_count, class_count, bias=False) if feature_count else None
        self.bias = nn.Parameter(torch.zeros(class_count))


class DecomposedNet(nn.Module):
    """The decomposed network, eq. (5): c = Σ_m (ŵ ĥ^m + w̌^m ȟ^m) + b over the active modalities.

    The first half of a trunk's features is modality-common, the second modality-specific. With
    ``decomposed=False`` it is the concatenating network of Fig. 3, eq. (2): every classifier uses all
    features of its modality, and only the bias is shared.
    """

    def __init__(self, trunks: Mapping[str, Trunk], class_count: int, decomposed: bool = True) -> None:
        super().__init__()
        feature_count = next(iter(trunks.values())).feature_count
        self.modalities = tuple(trunks)
        self.common_count = feature_count // 2 if decomposed else 0
        self.trunks = nn.ModuleDict(trunks)
        self.specific = nn.ModuleDict(
            {m: nn.Linear(feature_count - self.common_count, class_count, bias=False) for m in trunks}
        )
        self.head = Head(self.common_count, class_count)

    def forward(self, inputs: Mapping[str, Tensor], generated: Tensor | None = None) -> Outputs:
        """Compute features and logits from the modalities in ``inputs``, the active ones (P = 1 in eq. 17).

        Args:
            inputs: Inputs by active modality, at least one, [B, ...].
            generated: Features h^G [B, L̂] that the common classifier is to classify too.
        """
        head = self.head
        shared = {} if head.classifier is None else {"classifier.weight": head.classifier.weight}
        tensors: dict[str, Mapping[str, Tensor]] = {EVERYWHERE: {**shared, "bias": head.bias}}
        for m in inputs:
            tensors[f"specific/{m}"] = {"weight": self.specific[m].weight}  # type: ignore[dict-item]
        return self._outputs(
            lambda m: self.trunks[m](inputs[m]),
            lambda x, weight: x @ weight.transpose(-1, -2),
            tensors,
            inputs,
            generated,
        )

    def stacked(
        self,
        tensors: Mapping[str, Mapping[str, Tensor]],
        inputs: Mapping[str, Tensor],
        generated: Tensor | None = None,
    ) -> Outputs:
        """Compute the same of K such networks.

        Args:
            tensors: By part and name, parameters and buffers of the networks [K, *shape].
            inputs: Inputs by active modality [K, B, ...].
            generated: Features [K, B, L̂].
        """
        return self._outputs(
            lambda m: self.trunks[m].stacked(tensors[f"trunk/{m}"], inputs[m]),  # type: ignore[operator]
            project,
            tensors,
            inputs,
            generated,
        )

    def _outputs(
        self,
        features_of: Callable[[str], Tensor],
        times: Callable[[Tensor, Tensor], Tensor],
        tensors: Mapping[str, Mapping[str, Tensor]],
        inputs: Mapping[str, Tensor],
        generated: Tensor | None,
    ) -> Outputs:
        """Do what both forward passes have in common.

        Args:
            features_of: From a modality to its trunk's features.
            times: From features [..., B, L] and weights [..., C, L] to logits [..., B, C].
            tensors: Of the classifiers and of the bias.
            inputs: By active modality.
            generated: See :meth:`forward`.
        """
        active = [m for m in self.modalities if m in inputs]
        features = _stack([features_of(m) for m in active])
        common, specific = features[..., : self.common_count], features[..., self.common_count :]
        classifiers = _stack([tensors[f"specific/{m}"]["weight"] for m in active])  # [A, C, L̂]
        modality_logits = times(specific, classifiers)
        common_logits, generated_logits = modality_logits.new_empty(0), None
        if self.common_count:
            classifier = tensors[EVERYWHERE]["classifier.weight"]  # [C, L̂]
            common_logits = times(common, classifier if classifier.dim() == 2 else classifier[:, None])
            modality_logits = modality_logits + common_logits
            generated_logits = None if generated is None else times(generated, classifier)
        bias = tensors[EVERYWHERE]["bias"]
        fused = modality_logits.sum(-3) if len(active) > 1 else modality_logits.squeeze(-3)
        return Outputs(
            common,
            specific,
            common_logits,
            modality_logits,
            fused + bias[..., None, :],
            generated_logits,
            bias,
        )

    def logits(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the logits [B, C] of samples by modality [B, ...]."""
        return self({m: inputs[m] for m in self.modalities}).logits

    def parts(self) -> dict[str, nn.Module]:
        """Return the modules that are sent together, by the part's name; see :mod:`learners.networks.state`."""
        modules: dict[str, nn.Module] = {}
        for modality in self.modalities:
            modules[f"trunk/{modality}"] = self.trunks[modality]
            modules[f"specific/{modality}"] = self.specific[modality]
        return {**modules, EVERYWHERE: self.head}


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    """Stack before the last two axes, as ``torch.stack``, which copies even a single one."""
    return torch.stack(list(tensors), -3) if len(tensors) > 1 else tensors[0].unsqueeze(-3)
