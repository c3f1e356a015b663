from importlib.resources import files

import pytest

from ferembed.benchmark.grid import Grid, varying_settings
from ferembed.errors import DataError, UnknownName

READY = sorted(
    one.name.removesuffix(".toml") for one in (files("ferembed.benchmark") / "grids").iterdir()
)


def parse(text):
    return Grid.parse(text, "mine")


def test_lists_are_tried_in_every_combination():
    grid = parse(
        'title = "Two heads"\n'
        '[[cells]]\nhead = "svm"\nhead__C = [1, 10]\nbackbone = ["mini-vgg", "fer-mobilenet"]\n'
        '[[cells]]\nhead = "knn"\nhead__n_neighbors = 3\n'
        '[[reported]]\nby = "them"\naccuracy = 0.6\non = "theirs"\n'
    )
    assert grid.title == "Two heads"
    assert [(c.backbone, c.head, dict(c.parameters)) for c in grid.cells] == [
        ("mini-vgg", "svm", {"C": 1}),
        ("fer-mobilenet", "svm", {"C": 1}),
        ("mini-vgg", "svm", {"C": 10}),
        ("fer-mobilenet", "svm", {"C": 10}),
        ("fer-mobilenet", "knn", {"n_neighbors": 3}),
    ]
    assert grid.reported == (("them", 0.6, "theirs"),)
    assert varying_settings(grid.cells) == ["backbone", "head", "head__C", "head__n_neighbors"]


def test_equal_cells_are_run_once():
    assert len(parse('[[cells]]\nhead = ["knn", "knn"]\n[[cells]]\nhead = "knn"\n').cells) == 1


def test_changes_override_the_grid():
    changed = Grid.named("knn", backbone="mini-vgg", head__n_neighbors=[7])
    assert {cell.backbone for cell in changed.cells} == {"mini-vgg"}
    assert {dict(cell.parameters)["n_neighbors"] for cell in changed.cells} == {7}


@pytest.mark.parametrize("name", READY)
def test_every_grid_that_ships_can_run(name):
    changes = (
        {"backbone": "fer-mobilenet"} if name == "vggface2" else {}
    )  # whose weights do not ship
    grid = Grid.named(name, **changes)
    assert len(grid.cells) > 3
    assert grid.about


def test_the_documented_grids_ship():
    assert [
        *("architectures", "bagged-svm", "balanced", "forest", "knn"),
        *("preprocessing", "quick", "svm", "vggface2"),
    ] == READY


def test_a_seed_that_is_given_stays_and_lists_and_tables_are_parameters():
    text = """
[[cells]]
head = "sklearn.neural_network.MLPClassifier"
head__hidden_layer_sizes = [[16, 8], [4]]
head__random_state = 3

[[cells]]
head = "forest"
head__class_weight = {happy = 2.0, sad = 1.0}
"""
    first, second, third = (cell.make_head() for cell in parse(text).cells)
    assert [first.hidden_layer_sizes, second.hidden_layer_sizes] == [(16, 8), (4,)]
    assert first.random_state == 3
    assert third.class_weight == {"happy": 2.0, "sad": 1.0}
    assert type(third.class_weight) is dict  # as a saved model may hold


@pytest.mark.parametrize(
    ("cells", "error", "message"),
    [
        ('head = "swm"', UnknownName, "The grid mine cannot run: No head is called 'swm'. Did you"),
        ('head = "svm"\nhead__c = 1', UnknownName, "No parameter of svm is called 'c'. Did you me"),
        (
            'head = "sklearn.svm.SVC"\nhead__kernel = "rfb"',
            DataError,
            "SVC: The 'kernel' parameter",
        ),
        (
            'head = "sklearn.svm.SVR"',
            UnknownName,
            "sklearn.svm.SVR is not a classifier of scikit-l",
        ),
        ('head = "sklearn.trees.Oak"', UnknownName, "is not a classifier of scikit-learn"),
        ('bckbone = "cnn-a"', UnknownName, "called 'bckbone'. Did you mean 'backbone'"),
        ('backbone = "cnn-z"', UnknownName, "No backbone is called 'cnn-z'. Did you mean"),
        ('layer = "dense9"', UnknownName, "No layer of fer-mobilenet is called 'dense9'"),
        ('preprocess = "clah"', UnknownName, "Did you mean 'clahe'"),
        ('backbone = "cnn-f"', DataError, "cnn-f has no weights of its own. Give the path of a"),
        ('weights = "nowhere.npz"', DataError, "fer-mobilenet has no weights nowhere.npz. Give"),
        (
            'backbone = "cnn-f"\nweights = "random"\nhead = "network"',
            DataError,
            "needs a network t",
        ),
        ('head = "network"\nhead__C = 1', DataError, "without parameters. Given: head__C"),
        ("balance = -1", DataError, "balance is -1; it is a whole number from 0"),
        ("seed = 4294967296", DataError, "seed is 4294967296; it is a whole number from 0 to 4294"),
        ("weights = 1", DataError, "weights is 1; it is a text"),
        ("layer = [[1]]", DataError, r"layer is \[1\]; it is a text"),
        ("head = true", DataError, "head is True; it is a text"),
        ("classes = 1", DataError, "classes is 1; it is a text"),
        ('weights = "random:²"', DataError, "fer-mobilenet has no weights random:²"),
        (f'weights = "{"w" * 5000}"', DataError, "fer-mobilenet has no weights www"),
        ('mirrored = "yes"', DataError, "mirrored is 'yes'; it is true or false"),
        ("head = []", DataError, "head of a table of cells is an empty list"),
    ],
)
def test_a_mistake_is_found_before_anything_runs(cells, error, message):
    with pytest.raises(error, match=message):
        parse(f"[[cells]]\n{cells}\n")


def test_an_invalid_grid_is_refused(tmp_path):
    with pytest.raises(DataError, match="The grid mine is not valid TOML"):
        parse("[[cells")
    with pytest.raises(DataError, match=r"has no \[\[cells\]\]"):
        parse('title = "empty"')
    with pytest.raises(UnknownName, match="called 'cell'. Did you mean 'cells'"):
        parse('[[cell]]\nhead = "svm"')
    with pytest.raises(DataError, match=r"\[\[reported\]\] of the grid mine needs by and accuracy"):
        parse('[[cells]]\nhead = "svm"\n[[reported]]\nby = "them"')
    with pytest.raises(DataError, match=r"has no \[\[cells\]\]"):
        parse("cells = [{}, 2]")
    with pytest.raises(UnknownName, match="No grid is called 'quik'. Did you mean 'quick'"):
        Grid.named("quik")
    with pytest.raises(DataError, match="gone.toml cannot be read"):
        Grid.named(tmp_path / "gone.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = " + "[" * 5000, "not valid TOML: maximum recursion depth"),
        ("title = " + "{a=" * 5000, "not valid TOML: maximum recursion depth"),
        ("title = " + "9" * 5000, "not valid TOML: .* 5000 digits"),
        ("a" + ".a" * 20_000 + " = 1", "A line of the grid mine has 20,000 dots; 500 are allowed"),
        ("a = 1\n" * 50_000, "The grid mine has 300,000 characters; 262,144 are allowed"),
        (
            "[[cells]]\n" + "".join(f"head__p{n} = {[*range(10)]}\n" for n in range(6)),
            "A table of cells has 1,000,000 combinations; 10,000 are allowed. Shorten its lists",
        ),
    ],
)
def test_a_grid_that_would_take_all_memory_or_time(text, message):
    with pytest.raises(DataError, match=message):
        parse(text)
