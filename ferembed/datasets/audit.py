"""audit: finds the faults of a data set.

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
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferembed._progress import Progress
from ferembed.datasets.contact_sheet import draw_contact_sheet
from ferembed.datasets.dataset import Dataset
from ferembed.datasets.findings import (
    DOUBTFUL,
    DUPLICATES,
    KINDS,
    TRAITS,
    Finding,
    Picture,
    dropped,
)
from ferembed.datasets.label_errors import cross_validated, doubtful_labels
from ferembed.datasets.picture_facts import FindFaces, GatherFacts, gather_facts
from ferembed.datasets.vocabulary import UNSPLIT
from ferembed.errors import DataError
from ferembed.faces import DETECTORS
from ferembed.images import save_picture
from ferembed.storage.files import atomic_write

FORMAT = 2
CLEANED = ("train", UNSPLIT)
"""The splits that `clean` drops pictures from, unless others are named."""

_USUAL_SHARE = 0.8  # of the pictures have one size if others are odd
_MOST_DOUBTFUL = 10  # labels in the table
_NUMBERS = ("findings", "pictures", "dropped")
_KEEP_FIRST = ("test", "validation", "train", UNSPLIT)


@dataclass(frozen=True, eq=False)
class Audit:
    """The faults of a data set.

    `groups` has a number for each picture, the same for exact duplicates and near-duplicates;
    `datasets.split` takes it.

    >>> gray = np.random.default_rng(0).integers(0, 255, (3, 48, 48), np.uint8)
    >>> gray[2] = gray[0]
    >>> found = audit(Dataset.from_images(gray, ["happy", "sad", "sad"]))
    >>> found.findings[0].kind, found.findings[0].traits, found.findings[0].drop
    ('exact duplicates', ('contradictory labels',), (0, 2))
    """

    dataset: Dataset = field(repr=False)
    findings: tuple[Finding, ...]
    looked_for: tuple[str, ...]
    groups: NDArray[np.int64] = field(repr=False)

    def count(self, kind: str, trait: str | None = None) -> int:
        """The number of findings of a kind, or of that kind with a trait."""
        return len(self._of(kind, trait))

    def summary(self) -> dict[str, dict[str, Any]]:
        """The numbers of findings, of pictures and of dropped pictures of each kind."""
        return {
            kind: {
                **self._numbers(self._of(kind)),
                **{
                    trait: self._numbers(self._of(kind, trait))
                    for trait in TRAITS
                    if kind in DUPLICATES
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
        gone = np.array(sorted(self.drops()), np.int64)
        for split, of in self.dataset.counts().items():
            total = sum(of.values())
            inside = int(self.dataset.mask(split)[gone].sum()) if split in CLEANED else 0
            lines.append(f"clean leaves {total - inside:,} of {total:,} in {split}")
        doubtful = self._of(DOUBTFUL)[:_MOST_DOUBTFUL]
        if doubtful:
            lines.append("The most doubtful labels:")
            lines += [f"  {one.pictures[0].name}: {one.detail}" for one in doubtful]
        return "\n".join(lines)

    def to_json(self) -> str:
        """The findings as `clean` reads them; remove entries to keep pictures."""
        content = {
            "format": FORMAT,
            "pictures": len(self.dataset),
            "fingerprint": fingerprint_of(self.dataset),
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

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write `to_json` to a file."""
        with atomic_write(Path(path)) as unfinished:  # names of files need not be UTF-8
            unfinished.write_text(self.to_json(), "utf-8", errors="backslashreplace")

    def contact_sheet(self, path: str | os.PathLike[str], per_section: int = 24) -> Path:
        """Write a picture of some findings of each kind, spread over all of them."""
        sheet = draw_contact_sheet(self.dataset, self.findings, per_section)
        save_picture(sheet, Path(path))
        return Path(path)

    def drops(self, kinds: Collection[str] | None = None) -> set[int]:
        """The positions of the pictures to drop, for all findings or those of some kinds."""
        return dropped(((one.kind, one.traits, one.drop) for one in self.findings), kinds)

    def _of(self, kind: str, trait: str | None = None) -> list[Finding]:
        return [
            one
            for one in self.findings
            if one.kind == kind and (trait is None or trait in one.traits)
        ]

    def _numbers(self, findings: Sequence[Finding]) -> dict[str, int]:
        pictures = {picture.index for one in findings for picture in one.pictures}
        drops = dropped((one.kind, one.traits, one.drop) for one in findings)
        cleaned = self.dataset.mask(*CLEANED)
        gone = sum(bool(cleaned[index]) for index in drops)
        return dict(zip(_NUMBERS, (len(findings), len(pictures), gone), strict=True))


