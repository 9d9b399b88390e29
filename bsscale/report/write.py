"""From directories of records to a report: every file of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from bsscale.bridge.curves import Wanted
from bsscale.errors import RecordsError
from bsscale.files.replace import replace_text, write_json
from bsscale.records.directories import unwritable_error
from bsscale.report import tables
from bsscale.report.answer import Answer, answers, in_words
from bsscale.report.base_lr import with_base_lr
from bsscale.report.charts import figures
from bsscale.report.charts.figure import styles_of
from bsscale.report.columns import columns_table
from bsscale.report.comparison import Comparison
from bsscale.report.contents import Contents
from bsscale.report.drawing import NARROW, WIDE, save, svg
from bsscale.report.imported import imported_table
from bsscale.report.limits import limits
from bsscale.report.next_step import joined
from bsscale.report.noise_scale import noise_scale_table
from bsscale.report.page import render_page
from bsscale.report.plan import plan_followed, plan_table, warnings
from bsscale.report.read import Sources, find
from bsscale.report.screen import plan_in_words, rows, samples_title, setting
from bsscale.report.sentences import verdicts
from bsscale.report.settings import cost, settings, title_of, versions_table
from bsscale.report.spreadsheet import arms_csv, samples_csv
from bsscale.report.summarize import summarize

__all__ = ["Report", "write_report"]

log = logging.getLogger(__name__)

FORMAT_VERSION = 2


@dataclass(frozen=True)
class Report:
    """A written report.

    Attributes
    ----------
    verdict
        Its result, in a sentence.
    answers
        What to use, how sure that is and what to do next; one for each baseline.
    comparison
        The numbers behind both.
    files
        All that was written; the page is ``report.html``.
    """

    verdict: str
    answers: tuple[Answer, ...]
    comparison: Comparison
    files: tuple[Path, ...]


def write_report(
    paths: Sequence[Path],
    out: Path,
    baseline: str | None = None,
    wanted: Wanted | None = None,
    command: Sequence[str] = (),
) -> Report:
    """Rebuild the report of some runs from their records; nothing is trained or downloaded.

    Parameters
    ----------
    paths
        Directories of studies, multiruns, range tests or runs, or of what holds them; and files of
        curves from elsewhere.
    out
        Where to write report.html, report.md, report.csv, report.json, samples.csv and figures/.
    baseline
        Label of the arm that ratios refer to; None: the study's baseline, else the only arm at one
        GPU, else the only one there with a fixed rate, else none: then arms are ranked only.
    wanted
        How curves from elsewhere are judged; None: there are none.
    command
        The words after ``python -m bsscale`` with which this report can be made again.

    Raises
    ------
    ConfigError
        If curves have no metric that judges them, or there are none for the given one.
    RecordsError
        If there is nothing to report on, no arm is called `baseline`, or `out` cannot be written.
    """
    found = find(paths, wanted)
    found.report_command = list(command) if wanted is not None else []
    if not (found.runs or found.range_tests or found.studies):
        reasons = [each.reason for each in found.left_out]
        more = f" (and {len(reasons) - 3} more)" if len(reasons) > 3 else ""
        raise RecordsError(
            f"there is nothing to report on: {'; '.join(reasons[:3])}{more}",
            "name directories of finished runs (task.runs=DIR), or a file of curves with "
            "task.metric=NAME",
        )
    comparison = summarize(found, baseline)
    contents = _contents(found, comparison, paths)
    try:
        (out / "figures").mkdir(parents=True, exist_ok=True)
        files = _write(contents, found, comparison, out)
    except OSError as error:
        raise unwritable_error(out, error) from error
    return Report(contents.verdict, tuple(contents.answers), comparison, tuple(files))


def _contents(found: Sources, comparison: Comparison, paths: Sequence[Path]) -> Contents:
    names = [study.record.name for study in found.studies] or [
        title_of(comparison) or " and ".join(path.resolve().name for path in paths)
    ]
    differ, common = settings(comparison)
    found_answers = answers(comparison, found)
    plans = [
        (study.record.name, plan_followed(study, found.runs), plan_table(study))
        for study in found.studies
    ]
    return Contents(
        title=" and ".join(dict.fromkeys(names)) if len(names) < 4 else f"{len(names)} directories",
        setting=setting(comparison, found, plan_in_words(plans)),
        answers=found_answers,
        rows=rows(comparison),
        samples_title=samples_title(comparison),
        warnings=warnings(found.studies),
        verdict=" ".join([in_words(found_answers), *warnings(found.studies)]),
        arms=tables.arms_table(comparison),
        verdicts=with_base_lr(verdicts(comparison), [study.record for study in found.studies]),
        limits=limits(comparison, found.studies),
        intervals=[
            tables.ratios_table(comparison),
            tables.easier_table(comparison),
            tables.intervals_table(comparison),
            tables.divergence_table(comparison),
            noise_scale_table(comparison),
            imported_table(comparison),
        ],
        figures=figures(comparison, found.studies, found.range_tests, found_answers),
        plans=plans,
        differ=differ,
        common=common,
        columns=columns_table(comparison),
        versions=versions_table(comparison),
        cost=cost(comparison, found.studies),
        left_out=tables.left_out_table(comparison),
        commands=[
            *found.commands,
            *([joined(found.report_command)] if found.report_command else []),
        ],
    )


def _write(contents: Contents, found: Sources, comparison: Comparison, out: Path) -> list[Path]:
    files = [out / f"report.{ending}" for ending in ("html", "md", "csv", "json")]
    files.append(out / "samples.csv")
    drawings = {
        figure.name: (svg(figure.draw(WIDE)), svg(figure.draw(NARROW)) if figure.on_page else "")
        for figure in contents.figures
    }
    replace_text(files[0], render_page(contents, drawings))
    replace_text(files[1], _markdown(contents))
    replace_text(files[2], arms_csv(comparison))
    write_json(files[3], _data(contents, found, comparison))
    replace_text(files[4], samples_csv(comparison))
    for figure in contents.figures:
        files += save(drawings[figure.name][0], out / "figures" / figure.name)
    return files


def _data(contents: Contents, found: Sources, comparison: Comparison) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "verdict": contents.verdict,
        "answers": [asdict(answer) for answer in contents.answers],
        "limits": list(contents.limits),
        **comparison.as_dict(),
        "styles": {
            arm.arm: style.as_dict()
            for arm, style in zip(comparison.arms, styles_of(comparison.arms).values(), strict=True)
        },
        "studies": [
            {
                "name": study.record.name,
                "hash": study.record.hash,
                "head": study.record.head,
                "directory": str(study.directory),
                "metric": study.record.registered.metric,
                "direction": study.record.registered.direction,
                "target": study.record.target,
                "base_lr": study.record.base_lr,
                "plan": list(followed),
                "tunings": msgspec.to_builtins(study.record.tunings),
                "flat_ends": msgspec.to_builtins(study.record.flat_ends),
                "presets": msgspec.to_builtins(study.record.presets),
            }
            for study, (_, followed, _) in zip(found.studies, contents.plans, strict=True)
        ],
        "range_tests": [
            {
                "directory": str(t.directory),
                "metric": t.criterion.name,
                "direction": t.criterion.direction,
                "reason": t.reason,
                "marks": t.marks,
            }
            for t in found.range_tests
        ],
        "commands": list(contents.commands),
    }


def _markdown(contents: Contents) -> str:
    """report.md: the page without its figures' interaction."""
    say = tables.markdown
    parts = [f"# {say(contents.title)}", say(contents.setting)]
    for answer in contents.answers:
        parts.append(f"**{say(answer.text)}**")
        if answer.use is not None and answer.use.command is not None:
            parts.append(_fenced([answer.use.command]))
        if answer.next is not None:
            parts.append(say(answer.next.says) + (":" if answer.next.commands else "."))
            parts += [_fenced(answer.next.commands)] if answer.next.commands else []
        parts += [say(each) for each in answer.details]
    if not contents.answers:
        parts.append(say(contents.verdict))
    parts += [say(each) for each in contents.warnings if contents.answers]
    if contents.arms.rows:
        parts.append(contents.arms.markdown())
    parts += [f"- {say(arm)}: {say(text)}" for arm, text in contents.verdicts]
    if contents.limits:
        parts += ["## What this does not say", *(f"- {say(each)}" for each in contents.limits)]
    for figure in contents.figures:
        parts += [
            f"## {say(figure.title)}",
            f"![{say(figure.text)}](figures/{figure.name}.svg)",
            say(figure.caption),
        ]
    for name, followed, plan in contents.plans:
        parts += [f"## The plan of {say(name)}", *(f"- {say(each)}" for each in followed)]
        if plan.rows:
            parts.append(plan.markdown())
    for table in (
        *contents.intervals,
        contents.differ,
        contents.common,
        contents.columns,
        contents.versions,
        contents.left_out,
    ):
        if table.rows:
            parts += [f"## {say(table.title)}", table.markdown()]
    parts += ["## Cost", say(contents.cost)]
    if contents.commands:
        parts += ["## To reproduce it", _fenced(contents.commands)]
    text = "\n\n".join(parts) + "\n"
    # Lists are one block.
    return text.replace("\n\n- ", "\n- ").replace("**\n- ", "**\n\n- ")


def _fenced(commands: Sequence[str]) -> str:
    fence = "```"
    lines = [" ".join(each.replace(fence, "").split("\n")) for each in commands]
    return "\n".join([f"{fence}sh", *lines, fence])
