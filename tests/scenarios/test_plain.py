"""Plain federated averaging and plain decentralized SGD cost what their one network costs, and nothing more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from torch import nn

NETWORK = nn.Sequential(
    *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
    *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
    *(nn.Linear(32 * 3 * 3, 64), nn.ReLU(), nn.Linear(64, 10)),
)
"""As one would write it, for images of 14 × 14."""
PRODUCTS = 14 * 14 * 9 * 16 + 7 * 7 * 9 * 16 * 32 + 288 * 64 + 64 * 10
"""Multiply-accumulates of a forward pass."""


@pytest.mark.parametrize("name", ["fedavg_fashion", "dpsgd_fashion"])
def test_one_network_with_one_head_is_sent_and_paid_for(name: str, run_scenario: Callable[..., Path]) -> None:
    """32 bits a parameter; two FLOPs a multiply-accumulate, here with a backward pass as dear as a forward pass."""
    folder = run_scenario(
        name, "rounds=1", "data.root=nowhere", "evaluation.samples=20", "costs.backward_to_forward=1"
    )
    parameters = sum(weight.numel() for weight in NETWORK.parameters())
    assert parameters == 23_946
    transfers = pd.read_parquet(folder / "transfers.parquet")
    assert len(transfers) and set(transfers["size_bits"]) == {32.0 * parameters}
    rounds = pd.read_parquet(folder / "rounds.parquet").set_index("device")
    samples = pd.read_parquet(folder / "devices.parquet").set_index("device")["samples"]
    busy = rounds[rounds["compute_s"] > 0]
    assert len(busy) >= 5
    for device, row in busy.iterrows():
        assert row["flops"] == pytest.approx(4 * PRODUCTS * samples[device], rel=1e-12)
        assert row["iterations_image"] == -(-samples[device] // 32), "the short last batch is kept"
    metrics = pd.read_parquet(folder / "metrics.parquet")
    told = metrics[metrics["name"].isin(["accuracy", "loss_head", "loss_task", "loss_total"])]
    assert set(told["modality"].fillna("")) == {""}, "nothing is told twice, or of a head that is not there"
