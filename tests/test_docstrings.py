"""The examples in docstrings run and print what they say; first lines name what a thing is."""

import ast
import doctest
from importlib import import_module
from pathlib import Path

import pytest

import ferembed

PACKAGE = Path(ferembed.__file__).parent
WITH_EXAMPLES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text()
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_of_a_module_run(name):
    assert doctest.testmod(import_module(name)).failed == 0


def test_no_docstring_begins_with_a_question_word():
    first_lines = [
        f"{path.relative_to(PACKAGE)}: {docstring.splitlines()[0]}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and (docstring := ast.get_docstring(node))
    ]
    assert len(first_lines) > 1000
    words = {"How", "What", "Where", "Whether", "Which", "Who"}
    assert [line for line in first_lines if line.split(": ", 1)[1].split()[0] in words] == []
