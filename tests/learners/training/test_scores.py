"""Metrics of an evaluation: against scikit-learn, by hand, and in every kind of learner."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from tiny_task import Deal, make_learner, play_of

from learners.training.evaluation import Judge, judge_of
from learners.training.scores import Scored
from netsim.core.registry import load
from netsim.records.totals import evenness
from netsim.scenario.model import Component, Evaluation

N, CLASSES = 200, 4


@pytest.fixture(params=[False, True], ids=["alike", "weighted"])
def scored(request: pytest.FixtureRequest) -> Scored:
    draw = np.random.default_rng(0)
    labels = draw.integers(CLASSES, size=N)
    logits = draw.normal(size=(N, CLASSES)) + 1.5 * np.eye(CLASSES)[labels]
    probabilities = np.round(
        np.exp(logits) / np.exp(logits).sum(1, keepdims=True), 2
    )  # rounded, so that some tie
    weights = draw.uniform(size=N) if request.param else np.ones(N)
    return Scored(
        probabilities / probabilities.sum(1, keepdims=True),
        labels,
        weights / weights.sum(),
        ("a", "b", "c", "d"),
    )


def value(name: str, scored: Scored, **options: Any) -> Any:
    kind = load("metrics", name)
    found = kind(kind.Options(**options)).values(scored)
    return found[""] if set(found) == {""} else found


def test_they_are_scikit_learns(scored: Scored) -> None:
    right, said, weights = scored.labels, scored.predicted, scored.weights
    f1 = sk.f1_score(right, said, average="macro", sample_weight=weights)
    assert value("macro_f1", scored) == pytest.approx(f1)
    recall = sk.recall_score(right, said, average=None, sample_weight=weights)
    assert [*value("class_accuracy", scored).values()] == pytest.approx([*recall])
    areas = [
        sk.roc_auc_score(right == c, scored.probabilities[:, c], sample_weight=weights)
        for c in range(CLASSES)
    ]
    assert value("auc", scored) == pytest.approx(np.mean(areas))
    matrix = sk.confusion_matrix(right, said, sample_weight=weights)
    expected = {f"{'abcd'[i]}>{'abcd'[j]}": matrix[i, j] for i in range(4) for j in range(4) if matrix[i, j]}
    assert value("confusion", scored) == pytest.approx(expected)
    brier = sum(
        sk.brier_score_loss(right == c, scored.probabilities[:, c], sample_weight=weights)
        for c in range(CLASSES)
    )
    assert value("brier", scored) == pytest.approx(brier)


def test_calibration_by_hand() -> None:
    """Confidences 0.6, 0.6, 0.9, 0.9 in bins of a fifth: one right of two at 0.6, two of two at 0.9.

    (|1 − 1.2| + |2 − 1.8|)/4 = 0.1; in a single bin (3 − 3)/4 = 0.
    """
    p = np.array([[0.6, 0.4], [0.6, 0.4], [0.1, 0.9], [0.1, 0.9]])
    scored = Scored(p, np.array([0, 1, 1, 1]), np.full(4, 0.25), ("a", "b"))
    assert value("calibration_error", scored, bins=5) == pytest.approx(0.1)
    assert value("calibration_error", scored, bins=1) == pytest.approx(0.0)


def test_a_single_class_has_no_curve() -> None:
    scored = Scored(np.array([[0.6, 0.4]]), np.array([0]), np.ones(1), ("a", "b"))
    assert np.isnan(value("auc", scored))


def test_a_devices_own_mix_of_classes_by_hand() -> None:
    """Of class a 1 of 2 is right, of b 1 of 1, of c 0 of 1; a device with 3/4 a and 1/4 b: 3/4 · 1/2 + 1/4 = 5/8."""
    logits = [torch.tensor([[2.0, 0, 0], [0, 2.0, 0], [0, 2.0, 0], [0, 2.0, 0]])]
    labels = torch.tensor([0, 0, 1, 2])
    evaluation = Evaluation(own_share=True, metrics=(Component(name="class_accuracy"),))
    judge = judge_of(evaluation, "abc", {7: [0, 0, 0, 1], 8: [2]})
    assert judge is not None
    found = {(m.name, m.modality): m.value for m in judge.judged(logits, labels, (7,))}
    assert found["accuracy_own", ""] == pytest.approx(5 / 8)
    assert [found["class_accuracy", c] for c in "abc"] == [0.5, 1.0, 0.0]
    assert ("class_accuracy_own", "c") not in found, "the device has none of class c"
    both = {m.modality: m.value for m in judge.judged(logits, labels, (7, 8)) if m.name == "accuracy_own"}
    assert both == pytest.approx({"device 7": 5 / 8, "device 8": 0.0})


def test_who_asks_for_nothing_pays_nothing() -> None:
    assert judge_of(Evaluation(), "abc", {0: [0]}) is None


def test_evenness_by_hand() -> None:
    """0, 1, 1 and 2: mean 1, variance 1/2, Jain (4)²/(4 · 6) = 2/3; a tenth of four devices is one."""
    assert evenness([1.0, 0.0, 2.0, 1.0]) == pytest.approx(
        {"mean": 1.0, "worst_10_percent": 0.0, "variance": 0.5, "jain": 2 / 3}
    )
    assert evenness([0.0, 0.0])["jain"] == 1.0


ASKED = Evaluation(metrics=(Component(name="macro_f1"), Component(name="confusion")), own_share=True)


@pytest.mark.parametrize("name", ["fedavg", "dmml"])
def test_devices_without_a_server_are_judged_each_on_its_own(name: str) -> None:
    """With the samples of all classes alike the own mix is the common one; the parts of a confusion matrix are 1."""
    learner = make_learner(name, evaluation=ASKED, partition=Deal(rows=24))
    for metrics in list(play_of(learner).round(1).values())[1:]:
        if not metrics:
            continue
        assert {key for key, _ in metrics} <= set(learner.METRICS)
        assert metrics["accuracy_own", ""] == pytest.approx(metrics["accuracy", ""], abs=0.35)
        assert 0 <= metrics["macro_f1", ""] <= 1 and 0 <= metrics["macro_f1_own", ""] <= 1
        assert sum(v for (key, _), v in metrics.items() if key == "confusion") == pytest.approx(1)
        right = sum(
            v for (key, two), v in metrics.items() if key == "confusion" and len(set(two.split(">"))) == 1
        )
        assert right == pytest.approx(metrics["accuracy", ""])


def test_stacked_evaluations_judge_as_single_ones_do() -> None:
    from learners.training.decomposed.evaluation import evaluate_stacked

    learner = make_learner("dmml", evaluation=ASKED, precision="float64")
    play = play_of(learner)
    play.round(1)
    jobs = [play.evaluation_job(k, 2) for k in range(4)]
    together = evaluate_stacked([job.inputs for job in jobs])
    for job, found in zip(jobs, together, strict=True):
        alone = job.function(**job.inputs)
        for one, other in zip(found["judged"], alone["judged"], strict=True):
            assert (one.name, one.modality) == (other.name, other.modality)
            assert one.value == pytest.approx(other.value, abs=1e-9)


def test_a_judge_is_small_enough_to_travel() -> None:
    judge = Judge((("macro_f1", {}),), ("a",), {})
    import pickle

    assert pickle.loads(pickle.dumps(judge)) == judge
