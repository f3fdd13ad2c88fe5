"""``docs/records.md`` keeps up with the records."""

from pathlib import Path

import pytest

from netsim.events import TABLES, columns

PAGE = (Path(__file__).parents[2] / "docs" / "records.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("table", TABLES)
def test_every_column_is_explained_in_the_words_of_its_definition(table: str) -> None:
    section = PAGE.split(f"## Table `{table}`")[1].split("\n## ")[0]
    missing = [
        line for name, _, about in columns(table) if (line := f"| `{name}` | {about} |") not in section
    ]
    assert not missing, "put into docs/records.md:\n" + "\n".join(missing)
    assert section.count("\n| `") == len(columns(table)), (
        f"docs/records.md: {table} has a column that is gone"
    )
