"""A contact sheet: some findings of each kind as cards with their pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from ferembed.datasets.dataset import Dataset
from ferembed.datasets.findings import DOUBTFUL, DUPLICATES, TRAITS, Finding, Picture
from ferembed.drawing import INK, PALE, SPLIT_COLOURS, font
from ferembed.errors import ImageError
from ferembed.images import load_image

if TYPE_CHECKING:
    import PIL.Image
    import PIL.ImageDraw

_WIDTH, _MARGIN, _GAP = 1480, 28, 8
_SIDE, _CAPTION = 84, 34  # of a picture, and the height of the text below it
_MOST = 6  # pictures of a card
_HEIGHT = _SIDE + _CAPTION + 2 * _GAP  # of a card
_CARD, _RED, _LOST = "#f4f5f7", "#c83030", "#e4e5e9"


@dataclass(frozen=True)
class _Text:
    x: float
    y: float
    text: str
    size: int
    _: KW_ONLY
    colour: str = INK
    anchor: str = "la"


@dataclass(frozen=True)
class _Dot:
    x: float
    y: float
    colour: str
    size: int = 8


@dataclass(frozen=True)
class _Card:
    x: int
    y: int
    width: int
    finding: Finding


def draw_contact_sheet(
    dataset: Dataset, findings: Sequence[Finding], per_section: int
) -> PIL.Image.Image:
    """Findings in sections, at most `per_section` of each, spread over all of them."""
    import PIL.Image
    import PIL.ImageDraw

    items, height = _layout(dataset, findings, per_section)
    canvas = PIL.Image.new("RGB", (_WIDTH, height), "white")
    draw = PIL.ImageDraw.Draw(canvas)
    for item in items:
        if isinstance(item, _Card):
            _draw_card(canvas, draw, item, dataset)
        else:
            _draw(draw, item)
    return canvas


def _layout(
    dataset: Dataset, findings: Sequence[Finding], per_section: int
) -> tuple[list[_Text | _Dot | _Card], int]:
    """The place of each item, and the height of the sheet."""
    items: list[_Text | _Dot | _Card] = [*_header(dataset)]
    y = _MARGIN + 50
    if not findings:
        return [*items, _Text(_MARGIN, y, "Nothing was found.", 17)], y + 50
    for title, all_cards in _sections(findings):
        if not all_cards:
            continue
        cards = all_cards[:: -(-len(all_cards) // per_section)]
        title = f"{title}: {len(all_cards):,}"
        items.append(_Text(_MARGIN, y, title, 17))
        if len(cards) < len(all_cards):
            x = _MARGIN + 12 + font(17).getlength(title)
            items.append(_Text(x, y + 4, f"{len(cards)} of them are shown", 12, colour=PALE))
        placed, y = _rows(cards, y + 34)
        items += placed
    return items, y


def _header(dataset: Dataset) -> Iterator[_Text | _Dot]:
    """The number of pictures, and the colours of the splits."""
    total = f"{len(dataset):,} pictures audited"
    yield _Text(_MARGIN, _MARGIN, total, 24)
    x = _MARGIN + font(24).getlength(total) + 30
    for split in dataset.counts():
        yield _Dot(x, _MARGIN + 12, SPLIT_COLOURS[split], 10)
        yield _Text(x + 16, _MARGIN + 17, split, 12, colour=PALE, anchor="lm")
        x += 40 + font(12).getlength(split)


def _rows(cards: Sequence[Finding], y: int) -> tuple[list[_Card], int]:
    """Cards from left to right in rows, and where the next section starts."""
    placed, x = [], _MARGIN
    for finding in cards:
        more = 40 * (len(finding.pictures) > _MOST)
        width = _GAP + min(len(finding.pictures), _MOST) * (_SIDE + _GAP) + more
        if x > _MARGIN and x + width > _WIDTH - _MARGIN:
            x, y = _MARGIN, y + _HEIGHT + _GAP
        placed.append(_Card(x, y, width, finding))
        x += width + _GAP
    return placed, y + _HEIGHT + 30


def _draw(draw: PIL.ImageDraw.ImageDraw, item: _Text | _Dot) -> None:
    if isinstance(item, _Dot):
        draw.ellipse((item.x, item.y, item.x + item.size, item.y + item.size), item.colour)
    else:
        draw.text((item.x, item.y), item.text, item.colour, font(item.size), anchor=item.anchor)


def _draw_card(
    canvas: PIL.Image.Image, draw: PIL.ImageDraw.ImageDraw, card: _Card, dataset: Dataset
) -> None:
    import PIL.Image

    x, y, finding = card.x, card.y, card.finding
    outline = _RED if TRAITS[0] in finding.traits else _CARD
    box = (x, y, x + card.width, y + _HEIGHT)
    draw.rounded_rectangle(box, 8, _CARD, outline=outline, width=2)
    top = y + _GAP
    for number, picture in enumerate(_mixed(finding.pictures)[:_MOST]):
        left = x + _GAP + number * (_SIDE + _GAP)
        thumb = _thumbnail(dataset, picture.index)
        if thumb is None:
            draw.rectangle((left, top, left + _SIDE, top + _SIDE), _LOST)
            centre = (left + _SIDE / 2, top + _SIDE / 2)
            text = "cannot\nbe read"
            draw.multiline_text(centre, text, PALE, font(12), anchor="mm", align="center")
        else:
            canvas.paste(PIL.Image.fromarray(thumb), (left, top))
        line = top + _SIDE + 12
        label = _shortened(picture.label, _SIDE - 12, 12)
        name = _shortened(picture.name.rpartition("/")[2], _SIDE, 11, tail=True)
        _draw(draw, _Dot(left, line - 4, SPLIT_COLOURS[picture.split]))
        _draw(draw, _Text(left + 12, line, label, 12, anchor="lm"))
        _draw(draw, _Text(left, line + 15, name, 11, colour=PALE, anchor="lm"))
    if len(finding.pictures) > _MOST:
        more = f"+{len(finding.pictures) - _MOST}"
        _draw(draw, _Text(x + card.width - 22, top + _SIDE / 2, more, 17, colour=PALE, anchor="mm"))


def _thumbnail(dataset: Dataset, index: int) -> NDArray[np.uint8] | None:
    try:
        image = load_image(dataset.images[index])
    except ImageError:
        return None
    small = image.shape[0] * image.shape[1] < _SIDE**2
    how = cv2.INTER_CUBIC if small else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, (_SIDE, _SIDE), interpolation=how), np.uint8)


def _shortened(text: str, room: float, size: int, tail: bool = False) -> str:
    """The start of a text that fits; with `tail` its end, where file names have a number."""
    whole = text
    while len(text) > 1 and font(size).getlength(text) > room:
        whole = whole[1:] if tail else whole[:-1]
        text = f"…{whole}" if tail else f"{whole}…"
    return text


def _mixed(pictures: Sequence[Picture]) -> list[Picture]:
    """The pictures, one of each label first, so that the first ones show a contradiction."""
    seen: Counter[str] = Counter()
    turns = []
    for picture in pictures:
        seen[picture.label] += 1
        turns.append((seen[picture.label], picture.index, picture))
    return [picture for _, _, picture in sorted(turns, key=lambda turn: turn[:2])]


def _sections(findings: Sequence[Finding]) -> Iterator[tuple[str, list[Finding]]]:
    """Titles and findings, the most harmful first."""
    titles = {
        "unreadable": "Pictures that cannot be read",
        "blank": "Blank or nearly constant pictures",
        "odd size": "Pictures of another size than the rest",
        "no face": "Pictures without a face",
        DOUBTFUL: "Labels that predictions contradict",
    }
    for kind in DUPLICATES:
        cards = [one for one in findings if one.kind == kind]
        title = f"Groups of {kind}"
        contradictory, across = TRAITS
        yield (
            f"{title} with {contradictory}",
            [one for one in cards if contradictory in one.traits],
        )
        yield f"{title} {across}", [one for one in cards if one.traits == (across,)]
        yield f"{title} within a split", [one for one in cards if not one.traits]
    for kind, title in titles.items():
        yield title, [one for one in findings if one.kind == kind]