def audit(
    dataset: Dataset,
    *,
    near_duplicates: bool = True,
    find_faces: FindFaces | str | None = None,
    vectors: NDArray[np.float32] | None = None,
    progress: Progress | None = None,
    gather_facts: GatherFacts = gather_facts,
) -> Audit:
    """Read every picture once and compare all pairs; the faults that were found.

    Faults are files that cannot be read or are incomplete, blank pictures, unusual sizes, exact
    duplicates (by their pixels, whatever the files are), near-duplicates (a perceptual hash
    proposes them, the pixels decide) and, with `find_faces`, a detector or the name of one,
    pictures without a face. The time for
    near-duplicates grows with the square of the number of pictures; `near_duplicates=False` skips
    them. Of more than 50,000 pictures not all pairs are compared: most near-duplicates are found.
    `gather_facts` reads the pictures, here or elsewhere: see `ferembed.cluster.gather_facts`.

    `vectors` are those of an `Embedder`, a row per picture, NaN where a picture has none. With them
    labels are checked, too: a head is fitted on folds that keep duplicates together, and the labels
    that its predictions contradict are findings, the most doubtful first. `clean` keeps these
    pictures: a person should look at them.
    """
    if isinstance(find_faces, str):
        find_faces = DETECTORS[find_faces]()
    facts = gather_facts(dataset.images, near_duplicates, find_faces, progress)
    digests = facts.digests
    findings = [
        Finding("unreadable", (_picture(dataset, index),), (index,), reason)
        for index, reason in facts.unreadable.items()
    ]
    findings += [
        Finding("blank", (_picture(dataset, index),), (index,))
        for index in np.flatnonzero(facts.blank).tolist()
    ]
    findings += _odd_sizes(dataset, facts.sizes)
    findings += _duplicates(dataset, DUPLICATES[0], digests)
    groups = facts.groups
    if near_duplicates:
        findings += _duplicates(dataset, DUPLICATES[1], groups, unlike=digests)
    findings += [
        Finding("no face", (_picture(dataset, index),), (index,)) for index in facts.faceless
    ]
    if vectors is not None:
        findings += _doubtful(dataset, vectors, groups)
    left_out = {
        DUPLICATES[1]: not near_duplicates,
        "no face": find_faces is None,
        DOUBTFUL: vectors is None,
    }
    looked_for = tuple(kind for kind in KINDS if not left_out.get(kind))
    return Audit(dataset, tuple(findings), looked_for, groups)


def fingerprint_of(dataset: Dataset) -> str:
    """A digest of the names, labels and splits in their order."""
    digest = hashlib.blake2b(digest_size=16)
    for index in range(len(dataset)):
        name = dataset.images.name(index).encode("utf-8", "surrogateescape")
        digest.update(name + b"\n")
    digest.update(repr(dataset.classes).encode())
    digest.update(dataset.label_codes.tobytes() + dataset.split_codes.tobytes())
    return digest.hexdigest()


# --- reading the pictures -------------------------------------------------------------------------


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


def _duplicates(
    dataset: Dataset,
    kind: str,
    groups: NDArray[np.int64],
    unlike: NDArray[np.int64] | None = None,
) -> list[Finding]:
    """A finding for each group of several; with `unlike`, of several that differ there."""
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


def _doubtful(
    dataset: Dataset, vectors: NDArray[np.float32], groups: NDArray[np.int64]
) -> list[Finding]:
    """The pictures whose label predictions contradict, the most doubtful first."""
    if len(vectors) != len(dataset):
        raise DataError(f"There are {len(vectors)} vectors for {len(dataset)} pictures.")
    known = np.flatnonzero(np.isfinite(vectors).all(axis=1))
    codes = dataset.label_codes[known].astype(np.intp)
    probabilities = cross_validated(vectors[known], codes, groups[known])
    findings = []
    for place, other in zip(*doubtful_labels(codes, probabilities), strict=True):
        label = codes[place]
        detail = (
            f"labelled {dataset.classes[label]} ({probabilities[place, label]:.2f}), "
            f"predicted {dataset.classes[other]} ({probabilities[place, other]:.2f})"
        )
        findings.append(Finding(DOUBTFUL, (_picture(dataset, int(known[place])),), (), detail))
    return findings
