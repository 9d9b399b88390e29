"""The command: see the package."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import golden
from tests.benchmarks.golden.cases import CASES, FILES, Case
from tests.benchmarks.golden.records import Recorded, differences, read_recorded

ROOT = Path(__file__).parents[3]


class CaseFailedError(Exception):
    """A side's command ended with an error, or its records cannot be read."""


@dataclass
class Side:
    """One of the two checkouts, and where its commands are typed.

    Attributes
    ----------
    name
        As it was given.
    checkout, work
        The code, and an empty directory.
    seconds
        What its commands have taken.
    """

    name: str
    checkout: Path
    work: Path
    seconds: float = 0.0

    def check(self) -> None:
        """Raise if another bsscale than the checkout's would run."""
        self.work.mkdir()
        look = [sys.executable, "-c", "import bsscale; print(bsscale.__file__)"]
        done = self._call(look, self.work)
        if done.returncode or not Path(done.stdout.strip()).is_relative_to(self.checkout):
            raise SystemExit(f"{self.name}: not the checkout's bsscale: {done.stdout}{done.stderr}")

    def run(self, case: Case) -> Recorded:
        """Carry out a case.

        Raises
        ------
        CaseFailedError
            If it has no result.
        """
        begun = time.perf_counter()
        for number, arguments in enumerate(case.spellings):
            directory = self.work / f"{case.name}-{number}"
            directory.mkdir()
            for name, text in FILES.items():
                (directory / name).write_text(text, encoding="utf-8")
            done = self._call([sys.executable, "-m", "bsscale", *arguments], directory)
            if done.returncode == 0:
                break
        self.seconds += time.perf_counter() - begun
        if done.returncode:
            said = (done.stdout + done.stderr).strip().splitlines()
            errors = [x for x in said if "error: " in x or "failed: " in x] or said[-1:]
            raise CaseFailedError(f"{self.name} fails: {' '.join(errors[:1]) or done.returncode}")
        try:
            return read_recorded(directory)
        except (OSError, ValueError, KeyError) as error:
            raise CaseFailedError(f"{self.name}: {error}") from error

    def _call(self, command: Sequence[str], directory: Path) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.checkout),
            "BSSCALE_CACHE_DIR": str(self.work / "cache"),
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.run(
            command,
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )


@contextmanager
def checked_out(name: str, directory: Path) -> Iterator[Path]:
    """A checkout's own path, or a commit as a worktree that is removed at the end."""
    if Path(name).is_dir():
        yield Path(name).resolve()
        return
    git = ["git", "-C", str(ROOT), "worktree"]
    added = subprocess.run(
        [*git, "add", "--detach", str(directory), name], capture_output=True, text=True
    )
    if added.returncode:
        raise SystemExit(f"{name} is neither a directory nor a commit: {added.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run([*git, "remove", "--force", str(directory)], check=True)


def compare(case: Case, base: Side, other: Side) -> tuple[bool, str]:
    """Whether both sides are equal, and what the table says of it."""
    with ThreadPoolExecutor(2) as pool:
        begun = [pool.submit(side.run, case) for side in (base, other)]
    try:
        ours, theirs = (each.result() for each in begun)
    except CaseFailedError as error:
        return False, str(error)
    found = list(differences(ours, theirs))
    evaluations = sum(map(len, ours.evaluations.values()))
    size = f"{len(ours.results):>4} runs  {evaluations:>5} evaluations  "
    if not found:
        return True, f"{size}equal"
    more = f" (and in {len(found) - 1} more files)" if len(found) > 1 else ""
    return False, f"{size}differs: {found[0]}{more}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.golden",
        description=golden.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("base", nargs="?", metavar="BASE", help="a commit, or a checkout's path")
    parser.add_argument("--against", default=str(ROOT), help="the same; the working tree if absent")
    parser.add_argument("--only", nargs="+", metavar="CASE", choices=[case.name for case in CASES])
    parser.add_argument("--list", action="store_true", help="show the cases and stop")
    options = parser.parse_args()
    if options.list:
        print("\n".join(f"{case.name:16}  {' '.join(case.arguments)}" for case in CASES))
        return
    if options.base is None:
        parser.error("name the commit to compare with")
    cases = [case for case in CASES if options.only is None or case.name in options.only]
    with (
        # (Resolved: the checkout's modules are to lie below it.)
        tempfile.TemporaryDirectory() as name,
        checked_out(options.base, Path(name).resolve() / "base") as base_checkout,
        checked_out(options.against, Path(name).resolve() / "other") as other_checkout,
    ):
        base = Side(options.base, base_checkout, Path(name) / "base-work")
        other = Side(options.against, other_checkout, Path(name) / "other-work")
        base.check()
        other.check()
        equal = True
        for case in cases:
            same, said = compare(case, base, other)
            print(f"{case.name:16}  {said}", flush=True)
            equal &= same
    print(f"\n{base.seconds:.0f} s and {other.seconds:.0f} s, both sides at the same time")
    sys.exit(0 if equal else 1)


if __name__ == "__main__":
    main()
