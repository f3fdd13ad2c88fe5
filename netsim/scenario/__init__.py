from netsim.scenario.loading import Plan, load_plan
from netsim.scenario.model import Scenario

__all__ = ["Plan", "Scenario", "load_plan"]
