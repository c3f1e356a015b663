"""Backbones by name. Each family is one file here and one import below."""

from ferembed.backbones import (  # noqa: F401  (each adds its networks to BACKBONES)
    cnn_a_to_g,
    facenet,
    fer_mobilenet,
    mini_vgg,
    reference,
    regions,
    vggface,
    vggface2_mobilenet,
)
from ferembed.backbones.backbone import Backbone
from ferembed.backbones.custom import register_keras_model
from ferembed.backbones.network import quantize
from ferembed.backbones.spec import (
    BACKBONES,
    DEFAULT_BACKBONE,
    BackboneSpec,
    LoadRequest,
    fetch_weights,
    fingerprint,
    load_backbone,
)

__all__ = [
    "BACKBONES",
    "DEFAULT_BACKBONE",
    "Backbone",
    "BackboneSpec",
    "LoadRequest",
    "fetch_weights",
    "fingerprint",
    "load_backbone",
    "quantize",
    "register_keras_model",
]
