"""The hashes of sources: large files are read again when they may have changed."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from bsscale.data import hashed_sources
from bsscale.data.hashed_sources import source_digest

CONTENT = b"y,x\n" + b"0,1\n" * 100


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as large, and as written long ago."""
    monkeypatch.setattr(hashed_sources, "LARGE_BYTES", 100)
    monkeypatch.setattr(time, "time_ns", lambda: 2**62)
    path = tmp_path / "a.csv"
    path.write_bytes(CONTENT)
    return path


def test_an_unchanged_file_is_read_once(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert source_digest(source, tmp_path / "cache") == sha256(CONTENT)
    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "file_digest", None)
        assert source_digest(source, tmp_path / "cache") == sha256(CONTENT)


def test_every_change_is_seen(source: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    source_digest(source, cache)
    # The same size and the same times of the content.
    before = source.stat()
    other = CONTENT.replace(b"1", b"2")
    source.write_bytes(other)
    while source.stat().st_ctime_ns == before.st_ctime_ns:  # (the clock of files is a coarse one)
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert source_digest(source, cache) == sha256(other)
    # Another file in its place.
    (tmp_path / "b.csv").write_bytes(CONTENT)
    (tmp_path / "b.csv").replace(source)
    assert source_digest(source, cache) == sha256(CONTENT)


def test_a_damaged_note_and_a_folder_that_cannot_be_written_cost_a_reading(
    source: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    source_digest(source, cache)
    [note] = cache.glob("source-*.json")
    for damage in (b"", b"{}", b"[1]", b"\xff", note.read_bytes().replace(b'"sha256"', b'"sha"')):
        note.write_bytes(damage)
        assert source_digest(source, cache) == sha256(CONTENT)
    assert source_digest(source, source / "cache") == sha256(CONTENT)


def test_a_file_that_was_just_changed_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashed_sources, "LARGE_BYTES", 100)
    path = tmp_path / "a.csv"
    path.write_bytes(CONTENT)
    source_digest(path, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*"))
