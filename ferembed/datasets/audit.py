"""What is wrong with a data set, and the data set without it.

found = audit(datasets.open("fer2013.zip"))
print(found.table())
found.contact_sheet("faults.png")
faces = clean(found.dataset, found)
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ferembed import datasets
from ferembed._progress import Progress, report_progress
from ferembed.datasets.dataset import Dataset
from ferembed.datasets.description import INK, PALE, SPLIT_COLOURS
from ferembed.datasets.operations import pixel_digest
from ferembed.datasets.vocabulary import ALL_SPLITS, UNSPLIT
from ferembed.drawing import font
from ferembed.errors import DataError, ImageError
from ferembed.faces import FaceRecipe
from ferembed.images import Image, load_image, save_picture
from ferembed.registry import unknown_name_message
from ferembed.storage.files import check_output_outside

if TYPE_CHECKING:
    import PIL.Image
    import PIL.ImageDraw

KINDS = ("unreadable", "blank", "odd size", "exact copies", "near copies", "no face")
TRAITS = ("contradictory labels", "across splits")
FORMAT = 1

_SAME_GRAY = 12  # gray levels that still count as one
_BLANK_SHARE = 0.9  # of the pixels in one gray
_USUAL_SHARE = 0.8  # of the pictures in one size, before others are odd
_THUMB = 32  # side of what near copies are looked for and verified in
_SHIFT = 3  # pixels of the thumb that a near copy may be moved by
_SAME_HASH = 12  # of 63 bits that may differ
_SAME_PICTURE = 0.92  # correlation from which two pictures are one
_CLEANED = ("train", UNSPLIT)
_NUMBERS = ("findings", "pictures", "dropped")
_KEEP_FIRST = ("test", "validation", "train", UNSPLIT)


@dataclass(frozen=True)
class Picture:
    """One picture that a finding is about."""

    index: int
    name: str
    label: str
    split: str


@dataclass(frozen=True)
class Finding:
    """One fault: of a picture, or of several that are copies. `drop` is what clean would drop."""

    kind: str
    pictures: tuple[Picture, ...]
    drop: tuple[int, ...]
    detail: str = ""

    @property
    def traits(self) -> tuple[str, ...]:
        """What makes copies worse: contradictory labels, lying across splits."""
        labels = {picture.label for picture in self.pictures}
        splits = {picture.split for picture in self.pictures}
        return tuple(
            trait for trait, of in zip(TRAITS, (labels, splits), strict=True) if len(of) > 1
        )


@dataclass(frozen=True, eq=False)
class Audit:
    """What is wrong with a data set.

    `copies` gives each picture the number of its group of exact and near copies, as
    `datasets.split` takes it.

    >>> gray = np.random.default_rng(0).integers(0, 255, (3, 48, 48), np.uint8)
    >>> gray[2] = gray[0]
    >>> found = audit(Dataset.of(gray, ["happy", "sad", "sad"]))
    >>> found.findings[0].kind, found.findings[0].traits, found.findings[0].drop
    ('exact copies', ('contradictory labels',), (0, 2))
    """

    dataset: Dataset = field(repr=False)
    findings: tuple[Finding, ...]
    looked_for: tuple[str, ...]
    copies: NDArray[np.int64] = field(repr=False)

    def count(self, kind: str, trait: str | None = None) -> int:
        """How many findings there are of a kind, or of that kind with a trait."""
        return len(self._of(kind, trait))

    def summary(self) -> dict[str, dict[str, Any]]:
        """For each kind the number of findings and pictures, and of those that clean drops."""
        return {
            kind: {
                **self._numbers(self._of(kind)),
                **{
                    trait: self._numbers(self._of(kind, trait))
                    for trait in TRAITS
                    if kind.endswith("copies")
                },
            }
            for kind in self.looked_for
        }

    def table(self) -> str:
        rows = [("", "findings", "pictures", "clean drops")]
        summary = self.summary()
        for kind in KINDS:
            if kind not in summary:
                rows.append((kind, "not looked for", "", ""))
                continue
            of_traits = {f"  {trait}": summary[kind].get(trait) for trait in TRAITS}
            for name, numbers in {kind: summary[kind], **of_traits}.items():
                if numbers:
                    findings, pictures, dropped = (f"{numbers[of]:,}" for of in _NUMBERS)
                    rows.append((name, findings, pictures, dropped))
        lines = [f"{a:<24}{b:>14}{c:>12}{d:>14}".rstrip() for a, b, c, d in rows]
        after = clean(self.dataset, self).counts()
        for split, of in self.dataset.counts().items():
            left = sum(after.get(split, {}).values())
            lines.append(f"clean leaves {left:,} of {sum(of.values()):,} in {split}")
        return "\n".join(lines)

    def to_json(self) -> str:
        """The findings as `clean` reads them; a finding or a number to drop may be taken out."""
        content = {
            "format": FORMAT,
            "pictures": len(self.dataset),
            "fingerprint": _fingerprint(self.dataset),
            "summary": self.summary(),
            "findings": [
                {
                    "kind": one.kind,
                    "traits": one.traits,
                    "detail": one.detail,
                    "drop": one.drop,
                    "pictures": [vars(picture) for picture in one.pictures],
                }
                for one in self.findings
            ],
        }
        return json.dumps(content, indent=1, ensure_ascii=False)

    def contact_sheet(self, path: str | os.PathLike[str], per_section: int = 24) -> Path:
        """Some findings of each kind, spread over all of them, as a picture to look at."""
        sheet = _ContactSheet(self, per_section).draw()
        save_picture(sheet, Path(path))
        return Path(path)

    def _of(self, kind: str, trait: str | None = None) -> list[Finding]:
        return [
            one
            for one in self.findings
            if one.kind == kind and (trait is None or trait in one.traits)
        ]

    def _numbers(self, findings: Sequence[Finding]) -> dict[str, int]:
        pictures = {picture.index for one in findings for picture in one.pictures}
        drops = _drops(((one.kind, one.traits, one.drop) for one in findings), None)
        cleaned = self.dataset.mask(*_CLEANED)
        dropped = sum(bool(cleaned[index]) for index in drops)
        return dict(zip(_NUMBERS, (len(findings), len(pictures), dropped), strict=True))


def audit(
    dataset: Dataset,
    *,
    near_duplicates: bool = True,
    find_faces: Callable[[Image], Sequence[object]] | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Look at every picture once, and at every pair of pictures for copies.

    Found are files that cannot be read or are cut short, blank pictures, sizes unlike the rest,
    exact copies (by their pixels, whatever the files are) and near copies (a perceptual hash
    proposes, the pixels decide), and, with `find_faces`, pictures in which it finds none.
    Near copies take time with the square of the number: seconds for FER2013, an hour for a
    million; `near_duplicates=False` skips them.
    """
    looks = _look(dataset, near_duplicates, find_faces, progress)
    findings = [
        Finding("unreadable", (_picture(dataset, index),), (index,), reason)
        for index, reason in looks.unreadable.items()
    ]
    findings += [
        Finding("blank", (_picture(dataset, index),), (index,))
        for index in np.flatnonzero(looks.blank).tolist()
    ]
    findings += _odd_sizes(dataset, looks.sizes)
    exact = looks.digests
    findings += _copies(dataset, "exact copies", exact)
    groups = exact
    if near_duplicates:
        groups = _near_groups(looks)
        findings += _copies(dataset, "near copies", groups, unlike=exact)
    findings += [
        Finding("no face", (_picture(dataset, index),), (index,)) for index in looks.faceless
    ]
    left_out = {"near copies": not near_duplicates, "no face": find_faces is None}
    looked_for = tuple(kind for kind in KINDS if not left_out.get(kind))
    return Audit(dataset, tuple(findings), looked_for, groups)


