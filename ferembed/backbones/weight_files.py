"""The weights of Keras models: saved to a file, loaded from one, or drawn at random."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ferembed.errors import WeightsError
from ferembed.storage.arrays import write_arrays
from ferembed.storage.files import atomic_write
from ferembed.storage.weights import read_weights

Read: TypeAlias = Callable[[Path], dict[str, NDArray[Any]]]  # -> the arrays by variable


def save_weights(model: Any, path: str | os.PathLike[str], *, half: bool = True) -> None:
    """Write the arrays by name. `half` rounds kernels to half precision, in the model, too."""
    arrays: dict[str, Any] = {}
    for variable in model.weights:
        value = np.asarray(variable.numpy(), np.float32)
        if half and value.ndim > 1:
            value = value.astype(np.float16)
            variable.assign(value.astype(np.float32))
        arrays[variable.path] = value
    with atomic_write(Path(path)) as unfinished:
        write_arrays(unfinished, arrays)


def load_weights(model: Any, path: Path, read: Read = read_weights) -> None:
    """Load the weights of a model from a file; all names and shapes must match."""
    arrays = read(path)
    expected = {variable.path: tuple(variable.shape) for variable in model.weights}
    found = {name: array.shape for name, array in arrays.items()}
    if found != expected:
        odd = sorted(
            name for name in expected.keys() | found if expected.get(name) != found.get(name)
        )
        raise WeightsError(
            f"{path} contains the weights of another network: {odd[0]} is {found.get(odd[0])} "
            f"there, {expected.get(odd[0])} in {model.name} ({len(odd)} differ)."
        )
    for variable in model.weights:
        variable.assign(arrays[variable.path].astype(np.float32))


def draw_weights(model: Any, seed: int) -> None:
    """Draw He-normal kernels with NumPy, the same on every Keras backend."""
    for variable in model.weights:
        shape = tuple(variable.shape)
        if len(shape) > 1:
            rng = np.random.default_rng([seed, zlib.crc32(variable.path.encode())])
            # A depthwise kernel ends in (channels, 1), and each channel has one input.
            inputs = shape[:2] if len(shape) == 4 and shape[3] == 1 else shape[:-1]
            deviation = np.sqrt(2 / np.prod(inputs))
            variable.assign((rng.standard_normal(shape) * deviation).astype(np.float32))
