"""From the options of a table to its files: a file, a list, a folder, or a pattern in one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bsscale.data.table.source import Source, TableFile
from bsscale.errors import DataError

__all__ = ["Reading", "open_source"]

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
_COMPRESSED = (".gz", ".zst")
_PARQUET = (".parquet", ".pq")
_SUFFIXES = ", ".join((*_SEPARATORS, *(f".csv{s}" for s in _COMPRESSED), *_PARQUET))


@dataclass(frozen=True)
class Reading:
    """How files are found and read; see `load`.

    `otherwise` is the suffix of files whose names have none, but for .gz and .zst.
    """

    pattern: str | None = None
    separator: str | None = None
    header: bool = True
    columns: tuple[str, ...] | None = None
    otherwise: str | None = None


def open_source(
    path: object, reading: Reading, validation_path: object = None, test_path: object = None
) -> Source:
    """The files of a table, which must exist, with the options for reading them.

    Parameters
    ----------
    path
        A file, a folder, or a list of files.
    reading
        How they are found and read.
    validation_path, test_path
        The files of these splits, if the data are split already.

    Raises
    ------
    DataError
        If there is no such file, its suffix is unknown, or the options do not fit it.
    """
    if (validation_path is None) != (test_path is None):
        given = "validation_path" if test_path is None else "test_path"
        raise DataError(
            f"{given} is given, but the data of the other split are not",
            "give both dataset.validation_path and dataset.test_path, or neither",
        )
    found = [_find("path", path, reading)]
    if validation_path is not None:
        found.append(_find("validation_path", validation_path, reading))
        found.append(_find("test_path", test_path, reading))
    files = tuple(file for part in found for file in part)
    shown = Path(path).expanduser() if isinstance(path, str) else files[0].path
    splits = (len(found[0]), len(found[1]), len(found[2])) if len(found) == 3 else None
    if all(file.format in _PARQUET for file in files):
        if reading.separator is not None or not reading.header or reading.columns is not None:
            raise DataError(
                f"{shown} is Parquet, which names its columns itself",
                "leave out dataset.separator, dataset.header and dataset.columns",
            )
        return Source(shown, files, None, None, splits)
    _check_header(reading)
    names = None if reading.header else tuple(reading.columns or ())
    return Source(shown, files, _separator(files, reading.separator), names, splits)


def _find(option: str, path: object, reading: Reading) -> list[TableFile]:
    """The files that an option names."""
    pattern, otherwise = reading.pattern, reading.otherwise
    if isinstance(path, Sequence) and not isinstance(path, str):
        if not path:
            raise DataError(f"{option} is an empty list", "give at least one file")
        if pattern is not None:
            raise DataError(
                f"pattern is {pattern!r}, but {option} is a list of files",
                "give the folder of the files as dataset.path, or leave dataset.pattern out",
            )
        files = [_file(_checked_path(option, each), otherwise) for each in path]
        twice = [file.path for at, file in enumerate(files) if file in files[:at]]
        if twice:
            raise DataError(f"{option} names {twice[0]} twice", "name each file once")
        return files
    given = _checked_path(option, path, may_be_folder=True)
    if given.is_dir():
        paths = _in_folder(given, reading)
        return [_file(_checked_path(option, str(each)), otherwise) for each in paths]
    if pattern is not None:
        raise DataError(
            f"pattern is {pattern!r}, but {given} is a file",
            "give the folder of the files as dataset.path, or leave dataset.pattern out",
        )
    return [_file(given, otherwise)]


def _in_folder(folder: Path, reading: Reading) -> list[Path]:
    """The tables in a folder by name, or what a pattern finds in it."""
    if (pattern := reading.pattern) is not None:
        try:
            found = sorted((e for e in folder.glob(pattern) if e.is_file()), key=_in_order)
        except (ValueError, NotImplementedError) as error:
            raise DataError(
                f"pattern is {pattern!r}: {error}", "give a pattern such as 'day_*.csv'"
            ) from error
        if not found:
            raise DataError(f"no file in {folder} fits {pattern!r}", f"it has {_names(folder)}")
        return found
    # (_SUCCESS and .crc files are those of the program that wrote the others)
    files = sorted((e for e in folder.iterdir() if e.name[:1] not in "._"), key=_in_order)
    tables = [each for each in files if each.is_file() and _format(each, reading.otherwise)]
    if not tables:
        raise DataError(
            f"{folder} is not a file, and no table is in this folder", f"it has {_names(folder)}"
        )
    others = [each.name for each in files if each not in tables]
    if others:
        raise DataError(
            f"{folder} has tables and {others[0]!r}, which is none",
            f"say which files are meant: dataset.pattern='*{tables[0].suffix}'",
        )
    return tables


def _in_order(path: Path) -> tuple[list[tuple[str, int]], Path]:
    """Numbers in a name count as numbers: day_2 is before day_10."""
    parts = re.split(r"([0-9]+)", str(path))
    numbers = [int(digits) for digits in parts[1::2]]
    return list(zip(parts[::2], [*numbers, -1], strict=True)), path


def _names(folder: Path) -> str:
    names = sorted(each.name for each in folder.iterdir())
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else "no files"


def _format(path: Path, otherwise: str | None) -> str | None:
    """The suffixes of a file in lower case; None for one that cannot be read."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    packed = suffixes.pop() if suffixes and suffixes[-1] in _COMPRESSED else ""
    suffix = suffixes[-1] if suffixes else otherwise or ""
    if suffix not in _SEPARATORS and (packed or suffix not in _PARQUET):
        return None
    return suffix + packed


