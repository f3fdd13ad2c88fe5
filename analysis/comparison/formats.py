"""A table as Markdown, LaTeX or CSV."""

from __future__ import annotations

from enum import StrEnum

import pandas as pd


class Format(StrEnum):
    """Names of forms that tables are printed in."""

    screen = "screen"
    markdown = "markdown"
    latex = "latex"
    csv = "csv"


def written(table: pd.DataFrame, format: Format, caption: str) -> str:
    """Return a table as text in ``format``, which is not ``screen``."""
    if format is Format.csv:
        return table.to_csv(index=False)
    if format is Format.latex:
        text = table.map(_in_latex)
        text.columns = pd.Index([_in_latex(name) for name in table.columns])
        layout = "l" + "r" * (len(table.columns) - 1)
        body = text.style.hide(axis="index").to_latex(hrules=True, column_format=layout)
        return f"% {caption}; needs \\usepackage{{booktabs}}\n{body}"
    lines = [list(map(str, table.columns)), ["---"] * len(table.columns)]
    lines += [[str(value).replace("|", "\\|") for value in row] for row in table.itertuples(index=False)]
    return "\n".join([f"**{caption}**", "", *(f"| {' | '.join(line)} |" for line in lines), ""])


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
