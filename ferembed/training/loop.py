"""Train a backbone on labelled faces: augmentation, schedules, checkpoints that resume."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import cv2
import numpy as np
from numpy.typing import NDArray

from ferembed.backbones import BACKBONES, BackboneSpec, LoadRequest, load_backbone
from ferembed.backbones.network import Network, save_weights
from ferembed.backbones.preprocess import Preprocess
from ferembed.datasets import Dataset
from ferembed.embedder import Failure
from ferembed.errors import ImageError, TrainingError, UnknownName
from ferembed.heads.softmax import Softmax
from ferembed.images import load_image
from ferembed.pipeline import Pipeline
from ferembed.registry import unknown_name_message
from ferembed.storage.files import atomic_write, exclusive_folder

Faces = NDArray[np.uint8]  # (n, height, width) gray or (n, height, width, 3) RGB
Shares = NDArray[np.float32]  # (n, classes): how far a face is of each class
_AVERAGE_EVERY = 8  # steps
_SEEDS = 2**32  # those that NumPy and Keras take
# Of a recipe's numbers: at least the one, less than the other.
_BOUNDS: tuple[tuple[str, type | tuple[type, ...], float, float], ...] = (
    *((name, int, 1, np.inf) for name in ("epochs", "batch_size")),
    *((name, int, 0, np.inf) for name in ("warmup_epochs", "patience", "stop_after", "seed")),
    *((name, (int, float), 0, np.inf) for name in ("rate", "weight_decay", "body_rate", "mixup")),
    *((n, (int, float), 0, 1) for n in ("momentum", "averaging", "label_smoothing", "steady")),
)


@dataclass(frozen=True)
class Augmentation:
    """How far a training face may move; every range is symmetric around no change."""

    mirror: bool = True
    rotation: float = 10.0  # degrees
    scale: float = 0.15  # share of the side
    shift: float = 0.08  # share of the side
    contrast: float = 0.25  # share
    brightness: float = 20.0  # gray levels
    erasing: float = 0.25  # probability of a blank rectangle

    def apply(self, faces: Faces, rng: np.random.Generator) -> Faces:
        """A changed copy of the faces; the same generator state gives the same copy."""
        n, height, width = faces.shape[:3]
        angle = np.deg2rad(rng.uniform(-self.rotation, self.rotation, n))
        zoom = np.exp(rng.uniform(-1, 1, n) * np.log1p(self.scale))
        flip = np.where(rng.random((n,)) < 0.5 * self.mirror, -1.0, 1.0)
        offset = rng.uniform(-self.shift, self.shift, (n, 2)) * (width, height)
        gain = 1 + rng.uniform(-self.contrast, self.contrast, (n,))
        light = rng.uniform(-self.brightness, self.brightness, (n,))
        erased = rng.random((n,)) < self.erasing
        boxes = rng.uniform(0, 1, (n, 4))
        fill = rng.integers(0, 256, (n,))

        cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
        matrix = np.stack([np.stack([flip * cos, -sin], 1), np.stack([flip * sin, cos], 1)], 1)
        centre = np.array([(width - 1) / 2, (height - 1) / 2])
        offset = centre + offset - matrix @ centre
        affine = np.concatenate([matrix, offset[:, :, None]], 2)
        changed = np.empty_like(faces)
        for i in range(n):
            face = cv2.warpAffine(
                faces[i], affine[i], (width, height), borderMode=cv2.BORDER_REPLICATE
            )
            changed[i] = cv2.convertScaleAbs(
                np.maximum(face * gain[i] + (128 * (1 - gain[i]) + light[i]), 0)
            )
            if erased[i]:
                h, w = (np.array([height, width]) * (0.15 + 0.25 * boxes[i, :2])).astype(int)
                y, x = (boxes[i, 2:] * (height - h, width - w)).astype(int)
                changed[i, y : y + h, x : x + w] = fill[i]
        return changed


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how a network is trained. Results name it in full."""

    epochs: int = 45
    rate: float = 0.1  # the highest learning rate
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    steady: float = 0.0  # share of the epochs at the highest rate before a cosine falls
    warmup_epochs: int = 2
    patience: int = 3  # epochs without a better one before a plateau halves the rate
    stop_after: int = 0  # epochs without a better one before training stops; 0: never
    keep: Literal["last", "best"] = "last"  # by accuracy on the validation faces
    optimizer: Literal["sgd", "adam"] = "sgd"
    momentum: float = 0.9
    weight_decay: float = 5e-3  # decoupled: per step, times the learning rate
    body_rate: float = 1.0  # share of the rate for all but the last layer; less to fine-tune
    batch_size: int = 128
    loss: Literal["crossentropy", "squared_hinge"] = "crossentropy"
    label_smoothing: float = 0.1
    class_weight: Literal["none", "balanced"] = "none"
    mixup: float = 0.0  # alpha of the Beta distribution that mixes two faces
    averaging: float = 0.0  # share that a step's running average of the weights keeps
    augmentation: Augmentation | None = Augmentation()
    dtype: str = "mixed_bfloat16"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (
            ("schedule", ("cosine", "plateau", "constant")),
            ("keep", ("last", "best")),
            ("optimizer", ("sgd", "adam")),
            ("loss", ("crossentropy", "squared_hinge")),
            ("class_weight", ("none", "balanced")),
        ):
            if getattr(self, name) not in known:
                raise UnknownName(unknown_name_message(name, getattr(self, name), list(known)))
        for name, kind, least, below in _BOUNDS:
            value = getattr(self, name)
            fits = isinstance(value, kind) and not isinstance(value, bool)
            if not (fits and least <= value < below):
                what = "a whole number" if kind is int else "a number"
                bound = f" and less than {below:g}" if below < np.inf else ""
                raise TrainingError(
                    f"{name} is {value!r}; it is {what} of at least {least}{bound}."
                )
        if isinstance(self.augmentation, dict):  # as JSON has it
            try:
                object.__setattr__(self, "augmentation", Augmentation(**self.augmentation))
            except TypeError as error:
                raise TrainingError(f"augmentation is {self.augmentation!r}: {error}.") from None
        if not isinstance(self.augmentation, (Augmentation, type(None))):
            raise TrainingError(
                f"augmentation is {self.augmentation!r}; it is an Augmentation, as JSON "
                f"{json.dumps(asdict(Augmentation()))}, or null."
            )

    def rate_after(self, accuracies: list[float]) -> float:
        """The learning rate of the epoch that follows those of these validation accuracies."""
        epoch = len(accuracies)
        if epoch < self.warmup_epochs:
            return self.rate * (epoch + 1) / (self.warmup_epochs + 1)
        if self.schedule == "constant":
            return self.rate
        if self.schedule == "plateau":
            halvings, waited, best = 0, 0, -1.0
            for accuracy in accuracies:
                waited, best = (0, accuracy) if accuracy > best else (waited + 1, best)
                if waited >= self.patience:
                    halvings, waited = halvings + 1, 0
            return self.rate * 0.5**halvings
        start = max(self.warmup_epochs, int(self.steady * self.epochs))
        done = max(0.0, (epoch - start) / max(1, self.epochs - start))
        return float(self.rate * 0.5 * (1 + np.cos(np.pi * done)) + 1e-5)

    def ends_after(self, accuracies: list[float]) -> bool:
        """Whether training is over."""
        since = len(accuracies) - 1 - int(np.argmax(accuracies)) if accuracies else 0
        return len(accuracies) >= self.epochs or bool(self.stop_after and since >= self.stop_after)


