"""Scenario regressions: scenarios that are run by pytest, and compared with numbers that were stored."""
