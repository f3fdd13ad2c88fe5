"""The multi-modal network: a trunk per modality, linear classifiers, one bias (DMML-KD, Figs. 3 and 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from learners.networks.network import Trunk


class Outputs(NamedTuple):
    """The outputs of one forward pass, for A active modalities, a batch of B and C classes.

    Attributes:
        common: Modality-common features ĥ [A, B, L̂]; empty in the concatenating network.
        specific: Modality-specific features ȟ [A, B, L̂], or all features [A, B, L] in the concatenating network.
        common_logits: ŵ ĥ [A, B, C], without bias; empty in the concatenating network.
        modality_logits: Each modality's part of the logits [A, B, C], without bias.
        logits: Their sum plus the bias [B, C] (eqs. 2, 5 and 17).
    """

    common: Tensor
    specific: Tensor
    common_logits: Tensor
    modality_logits: Tensor
    logits: Tensor


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

    def forward(self, inputs: Mapping[str, Tensor]) -> Outputs:
        """Compute features and logits from the modalities in ``inputs``, the active ones (P = 1 in eq. 17).

        Args:
            inputs: Inputs by active modality, at least one, [B, ...].
        """
        features = torch.stack([self.trunks[m](inputs[m]) for m in self.modalities if m in inputs])
        common, specific = features[..., : self.common_count], features[..., self.common_count :]
        weights = torch.stack([self.classifier(m) for m in self.modalities if m in inputs])  # [A, C, L̂]
        modality_logits = specific @ weights.transpose(1, 2)
        common_logits = modality_logits.new_empty(0)
        if self.head.classifier is not None:
            common_logits = self.head.classifier(common)
            modality_logits = modality_logits + common_logits
        return Outputs(
            common, specific, common_logits, modality_logits, modality_logits.sum(0) + self.head.bias
        )

    def classifier(self, modality: str) -> Tensor:
        """Return the weights of the specific classifier w̌^m [C, L̂]."""
        weight = self.specific[modality].weight
        assert isinstance(weight, Tensor)
        return weight

    def per_modality(self, outputs: Outputs) -> Tensor:
        """Compute each active modality's own prediction, with its share b/A of the bias [A, B, C] (eq. 27)."""
        return outputs.modality_logits + self.head.bias / outputs.modality_logits.shape[0]

    def parts(self) -> dict[str, nn.Module]:
        """Return the modules that are sent together, by the part's name; see :mod:`learners.training.state`."""
        modules: dict[str, nn.Module] = {}
        for modality in self.modalities:
            modules[f"trunk/{modality}"] = self.trunks[modality]
            modules[f"specific/{modality}"] = self.specific[modality]
        return {**modules, "common": self.head}