_AUTHORS = Recipe(  # what the reference networks have in common
    warmup_epochs=0,
    schedule="constant",
    optimizer="adam",
    weight_decay=0.0,
    label_smoothing=0.0,
    augmentation=None,
)
_EARLY = replace(_AUTHORS, epochs=60, rate=1e-3, batch_size=64, stop_after=10, keep="best")
RECIPES = {
    "bn-cnn": replace(_AUTHORS, epochs=25, rate=5e-4, batch_size=32),
    "plain-150": replace(_AUTHORS, epochs=30, rate=1e-4, batch_size=64),
    "cnn-5": replace(_EARLY, augmentation=Augmentation(erasing=0.0)),
    "vgg11": replace(_EARLY, rate=1e-4, augmentation=Augmentation(erasing=0.0)),
    "regions": replace(
        _AUTHORS,
        epochs=8,
        rate=1e-3,
        schedule="cosine",
        batch_size=64,
        augmentation=Augmentation(erasing=0.0),
    ),
    **{f"cnn-{letter}": _EARLY for letter in "abcde"},
    **{f"cnn-{letter}": replace(_EARLY, loss="squared_hinge") for letter in "fg"},
}


def train_backbone(
    data: Dataset,
    backbone: str,
    folder: Path,
    recipe: Recipe | None = None,
    *,
    weights: str | None = None,
    training: str = "train",
    validation: str = "validation",
    verbose: bool = False,
    report: Callable[[dict[str, Any]], None] = lambda row: None,
) -> Pipeline:
    """A pipeline of the backbone trained on a data set, with the network's own last layer as head.

    The folder gets the weights (BACKBONE.npz), the history as JSON and as a picture, and the
    checkpoint: called again, an unfinished run goes on. Weights to start from are a file, or
    "pretrained" for those that the backbone has; a backbone that ends in vectors gets a last layer
    of its own. Without a recipe it is that of RECIPES, or Recipe(). Pictures that cannot be read
    are left out and stand in the pipeline's `failures_`.
    """
    spec = BACKBONES[backbone]
    if spec.build is None:
        raise TrainingError(f"{backbone} has no network that could be trained.")
    chosen = recipe or RECIPES.get(backbone, Recipe())
    source = None
    if weights is not None:
        named = None if weights == "pretrained" else weights
        loaded = load_backbone(LoadRequest(backbone, weights=named, engine="keras"))
        assert isinstance(loaded, Network)
        source = loaded.model
    failures: list[Failure] = []
    parts = [
        _faces_and_targets(data.split(split), spec.preprocess, failures, verbose)
        for split in (training, validation)
    ]
    classes = list(data.classes)
    with exclusive_folder(folder, TrainingError):
        model = train(
            partial(_network, spec, len(classes), source),
            spec.preprocess,
            parts[0],
            parts[1],
            folder,
            chosen,
            report,
            verbose,
            {
                "backbone": backbone,
                "classes": classes,
                "weights": None if source is None else _digest(source.get_weights()),
            },
        )
        draw_curves(
            json.loads((folder / "history.json").read_text("utf-8"))["epochs"],
            folder / "curves.png",
        )
        path = folder / f"{backbone}.npz"
        whole = spec.build(len(classes)) if spec.classifier else spec.build()
        _copy_weights(model, whole)
        save_weights(whole, path)
    if spec.classifier:
        _copy_weights(whole, model)  # what was saved is rounded
    layer, last = _seam(model, spec)
    kernel, bias = (weight.numpy() for weight in last.weights)
    pipeline = Pipeline.from_head(
        Softmax.from_layer(kernel, bias, classes), backbone=backbone, layer=layer, weights=str(path)
    )
    pipeline.failures_ = tuple(failures)
    return pipeline


