"""Names of files and folders that a scenario gives."""

from __future__ import annotations

LONGEST = 200
"""Bytes that a name may have."""


def file_name(text: str) -> str:
    """Return ``text`` if it can be the name of one file or folder, so that it cannot lead elsewhere.

    Raises:
        ValueError: It cannot.
    """
    if (
        text in ("", ".", "..")
        or any(c in "/\\" or not c.isprintable() for c in text)
        or text != text.strip()
        or len(text.encode()) > LONGEST
    ):
        raise ValueError(
            f"must be the name of one folder: at most {LONGEST} bytes, no slash, backslash or control character, no "
            f"space at the ends, and not '.' or '..' (got {text!r})"
        )
    return text
