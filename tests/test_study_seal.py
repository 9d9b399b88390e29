"""What a study registers and settles cannot be changed unnoticed by a restart or by a report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from bsscale.cli.jobs import Job
from bsscale.config import Config
from bsscale.data import Dataset, load_dataset
from bsscale.errors import BsscaleError, ConfigError, RecordsError
from bsscale.records import chain
from bsscale.records.chain import Entry, chain_faults, digest, extended
from bsscale.records.identity import NOT_IN_ARM
from bsscale.records.run_record import RunRecord
from bsscale.records.study_record import RegisteredArm, StudyRecord, read_study
from bsscale.report.plan import plan_followed, warnings
from bsscale.report.read import Sources, find
from bsscale.study.looks import make_look
from bsscale.study.options import StudyOptions
from bsscale.study.protocol import study
from bsscale.study.registered import FREE, OF_ARMS, to_register
from bsscale.study.registration import open_study
from tests.composing import composed, hydra
from tests.helpers import SMALL_STUDY, SYNTHETIC
from tests.test_records import RUN

__all__ = ["hydra"]  # (a fixture)

WORDS = (
    *SMALL_STUDY,
    "executor.device=cpu",
    "workers=1",
    "task.trials=3",
    "task.lowest_lr=0.05",
    "task.highest_lr=0.8",
    "budget_samples=4096",
    "~task.arms.onecycle",
    "~task.arms.tuned_onecycle",
)
ROLES: tuple[tuple[str, Literal["baseline", "arm"]], ...] = (
    ("one_gpu", "baseline"),
    ("arm", "arm"),
)
DATA = {**SYNTHETIC, "samples_per_pass": 4096, "validation_samples": 1000, "test_samples": 500}
FIXED = "runs/fixed/seed-1"


@pytest.fixture(scope="module")
def config() -> Iterator[Config]:
    generator = hydra.__wrapped__()  # type: ignore[attr-defined]
    next(generator)
    yield Job(composed(*WORDS), None).config
    next(generator, None)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset(DATA)


def start(directory: Path, config: Config, dataset: Dataset, **options: Any) -> StudyRecord:
    """Start a study in this process; its report is not written."""
    task = replace(config.task, directory=str(directory), **options)  # type: ignore[call-arg]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bsscale.report.write._contents", _no_report)
        try:
            return study(replace(config, task=task), dataset)
        except NoReportError:
            return read_study(directory)


class NoReportError(Exception):
    """The study has got as far as its report."""


def _no_report(*_: Any) -> Any:
    raise NoReportError


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, config: Config, dataset: Dataset) -> Path:
    """A finished study of two seeds; tests only read it."""
    directory = tmp_path_factory.mktemp("seal") / "study"
    start(directory, config, dataset)
    return directory


@pytest.fixture(scope="module")
def grown(
    tmp_path_factory: pytest.TempPathFactory, finished: Path, config: Config, dataset: Dataset
) -> Path:
    """The same after a seed was added."""
    directory = tmp_path_factory.mktemp("grown") / "study"
    shutil.copytree(finished, directory)
    start(directory, config, dataset, seeds=3)
    return directory


@pytest.fixture
def copy(tmp_path: Path, finished: Path) -> Path:
    shutil.copytree(finished, tmp_path / "study")
    return tmp_path / "study"


def changed(path: Path, change: Callable[[Any], None]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def said(found: Sources) -> str:
    """Everything that a report says of the registration."""
    [study_] = found.studies
    plan = plan_followed(study_, found.runs)
    left_out = [f"{each.directory}: {each.reason}" for each in found.left_out]
    return "\n".join([*plan, *warnings(found.studies), *left_out])


def test_what_was_not_touched_is_as_registered(
    copy: Path, config: Config, dataset: Dataset
) -> None:
    found = find([copy])
    record = found.studies[0].record
    text = said(found)
    assert text.startswith("The registered plan was followed: 3 arms x 2 seeds")
    assert f"{len(record.chain)} entries ends with {record.head}" in text
    assert "Do not rely" not in text and len(found.runs) == 6
    kinds = [entry.kind for entry in record.chain]
    assert kinds[0] == "registered" and kinds.count("settled") == 2 and kinds[-1] == "trained"
    # Every run is in the chain, and names the entry that was the last when it began.
    assert len(record.trained) == len(list(copy.rglob("seed-*/run.json")))
    heads = {entry.hash for entry in record.chain}
    assert {run.record.study_head for run in found.runs} <= heads
    before = (copy / "study.json").read_bytes()
    again = start(copy, config, dataset)
    assert again.chain == record.chain
    assert json.loads(before)["chain"] == json.loads((copy / "study.json").read_text())["chain"]


def everywhere(name: str, value: Any) -> Callable[[Path], None]:
    return lambda copy: changed(copy / "study.json", lambda d: d.update({name: value}))


def in_plan(change: Callable[[Any], None]) -> Callable[[Path], None]:
    return lambda copy: changed(copy / "study.json", lambda d: change(d["registered"]))


def erase_arm(copy: Path) -> None:
    """With its runs, and with the hash of the plan that is left."""

    def erase(data: Any) -> None:
        data["registered"]["arms"] = [
            arm for arm in data["registered"]["arms"] if arm["name"] != "fixed"
        ]
        data["hash"] = digest(data["registered"])[:12]

    changed(copy / "study.json", erase)
    shutil.rmtree(copy / "runs" / "fixed")


def swap(one: str, other: str) -> Callable[[Path], None]:
    def swapped(copy: Path) -> None:
        (copy / one).rename(copy / "aside")
        (copy / other).rename(copy / one)
        (copy / "aside").rename(copy / other)

    return swapped


def in_run(change: Callable[[Any], None]) -> Callable[[Path], None]:
    return lambda copy: changed(copy / FIXED / "run.json", change)


def forge(change: Callable[[Any], None]) -> Callable[[Path], None]:
    """Change a run, and its digest in the chain, whose later hashes are computed again."""

    def forged(copy: Path) -> None:
        from bsscale.records.registered_runs import run_digest

        changed(copy / FIXED / "run.json", change)

        def again(data: Any) -> None:
            previous = ""
            for entry in data["chain"]:
                if FIXED in entry["content"]:
                    entry["content"][FIXED] = run_digest(copy / FIXED)
                entry["previous"] = previous
                del entry["hash"]
                previous = entry["hash"] = digest(entry)

        changed(copy / "study.json", again)

    return forged


def clock_back(copy: Path) -> None:
    def back(data: Any) -> None:
        data["chain"][-1]["time"] = "2001-01-01T00:00:00Z"

    changed(copy / "study.json", back)


TAMPERED: dict[str, tuple[Callable[[Path], None], str]] = {
    "the sampler": (
        in_plan(lambda p: p["options"].update(finalist_seeds=7)),
        "the registered plan was changed",
    ),
    "the grid": (in_plan(lambda p: p.update(rates=[0.1, 9])), "the registered plan was changed"),
    "a rule": (
        in_plan(lambda p: p.update(target_rule="the best of 2 runs")),
        "the registered plan was changed",
    ),
    "the hash": (everywhere("hash", "0" * 12), "is not that of the registered plan"),
    "an arm erased with its runs": (erase_arm, "the registered plan was changed"),
    "a target": (everywhere("target", 0.6), "target is 0.6, and"),
    "a rate": (everywhere("base_lr", 0.5), "base_lr is 0.5, and"),
    "a search": (
        lambda copy: changed(copy / "study.json", lambda d: d["tunings"][0].update(best=1.0)),
        "the tuning one_gpu is not the one that was settled",
    ),
    "a search erased": (
        everywhere("tunings", []),
        "the tuning tuned_constant is not the one that was",
    ),
    "an amendment without an entry": (
        everywhere("amendments", [{"arms_added": [], "seeds_added": [2]}]),
        "the amendments were changed",
    ),
    "an entry erased": (
        lambda copy: changed(copy / "study.json", lambda d: d["chain"].pop(-2)),
        "does not follow the one before it",
    ),
    "the clock of an entry": (clock_back, "is earlier than the one before it"),
    "another seed's record": (
        swap("runs/fixed/seed-0", FIXED),
        f"{FIXED}: its records were changed after it had ended",
    ),
    "another arm's record": (
        swap("runs/one_gpu/seed-1", FIXED),
        f"{FIXED}: its records were changed after it had ended",
    ),
    "a result": (
        in_run(lambda r: r.update(samples_to_target=1.0)),
        f"{FIXED}: its records were changed after it had ended",
    ),
    "a curve": (
        lambda copy: (copy / FIXED / "evals.jsonl").write_text(""),  # type: ignore[dict-item]
        f"{FIXED}: its records were changed after it had ended",
    ),
    # Where the chain was computed again, it is the run that does not fit.
    "another study's run": (forge(lambda r: r.update(study="abc")), "it is a run of study abc"),
    "an option of a run": (
        forge(lambda r: r["config"]["optimizer"].update(momentum=0.5)),
        "optimizer.momentum is 0.5, and 0.9 is registered",
    ),
    "a run's schedule": (
        forge(lambda r: r["config"].update(schedule={"name": "cosine"})),
        "schedule.name is cosine, and fixed is registered",
    ),
    "a run's target": (forge(lambda r: r.update(target=0.5)), "target is 0.5, and"),
    "a run's device": (
        forge(lambda r: r["environment"].update(device="NVIDIA")),
        "device is cuda, and cpu is registered",
    ),
    "a run's seed": (forge(lambda r: r.update(seed=0)), "its record is that of runs/fixed/seed-0"),
    "a run that began before": (
        forge(lambda r: r.update(began="2001-01-01T00:00:00Z")),
        "it began at 2001-01-01T00:00:00Z, before the registration",
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_a_change_is_refused_by_a_restart_and_named_by_a_report(
    what: str, copy: Path, config: Config, dataset: Dataset
) -> None:
    tamper, fact = TAMPERED[what]
    tamper(copy)
    found = find([copy])
    text = said(found)
    assert fact in text and "Do not rely on this" in text
    assert not text.startswith("The registered plan was followed")
    if FIXED in fact or "run" in what:  # a run that does not fit is not counted
        assert FIXED not in {run.directory.relative_to(copy).as_posix() for run in found.runs}
    before = {path: path.read_bytes() for path in copy.rglob("*.json*")}
    with pytest.raises(BsscaleError) as caught:
        start(copy, config, dataset)
    assert fact in caught.value.fact or "was" in caught.value.fact
    assert "task.directory" in caught.value.remedy
    assert {path: path.read_bytes() for path in copy.rglob("*.json*")} == before


def test_seeds_that_are_added_after_a_look_are_said_so(grown: Path) -> None:
    found = find([grown])
    [amendment] = found.studies[0].record.amendments
    assert (amendment.seeds_added, amendment.runs_seen) == ((2,), 6)
    text = said(found)
    assert f"Amended: seeds added: 2; at {amendment.time}, after 6 runs of the arms had" in text
    assert "Added after a look, when 6 runs had ended: seed 2." in text
    assert "Do not rely" not in text and len(found.runs) == 9


def test_an_older_copy_of_study_json_is_found_out(
    tmp_path: Path, finished: Path, grown: Path, config: Config, dataset: Dataset
) -> None:
    copy = tmp_path / "study"
    shutil.copytree(grown, copy)
    shutil.copy(finished / "study.json", copy / "study.json")
    text = said(find([copy]))
    assert "runs/fixed/seed-2: it was trained under" in text and "an older copy" in text
    with pytest.raises(RecordsError, match=r"which is not in study\.json"):
        start(copy, config, dataset, seeds=3)


def test_two_registrations_do_not_merge(
    copy: Path, grown: Path, tmp_path: Path, config: Config, dataset: Dataset
) -> None:
    extra = copy / "runs" / "fixed" / "seed-2"
    shutil.copytree(grown / "runs" / "fixed" / "seed-2", extra)
    changed(extra / "run.json", lambda r: r.update(study="abc"))
    assert "runs/fixed/seed-2: it is a run of study abc" in said(find([copy]))
    (tmp_path / "other").mkdir()
    other = open_study(tmp_path / "other", to_register(config, [], [], dataset.key), "a command")
    entries = msgspec.to_builtins(other.chain)
    changed(copy / "study.json", lambda d: d["chain"].extend(entries))
    assert "does not follow the one before it" in said(find([copy]))


def test_a_run_that_is_gone_is_trained_again_and_that_is_said(
    copy: Path, config: Config, dataset: Dataset
) -> None:
    shutil.rmtree(copy / FIXED)
    text = said(find([copy]))
    assert f"Gone: the records of {FIXED}" in text and "Missing: fixed, seed 1." in text
    start(copy, config, dataset)
    text = said(find([copy]))
    assert f"Deviation: {FIXED} was trained again, because its records were gone." in text
    assert "Do not rely" not in text and "Missing" not in text


def test_runs_without_a_registration_are_refused(
    copy: Path, config: Config, dataset: Dataset
) -> None:
    (copy / "study.json").unlink()
    with pytest.raises(RecordsError, match=r"no study\.json, so that they ended before"):
        start(copy, config, dataset)


def test_a_study_without_a_chain_is_read_and_not_continued(
    copy: Path, config: Config, dataset: Dataset
) -> None:
    changed(copy / "study.json", lambda d: d.pop("chain"))
    found = find([copy])
    assert "registered without a chain of hashes" in said(found) and len(found.runs) == 6
    with pytest.raises(RecordsError, match="without a chain of hashes"):
        start(copy, config, dataset)


def test_a_target_that_its_runs_do_not_give_is_named(copy: Path) -> None:
    """Even where the whole chain was computed again."""

    def raise_target(data: Any) -> None:
        previous = ""
        for entry in data["chain"]:
            if "target" in entry["content"]:
                data["target"] = entry["content"]["target"] = 0.6
            entry["previous"] = previous
            del entry["hash"]
            previous = entry["hash"] = digest(entry)

    changed(copy / "study.json", raise_target)
    assert "the target 0.6 was settled, and the runs that fix it give 0." in said(find([copy]))


def test_a_clock_that_was_set_back_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    first = extended([], "registered", {"sha256": "a"})
    assert (first.previous, extended([first], "settled", {}).previous) == ("", first.hash)
    monkeypatch.setattr(chain, "now", lambda: "2001-01-01T00:00:00Z")
    with pytest.raises(RecordsError, match="the clock shows 2001-01-01T00:00:00Z"):
        extended([first], "amended", {"sha256": "b"})


def test_the_hash_of_an_entry_has_a_golden_value() -> None:
    entry = Entry(
        kind="settled", time="2026-01-31T12:00:00Z", content={"base_lr": 0.1}, previous="ab",
        hash="",
    )  # fmt: skip
    covered = {key: getattr(entry, key) for key in ("content", "kind", "previous", "time")}
    text = (
        '{"content":{"base_lr":0.1},"kind":"settled","previous":"ab","time":"2026-01-31T12:00:00Z"}'
    )
    import hashlib

    assert digest(covered) == hashlib.sha256(text.encode()).hexdigest()
    assert chain_faults({"chain": "x"}) == ["study.json has no chain"]
    assert chain_faults({"chain": [3]}) == ["entry 1 of the chain is 3"]


def test_a_study_stops_at_a_registered_look(
    copy: Path, tmp_path: Path, config: Config, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on while an arm is undecided, and a later start neither looks again nor goes on."""
    looked = []

    def look(study_: StudyRecord, records: Sequence[RunRecord], seeds: int) -> dict[str, Any]:
        looked.append(sorted({(record.arm, record.seed) for record in records}))
        made = make_look(study_, records, seeds)
        undecided = ["fixed"] if seeds == 1 else []
        return {**made, "undecided": undecided, "next_seeds": 2 if seeds == 1 else None}

    monkeypatch.setattr("bsscale.study.protocol.make_look", look)
    directory = tmp_path / "auto"
    record = start(directory, config, dataset, seeds="auto", looks=[1, 2, 3])
    assert record.registered.looks == (1, 2, 3) and record.registered.seeds == (0, 1, 2)
    assert [len(runs) for runs in looked] == [3, 6]
    assert record.seeds_due == (0, 1) and not list(directory.glob("runs/*/seed-2"))
    text = said(find([directory]))
    assert text.startswith("The registered plan was followed: 3 arms x 2 seeds")
    assert "Look at 1 seeds: undecided are fixed; it goes on to 2 seeds." in text
    assert "Look at 2 seeds: every arm is decided; the study stops." in text
    again = start(directory, config, dataset, seeds="auto", looks=[1, 2, 3])
    assert again.chain == record.chain
    with pytest.raises(ConfigError, match="looks was"):
        start(directory, config, dataset, seeds="auto", looks=[1, 2])
    with pytest.raises(ConfigError, match="looks was"):
        start(copy, config, dataset, seeds="auto", looks=[1, 2])


