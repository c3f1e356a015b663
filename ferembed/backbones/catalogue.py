"""The catalogue of backbones: their facts as data, and as lines for a person."""

from __future__ import annotations

from typing import Any

from ferembed.backbones.spec import BACKBONES, BackboneSpec


def catalogue() -> list[dict[str, Any]]:
    """The facts of every backbone, as plain data."""
    return [_facts(BACKBONES[name]) for name in BACKBONES]


def catalogue_text() -> str:
    """The same as lines, with the command that fetches weights which are not here."""
    return "\n".join(_text(facts) for facts in catalogue())


def _facts(spec: BackboneSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "summary": spec.summary,
        "layers": dict(spec.layers),
        "parameters": spec.parameters,
        "weights": spec.weights
        and {
            "file": spec.weights.file,
            "here": spec.weights.find() is not None,
            "licence": spec.weights.licence,
            "trained_on": spec.weights.trained_on,
        },
    }


def _text(facts: dict[str, Any]) -> str:
    layers = ", ".join(f"{layer} ({dim})" for layer, dim in facts["layers"].items())
    lines = [
        f"  {facts['name']}: {facts['summary']}",
        f"      {facts['parameters']:,} parameters; layers {layers}",
    ]
    if weights := facts["weights"]:
        here = "weights here" if weights["here"] else f"ferembed models fetch {facts['name']}"
        lines.append(f"      {here}; trained on {weights['trained_on']}")
        lines.append(f"      licence: {weights['licence']}")
    else:
        lines.append("      bring or train its weights")
    return "\n".join(lines)
