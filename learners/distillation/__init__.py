"""Learning by distillation: a different network on every device, which learn from each other's predictions."""

from learners.distillation.fedmd import FedMD
from learners.distillation.fedzkt import FedZKT
from learners.distillation.mhd import MHD

__all__ = ["MHD", "FedMD", "FedZKT"]
