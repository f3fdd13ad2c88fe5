"""A table as Markdown, LaTeX or CSV."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd


def csv(table: pd.DataFrame, caption: str) -> str:
    """Return a table as lines of values separated by commas, without its caption."""
    return table.to_csv(index=False)


def latex(table: pd.DataFrame, caption: str) -> str:
    """Return a table in LaTeX, with rules of the package booktabs."""
    text = table.map(_in_latex)
    text.columns = pd.Index([_in_latex(name) for name in table.columns])
    layout = "l" + "r" * (len(table.columns) - 1)
    body = text.style.hide(axis="index").to_latex(hrules=True, column_format=layout)
    return f"% {caption}; needs \\usepackage{{booktabs}}\n{body}"


def markdown(table: pd.DataFrame, caption: str) -> str:
    """Return a table in Markdown, below its caption."""
    lines = [list(map(str, table.columns)), ["---"] * len(table.columns)]
    lines += [[str(value).replace("|", "\\|") for value in row] for row in table.itertuples(index=False)]
    return "\n".join([f"**{caption}**", "", *(f"| {' | '.join(line)} |" for line in lines), ""])


FORMATS: Mapping[str, Callable[[pd.DataFrame, str], str]] = {"markdown": markdown, "latex": latex, "csv": csv}
"""Functions of a table and its caption, by the name of what they write."""

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "<": r"$<$",
    "∞": r"$\infty$",
    "–": "--",
}


def _in_latex(value: object) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in str(value))
