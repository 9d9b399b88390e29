from __future__ import annotations

from pathlib import Path

import pytest

from bsscale.data import Dataset, flights


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for every test."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("BSSCALE_CACHE_DIR", str(folder))
    return folder


@pytest.fixture(scope="session")
def flights_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flights-cache")


@pytest.fixture(scope="session")
def prepared_flights(flights_cache: Path) -> dict[str, Dataset]:
    """Both splits of the flights, prepared once in a cache of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BSSCALE_CACHE_DIR", str(flights_cache))
        return {split: flights.load(split=split) for split in ("random", "time")}
