"""The chain of a study: what was registered and settled, in order, each entry with its hash.

An entry's hash covers its content, its time and the hash of the entry before it. So a later change
of an entry, of their order or of what they cover breaks the chain. Someone who computes the whole
chain again cannot be found out from the files alone; reports and W&B show its head, the last hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

import msgspec

from bsscale.errors import RecordsError
from bsscale.files.replace import plain

__all__ = ["NAMES", "Entry", "Kind", "chain_faults", "digest", "extended", "now", "shown_hash"]

# registered: the plan, once; amended: arms and seeds that were added; settled: decisions that
# follow from runs; trained: runs that have ended; looked: a look at the runs of the arms.
Kind: TypeAlias = Literal["registered", "amended", "settled", "trained", "looked"]

# What searches and range tests have found lies beside the chain, which has digests of it: fields of
# study.json, and the names of their entries in the chain.
NAMES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "tunings": lambda each: f"tuning {each.get('name')}",
    "presets": lambda each: f"range test at {each.get('gpus')} gpus",
    "flat_ends": lambda each: f"flat end {each.get('base_lr')} of {each.get('arm')}",
}
_FOUND = ("tuning ", "range test at ", "flat end ")

# Of a hash, in sentences.
_SHOWN = 12


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of a chain.

    Attributes
    ----------
    kind
        What it is about.
    time
        When it was written, UTC, in seconds: 2026-01-31T12:00:00Z.
    content
        Plain containers.
    previous, hash
        Hash of the entry before (empty for the first), and its own: SHA-256, hex digits.
    """

    kind: str
    time: str
    content: dict[str, Any]
    previous: str
    hash: str


def digest(content: Any) -> str:
    """SHA-256 of plain containers, whatever the order of their keys."""
    text = json.dumps(plain(content), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def now() -> str:
    """The time, as entries have it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def shown_hash(value: str) -> str:
    """A hash as sentences have it."""
    return value[:_SHOWN]


def extended(chain: Sequence[Entry], kind: Kind, content: Mapping[str, Any]) -> Entry:
    """The next entry of a chain.

    Raises
    ------
    RecordsError
        If the clock shows a time before the last entry.
    """
    time, last = now(), chain[-1] if chain else None
    if last is not None and time < last.time:
        raise RecordsError(
            f"the clock shows {time}, and study.json was written at {last.time}",
            "set the clock right, or wait until it has passed that time",
        )
    previous = "" if last is None else last.hash
    covered = {"kind": kind, "time": time, "content": plain(content), "previous": previous}
    return Entry(**covered, hash=digest(covered))


def chain_faults(data: Mapping[str, Any]) -> list[str]:
    """What in a study.json does not agree with its chain, one clause each.

    Parameters
    ----------
    data
        The JSON object, as it was read: fields of a newer version are covered too.
    """
    chain = data.get("chain")
    if not isinstance(chain, list) or not chain:
        return ["study.json has no chain"]
    faults, previous, time = [], "", ""
    for number, entry in enumerate(chain, start=1):
        if not isinstance(entry, dict):
            return [f"entry {number} of the chain is {entry!r}"]
        covered = {key: value for key, value in entry.items() if key != "hash"}
        which = f"entry {number} of the chain ({entry.get('kind')}, {entry.get('time')})"
        if entry.get("previous") != previous:
            faults.append(f"{which} does not follow the one before it")
        if entry.get("hash") != digest(covered):
            faults.append(f"{which} was changed: its hash is another one")
        if str(entry.get("time")) < time:
            faults.append(f"{which} is earlier than the one before it, {time}")
        previous, time = str(entry.get("hash")), str(entry.get("time"))
    return faults + _content_faults(data, chain)


def _content_faults(data: Mapping[str, Any], chain: Sequence[Mapping[str, Any]]) -> list[str]:
    """What lies beside the chain, compared with the entries about it."""
    faults = []

    def contents(kind: Kind) -> list[Any]:
        return [entry.get("content") for entry in chain if entry.get("kind") == kind]

    registered = digest(data.get("registered"))
    if contents("registered") != [{"sha256": registered}] or chain[0].get("kind") != "registered":
        faults.append("the registered plan was changed: the chain begins with another one")
    if data.get("hash") != shown_hash(registered):
        faults.append(f"the hash {data.get('hash')} is not that of the registered plan")
    amendments = data.get("amendments") or []
    if contents("amended") != [{"sha256": digest(each)} for each in amendments]:
        faults.append("the amendments were changed: the chain has others")
    settled: dict[str, Any] = {}
    for content in contents("settled"):
        for name, value in content.items() if isinstance(content, dict) else ():
            if name in settled and settled[name] != value:
                faults.append(f"{name} was settled twice: {settled[name]}, then {value}")
            settled.setdefault(name, value)
    for name in ("base_lr", "target", "budget_samples"):  # (not settled: provisional)
        if name in settled and data.get(name) != settled[name]:
            faults.append(f"{name} is {data.get(name)}, and {settled[name]} was settled")
    found = {
        name_of(each) if isinstance(each, dict) else "": digest(each)
        for field, name_of in NAMES.items()
        for each in data.get(field) or []
    }
    for name, value in settled.items():
        if name.startswith(_FOUND) and value != found.get(name):
            faults.append(f"the {name} is not the one that was settled")
    return faults
