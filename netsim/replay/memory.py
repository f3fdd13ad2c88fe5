"""Answers of a learner in the replay of a run: another replay that asks the same needs neither it nor PyTorch."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, NoReturn

from netsim.core.budget import Budget
from netsim.events import AnswerRow
from netsim.learner import Cost, Learner, Message, Metric, Report, Step
from netsim.replay.course import described
from netsim.work.future import futures

Names = Callable[[Any], str | None]
"""From a state, a payload or a plan to its name; None of None."""


class Forgotten(Exception):
    """The learner is asked something that it was not asked, or otherwise: only itself could answer."""


class Named(NamedTuple):
    """A stand-in for a state, a payload or a plan.

    Attributes:
        name: Of which question it was the answer.
    """

    name: str


class Learnt(NamedTuple):
    """A stand-in for metrics that only learning tells.

    Attributes:
        number: How many values there are; None where only learning knows.
    """

    number: int | None


class Watched(Budget):
    """A budget that notes what is read of it.

    Attributes:
        read: The fields that were read.
        changed: Those that somebody has put other values in since, which are nothing that was told.
    """

    read: set[str]
    changed: frozenset[str] = frozenset()

    @classmethod
    def of(cls, budget: Budget) -> Watched:
        """Return a copy of ``budget`` that is watched."""
        watched = cls(*budget)
        watched.read = set()
        return watched

    def __iter__(self) -> Iterator[Any]:
        """Note that all is read."""
        self.read.update({*Budget._fields} - self.changed)
        return super().__iter__()

    def __getitem__(self, place: Any) -> Any:
        """Note that all is read."""
        self.read.update({*Budget._fields} - self.changed)
        return super().__getitem__(place)

    def _replace(self, **changes: Any) -> Watched:
        """Return a copy with other values, which notes what is read of those that are kept."""
        kept = zip(self._fields, super().__iter__(), strict=True)
        values: list[Any] = [changes.get(name, value) for name, value in kept]
        copy = type(self)(*values)
        copy.read, copy.changed = self.read, self.changed | changes.keys()
        return copy


def _noted(name: str) -> property:
    field = getattr(Budget, name)

    def get(budget: Watched) -> Any:
        if name not in budget.changed:
            budget.read.add(name)
        return field.__get__(budget)

    return property(get)


for _name in Budget._fields:
    setattr(Watched, _name, _noted(_name))


@dataclass
class Memory:
    """All that is kept in a file of a replay.

    Attributes:
        about: What the learner says of itself.
        asked: By method, node and round, each question, what was read of the budget, the answer, and which values that
            the clock had waited for were given.
        measured: Node, round, time [s] and number of values of each measurement.
        ends: How rounds and devices have ended.
        edges: Who hears whom.
    """

    about: dict[str, Any]
    asked: dict[str, list[Any]]
    measured: list[Any]
    ends: list[Any]
    edges: list[Any]


class Notes:
    """Notes what a learner is asked and answers, in plain values.

    Attributes:
        asked: As in :class:`Memory`.
        whole: Whether all that the learner was asked about was its own.
    """

    def __init__(self) -> None:
        self.whole = True
        self.asked: defaultdict[str, list[Any]] = defaultdict(list)
        self._names: dict[Hashable, str] = {}

    def note(
        self, method: str, node: int, round: int, given: Sequence[Any], answer: Any, rows: range
    ) -> None:
        """Note a question and its answer; ``rows`` of the table ``answers`` were given meanwhile."""
        noted = self.asked[key := f"{method} {node} {round}"]
        budget = next((one for one in given if isinstance(one, Watched)), None)
        read = {name: _written(getattr(budget, name)) for name in sorted(budget.read)} if budget else {}
        asked, place = question(method, given, self._name), f"{key} {len(noted)}"
        noted.append([asked, read, self._plain(answer, place), [rows.start, rows.stop]])

    def _name(self, value: Any, new: str = "") -> str | None:
        """Return the name of ``value``, which is ``new`` if it has none yet; what no learner has made has none."""
        if value is None:
            return None
        self.whole &= bool(name := self._names.setdefault(described(value), new))
        return name

    def _plain(self, answer: Any, place: str) -> Any:
        match answer:
            case Step(state, outbox, metrics):
                names = self._name(state, f"{place} state"), self._name(outbox, f"{place} outbox")
                return {"step": [*names, _plain_metrics(metrics)]}
            case Cost():
                return {"cost": [dict(answer.iterations), dict(answer.flops)]}
            case Report(size_bits, payload):
                return {"report": [size_bits, self._name(payload, f"{place} payload")]}
            case (Mapping() as told, metrics):
                reports = [[k, one and self._plain(one, f"{place} {k}")] for k, one in told.items()]
                return {"told": [reports, _plain_metrics(metrics)]}
            case [*messages] if messages and isinstance(messages[0], Message):
                return {"messages": [[one.receivers, one.size_bits] for one in messages]}
        return {"metrics": _plain_metrics(answer)}


def _written(value: Any) -> str:
    return repr(dict(value) if isinstance(value, Mapping) else value)


def _plain_metrics(metrics: Any) -> Any:
    """Return metrics as a file has them: as they are, or, where learning tells them, how many there are."""
    if futures(metrics):
        return len(metrics) if isinstance(metrics, list | tuple) else "unknown"
    return None if metrics is None else [list(one) for one in metrics]


def question(method: str, given: Sequence[Any], name: Names) -> str:
    """Write what a learner is asked; states, payloads and plans by name."""
    asked: Any
    match method, given:
        case "first", _:
            asked = None
        case "cost", (_, _, peers, _, plan):
            asked = tuple(peers), name(plan)
        case "messages", (_, _, receivers, together):
            asked = tuple(receivers), together
        case "train" | "evaluate" | "report", (_, _, _, state, *_):
            asked = name(state)
        case "decide", (_, _, _, reports):
            asked = [(k, name(one)) for k, one in reports.items()]
        case "aggregate" | "aggregate_weighed" | "merge", (_, _, _, state, arrived, *rest):
            asked = name(state), [(k, name(one)) for k, one in arrived.items()], rest
        case _:
            asked = given[2:]
    return repr(asked)


class Remembered(Learner):
    """Gives the answers of a learner again, if it is asked what that was asked.

    Args:
        memory: Has the answers.
        answers: Rows of the table ``answers`` of the run.
    """

    METRICS: ClassVar[Mapping[str, str]] = {}

    def __init__(self, memory: Memory, answers: Sequence[AnswerRow]) -> None:
        about = memory.about
        for name in PROPERTIES:
            setattr(self, name, about[name])
        self._memory = memory
        self._answers = answers
        self._number: Counter[str] = Counter()

    def owners(self) -> Mapping[str, frozenset[int]]:
        """Return what the learner had returned."""
        return {name: frozenset(own) for name, own in self._memory.about["owners"]}

    def sample_counts(self) -> Mapping[int, int]:
        """Return what the learner had returned."""
        return dict(self._memory.about["sample_counts"])

    def facts(self) -> Mapping[str, Any]:
        """Return what the learner had returned."""
        facts: Mapping[str, Any] = self._memory.about["facts"]
        return facts

    def notes(self, means: Mapping[str, float]) -> Sequence[str]:
        """Return what the learner had returned: the means are those of the run, too."""
        notes: Sequence[str] = self._memory.about["notes"]
        return notes

    @property
    def hears_acknowledgements(self) -> bool:
        """Return what the learner had returned."""
        return bool(self._memory.about["hears"])

    @property
    def weighs_messages(self) -> bool:
        """Return what the learner had returned."""
        return bool(self._memory.about["weighs"])

    def end(self, last: int, ends: Sequence[Any]) -> None:
        """Look whether all was asked up to the round ``last``, and whether rounds and devices have ended as then.

        Raises:
            Forgotten: They have not, or something was not asked.
        """
        less = any(
            self._number[key] < len(noted)
            for key, noted in self._memory.asked.items()
            if int(key.rpartition(" ")[2]) <= last
        )
        if less or ends != self._memory.ends:
            raise Forgotten

    def recall(self, method: str, node: int, round: int, given: Sequence[Any], observer: Any) -> Any:
        """Return the answer to a question.

        Raises:
            Forgotten: There is none.
        """
        key = f"{method} {node} {round}"
        noted, number = self._memory.asked.get(key, ()), self._number[key]
        self._number[key] += 1
        if number >= len(noted):
            raise Forgotten(key)
        asked, read, answer, (begin, end) = noted[number]
        budget = next((one for one in given if isinstance(one, Budget)), None)
        if asked != question(method, given, _name_of) or any(
            _written(getattr(budget, name)) != value for name, value in read.items()
        ):
            raise Forgotten(key)
        if end > begin:
            observer.on_answers(self._answers[begin:end])
        return _given_again(answer)

    def first(self, *given: Any) -> NoReturn:
        """Refuse to answer; :meth:`recall` is asked instead."""
        raise Forgotten

    def cost(self, *given: Any) -> NoReturn:
        """Refuse to answer."""
        raise Forgotten

    def messages(self, *given: Any) -> NoReturn:
        """Refuse to answer."""
        raise Forgotten

    def train(self, *given: Any) -> NoReturn:
        """Refuse to answer."""
        raise Forgotten

    def aggregate(self, *given: Any) -> NoReturn:
        """Refuse to answer."""
        raise Forgotten


PROPERTIES = "METRICS", "coordinated", "takes_late", "takes_motion", "limits_steps", "bound_by"
"""Attributes of a learner that protocols look at."""


def about(learner: Learner, means: Mapping[str, float]) -> dict[str, Any]:
    """Return what a learner says of itself, in plain values."""
    return {
        **{name: getattr(learner, name) for name in PROPERTIES},
        "owners": [[name, sorted(own)] for name, own in learner.owners().items()],
        "sample_counts": list(learner.sample_counts().items()),
        "facts": learner.facts(),
        "notes": list(learner.notes(means)),
        "hears": learner.hears_acknowledgements,
        "weighs": learner.weighs_messages,
    }


def _name_of(value: Any) -> str | None:
    return None if value is None else str(value.name)


def _named(name: str | None) -> Named | None:
    return None if name is None else Named(name)


def _given_again(answer: Mapping[str, Any]) -> Any:
    ((kind, value),) = answer.items()
    match kind:
        case "step":
            state, outbox, metrics = value
            return Step(_named(state), _named(outbox), _metrics(metrics))
        case "cost":
            return Cost(*value)
        case "report":
            return Report(value[0], _named(value[1]))
        case "told":
            return {k: one and _given_again(one) for k, one in value[0]}, _metrics(value[1])
        case "messages":
            return [Message(tuple(receivers), size_bits) for receivers, size_bits in value]
    return _metrics(value)


def _metrics(metrics: Any) -> Any:
    if isinstance(metrics, list):
        return [Metric(*one) for one in metrics]
    return None if metrics is None else Learnt(None if metrics == "unknown" else metrics)