@pytest.mark.parametrize(("slower", "undecided"), [(2.0, []), (1.0, ["arm"])])
def test_a_look_decides_by_the_rule_of_the_statistics(
    slower: float, undecided: list[str], config: Config
) -> None:
    registered = to_register(config, [], [], "key")
    registered = msgspec.structs.replace(
        registered, seeds=tuple(range(20)), looks=(10, 15, 20),
        arms=tuple(
            RegisteredArm(
                name=name, role=role, gpus=1, rate="base_lr", preset=False, schedule={}
            )
            for name, role in ROLES
        ),
    )  # fmt: skip
    study_ = StudyRecord(name="s", hash="h", registered=registered)
    records = [
        msgspec.structs.replace(
            RUN, arm=arm, seed=seed, samples_to_target=factor * (1000 + 100 * ((seed * shift) % 10))
        )
        for arm, factor, shift in (("one_gpu", 1.0, 3), ("arm", slower, 7))
        for seed in range(10)
    ]
    assert make_look(study_, records, 10) == {
        "seeds": 10,
        "arms": ["arm"],
        "undecided": undecided,
        "next_seeds": 15 if undecided else None,
    }


def test_every_option_is_registered_or_free(config: Config) -> None:
    """A new option is registered, unless its author says that it does not decide numbers."""
    registered = to_register(config, [], [], "key")
    known = {*registered.settings, *NOT_IN_ARM, *OF_ARMS}
    assert {field.name for field in fields(Config)} <= known
    options = {field.name for field in fields(StudyOptions)}
    # (What is fixed in the code of a search is registered beside them.)
    assert options | {"search"} == {*registered.options, *FREE}
    assert not {*registered.options} & {*FREE}
    assert registered.range_test_seeds == (1_000_000,)
    assert (registered.settings["device"], registered.settings["precision"]) == ("cpu", "fp32")


@pytest.mark.parametrize(
    ("arms", "given", "primary"),
    [
        (("onecycle", "fixed"), None, "onecycle"),
        (("fixed",), None, "fixed"),
        (("fixed", "cosine"), None, None),
        (("fixed", "cosine"), "cosine", "cosine"),
        (("fixed",), "one_gpu", "one_gpu is no arm that is compared"),
        (("fixed",), "fxed", "give one of fixed, control"),
    ],
)
def test_the_primary_arm(arms: tuple[str, ...], given: str | None, primary: str | None) -> None:
    from bsscale.study.arms import make_arms, primary_arm

    presets = {"onecycle": {"schedule": "onecycle", "preset": True}}
    options = {name: presets.get(name, {"schedule": "fixed"}) for name in arms}
    options["one_gpu"] = {"schedule": "fixed", "gpus": 1, "role": "baseline"}
    options["control"] = {"schedule": "fixed", "role": "control"}
    task = StudyOptions(arms=options, primary=given)
    if primary is not None and " " in primary:
        with pytest.raises(ConfigError) as caught:
            primary_arm(task, make_arms(task, 4))
        assert primary in str(caught.value)
    else:
        assert primary_arm(task, make_arms(task, 4)) == primary