def clean(
    dataset: Dataset,
    found: Audit | str | os.PathLike[str],
    *,
    kinds: Collection[str] | None = None,
    splits: Collection[str] = _CLEANED,
) -> Dataset:
    """The data set without what an audit, or its JSON file, says to drop.

    Of copies one stays: the one in the test split before validation before training, so that no
    training picture is also scored on. Of copies with contradictory labels none stays, as nobody
    knows which is right. Blank, unreadable and faceless pictures go, odd sizes stay. `kinds`
    limits this to some kinds or traits ("across splits"). Validation and test pictures are kept,
    so that scores stay comparable; name them in `splits` to clean these as well.
    """
    kept, step = _cleaned(dataset, found, kinds, splits)
    return dataset.take(kept, step)


def build(
    sources: Sequence[str | os.PathLike[str] | Dataset],
    out: str | os.PathLike[str],
    *,
    cropped: FaceRecipe | str | None = None,
    cleaned: bool = False,
    proportions: Mapping[str, float] | None = None,
    pool: bool = False,
    per_class: int | None = None,
    mirrored: bool = False,
    size: int = 48,
    seed: int = 0,
    progress: Progress | None = None,
) -> Dataset:
    """Open data sets, merge, crop, clean, split, balance and mirror them as asked, and write them.

    Where `datasets.open` needs to be told more of one, open it and give the Dataset. `out` becomes
    class folders, or a FER2013 CSV if it ends in .csv. An interrupted call leaves nothing under
    that name, and the same call goes on where it stopped.
    """
    check_output_outside([source for source in sources if not isinstance(source, Dataset)], out)
    dataset = datasets.merge(
        *(
            source if isinstance(source, Dataset) else datasets.open(source, progress=progress)
            for source in sources
        )
    )
    if cropped is not None:
        dataset = datasets.crop(dataset, cropped, progress)
    copies = None
    if cleaned:
        found = audit(dataset, progress=progress)
        kept, step = _cleaned(
            dataset, found, None, ALL_SPLITS if pool and proportions else _CLEANED
        )
        dataset, copies = dataset.take(kept, step), found.copies[kept]
    if proportions:
        dataset = datasets.split(
            dataset, proportions, seed, pool=pool, copies=copies, progress=progress
        )
    if per_class is not None:
        dataset = datasets.balance(dataset, per_class, seed)
    if mirrored:
        dataset = datasets.mirror(dataset)
    datasets.write(dataset, out, size=size, progress=progress)
    return dataset


