"""FedProx (Li et al. 2020): clients are held near the model that they received."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from learners.algorithms.fedavg import FedAvg
from learners.training.late_fusion.options import FedProxOptions

if TYPE_CHECKING:
    from netsim.core.options import Options


class FedProx(FedAvg):
    """FedAvg of clients that minimise their loss plus (μ/2)‖w − w⁰‖², w⁰ being what they received.

    Running statistics are not held back, and unequal numbers of steps are taken as they are.
    """

    Options: ClassVar[type[Options]] = FedProxOptions
