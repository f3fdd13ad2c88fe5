from learners.dmml.dmml import DMML
from learners.dmml.dmml_kd import DMMLKD
from learners.dmml.dmml_kd_balance import DMMLKDBalance

__all__ = ["DMML", "DMMLKD", "DMMLKDBalance"]