# --- looking at pictures --------------------------------------------------------------------------


@dataclass
class _Looks:
    """What one pass over the pictures saw of each."""

    unreadable: dict[int, str]
    blank: NDArray[np.bool_]
    sizes: NDArray[np.uint32]
    digests: NDArray[np.int64]  # the same number for the same pixels
    thumbs: NDArray[np.uint8]
    faceless: list[int]


def _look(
    dataset: Dataset,
    near: bool,
    find_faces: Callable[[Image], Sequence[object]] | None,
    progress: Progress | None,
) -> _Looks:
    total = len(dataset)
    looks = _Looks(
        {},
        np.zeros(total, np.bool_),
        np.zeros((total, 2), np.uint32),
        np.empty(total, np.int64),
        np.zeros((total if near else 0, _THUMB, _THUMB), np.uint8),
        [],
    )
    numbers: dict[bytes, int] = {}
    for index, source in enumerate(dataset.images):
        try:
            image = load_image(source)
        except ImageError as error:
            looks.unreadable[index] = str(error)
            looks.digests[index] = numbers.setdefault(b"unreadable %d" % index, len(numbers))
        else:
            looks.sizes[index] = image.shape[1], image.shape[0]
            looks.digests[index] = numbers.setdefault(pixel_digest(image), len(numbers))
            gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
            middle = float(np.median(gray))
            same = np.count_nonzero(np.abs(gray.astype(np.int16) - middle) <= _SAME_GRAY)
            looks.blank[index] = same >= _BLANK_SHARE * gray.size
            if near:
                looks.thumbs[index] = cv2.resize(
                    gray, (_THUMB, _THUMB), interpolation=cv2.INTER_AREA
                )
            if find_faces is not None and not len(find_faces(image)):
                looks.faceless.append(index)
        report_progress(progress, index, total)
    return looks


def _picture(dataset: Dataset, index: int) -> Picture:
    return Picture(
        index,
        dataset.images.name(index),
        dataset.classes[dataset.label_codes[index]],
        dataset.split_of(index),
    )


def _odd_sizes(dataset: Dataset, sizes: NDArray[np.uint32]) -> list[Finding]:
    readable = np.flatnonzero(sizes[:, 0])
    counts = Counter(map(tuple, sizes[readable].tolist()))
    if not counts:
        return []
    usual, count = counts.most_common(1)[0]
    if count < _USUAL_SHARE * len(readable):
        return []
    rest = "x".join(map(str, usual))
    return [
        Finding(
            "odd size",
            (_picture(dataset, index),),
            (),
            f"{sizes[index, 0]}x{sizes[index, 1]}, the rest {rest}",
        )
        for index in readable[(sizes[readable] != usual).any(axis=1)].tolist()
    ]


