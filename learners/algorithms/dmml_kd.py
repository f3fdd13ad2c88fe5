"""DMML with knowledge distillation (DMML-KD, Section II-D, Algorithm 1); see docs/learners/dmml_kd.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from learners.algorithms.dmml import DMML
from learners.networks.architecture import GeneratorShape
from learners.training.decomposed.metrics import DISTILLATION_LOSSES, EVALUATED, LOSSES, VARIATIONS
from learners.training.decomposed.options import DMMLKDOptions
from learners.training.decomposed.plan import GeneratorTraining, LossWeights, TrainingPlan
from learners.training.optimizers import Rule

if TYPE_CHECKING:
    from netsim.core.options import Options


class DMMLKD(DMML):
    """DMML whose features are decomposed and guided by a generator that the devices learn together.

    After each local update a device teaches its generator what the common features of its labels look like; the
    mixed generator then guides everybody's common features, also across modalities that a device lacks.
    """

    Options: ClassVar[type[Options]] = DMMLKDOptions
    METRICS: ClassVar[Mapping[str, str]] = {**LOSSES, **DISTILLATION_LOSSES, **VARIATIONS, **EVALUATED}

    @property
    def _training_options(self) -> DMMLKDOptions:
        options = self.setup.options
        assert isinstance(options, DMMLKDOptions)
        return options

    def _generator_shape(self) -> GeneratorShape:
        return GeneratorShape(self._training_options.noise_size, self._training_options.generator_hidden)

    def _generator_iterations(self) -> int:
        return self._training_options.generator_iterations

    def _training_plan(self, round: int = 1) -> TrainingPlan:
        options = self._training_options
        distils = round > 1 or options.distillation_in_first_round
        alpha_kd = options.alpha_kd * options.alpha_kd_decay ** (round - 1)
        return TrainingPlan(
            losses=LossWeights(
                similarity=options.alpha_sim,
                auxiliary=options.alpha_cls,
                difference=options.alpha_dif,
                distillation=alpha_kd if distils else 0.0,
                difference_form=options.difference,
                distillation_form=options.distillation,
            ),
            rule=self._rule,
            batch_size=options.batch_size,
            evaluation_batch_size=self.setup.evaluation.batch_size,
            last_batch=options.last_batch,
            generator=GeneratorTraining(
                options.generator_iterations, Rule("adam", options.generator_learning_rate), options.beta
            ),
            bf16=self.setup.precision == "bf16",
        )
