"""Which modules may use a framework, and what an import costs.

Which modules may import which is in pyproject.toml; `lint-imports` checks it.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ferembed
from tests.conftest import run_python

PACKAGE = Path(ferembed.__file__).parent

FRAMEWORKS = {"tensorflow", "keras", "openvino", "torch", "jax", "onnx", "mtcnn"}
MAY_USE_FRAMEWORKS = {"inference", "backbones", "faces", "training"}


def imports(path: Path) -> set[str]:
    """The modules that a file imports, lazily or not, but for those of annotations alone."""
    found = set()

    def visit(node):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "ferembed":
            found.update(f"ferembed.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def modules() -> dict[str, set[str]]:
    """The top-level modules of the package and everything that their files import."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if name != "__init__":
            found.setdefault(name, set()).update(imports(path))
    return found


def test_frameworks_stay_left_of_the_seam():
    for name, imported in modules().items():
        if name not in MAY_USE_FRAMEWORKS:
            assert not {module.split(".")[0] for module in imported} & FRAMEWORKS, name


ROOT = Path(__file__).parent.parent
MOST_LINES, MOST_POSITIONAL = 60, 5
GRAPHS = {"ferembed/backbones/facenet.py build"}  # a network, layer after layer


def definitions(*folders: str) -> Iterator[tuple[str, ast.AST]]:
    """All functions and classes of the source files, by file and name."""
    for path in sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                yield f"{path.relative_to(ROOT)} {node.name}", node


def positional_fields(node: ast.AST) -> int:
    """The number of fields of a dataclass that may be given by position; 0 for all else."""
    decorators = [ast.unparse(one) for one in getattr(node, "decorator_list", [])]
    if not any("dataclass" in one and "kw_only=True" not in one for one in decorators):
        return 0
    fields = [one for one in node.body if isinstance(one, ast.AnnAssign)]
    kinds = [ast.unparse(one.annotation) for one in fields]
    fields = fields[: kinds.index("KW_ONLY")] if "KW_ONLY" in kinds else fields
    not_of_init = ("ClassVar", "init=False")
    return sum(not any(mark in ast.unparse(one) for mark in not_of_init) for one in fields)


@pytest.fixture(scope="module")
def everywhere():
    return list(definitions("ferembed", "benchmarks", "examples", "tests"))


def test_functions_fit_a_screen(everywhere):
    lines = [
        (name, node.end_lineno - node.lineno + 1)
        for name, node in everywhere
        if not isinstance(node, ast.ClassDef)
    ]
    assert len(lines) > 2000
    assert {name for name, count in lines if count > MOST_LINES} == GRAPHS


def test_dataclasses_with_many_fields_take_keywords(everywhere):
    fields = [(name, positional_fields(node)) for name, node in everywhere]
    assert ("ferembed/media/recording.py Recording", 2) in fields
    assert ("ferembed/benchmark/cell.py Cell", 1) in fields
    assert {name for name, count in fields if count > MOST_POSITIONAL} == set()


def test_there_is_no_module_for_odds_and_ends():
    assert not modules().keys() & {"utils", "base", "common", "types", "helpers"}


def test_each_module_has_a_test_file_of_its_name():
    places = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("[!_]*.py")]
    places += [path.relative_to(PACKAGE) for path in PACKAGE.rglob("_[!_]*.py")]
    assert len(places) > 150
    tested = {path.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    wanted = {place.with_name(f"test_{place.name.removeprefix('_')}") for place in places}
    assert wanted - tested == set()


def test_everything_public_is_there():
    assert all(hasattr(ferembed, name) for name in ferembed.__all__)
    assert sorted(dir(ferembed)) == sorted([*ferembed.__all__, "__version__"])
    assert not hasattr(ferembed, "Pipelin")


def test_importing_ferembed_imports_nothing_heavy():
    code = (
        "import sys, ferembed; import ferembed.cli;"
        "print(*({'numpy', 'cv2', 'sklearn', 'tensorflow', 'keras', 'PIL'} & sys.modules.keys()))"
    )
    assert run_python(code).stdout.split() == []


def test_importing_the_pipeline_imports_no_framework():
    code = (
        "import sys; from ferembed import *;"
        "import ferembed.media.photos, ferembed.media.recording, ferembed.datasets;"
        "print(*({'tensorflow', 'keras', 'openvino', 'onnx', 'mtcnn'} & sys.modules.keys()))"
    )
    assert run_python(code).stdout.split() == []


def test_a_model_that_ships_predicts_without_scikit_learn():
    code = (
        "import sys, numpy; from ferembed import Pipeline;"
        "Pipeline.load('fast', store='none').predict(numpy.zeros((1, 48, 48), numpy.uint8));"
        "print(*({'sklearn', 'joblib', 'tensorflow', 'keras'} & sys.modules.keys()))"
    )
    assert run_python(code).stdout.split() == []
