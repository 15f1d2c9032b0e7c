"""Attachments of a session's report: the timeline, images, digests, and the full matrix of the commit."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import PurePosixPath
from typing import NamedTuple

from hybrid_platform.domain.errors import PlatformError
from hybrid_platform.evidence.bundle import inventory, read_chain, read_if_there
from hybrid_platform.evidence.chain import EVENTS
from hybrid_platform.evidence.files import parse_json, sha256_file
from hybrid_platform.evidence.matrix import Matrix, matrix_name
from hybrid_platform.evidence.records import SessionFiles
from hybrid_platform.report.plots import PLOTS
from hybrid_platform.report.timeline import Timeline, read_timeline
from hybrid_platform.security.paths import DataDir

REPORT, PAGE = "report.md", "report.html"
IMAGE_TYPES = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg"}
MAX_IMAGES = 40
MAX_IMAGE_BYTES = 4 * 1024 * 1024


class ReportAssets(NamedTuple):
    """Everything that a report shows in addition to the records and the trading."""

    timeline: Timeline = Timeline()
    images: tuple[tuple[str, bytes], ...] = ()
    """File name and content; each name ends in one of `IMAGE_TYPES`."""
    digests: tuple[tuple[str, str], ...] = ()
    """Name and SHA-256 of each file that is signed with the report."""
    keyid: str | None = None
    """Id of the key that signs."""
    chain: tuple[int, str] | None = None
    """Number of entries and head of the event chain."""
    matrix: Matrix | None = None
    """The full matrix of the session's commit, if there is one."""


def read_assets(data_dir: DataDir, session_id: str, files: SessionFiles, keyid: str | None) -> ReportAssets:
    """Return the attachments that can be read; a report does not fail on one that cannot."""
    folder = DataDir(data_dir.resolve(f"evidence/{session_id}"))
    names = [name for name in inventory(folder) if name not in {REPORT, PAGE}]
    chain = None
    with suppress(PlatformError):
        head = read_chain(folder, session_id)
        chain = (head.entries, head.head)
    return ReportAssets(
        timeline=_timeline(folder, session_id),
        images=_images(folder, names),
        digests=tuple((name, sha256_file(folder, name)) for name in names),
        keyid=keyid,
        chain=chain,
        matrix=_matrix(data_dir, files),
    )


def _timeline(folder: DataDir, session_id: str) -> Timeline:
    try:
        with os.fdopen(folder.open(EVENTS, os.O_RDONLY), "rb") as lines:
            return read_timeline(lines, session_id)
    except (FileNotFoundError, PlatformError):
        return Timeline()


def _images(folder: DataDir, names: list[str]) -> tuple[tuple[str, bytes], ...]:
    found: list[tuple[str, bytes]] = []
    for name in names:
        if PurePosixPath(name).suffix.lower() in IMAGE_TYPES and len(found) < MAX_IMAGES:
            with suppress(PlatformError):
                found.append((PurePosixPath(name).name, folder.read_bytes(name, MAX_IMAGE_BYTES)))
    known = {name: place for place, name in enumerate(PLOTS)}
    return tuple(sorted(found, key=lambda image: (known.get(PurePosixPath(image[0]).stem, len(known)), image[0])))


def _matrix(data_dir: DataDir, files: SessionFiles) -> Matrix | None:
    code = next(record.code for record in files if record is not None)
    with suppress(PlatformError):
        content = read_if_there(data_dir, f"{matrix_name(code.commit, code.dirty)}.json")
        if content is not None:
            matrix: Matrix = parse_json(content, "matrix", Matrix)
            return matrix if matrix.code_sha256 == code.sha256 else None
    return None