def _faces_and_targets(
    data: Dataset, preprocess: Preprocess, failures: list[Failure], verbose: bool
) -> tuple[Faces, Shares]:
    """Each picture decoded once, no larger than the network takes it, and its class shares."""
    from tqdm import tqdm

    gray = preprocess.color == "gray"
    faces, kept, earlier = [], [], len(failures)
    sources = enumerate(data.images)
    for i, source in tqdm(sources, "reading", len(data), disable=None if verbose else True):
        try:
            face = load_image(source)
        except ImageError as error:
            failures.append(Failure(i, data.images.name(i), str(error)))
            continue
        if gray:
            face = np.asarray(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), np.uint8)
        faces.append(preprocess.resized(face) if max(face.shape[:2]) > preprocess.size else face)
        kept.append(i)
    if len({face.shape for face in faces}) > 1:
        faces = [preprocess.resized(face) for face in faces]
    if not faces:
        raise TrainingError("None of the pictures can be read: " + failures[earlier].reason)
    return np.stack(faces), data.targets[kept]


def _network(spec: BackboneSpec, classes: int, source: Any) -> Any:
    """The network to train, from the face to a value per class."""
    import keras

    assert spec.build is not None
    model = spec.build(classes) if spec.classifier else spec.build()
    if not spec.classifier:
        x = model.get_layer(spec.layers[0][0]).output
        x = keras.layers.Dropout(0.3, name="drop_logits")(x)
        x = keras.layers.Dense(classes, name="logits", dtype="float32")(x)
        model = keras.Model(model.inputs[0], x)
    if source is not None:
        _copy_weights(source, model)
    return model