def _copies(
    dataset: Dataset,
    kind: str,
    groups: NDArray[np.int64],
    unlike: NDArray[np.int64] | None = None,
) -> list[Finding]:
    """A finding for each group of several; with `unlike`, of several that differ in that."""
    order = np.argsort(groups, kind="stable")
    ends = np.flatnonzero(np.diff(groups[order])) + 1
    findings = []
    for members in np.split(order, ends):
        if len(members) < 2 or (unlike is not None and len(set(unlike[members])) < 2):
            continue
        pictures = tuple(_picture(dataset, index) for index in members.tolist())
        best = min(pictures, key=lambda one: (_KEEP_FIRST.index(one.split), one.index))
        finding = Finding(kind, pictures, ())
        contradictory = TRAITS[0] in finding.traits
        drop = tuple(one.index for one in pictures if contradictory or one is not best)
        findings.append(Finding(kind, pictures, drop))
    return findings


def _near_groups(looks: _Looks) -> NDArray[np.int64]:
    """Numbers of groups of exact and near copies; blank pictures are near nothing."""
    _, firsts = np.unique(looks.digests, return_index=True)
    different = np.sort(firsts)
    different = different[~looks.blank[different]]
    different = different[[index not in looks.unreadable for index in different.tolist()]]
    parent = np.arange(int(looks.digests.max(initial=0)) + 1)

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = int(parent[number])
        return number

    for one, other in _near_pairs(looks.thumbs[different]):
        a, b = (root(int(looks.digests[different[place]])) for place in (one, other))
        parent[max(a, b)] = min(a, b)
    roots = np.array([root(number) for number in range(len(parent))])
    return np.asarray(roots[looks.digests], np.int64)


