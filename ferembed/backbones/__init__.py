"""Backbones by name. A family is one file here and one import line below."""

from ferembed.backbones import (  # noqa: F401  (each adds its networks to BACKBONES)
    cnn,
    facenet,
    faceres,
    reference,
    regions,
    tuned,
    vgg,
    vggface,
)
from ferembed.backbones.backbone import (
    BACKBONES,
    Backbone,
    BackboneSpec,
    LoadRequest,
    fetch_weights,
    fingerprint,
    load_backbone,
)
from ferembed.backbones.engines import quantize
from ferembed.backbones.own import add_network

__all__ = [
    "BACKBONES",
    "Backbone",
    "BackboneSpec",
    "LoadRequest",
    "add_network",
    "fetch_weights",
    "fingerprint",
    "load_backbone",
    "quantize",
]
