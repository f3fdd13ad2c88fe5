"""The one exception that speaks to the person who wrote the scenario."""


class ScenarioError(Exception):
    """Bad input: where it is, what was found, what is allowed, the way out.

    It takes exactly one argument, the finished message: SimPy rebuilds an exception from its ``args``
    when it leaves a process, and anything else would be doubled or lost on the way. Several findings
    are several lines.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
