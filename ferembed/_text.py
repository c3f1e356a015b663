"""Text of others, such as names of files and labels, made safe to print and to put into a table."""

from __future__ import annotations

_HARMLESS = "\n\t\u00a0\u202f"  # with the spaces that Spanish puts into numbers


def printable(text: str) -> str:
    """The text with control characters escaped: they could move the cursor or hide what follows.

    >>> printable("sad\\x1b[2J")
    'sad\\\\x1b[2J'
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in _HARMLESS or "\ud800" <= c <= "\udfff" else ascii(c)[1:-1]
        for c in text
    )


def cell(text: str) -> str:
    """The text for a cell of a CSV, which a spreadsheet does not take for a formula.

    >>> cell("=cmd|' /C calc'!A0"), cell("holiday.jpg")
    ("'=cmd|' /C calc'!A0", 'holiday.jpg')
    """
    text = printable(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text