def _copy_weights(source: Any, target: Any) -> None:
    """Give the target the weights of the source that it has, too, by name and shape."""
    values = {weight.path: weight for weight in source.weights}
    for weight in target.weights:
        value = values.get(weight.path)
        if value is not None and tuple(value.shape) == tuple(weight.shape):
            weight.assign(value.numpy())


def _seam(model: Any, spec: BackboneSpec) -> tuple[str, Any]:
    """The layer whose vectors the last one classifies, and the last one."""
    import keras

    *body, last = model.layers
    taken = last.input
    for layer in reversed(body):
        if layer.output is taken:
            if layer.name in dict(spec.layers):
                return layer.name, last
            if not isinstance(layer, keras.layers.Dropout):
                break
            taken = layer.input
    raise TrainingError(f"The last layer of {spec.name} reads none of its embedding layers.")


def _digest(arrays: Iterable[NDArray[Any]]) -> str:
    """What stands for the arrays."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def draw_curves(epochs: list[dict[str, Any]], path: Path) -> None:
    """Accuracy and loss by epoch, of the training and of the validation faces."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    numbers = [row["epoch"] for row in epochs]
    for axes, what in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        axes.plot(numbers, [row[what] for row in epochs], label="training")
        axes.plot(numbers, [row[f"validation_{what}"] for row in epochs], label="validation")
        axes.set(xlabel="epoch", title=what)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    axes.legend()
    with atomic_write(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=120)


