"""A page: sections of blocks, written as HTML and as Markdown."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ferembed import __version__
from ferembed.errors import DataError
from ferembed.evaluation.html.blocks import Block, Table, escaped, templates
from ferembed.storage.files import atomic_write
from ferembed.translations import Translator


@dataclass(frozen=True)
class Section:
    """A heading and what is below it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A page that needs no other file: its style, script and pictures are in it."""

    title: str
    sections: Sequence[Section]
    tr: Translator

    def html(self) -> str:
        blocks = [block for section in self.sections for block in section.blocks]
        return (
            templates()
            .get_template("page.html")
            .render(
                title=self.title,
                sections=self.sections,
                language=self.tr.language,
                footer=self._footer(),
                sortable=any(isinstance(block, Table) and block.sort_hint for block in blocks),
            )
        )

    def markdown(self) -> str:
        parts = [f"# {escaped(self.title)}"]
        for section in self.sections:
            parts.append(f"## {escaped(section.title)}")
            parts += filter(None, (block.markdown() for block in section.blocks))
        return "\n\n".join([*parts, escaped(self._footer())]) + "\n"

    def write(self, folder: Path, name: str, others: Mapping[str, str]) -> Path:
        """Write NAME.html and NAME.md beside other files; the path of the HTML."""
        files = {**others, f"{name}.md": self.markdown(), f"{name}.html": self.html()}
        prepare_folder(folder)
        for file, text in files.items():
            with atomic_write(folder / file) as unfinished:
                # file names may contain bytes that are not UTF-8
                unfinished.write_bytes(text.encode("utf-8", "backslashreplace"))
        return folder / f"{name}.html"

    def _footer(self) -> str:
        return self.tr("footer", version=__version__)


def prepare_folder(folder: str | os.PathLike[str]) -> None:
    """Create the folder if needed, and check that files can be written to it."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise DataError(
            f"Cannot write to the folder {os.fspath(folder)}: {reason}. Choose another folder."
        ) from None
