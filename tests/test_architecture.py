"""The arrows between modules, and what an import costs."""

import ast
from pathlib import Path

import ferembed
from tests.conftest import run_python

PACKAGE = Path(ferembed.__file__).parent

_ROOTS = {"errors", "files", "registry"}
_PICTURES = {*_ROOTS, "images", "preprocess", "weights", "labels"}
_LEFT = {*_PICTURES, "ahead", "backbones", "engines", "estimator", "faces", "store", "embedder"}
_JOINED = {*_LEFT, "heads", "softmax", "report", "bundle", "export", "pipeline"}
MAY_IMPORT = {
    "ahead": set(),
    "errors": set(),
    "estimator": set(),
    "files": {"errors"},
    "registry": {"errors"},
    "engines": {"errors", "registry"},
    "labels": _ROOTS,
    "images": _ROOTS,
    "preprocess": {*_ROOTS, "images"},
    "download": _ROOTS,
    "weights": {*_ROOTS, "download"},
    "faces": {*_ROOTS, "ahead", "engines", "images", "weights"},
    "landmarks": {*_ROOTS, "engines", "images", "weights"},
    "backbones": {*_ROOTS, "engines", "images", "landmarks", "preprocess", "weights"},
    "store": {*_ROOTS, "weights"},
    "embedder": _LEFT,
    "kernels": {"engines"},
    "softmax": {"estimator"},
    "heads": {*_ROOTS, "engines", "kernels", "softmax"},
    "report": {*_ROOTS, "labels"},
    "bundle": {*_ROOTS, "softmax", "weights"},
    "export": _ROOTS,
    "pipeline": _JOINED,
    "datasets": {*_PICTURES, "faces", "fonts"},
    "training": {*_JOINED, "datasets"},
    "audit": {*_PICTURES, "datasets", "faces", "fonts"},
    "units": {*_ROOTS, "labels"},
    "comparison": {*_ROOTS, "images", "labels"},
    "evaluation": {*_JOINED, "audit", "comparison", "datasets", "units"},
    "charts": set(),
    "phrases": {*_ROOTS, "labels"},
    "pages": {*_ROOTS, "charts", "comparison", "evaluation", "phrases", "report", "units"},
    "fonts": set(),
    "annotate": {"fonts", "images", "labels"},
    "readings": {*_JOINED, "annotate", "datasets"},
    "journal": {*_JOINED, "readings"},
    "tracking": {"faces", "pipeline"},
    "video": {*_JOINED, "readings", "tracking"},
    "timeline": {*_ROOTS, "fonts", "images", "labels", "video"},
    "recording": {*_JOINED, "annotate", "fonts", "readings", "timeline", "video"},
    "demo": {*_JOINED, "fonts", "readings"},
    "grid": {*_ROOTS, "backbones", "heads", "preprocess"},
    "benchmark": None,  # it joins everything, and only the command line imports it
    "service": {*_JOINED, "annotate", "tracking"},
    "cli": None,  # everything, and nobody imports it
}
FRAMEWORKS = {"tensorflow", "keras", "openvino", "torch", "jax", "onnx", "mtcnn"}
MAY_USE_FRAMEWORKS = {"engines", "landmarks", "backbones", "faces", "training"}


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


def test_imports_point_one_way():
    for name, imported in modules().items():
        ours = {m.split(".")[1] for m in imported if m.startswith("ferembed.")} - {name}
        ours.discard("__version__")
        allowed = MAY_IMPORT[name]
        if allowed is not None:
            assert ours <= allowed, f"{name} imports {sorted(ours - allowed)}"
        assert "cli" not in ours


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
        "import ferembed.readings, ferembed.recording, ferembed.datasets;"
        "print(*({'tensorflow', 'keras', 'openvino', 'onnx', 'mtcnn'} & sys.modules.keys()))"
    )
    assert run_python(code).stdout.split() == []
