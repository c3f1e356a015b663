import pytest

from ferembed._text import cell, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("año 1.234 €\n\tdone", "año 1.234 €\n\tdone"),
        ("1\u00a0234\u202f€", "1\u00a0234\u202f€"),
        ("sad\x1b[2J\r\x07", "sad\\x1b[2J\\r\\x07"),
        ("right \u202e to left", "right \\u202e to left"),
        ("caf\udce9.png", "caf\udce9.png"),  # a file name that is no UTF-8 stays as it is
    ],
)
def test_control_characters_are_escaped_and_letters_of_all_languages_stay(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_a_spreadsheet_takes_no_cell_for_a_formula(start):
    assert cell(f"{start}1+1") == f"'{start}1+1"
    assert cell(f"a{start}1") == f"a{start}1"
