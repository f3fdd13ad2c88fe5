"""Eqs. (6) to (16) of DMML-KD on inputs that need no calculator."""

from __future__ import annotations

from math import log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from learners.networks.decomposed import Outputs
from learners.training.decomposed import losses
from learners.training.decomposed.plan import LossWeights


def logits_of(*probabilities: list[float]) -> torch.Tensor:
    """Logits whose softmax are the given distributions."""
    return torch.tensor(probabilities, dtype=torch.float64).log()


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_similarity_is_the_mean_of_both_directions() -> None:
    """P = (1/2, 1/2), q = (1/4, 3/4), one sample, two modalities: two ordered pairs, divided by 2 · 1.

    KL(p‖q) = ½ ln 2 + ½ ln ⅔ = ½ ln 4/3; KL(q‖p) = ¼ ln ½ + ¾ ln 3/2.
    """
    pair = torch.stack([logits_of([0.5, 0.5]), logits_of([0.25, 0.75])])
    expected = (0.5 * log(4 / 3) + 0.25 * log(0.5) + 0.75 * log(1.5)) / 2
    assert losses.similarity_loss(pair).item() == pytest.approx(expected, rel=1e-12)


def test_similarity_of_three_modalities_averages_six_pairs_and_the_batch() -> None:
    c = random(3, 4, 5)
    log_p = c.log_softmax(-1)
    pairs = [
        (log_p[a].exp() * (log_p[a] - log_p[b])).sum(-1).mean() for a in range(3) for b in range(3) if a != b
    ]
    assert losses.similarity_loss(c).item() == pytest.approx(sum(pairs).item() / 6, rel=1e-12)  # type: ignore[union-attr]


def test_similarity_is_zero_where_predictions_agree_and_does_not_care_for_order() -> None:
    same = random(1, 4, 3).repeat(2, 1, 1)
    assert losses.similarity_loss(same).item() == pytest.approx(0, abs=1e-15)
    assert losses.similarity_loss(same + 7.0).item() == pytest.approx(0, abs=1e-15)
    two = random(2, 4, 3)
    assert losses.similarity_loss(two).item() > 0
    assert losses.similarity_loss(two).item() == pytest.approx(losses.similarity_loss(two.flip(0)).item())


def test_auxiliary_loss_averages_over_samples_and_modalities() -> None:
    """True class at probability ½ in one modality and ¼ in the other: (ln 2 + ln 4)/2 = 1.5 ln 2."""
    c = torch.stack([logits_of([0.5, 0.5]), logits_of([0.25, 0.75])])
    assert losses.auxiliary_loss(c, torch.tensor([0])).item() == pytest.approx(1.5 * log(2))


def test_raw_difference_is_the_printed_norm() -> None:
    """ĥ = [(1,0), (1,1)], ȟ = [(2,0), (0,1)] as rows: products of all sample pairs 2, 0, 2, 1; squares 4 + 4 + 1."""
    common, specific = torch.tensor([[[1.0, 0], [1, 1]]]), torch.tensor([[[2.0, 0], [0, 1]]])
    assert losses.difference_loss(common, specific, "raw").item() == 9.0
    twice = losses.difference_loss(common.repeat(2, 1, 1), specific.repeat(2, 1, 1), "raw")
    assert twice.item() == 18.0, "summed over modalities"


def test_dsn_difference_is_the_mean_square_of_the_feature_products() -> None:
    """The feature × feature matrix written out, as Domain Separation Networks do."""
    common, specific = random(2, 6, 4), random(2, 6, 4, seed=1)
    expected = 0.0
    for h, s in zip(common, specific, strict=True):
        h, s = h - h.mean(0), s - s.mean(0)
        h, s = (x / (x.norm(dim=1, keepdim=True) + 1e-6) for x in (h, s))
        expected += (h.T @ s).square().mean().item()
    assert losses.difference_loss(common, specific).item() == pytest.approx(expected, rel=1e-10)


def test_dsn_difference_survives_a_sample_that_equals_the_mean() -> None:
    common = torch.ones(1, 3, 4, requires_grad=True)
    loss = losses.difference_loss(common, torch.ones(1, 3, 4))
    loss.backward()
    assert loss.item() == 0.0
    assert common.grad is not None and common.grad.isfinite().all()


