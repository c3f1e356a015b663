import builtins
import inspect
import re

from ferembed import errors

CLASSES = {name: one for name, one in vars(errors).items() if inspect.isclass(one)}


def test_the_tree_in_the_docstring_is_the_tree_of_classes():
    above, drawn = ["FerembedError"], {"FerembedError": None, "StoreWarning": None}
    for line in errors.__doc__.splitlines():
        if found := re.match(r"((?:│   |    )*)(?:├──|└──) (\w+)", line):
            depth, name = len(found[1]) // 4, found[2]
            drawn[name] = above[depth]
            above[depth + 1 :] = [name]
    assert drawn.keys() == CLASSES.keys()
    for name, parent in drawn.items():
        assert parent is None or CLASSES[name].__bases__[0] is CLASSES[parent], name


def test_errors_are_also_the_builtin_ones_that_the_tree_names():
    also = re.findall(r"(\w+) .*\((?:also )?an? (\w+)\)", errors.__doc__)
    assert ("MissingExtra", "ImportError") in also
    for name, builtin in also:
        assert issubclass(CLASSES[name], getattr(builtins, builtin)), name
