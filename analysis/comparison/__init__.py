"""Comparison of methods: groups of runs, paired differences with tests, the Pareto front."""
