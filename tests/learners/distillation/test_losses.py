"""The losses of distillation, against numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from learners.training.distillation.losses import (
    absolute_error,
    chosen,
    disagreement,
    divergence,
    embedding_distance,
    most_confident,
    towards,
)

KINDS = ("kl", "sl", "l1")


def logs(*rows: Any) -> torch.Tensor:
    """Logits whose softmax is ``rows``."""
    return torch.tensor(rows, dtype=torch.float64).log()


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_cross_entropy_to_probabilities_is_a_sum_over_classes_and_a_mean_over_samples() -> None:
    target = torch.tensor([[1.0, 0.0], [0.5, 0.5]], dtype=torch.float64)
    logits = logs([0.25, 0.75], [0.5, 0.5])
    assert towards(target, logits).item() == pytest.approx((math.log(4) + math.log(2)) / 2)


def test_cross_entropy_to_labels_is_that_to_certainty() -> None:
    logits, labels = noise(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    certain = torch.eye(4, dtype=torch.float64)[labels]
    torch.testing.assert_close(
        towards(certain, logits), torch.nn.functional.cross_entropy(logits, labels), rtol=1e-12, atol=0
    )


def test_the_candidate_with_the_greatest_probability_is_the_target_of_each_sample() -> None:
    """Confidence is the greatest probability, not the number of its class: 0.7 of class 0 beats 0.6 of class 1."""
    own = [[0.7, 0.3], [0.5, 0.5], [0.2, 0.8]]
    other = [[0.4, 0.6], [0.1, 0.9], [0.75, 0.25]]
    found = most_confident(torch.tensor([own, other]))
    assert found.place.tolist() == [0, 1, 0]
    assert torch.equal(found.target, torch.tensor([own[0], other[1], own[2]]))


def test_among_equals_the_first_wins() -> None:
    own, other = [[0.25, 0.75]], [[0.75, 0.25]]
    for order in ([own, other, other], [other, own, own]):
        found = most_confident(torch.tensor(order))
        assert found.place.tolist() == [0]
        assert found.target.tolist() == order[0]


def test_a_target_can_be_named_by_its_place() -> None:
    candidates = noise(3, 4, 2).softmax(-1)
    place = torch.tensor([2, 0, 1, 2])
    found = chosen(candidates, place)
    assert torch.equal(found.target, torch.stack([candidates[p, n] for n, p in enumerate(place.tolist())]))


def test_nothing_is_learnt_through_a_target() -> None:
    candidates, own, logits = noise(2, 5, 3), noise(5, 3, seed=1), noise(5, 3, seed=2)
    for tensor in (candidates, own, logits):
        tensor.requires_grad_()
    towards(most_confident(candidates.softmax(-1)).target, logits).backward()
    embedding_distance(own, candidates[0]).backward()
    absolute_error(candidates[0], logits).backward()
    divergence(candidates[0], logits).backward()
    assert candidates.grad is None
    assert own.grad is not None and logits.grad is not None


def test_distance_of_embeddings_is_that_of_unit_vectors_squared() -> None:
    """(3, 4) and (4, 3): (3/5 − 4/5)² + (4/5 − 3/5)² = 0.08; opposite ones: 4; at right angles: 2; mean of these."""
    own = torch.tensor([[3.0, 4.0], [1.0, 2.0], [0.0, 5.0]], dtype=torch.float64)
    other = torch.tensor([[4.0, 3.0], [-2.0, -4.0], [7.0, 0.0]], dtype=torch.float64)
    each = [embedding_distance(own[n : n + 1], other[n : n + 1]).item() for n in range(3)]
    assert each == pytest.approx([0.08, 4.0, 2.0])
    assert embedding_distance(own, other).item() == pytest.approx(6.08 / 3)


def test_distance_of_embeddings_knows_directions_only() -> None:
    for seed in range(20):
        own, other = noise(1, 4, seed=seed), noise(1, 4, seed=100 + seed)
        found = embedding_distance(own, other).item()
        assert 0 < found < 4
        assert embedding_distance(7.0 * own, other).item() == pytest.approx(found)
        assert embedding_distance(own, 0.01 * other).item() == pytest.approx(found)
        assert embedding_distance(own, 3.0 * own).item() == pytest.approx(0.0, abs=1e-12)
        assert embedding_distance(own, -3.0 * own).item() == pytest.approx(4.0)


def test_an_embedding_of_zeros_has_a_distance_and_a_gradient() -> None:
    own = torch.zeros(2, 3, requires_grad=True)
    embedding_distance(own, torch.ones(2, 3)).backward()
    assert own.grad is not None and own.grad.isfinite().all()


def test_disagreements_worked_out_by_hand() -> None:
    """Softmax outputs (1/2, 1/2) against the mean of (1/4, 3/4) and (3/4, 1/4), and of the first alone."""
    student = logs([0.5, 0.5])
    both, one = logs([[0.25, 0.75]], [[0.75, 0.25]]), logs([[0.25, 0.75]])
    assert disagreement("sl", student, both).item() == pytest.approx(0.0, abs=1e-15)
    assert disagreement("kl", student, both).item() == pytest.approx(0.0, abs=1e-15)
    assert disagreement("sl", student, one).item() == pytest.approx(0.5)
    assert disagreement("kl", student, one).item() == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    student, one = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[[3.0, 3.0], [1.0, -1.0]]])
    assert disagreement("l1", student, one).item() == pytest.approx((3 + 2) / 2)
    assert disagreement("l1", student, torch.cat([one, -one])).item() == pytest.approx((3 + 0) / 2)


def test_ranges_of_disagreements() -> None:
    for seed in range(20):
        student, teachers = 5 * noise(8, 4, seed=seed), 5 * noise(3, 8, 4, seed=100 + seed)
        assert 0 < disagreement("sl", student, teachers) < 2
        assert disagreement("kl", student, teachers) > 0
        assert divergence(student, teachers[0]) > 0
        for kind in KINDS:
            assert disagreement(kind, student, student[None]).item() == pytest.approx(0.0, abs=1e-12)
        assert divergence(student, student).item() == pytest.approx(0.0, abs=1e-12)
    far = torch.tensor([[500.0, 0.0]]), torch.tensor([[[0.0, 500.0]]])
    assert disagreement("sl", *far).item() == pytest.approx(2.0)


def test_what_is_certain_has_finite_losses_and_gradients() -> None:
    for kind in KINDS:
        student = torch.tensor([[500.0, 0.0, -500.0]], requires_grad=True)
        found = disagreement(kind, student, torch.tensor([[[-500.0, 0.0, 500.0]]]))
        found.backward()
        assert found.isfinite() and student.grad is not None and student.grad.isfinite().all()


def test_adding_a_constant_to_a_samples_logits_matters_to_l1_only() -> None:
    student, teachers = noise(5, 3), noise(2, 5, 3, seed=1)
    shift = noise(5, 1, seed=2)
    for kind in ("sl", "kl"):
        before = disagreement(kind, student, teachers)
        torch.testing.assert_close(disagreement(kind, student + shift, teachers), before)
        torch.testing.assert_close(disagreement(kind, student, teachers + shift), before)
    torch.testing.assert_close(divergence(student + shift, teachers[0]), divergence(student, teachers[0]))
    before = disagreement("l1", student, teachers)
    assert abs(disagreement("l1", student + shift, teachers) - before) > 1e-3
    same = disagreement("l1", teachers[0] + shift, teachers[:1])
    assert same.item() == pytest.approx(3 * shift.abs().mean().item())
    assert disagreement("sl", teachers[0] + shift, teachers[:1]).item() == pytest.approx(0.0, abs=1e-12)


def test_equal_logits_are_not_equal_probabilities_where_teachers_are_several() -> None:
    """The softmax of the mean of logits is not the mean of softmax outputs."""
    teachers = torch.tensor([[[4.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]]])
    student = teachers.mean(0)
    assert disagreement("l1", student, teachers).item() == 0
    assert disagreement("sl", student, teachers).item() > 0.05


def test_near_agreement_kl_has_the_smallest_gradient_by_the_input_and_l1_the_greatest() -> None:
    """FedZKT, Section III-C: for a linear student next to its linear teacher, of ten classes."""
    weights, x = noise(10, 6), noise(32, 6, seed=1)
    for seed in range(5):
        student = weights + 0.01 * noise(10, 6, seed=2 + seed)
        norms = []
        for kind in KINDS:
            given = x.clone().requires_grad_()
            disagreement(kind, given @ student.T, (given @ weights.T)[None]).backward()
            assert given.grad is not None
            norms.append(given.grad.norm().item())
        assert norms == sorted(norms)


def test_divergence_is_that_of_the_teacher_from_the_student() -> None:
    """Teacher (1/4, 3/4), student (1/2, 1/2): ¼ log ½ + ¾ log 3/2."""
    expected = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    assert divergence(logs([0.25, 0.75]), logs([0.5, 0.5])).item() == pytest.approx(expected)


def test_the_digests_error_is_a_mean_over_samples_and_classes() -> None:
    consensus, scores = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]), torch.tensor([[0.0, 4.0, 3.0]] * 2)
    assert absolute_error(consensus, scores).item() == pytest.approx((1 + 2 + 0 + 0 + 4 + 3) / 6)
