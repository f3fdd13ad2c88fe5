"""Docstrings are plain English: those of functions begin with a verb, none begins with a question word."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = [
    "netsim/world",
    "netsim/records",
    "netsim/events.py",
    "netsim/work",
    "netsim/protocols",
    "analysis",
    "learners/data",
    "learners/networks",
    "learners/training",
]
"""Packages that keep the rule."""

QUESTIONS = {"What", "Whether", "Who", "Whose", "Where", "When", "How", "Which"}
NO_VERBS = {
    *(
        "A",
        "An",
        "The",
        "One",
        "Two",
        "All",
        "Each",
        "Every",
        "Some",
        "Any",
        "No",
        "Those",
        "Several",
        "Many",
    ),
    *(
        "As",
        "At",
        "By",
        "From",
        "In",
        "Of",
        "On",
        "To",
        "With",
        "Without",
        "See",
        "Process",
        "Always",
        "Never",
    ),
    *("Number", "Name", "Names", "Columns", "Rows", "Row", "Mean", "Time", "Energy", "Power", "Rate", "Bool"),
    *("Bytes", "Bits", "Seconds", "Joules", "FLOPs", "Samples", "Weights", "Features", "Logits", "Shares"),
}
"""Words that open a noun phrase or an aside."""


def documented(room: str) -> list[tuple[str, ast.AST, str]]:
    """Every docstring of a package with its place."""
    path = ROOT / room
    found = []
    for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text:
                    place = f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"
                    found.append((place, node, text))
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_no_docstring_begins_with_a_question_word(room: str) -> None:
    wrong = {place: text for place, _, text in documented(room) if first_word(text) in QUESTIONS}
    assert wrong == {}


@pytest.mark.parametrize("room", ROOMS)
def test_docstrings_of_functions_begin_with_a_verb(room: str) -> None:
    """``Return``, ``Compute``, ``Send``: a capital, no code, and none of the usual openings of a noun phrase."""
    wrong = {
        place: text.partition("\n")[0]
        for place, node, text in documented(room)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (
            not first_word(text).isalpha()
            or not first_word(text)[0].isupper()
            or first_word(text) in NO_VERBS
        )
    }
    assert wrong == {}


def first_word(text: str) -> str:
    return text.split()[0].rstrip(".,:;")
