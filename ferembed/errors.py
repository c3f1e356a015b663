"""The exceptions of ferembed, as one tree.

FerembedError
├── UnknownName        a name that no registry knows (also a ValueError)
├── MissingExtra       an optional dependency is not installed (also an ImportError)
├── ImageError         a source that is not a readable picture (also a ValueError)
│   └── ImageTooLarge  more pixels than the limit allows
├── VideoError         a video or a camera that cannot be read, or stopped (also a ValueError)
├── LabelError         labels that do not fit the images or each other (also a ValueError)
├── DataError          a data set that cannot be read or used as asked (also a ValueError)
├── TrainingError      a network cannot be trained on what was given (also a ValueError)
├── WeightsError       weights that are missing, damaged or of another network
├── ServiceError       the service cannot start as asked (also a ValueError)
├── StoreError         an embedding store that cannot be opened, read or written
├── ClusterError       a cluster that cannot be reached, or whose workers differ or are lost
└── ModelError         a saved model that does not match or is damaged
    └── UntrustedModel opening it could run code

StoreWarning           vectors cannot be stored, and work goes on without (a UserWarning)

Every message says what was given, what is allowed, and what to do next.
"""

from __future__ import annotations


class FerembedError(Exception):
    """The base class of all errors that ferembed raises on purpose."""


class UnknownName(FerembedError, ValueError):
    """A name that no registry knows."""


class MissingExtra(FerembedError, ImportError):
    """An optional dependency is not installed."""


class ImageError(FerembedError, ValueError):
    """A source that is not a readable picture."""


class ImageTooLarge(ImageError):
    """A picture with more pixels than the limit allows."""


class VideoError(FerembedError, ValueError):
    """A video or a camera that cannot be opened or read, or that stopped giving frames."""


class LabelError(FerembedError, ValueError):
    """Labels that do not fit the images or each other."""


class DataError(FerembedError, ValueError):
    """A data set that cannot be read or used as asked."""


class TrainingError(FerembedError, ValueError):
    """Data or settings that a network cannot be trained with."""


class WeightsError(FerembedError):
    """Weights that are missing, damaged or of another network."""


class ServiceError(FerembedError, ValueError):
    """The service cannot start as asked."""


class StoreError(FerembedError):
    """An embedding store that cannot be opened, read or written."""


class StoreWarning(UserWarning):
    """Vectors cannot be stored; they are computed and used all the same."""


class ClusterError(FerembedError):
    """A cluster that cannot be reached, or whose workers differ from the client or are lost."""


class ModelError(FerembedError):
    """A saved model that does not match this library or is damaged."""


class UntrustedModel(ModelError):
    """A model file that could run code when opened."""