def train(
    build: Callable[[], Any],
    preprocess: Preprocess,
    training: tuple[Faces, Shares],
    validation: tuple[Faces, Shares],
    folder: Path,
    recipe: Recipe = Recipe(),
    report: Callable[[dict[str, Any]], None] = lambda row: None,
    verbose: bool = False,
    facts: dict[str, Any] | None = None,
    label_sets: Sequence[int] = (),
) -> Any:
    """The trained Keras model. Called again with the same folder it continues where it stopped.

    `build` returns a network that ends in softmax or in logits. Targets are probabilities of each
    class: one-hot rows, votes, or the predictions of a larger network. Each batch draws from its
    own seed, so a resumed run sees the same pictures as an uninterrupted one. A run of other
    `facts`, faces or recipe is not continued.

    With several label sets, `label_sets` says how many columns of the targets belong to each. The
    loss is the sum of one cross-entropy per set. A row of zeros in a set is a face without a label
    there, and a row that sums to less than one counts less.
    """
    import keras
    from tqdm import tqdm

    _check(training, validation, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    facts = {**(facts or {}), "faces": _digest([*training, *validation])}
    keras.utils.set_random_seed(recipe.seed % _SEEDS)
    try:
        keras.config.set_dtype_policy(recipe.dtype)
    except (TypeError, ValueError) as error:
        raise TrainingError(f"dtype is {recipe.dtype!r}, which Keras does not know.") from error
    try:
        model = build()
    finally:
        keras.config.set_dtype_policy("float32")
    loss = _loss(model, recipe, label_sets)
    optimizer = _optimizer(model, recipe)
    on_tensorflow = keras.backend.backend() == "tensorflow"
    model.compile(
        optimizer,
        loss,
        metrics=[_accuracy_of(label_sets[0])] if label_sets else ["accuracy"],
        jit_compile=False if on_tensorflow else "auto",
    )
    optimizer.build(model.trainable_variables)
    state = _State(folder, recipe, facts, model, optimizer)
    batches = _Batches(preprocess, *training, recipe)
    accuracies = [row["validation_accuracy"] for row in state.history]
    with tqdm(
        total=recipe.epochs * len(batches),
        initial=len(accuracies) * len(batches),
        unit="batch",
        disable=None if verbose else True,
    ) as bar:
        while not recipe.ends_after(accuracies):
            epoch, rate = len(accuracies), recipe.rate_after(accuracies)
            started = time.perf_counter()
            keras.utils.set_random_seed((recipe.seed * 10_000 + epoch) % _SEEDS)
            optimizer.learning_rate.assign(rate)
            sums = {"loss": 0.0, "accuracy": 0.0}
            for step, batch in enumerate(batches.of(epoch)):
                model.reset_metrics()
                fitted = model.train_on_batch(*batch, return_dict=True)
                for name in sums:
                    sums[name] += float(fitted[name]) * len(batch[0]) / len(batches.faces)
                if not np.isfinite(fitted["loss"]):
                    raise TrainingError(
                        f"The loss is {fitted['loss']} in epoch {epoch + 1}: the learning rate "
                        f"{rate:.3g} is too high. Start anew in another folder with a lower one."
                    )
                if recipe.averaging and step % _AVERAGE_EVERY == 0:
                    state.average(epoch * len(batches) + step)
                bar.update()
            with state.averaged():
                outputs = _outputs(model, preprocess, validation[0])
            row = {
                "epoch": epoch + 1,
                "rate": rate,
                **sums,
                "validation_loss": float(np.mean(loss(validation[1], outputs))),
                **_validation_accuracies(outputs, validation[1], label_sets),
                "seconds": time.perf_counter() - started,
            }
            accuracies.append(row["validation_accuracy"])
            state.save(row)
            bar.set_postfix_str(
                f"epoch {epoch + 1}, validation {accuracies[-1]:.1%}, best {max(accuracies):.1%}"
            )
            report(row)
    state.finish()
    return model


def _check(
    training: tuple[Faces, Shares], validation: tuple[Faces, Shares], recipe: Recipe
) -> None:
    for name, (faces, shares) in (("training", training), ("validation", validation)):
        if len(faces) != len(shares) or shares.ndim != 2:
            raise TrainingError(
                f"{len(faces)} {name} faces and targets of the shape {shares.shape}: give one row "
                "of class shares per face."
            )
        if not len(faces):
            raise TrainingError(f"There are no {name} faces.")
    if training[1].shape[1] != validation[1].shape[1]:
        raise TrainingError("Training and validation have other numbers of classes.")
    if recipe.body_rate != 1 and recipe.optimizer != "sgd":
        raise TrainingError("body_rate acts through the gradient, which adam evens out: use sgd.")


def _loss(model: Any, recipe: Recipe, label_sets: Sequence[int]) -> Any:
    import keras

    if label_sets:
        return _crossentropy_of_sets(label_sets, recipe.label_smoothing)
    if recipe.loss == "squared_hinge":
        return keras.losses.SquaredHinge()
    softmax = getattr(model.layers[-1], "activation", None) is keras.activations.softmax
    return keras.losses.CategoricalCrossentropy(
        from_logits=not softmax, label_smoothing=recipe.label_smoothing
    )


def _crossentropy_of_sets(label_sets: Sequence[int], smoothing: float) -> Any:
    """The loss of logits of which each label set has some columns: a sum of cross-entropies."""
    from keras import ops

    ends = np.cumsum(label_sets)

    def crossentropy(targets: Any, logits: Any) -> Any:
        total = 0.0
        for end, width in zip(ends, label_sets, strict=True):
            part = ops.convert_to_tensor(targets)[:, end - width : end]
            weight = ops.sum(part, axis=1, keepdims=True)
            part = (1 - smoothing) * part + smoothing * weight / width
            total -= ops.sum(part * ops.log_softmax(logits[:, end - width : end]), axis=1)
        return total

    return crossentropy


def _accuracy_of(width: int) -> Any:
    """The metric of the first label set, whose columns are the first `width`."""
    from keras import ops

    def accuracy(targets: Any, logits: Any) -> Any:
        labelled = ops.cast(ops.sum(targets[:, :width], axis=1) > 0, "float32")
        right = ops.argmax(targets[:, :width], axis=1) == ops.argmax(logits[:, :width], axis=1)
        return ops.cast(right, "float32") * labelled / (ops.mean(labelled) + 1e-9)

    return accuracy


def _validation_accuracies(
    outputs: Shares, targets: Shares, label_sets: Sequence[int]
) -> dict[str, float]:
    """The accuracy in each label set, over the faces that have a label there."""
    accuracies, start = {}, 0
    for number, width in enumerate(label_sets or (targets.shape[1],), 1):
        part = slice(start, start + width)
        rows = targets[:, part].any(axis=1)
        right = outputs[rows, part].argmax(axis=1) == targets[rows, part].argmax(axis=1)
        name = "validation_accuracy" + (f"_{number}" if number > 1 else "")
        accuracies[name] = float(right.mean()) if rows.any() else 0.0
        start += width
    return accuracies


def _optimizer(model: Any, recipe: Recipe) -> Any:
    import keras

    kind = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}[recipe.optimizer]
    last = {variable.path for variable in model.layers[-1].trainable_variables}

    class Optimizer(kind):  # type: ignore[misc, valid-type]
        """One whose gradients of all but the last layer are scaled by `body_rate`."""

        def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
            if recipe.body_rate != 1:
                grads = [
                    grad if variable.path in last else grad * recipe.body_rate
                    for grad, variable in zip(grads, model.trainable_variables, strict=True)
                ]
            return super().apply(grads, trainable_variables)

    decay = recipe.weight_decay or None
    if recipe.optimizer == "sgd":
        optimizer = Optimizer(momentum=recipe.momentum, nesterov=True, weight_decay=decay)
    else:
        optimizer = Optimizer(weight_decay=decay)
    if decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