def _near_pairs(thumbs: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """Pairs with nearly one hash, whose pixels then agree up to a small shift."""
    signs = _hash(thumbs)
    bits, step = signs.shape[1], 1024
    inner = slice(_SHIFT, _THUMB - _SHIFT)
    for start in range(0, len(signs), step):
        # Of two rows of +1 and -1, the product is the bits that agree less those that differ.
        agree = signs[start : start + step] @ signs[start:].T
        ones, others = np.nonzero(agree >= bits - 2 * _SAME_HASH)
        for one, other in zip((ones + start).tolist(), (others + start).tolist(), strict=True):
            if one < other:
                match = cv2.matchTemplate(
                    thumbs[one], thumbs[other][inner, inner], cv2.TM_CCOEFF_NORMED
                )
                if match.max() >= _SAME_PICTURE:
                    yield one, other


def _hash(thumbs: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A perceptual hash: which of the 63 slowest waves are stronger than most, as +1 and -1."""
    places = np.arange(_THUMB)
    waves = np.cos(np.pi * (2 * places + 1) * places[:8, None] / (2 * _THUMB)).astype(np.float32)
    strength = np.empty((len(thumbs), 63), np.float32)
    for start in range(0, len(thumbs), 4096):
        block = thumbs[start : start + 4096].astype(np.float32)
        strength[start : start + 4096] = (waves @ block @ waves.T).reshape(-1, 64)[:, 1:]
    typical = np.median(strength, axis=1, keepdims=True) if len(thumbs) else strength
    return np.asarray(np.where(strength > typical, 1, -1), np.float32)


# --- cleaning -------------------------------------------------------------------------------------


def _cleaned(
    dataset: Dataset,
    found: Audit | str | os.PathLike[str],
    kinds: Collection[str] | None,
    splits: Collection[str],
) -> tuple[NDArray[np.int64], dict[str, Any]]:
    for kind in kinds or ():
        if kind not in (*KINDS, *TRAITS):
            raise DataError(unknown_name_message("kind of finding", kind, [*KINDS, *TRAITS]))
    if isinstance(found, Audit):
        name, fingerprint = "the audit", _fingerprint(found.dataset)
        drops = _drops(((one.kind, one.traits, one.drop) for one in found.findings), kinds)
    else:
        name = os.fspath(found)
        fingerprint, drops = _read_drops(Path(found), kinds)
    if fingerprint != _fingerprint(dataset):
        raise DataError(
            f"{name} is of another data set than these {len(dataset):,} pictures (or of the same "
            "one opened in another way). Audit this one."
        )
    dropped = np.zeros(len(dataset), np.bool_)
    dropped[sorted(drops)] = True
    dropped &= dataset.mask(*splits)
    by_split = {split: int(dropped[dataset.mask(split)].sum()) for split in splits}
    step = {"step": "clean", "dropped": {split: n for split, n in by_split.items() if n}}
    return np.flatnonzero(~dropped), step


def _drops(
    findings: Iterable[tuple[str, Sequence[str], Sequence[int]]], kinds: Collection[str] | None
) -> set[int]:
    return {
        index
        for kind, traits, drop in findings
        if kinds is None or kind in kinds or set(traits) & set(kinds)
        for index in drop
    }


def _read_drops(path: Path, kinds: Collection[str] | None) -> tuple[str, set[int]]:
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["format"] != FORMAT:
            raise DataError(f"{path} has format {content['format']}; this reads {FORMAT}.")
        drops = _drops(((o["kind"], o["traits"], o["drop"]) for o in content["findings"]), kinds)
        wrong = [one for one in drops if not 0 <= one < content["pictures"]]
        if wrong:
            raise DataError(f"{path} drops picture {wrong[0]} of {content['pictures']}.")
        return content["fingerprint"], drops
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}.") from None
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is no audit as Audit.to_json writes it: {error!r}.") from None


def _fingerprint(dataset: Dataset) -> str:
    """The same for the same names, labels and splits in the same order."""
    digest = hashlib.blake2b(digest_size=16)
    for index in range(len(dataset)):
        name = dataset.images.name(index).encode("utf-8", "surrogateescape")
        digest.update(name + b"\n")
    digest.update(repr(dataset.classes).encode())
    digest.update(dataset.label_codes.tobytes() + dataset.split_codes.tobytes())
    return digest.hexdigest()


# --- the contact sheet ----------------------------------------------------------------------------

_CARD, _RED = (244, 245, 247), (200, 48, 48)


class _ContactSheet:
    """Cards of pictures in rows, a section for each kind and trait."""

    width, margin, side, gap, caption, shown = 1480, 28, 84, 8, 34, 6

    def __init__(self, found: Audit, per_section: int) -> None:
        self._dataset = found.dataset
        self._sections = [
            (title, cards, cards[:: -(-len(cards) // per_section)])
            for title, cards in _sections(found)
            if cards
        ]
        self._fonts = {size: font(size) for size in (11, 12, 17, 24)}

    def draw(self) -> PIL.Image.Image:
        import PIL.Image
        import PIL.ImageDraw

        canvas = PIL.Image.new("RGB", (self.width, self._layout(None)), "white")
        self._canvas = canvas
        self._layout(PIL.ImageDraw.Draw(canvas))
        return canvas

    def _layout(self, draw: PIL.ImageDraw.ImageDraw | None) -> int:
        """Draw, or without a canvas only measure: the height that the sheet takes."""
        y = self.margin
        if draw:
            total = f"{len(self._dataset):,} pictures audited"
            draw.text((self.margin, y), total, INK, self._fonts[24])
            x = self.margin + draw.textlength(total, self._fonts[24]) + 30
            for split in self._dataset.counts():
                draw.ellipse((x, y + 12, x + 10, y + 22), SPLIT_COLOURS[split])
                draw.text((x + 16, y + 17), split, PALE, self._fonts[12], anchor="lm")
                x += 40 + draw.textlength(split, self._fonts[12])
        y += 50
        if not self._sections:
            if draw:
                draw.text((self.margin, y), "Nothing was found.", INK, self._fonts[17])
            return y + 50
        for title, cards, shown in self._sections:
            if draw:
                title = f"{title}: {len(cards):,}"
                more = f"{len(shown)} of them are shown" if len(shown) < len(cards) else ""
                draw.text((self.margin, y), title, INK, self._fonts[17])
                x = self.margin + 12 + draw.textlength(title, self._fonts[17])
                draw.text((x, y + 4), more, PALE, self._fonts[12])
            y += 34
            x = self.margin
            height = self.side + self.caption + 2 * self.gap
            for card in shown:
                wide = self._card_width(card)
                if x + wide > self.width - self.margin and x > self.margin:
                    x, y = self.margin, y + height + self.gap
                if draw:
                    self._draw_card(draw, card, x, y, wide, height)
                x += wide + self.gap
            y += height + 30
        return y

    def _card_width(self, card: Finding) -> int:
        count = min(len(card.pictures), self.shown)
        more = 40 * (len(card.pictures) > self.shown)
        return self.gap + count * (self.side + self.gap) + more

    def _draw_card(
        self, draw: PIL.ImageDraw.ImageDraw, card: Finding, x: int, y: int, wide: int, height: int
    ) -> None:
        import PIL.Image

        contradictory = TRAITS[0] in card.traits
        draw.rounded_rectangle(
            (x, y, x + wide, y + height),
            8,
            _CARD,
            outline=_RED if contradictory else _CARD,
            width=2,
        )
        for number, picture in enumerate(_mixed(card.pictures)[: self.shown]):
            left = x + self.gap + number * (self.side + self.gap)
            top = y + self.gap
            thumb = self._thumb(picture.index)
            if thumb is None:
                draw.rectangle((left, top, left + self.side, top + self.side), (228, 229, 233))
                text = "cannot\nbe read"
                centre = (left + self.side / 2, top + self.side / 2)
                draw.multiline_text(
                    centre, text, PALE, self._fonts[12], anchor="mm", align="center"
                )
            else:
                self._canvas.paste(PIL.Image.fromarray(thumb), (left, top))
            line = top + self.side + 12
            draw.ellipse((left, line - 4, left + 8, line + 4), SPLIT_COLOURS[picture.split])
            label = self._fitting(draw, picture.label, self.side - 12)
            draw.text((left + 12, line), label, INK, self._fonts[12], anchor="lm")
            name = self._fitting(draw, picture.name.rpartition("/")[2], self.side, tail=True)
            draw.text((left, line + 15), name, PALE, self._fonts[11], anchor="lm")
        if len(card.pictures) > self.shown:
            more = f"+{len(card.pictures) - self.shown}"
            middle = y + self.gap + self.side / 2
            draw.text((x + wide - 22, middle), more, PALE, self._fonts[17], anchor="mm")

    def _thumb(self, index: int) -> NDArray[np.uint8] | None:
        try:
            image = load_image(self._dataset.images[index])
        except ImageError:
            return None
        small = image.shape[0] * image.shape[1] < self.side**2
        how = cv2.INTER_CUBIC if small else cv2.INTER_AREA
        return np.asarray(cv2.resize(image, (self.side, self.side), interpolation=how), np.uint8)

    def _fitting(
        self, draw: PIL.ImageDraw.ImageDraw, text: str, room: float, tail: bool = False
    ) -> str:
        """As much of the text as fits; of a file name the end, where its number is."""
        font = self._fonts[11 if tail else 12]
        whole = text
        while len(text) > 1 and draw.textlength(text, font) > room:
            whole = whole[1:] if tail else whole[:-1]
            text = f"…{whole}" if tail else f"{whole}…"
        return text


def _mixed(pictures: Sequence[Picture]) -> list[Picture]:
    """One picture of each label first, so that few pictures show what contradicts what."""
    seen: Counter[str] = Counter()
    turns = []
    for picture in pictures:
        seen[picture.label] += 1
        turns.append((seen[picture.label], picture.index, picture))
    return [picture for _, _, picture in sorted(turns, key=lambda turn: turn[:2])]


def _sections(found: Audit) -> Iterator[tuple[str, list[Finding]]]:
    """Titles and findings, what does most harm first."""
    titles = {
        "unreadable": "Pictures that cannot be read",
        "blank": "Blank or nearly constant pictures",
        "odd size": "Pictures of another size than the rest",
        "no face": "Pictures without a face",
    }
    for kind in ("exact copies", "near copies"):
        cards = [one for one in found.findings if one.kind == kind]
        title = f"Groups of {kind}"
        contradictory, across = TRAITS
        yield (
            f"{title} with {contradictory}",
            [one for one in cards if contradictory in one.traits],
        )
        yield f"{title} {across}", [one for one in cards if one.traits == (across,)]
        yield f"{title} within a split", [one for one in cards if not one.traits]
    for kind, title in titles.items():
        yield title, [one for one in found.findings if one.kind == kind]