def test_distillation_directions() -> None:
    """Local p = (½, ½), generated q = (¼, ¾): literal KL(p‖q) = ½ ln 4/3, FedGen's KL(q‖p) = ¼ ln ½ + ¾ ln 3/2."""
    local, generated = logits_of([0.5, 0.5])[None], logits_of([0.25, 0.75])
    assert losses.distillation_loss(local, generated).item() == pytest.approx(0.5 * log(4 / 3))
    expected = 0.25 * log(0.5) + 0.75 * log(1.5)
    assert losses.distillation_loss(local, generated, "fedgen").item() == pytest.approx(expected)


@given(st.integers(0, 1000))
def test_distillation_is_not_negative_and_zero_at_the_generated_feature(seed: int) -> None:
    local, generated = random(2, 3, 4, seed=seed), random(3, 4, seed=seed + 1)
    for direction in ("literal", "fedgen"):
        assert losses.distillation_loss(local, generated, direction).item() > 0
        same = losses.distillation_loss(generated[None], generated, direction)
        assert same.item() == pytest.approx(0, abs=1e-14)


def test_who_learns_from_distillation() -> None:
    """Literal: the classifier's gradient flows through both sides; FedGen: the generated side is fixed."""
    for direction, moves in (("literal", True), ("fedgen", False)):
        generated = random(3, 4, seed=1).requires_grad_()
        losses.distillation_loss(random(2, 3, 4).requires_grad_(), generated, direction).backward()
        assert (generated.grad is not None and bool(generated.grad.abs().sum() > 0)) == moves


def test_generator_loss_adds_the_distance_itself_not_its_square() -> None:
    """h^G − h̄ = (3, 4): distance 5; uniform prediction of two classes: ln 2; β = 2 gives ln 2 + 10."""
    h = torch.tensor([[3.0, 4.0]])
    loss = losses.generator_loss(h, torch.zeros(1, 2), torch.tensor([1]), torch.zeros(1, 2), beta=2.0)
    assert loss.item() == pytest.approx(log(2) + 10)


def test_generator_loss_has_a_gradient_at_the_mean_itself() -> None:
    h = torch.ones(1, 2, requires_grad=True)
    losses.generator_loss(h, torch.zeros(1, 2), torch.tensor([0]), torch.ones(1, 2), beta=1.0).backward()
    assert h.grad is not None and h.grad.isfinite().all()


@pytest.mark.parametrize("form, direction", [("dsn", "literal"), ("raw", "fedgen")])
@pytest.mark.parametrize("modalities", [1, 3])
def test_losses_of_several_devices_are_those_of_each(form: str, direction: str, modalities: int) -> None:
    """Four devices at once, whichever way their logits lie in memory."""
    weights = LossWeights(0.5, 0.7, 0.9, 1.1, form, direction)
    features, logits = (4, modalities, 6, 5), (4, modalities, 6, 3)
    sideways = random(4, modalities, 3, 6, seed=3).transpose(-1, -2)
    every = Outputs(
        random(*features), random(*features, seed=1), random(*logits, seed=2), sideways,
        sideways.sum(1), random(4, 6, 3, seed=4), random(4, 3, seed=5),
    )  # fmt: skip
    labels = torch.arange(24).view(4, 6) % 3
    found = losses.network_losses(every, labels, weights)
    for k in range(4):
        own = Outputs(*(one[k].contiguous() for one in every if one is not None))
        expected = losses.network_losses(own, labels[k], weights)
        assert list(found) == list(expected)
        assert ("loss_similarity" in found) == (modalities > 1)
        for name, value in expected.items():
            torch.testing.assert_close(found[name][k], value, rtol=1e-12, atol=1e-14)
    aims = random(4, 6, 5, seed=6)
    assert every.generated_logits is not None
    both = losses.generator_loss(every.common[:, 0], every.generated_logits, labels, aims, 2.0)
    for k in range(4):
        alone = losses.generator_loss(every.common[k, 0], every.generated_logits[k], labels[k], aims[k], 2.0)
        torch.testing.assert_close(both[k], alone, rtol=1e-12, atol=1e-14)
