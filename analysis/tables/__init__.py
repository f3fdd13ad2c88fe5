"""Tables of one run, as pure functions of its records; SI units."""

from analysis.tables.accuracy import (
    FUSED,
    accuracy_by_round,
    accuracy_summary,
    energy_per_accuracy,
    measured,
    to_target,
)
from analysis.tables.accuracy_over_time import accuracy_over_time, mean_over_time
from analysis.tables.energy import ENERGY, cumulative_energy, energy_account, energy_by_category
from analysis.tables.metrics import metric_by_round, metric_names, metric_summary
from analysis.tables.quantiles import energy_quantiles, latency_quantiles, transfer_times
from analysis.tables.stragglers import straggler_counts, stragglers
from analysis.tables.time import TIME, time_by_category

__all__ = [
    "ENERGY",
    "FUSED",
    "TIME",
    "accuracy_by_round",
    "accuracy_over_time",
    "accuracy_summary",
    "cumulative_energy",
    "energy_account",
    "energy_by_category",
    "energy_per_accuracy",
    "energy_quantiles",
    "latency_quantiles",
    "mean_over_time",
    "measured",
    "metric_by_round",
    "metric_names",
    "metric_summary",
    "straggler_counts",
    "stragglers",
    "time_by_category",
    "to_target",
    "transfer_times",
]
