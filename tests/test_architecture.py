"""Which modules may use a framework, and what an import costs.

Which modules may import which is in pyproject.toml; `lint-imports` checks it.
"""

import ast
from pathlib import Path

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


def test_there_is_no_module_for_odds_and_ends():
    assert not modules().keys() & {"utils", "base", "common", "types", "helpers"}


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