def _file(path: Path, otherwise: str | None) -> TableFile:
    form = _format(path, otherwise)
    if form is None:
        ending = repr(path.suffix) if path.suffix not in ("", *_COMPRESSED) else "no suffix"
        if path.suffix in _COMPRESSED and len(path.suffixes) > 1:
            ending = repr(path.suffix)
        raise DataError(f"{path} ends in {ending}", f"give a file that ends in {_SUFFIXES}")
    return TableFile(path, form)


def _check_header(reading: Reading) -> None:
    header, columns = reading.header, reading.columns
    if not isinstance(header, bool):
        raise DataError(
            f"header is {header!r}", "write dataset.header=true or dataset.header=false"
        )
    if header and columns is not None:
        raise DataError(
            f"columns names {len(columns)} columns, but the first row is the header",
            "add dataset.header=false if the first row is data, or leave dataset.columns out",
        )
    if not header and columns is None:
        raise DataError(
            "header=false, but nothing names the columns",
            "name all of them in order: dataset.columns=[clicked,price,site]",
        )


def _separator(files: Sequence[TableFile], separator: str | None) -> str:
    """The separator of all files."""
    for file in files:
        if file.format in _PARQUET:
            raise DataError(
                f"{file.path} is Parquet, and other files are text",
                "give files of one kind: dataset.path=[...], or dataset.pattern=...",
            )
    if separator is not None:
        return _checked_separator(separator)
    by_suffix = {_SEPARATORS["." + file.format.split(".")[1]]: file.path for file in files}
    if len(by_suffix) > 1:
        one, other = list(by_suffix.values())[:2]
        raise DataError(
            f"the suffixes of {one.name} and {other.name} stand for different separators",
            "give the separator: dataset.separator=',' or dataset.separator=tab",
        )
    return next(iter(by_suffix))


def _checked_separator(separator: str) -> str:
    character = {"tab": "\t", "\\t": "\t"}.get(str(separator), str(separator))
    if len(character) != 1 or not character.isascii():
        raise DataError(f"separator is {separator!r}", "give one ASCII character, or tab")
    if character.isalnum() or character in '"\r\n\0':
        raise DataError(
            f"separator is {separator!r}", 'give a character such as ";" or "|", or tab'
        )
    return character


def _checked_path(option: str, path: object, may_be_folder: bool = False) -> Path:
    """A path that exists; raises DataError for another one, or an empty file."""
    try:
        source = Path(path).expanduser()  # type: ignore[arg-type]
        if not source.exists():
            many = "; for many files: dataset.path=FOLDER dataset.pattern='*.csv'"
            raise DataError(
                f"there is no file {source}",
                f"paths are relative to the current directory, {Path.cwd()}"
                + (many if "*" in source.name else ""),
            )
        if source.is_dir() and may_be_folder:
            return source
        if not source.is_file():
            raise DataError(f"{source} is not a file", "give one file")
        if source.stat().st_size == 0:
            raise DataError(f"{source} is empty", "give a file with a header and rows")
    # (A path with a NUL, too long, of an unknown user, or without permission.)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise DataError(f"{option} is {path!r}: {error}", "give the path of one file") from error
    return source
