"""A simulation that waits for an agent: two threads of which one runs at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any


class _Closed(BaseException):
    """Ends a simulation that nobody waits for."""


class Desk:
    """Runs a simulation in a thread of its own, which stands still while the agent decides.

    The simulation asks deep inside its events. So it has its own stack; the two hand over to each other, and nothing
    runs at the same time.

    Args:
        simulate: Runs the simulation, which calls :meth:`ask`.

    Attributes:
        round: The round that the agent has decided on last.
        ended: Whether the simulation has come to its end.
    """

    def __init__(self, simulate: Callable[[], None]) -> None:
        self.round = 0
        self.ended = False
        self._simulate = simulate
        self._actions: SimpleQueue[Any] = SimpleQueue()
        self._asked: SimpleQueue[BaseException | None] = SimpleQueue()
        self._action: Any = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def ask(self, round: int) -> Any:
        """Return the agent's action for ``round``; wait for it if it is not there (in the simulation's thread)."""
        if round > self.round:
            self.round = round
            self._asked.put(None)
            self._action = self._actions.get()
            if isinstance(self._action, _Closed):
                raise self._action
        return self._action

    def begin(self) -> None:
        """Start the simulation; return when it asks for the first time, or has ended."""
        self._thread.start()
        self._wait()

    def act(self, action: Any) -> None:
        """Give the simulation the action that it has asked for; return when it asks again, or has ended."""
        self._actions.put(action)
        self._wait()

    def close(self) -> None:
        """End the simulation, wherever it is."""
        if self._thread.is_alive():
            self._actions.put(_Closed())
            self._thread.join()
        self.ended = True

    def _wait(self) -> None:
        error = self._asked.get()
        if error is not None:
            raise error

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._simulate()
        except BaseException as raised:
            error = None if isinstance(raised, _Closed) else raised
        self.ended = True
        self._asked.put(error)