class _Batches:
    """The batches of any epoch, each made in a thread while the one before is learned from."""

    def __init__(
        self, preprocess: Preprocess, faces: Faces, shares: Shares, recipe: Recipe
    ) -> None:
        self.preprocess, self.faces, self.shares, self.recipe = preprocess, faces, shares, recipe
        self.weights = None
        if recipe.class_weight == "balanced":
            counts = np.maximum(shares.sum(axis=0), 1)
            self.weights = (len(shares) / (shares.shape[1] * counts)).astype(np.float32)

    def __len__(self) -> int:
        return -(-len(self.faces) // self.recipe.batch_size)

    def of(self, epoch: int) -> Iterator[tuple[Any, ...]]:
        order = np.random.default_rng([self.recipe.seed, epoch]).permutation(len(self.faces))
        rows = np.array_split(order, len(self))
        with ThreadPoolExecutor(1) as pool:
            made = pool.submit(self._make, rows[0], epoch, 0)
            for step in range(len(rows)):
                batch = made.result()
                if step + 1 < len(rows):
                    made = pool.submit(self._make, rows[step + 1], epoch, step + 1)
                yield batch

    def _make(self, rows: NDArray[np.intp], epoch: int, step: int) -> tuple[Any, ...]:
        recipe = self.recipe
        rng = np.random.default_rng([recipe.seed, epoch, step])
        faces, shares = self.faces[rows], self.shares[rows]
        if recipe.augmentation is not None:
            faces = recipe.augmentation.apply(faces, rng)
        inputs = _inputs(self.preprocess, faces)
        if recipe.mixup:
            share = np.float32(rng.beta(recipe.mixup, recipe.mixup))
            partner = rng.permutation(len(rows))
            inputs = share * inputs + (1 - share) * inputs[partner]
            shares = share * shares + (1 - share) * shares[partner]
        return (inputs, shares) if self.weights is None else (inputs, shares, shares @ self.weights)


class _State:
    """What a run has come to, kept in its folder after each epoch."""

    def __init__(
        self, folder: Path, recipe: Recipe, facts: dict[str, Any], model: Any, optimizer: Any
    ) -> None:
        self.recipe, self.facts, self.model = recipe, facts, model
        self.log, self.state, self.best = (
            folder / name for name in ("history.json", "state.npz", "best.npz")
        )
        self.variables = [*model.variables, *optimizer.variables]
        self.history: list[dict[str, Any]] = []
        self.averages = [np.asarray(w, np.float32).copy() for w in model.get_weights()]
        if not self.state.exists():
            return
        try:
            written = json.loads(self.log.read_text("utf-8"))
            before = {"recipe": written["recipe"], **written.get("of", facts)}  # older runs lack it
            now = {"recipe": json.loads(json.dumps(asdict(recipe))), **facts}
            changed = [name for name, value in now.items() if before.get(name) != value]
            if not changed:
                with np.load(self.state) as saved:
                    # The log is written first: a kill between the two leaves one epoch more in it.
                    self.history = written["epochs"][: int(saved["epoch"])]
                    for i, variable in enumerate(self.variables):
                        variable.assign(saved[f"v{i}"])
                    if recipe.averaging:
                        self.averages = [saved[f"a{i}"] for i in range(len(self.averages))]
        except (ValueError, KeyError, TypeError, AttributeError, OSError, BadZipFile) as error:
            raise TrainingError(f"The run in {folder} is damaged. Give another folder.") from error
        for name in changed[:1]:
            other = f"other {name}" if name.endswith("s") else f"another {name}"
            raise TrainingError(
                f"{folder} holds a run of {other}. Go on with the same, or give another folder."
            )

    def average(self, step: int) -> None:
        """Move the averages towards the weights; at first faster, to forget the random start."""
        keep = min(self.recipe.averaging**_AVERAGE_EVERY, (1 + step) / (10 + step))
        for average, weight in zip(self.averages, self.model.get_weights(), strict=True):
            average += (1 - keep) * (weight - average)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside `with`, the model has the averaged weights, where the recipe averages."""
        own = self.model.get_weights() if self.recipe.averaging else None
        if own is not None:
            self.model.set_weights(self.averages)
        yield
        if own is not None:
            self.model.set_weights(own)

    def save(self, row: dict[str, Any]) -> None:
        self.history.append(row)
        written = {"recipe": asdict(self.recipe), "of": self.facts, "epochs": self.history}
        text = json.dumps(written, indent=1)
        arrays: dict[str, Any] = {f"v{i}": v.numpy() for i, v in enumerate(self.variables)}
        if self.recipe.averaging:
            arrays |= {f"a{i}": average for i, average in enumerate(self.averages)}
        accuracies = [row["validation_accuracy"] for row in self.history]
        if self.recipe.keep == "best" and int(np.argmax(accuracies)) == len(accuracies) - 1:
            with self.averaged(), atomic_write(self.best) as unfinished:
                np.savez(unfinished, *self.model.get_weights())
        with atomic_write(self.log) as unfinished:
            unfinished.write_text(text, "utf-8")
        with atomic_write(self.state) as unfinished:
            np.savez(unfinished, **arrays, epoch=np.array(len(self.history)))

    def finish(self) -> None:
        """Give the model the weights that the recipe keeps."""
        if self.recipe.keep == "best":
            with np.load(self.best) as saved:
                self.model.set_weights([saved[name] for name in saved.files])
        elif self.recipe.averaging:
            self.model.set_weights(self.averages)


def _inputs(preprocess: Preprocess, faces: Faces) -> NDArray[np.float32]:
    in_colour = faces.ndim == 4
    return preprocess(
        face if in_colour else cv2.cvtColor(face, cv2.COLOR_GRAY2RGB) for face in faces
    )


def _outputs(model: Any, preprocess: Preprocess, faces: Faces, size: int = 256) -> Shares:
    parts = [
        np.asarray(model.predict_on_batch(_inputs(preprocess, faces[start : start + size])))
        for start in range(0, len(faces), size)
    ]
    return np.concatenate(parts).astype(np.float32)
