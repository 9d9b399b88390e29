"""task=dashboard: a W&B workspace and a W&B report that compare schedules, from code.

Both show what `bsscale.tracking.tracker` sends: curves over samples, and results from summaries.
Runs are grouped by series (`bsscale.tracking.derived`), so that no panel takes runs of two studies,
targets or data sets together. Both are written as the JSON that W&B itself stores, without an
account.
"""

from __future__ import annotations

import importlib
import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bsscale.errors import ConfigError
from bsscale.files.replace import write_json
from bsscale.objectives import Criterion
from bsscale.records.directories import unwritable_error

__all__ = ["Dashboard", "build_dashboard", "check_dashboard"]

NAME = "bsscale: schedules compared"
# The comparison of a multirun has a job type of its own; that of a run is its arm.
KIND, COMPARISON = "JobType", "comparison"
# In the runs' configuration, which W&B stores below `value`: what a panel may take together.
SERIES = "plan.value.series"
AT_LEAST = "samples_to_target_at_least"
MOST_RUNS = 100


@dataclass(frozen=True)
class Dashboard:
    """A workspace and a report of wandb-workspaces, not sent yet."""

    workspace: Any
    report: Any

    def specifications(self) -> dict[str, Any]:
        """Both as W&B stores them: plain containers, the same at every call."""
        return {
            "workspace": _plain(self.workspace),
            "report": _plain(self.report),
        }

    def write(self, directory: Path) -> list[Path]:
        """Write workspace.json and report.json; returns their paths."""
        paths = []
        for name, specification in self.specifications().items():
            path = directory / f"{name}.json"
            try:
                write_json(path, specification)
            except OSError as error:
                raise unwritable_error(directory, error) from error
            paths.append(path)
        return paths

    def publish(self) -> list[str]:
        """Send both; returns their addresses.

        Raises
        ------
        ConfigError
            If W&B does not take them: no key, no network, no such entity.
        """
        try:
            return [self.workspace.save().url, self.report.save().url]
        except Exception as error:  # (any error between here and the server)
            why = " ".join(str(error).split())[:300]
            raise ConfigError(
                f"the dashboard could not be sent to W&B: {why}",
                "log in (`wandb login`), and check the network and task.publish=ENTITY/PROJECT; "
                "what was to be sent has been written",
            ) from None


def check_dashboard() -> None:
    """Raise ConfigError if wandb-workspaces is not installed."""
    _library()


def build_dashboard(
    entity: str,
    project: str,
    criterion: Criterion,
    loss: str,
    only: Mapping[str, str | float] | None = None,
) -> Dashboard:
    """Build the workspace and the report.

    Parameters
    ----------
    entity, project
        Where they are to be saved; the entity may be empty as long as they are not.
    criterion, loss
        What the runs are judged by, and the name of the metric that is their validation loss.
    only
        The study, the dataset or the target of the runs that are shown, by these names.

    Raises
    ------
    ConfigError
        If wandb-workspaces is not installed.
    """
    wr, ws, expr = _library()
    given = {} if only is None else dict(only)
    shown = [expr.Config(f"plan.value.{key}") == value for key, value in given.items()]
    study = given.get("study")
    of_study = [] if study is None else [expr.Config("plan.value.study") == study]
    workspace = ws.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=[
            ws.Section(name=title, panels=list(panels), is_open=True)
            for title, _, panels in [*_sections(wr, criterion, loss), _comparison(wr, criterion)]
        ],
        settings=ws.WorkspaceSettings(x_axis="samples", max_runs=MOST_RUNS),
        runset_settings=ws.RunsetSettings(
            groupby=[expr.Config(SERIES)], filters=expr.And(*shown) if shown else ""
        ),
    )
    runs = wr.Runset(
        name="runs by arm",
        filters=expr.And(expr.Metric(KIND) != COMPARISON, *shown),
        groupby=[f"config.{SERIES}"],
    )
    blocks: list[Any] = [
        wr.P(
            "What must happen to the learning rate when a job grows from 1 GPU to N, measured in "
            f"samples to a target {criterion.title}. A run that did not reach it counts with its "
            "whole budget, as a lower limit. Each line and bar is one arm, with its data, its "
            "target and its study."
        )
    ]
    for title, text, panels in _sections(wr, criterion, loss):
        blocks += [wr.H2(title), wr.P(text), _grid(wr, runs, panels)]
    title, text, panels = _comparison(wr, criterion)
    comparisons = wr.Runset(
        name="comparisons", filters=expr.And(expr.Metric(KIND) == COMPARISON, *of_study)
    )
    blocks += [wr.H2(title), wr.P(text), _grid(wr, comparisons, panels)]
    report = wr.Report(
        entity=entity,
        project=project,
        title=NAME,
        description="Made by python -m bsscale task=dashboard",
        blocks=blocks,
        width="fluid",
    )
    return Dashboard(workspace, report)


def _library() -> tuple[Any, Any, Any]:
    """Its reports, workspaces and expressions."""
    # W&B otherwise looks up its error-reporting host as soon as it is imported.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    names = ("reports.v2", "workspaces", "expr")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own use of pydantic
            reports, workspaces, expressions = (
                importlib.import_module(f"wandb_workspaces.{name}") for name in names
            )
    except ImportError:
        raise ConfigError(
            "task=dashboard needs wandb-workspaces, which is not installed",
            "pip install 'bsscale[dashboard]', from a checkout pip install -e '.[dashboard]'",
        ) from None
    return reports, workspaces, expressions


def _sections(wr: Any, criterion: Criterion, loss: str) -> list[tuple[str, str, Sequence[Any]]]:
    """Title, what it says, and panels of every section over the runs."""
    at_least, reached = wr.SummaryMetric(AT_LEAST), wr.SummaryMetric("runs_reached")
    name, title = criterion.name, criterion.title
    convergence = [
        _curve(
            wr,
            f"{title[0].upper()}{title[1:]} over samples, by arm, with the target",
            [name, "target"],
        )
    ]
    if loss != name:
        convergence.append(_curve(wr, "Validation loss over samples, by arm", [loss]))
    return [
        (
            "Convergence",
            "Median over the seeds of each arm, and the band from the lowest to the highest.",
            convergence,
        ),
        (
            "Schedules",
            "The rate and the momentum of the last update.",
            [
                _curve(wr, "Learning rate over samples", ["lr"]),
                _curve(wr, "Momentum over samples", ["momentum"]),
            ],
        ),
        (
            "Samples to target",
            "A run that did not reach its target counts with its whole budget. So a median is a "
            "lower limit where half of the runs or fewer reached it.",
            [
                _bars(wr, "Samples to target or budget, median by arm", [at_least], "median"),
                _bars(wr, "Share of runs that reached the target, by arm", [reached], "mean"),
                _points(wr, "Samples to target or budget, over gpus", "gpus"),
            ],
        ),
        (
            "Sweeps",
            "For example -m schedule=onecycle schedule.cycle_first_stair_count=0,5,20.",
            [
                _points(
                    wr,
                    "Samples to target or budget, over stair count",
                    "plan.schedule.cycle_first_stair_count",
                ),
                _points(
                    wr, "Samples to target or budget, over peak learning rate", "plan.peak_lr", True
                ),
            ],
        ),
        (
            "Status",
            "How many runs of each arm ended how.",
            [
                _bars(wr, f"Runs that {says}, by arm", [wr.SummaryMetric(f"runs_{status}")], "sum")
                for status, says in (
                    ("reached", "reached the target"),
                    ("exhausted", "spent their budget"),
                    ("diverged", "diverged"),
                    ("failed", "failed"),
                )
            ],
        ),
        (
            "Throughput",
            "Training only, without evaluations.",
            [
                _bars(
                    wr,
                    "Samples per second, median by arm",
                    [wr.SummaryMetric("samples_per_s")],
                    "median",
                )
            ],
        ),
    ]


def _comparison(wr: Any, criterion: Criterion) -> tuple[str, str, Sequence[Any]]:
    """The one run that a multirun or a study ends with."""
    return (
        "Comparison",
        "Every arm's median curve, and the table of arms: counts, medians, and ratios to the "
        "baseline with their intervals.",
        [
            wr.LinePlot(
                title=f"Median {criterion.title} over samples, every arm of one comparison",
                x="samples",
                metric_regex=f"{criterion.name}/.*",
                title_x="samples",
                max_runs_to_show=MOST_RUNS,
            ),
            wr.WeavePanelSummaryTable(table_name="arms"),
        ],
    )


def _curve(wr: Any, title: str, metrics: Sequence[str]) -> Any:
    return wr.LinePlot(
        title=title,
        x="samples",
        y=list(metrics),
        title_x="samples",
        groupby=wr.Config(SERIES),
        groupby_aggfunc="median",
        groupby_rangefunc="minmax",
        smoothing_type="none",
        max_runs_to_show=MOST_RUNS,
    )


def _bars(wr: Any, title: str, metrics: Sequence[Any], aggregate: str) -> Any:
    return wr.BarPlot(
        title=title,
        metrics=list(metrics),
        groupby=wr.Config(SERIES),
        groupby_aggfunc=aggregate,
        max_runs_to_show=MOST_RUNS,
    )


def _points(wr: Any, title: str, key: str, log_x: bool = False) -> Any:
    return wr.ScatterPlot(
        title=title,
        x=wr.Config(key),
        y=wr.SummaryMetric(AT_LEAST),
        log_x=log_x or None,
    )


def _grid(wr: Any, runs: Any, panels: Sequence[Any]) -> Any:
    """Panels beside each other, two a row."""
    for number, panel in enumerate(panels):
        panel.layout = wr.Layout(x=12 * (number % 2), y=8 * (number // 2), w=12, h=8)
    return wr.PanelGrid(runsets=[runs], panels=list(panels))


def _plain(made: Any) -> Any:
    """The data to send, with numbers instead of random identifiers."""
    spec = json.loads(made._to_model().spec.model_dump_json(by_alias=True, exclude_none=True))
    numbers = {made: str(n) for n, made in enumerate(dict.fromkeys(_identifiers(spec)), start=1)}
    return _renamed(spec, numbers)


def _identifiers(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            if key in ("id", "__id__") and isinstance(each, str) and each:
                yield each
            else:
                yield from _identifiers(each)
    elif isinstance(value, list):
        for each in value:
            yield from _identifiers(each)


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {names.get(key, key): _renamed(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [_renamed(each, names) for each in value]
    return names.get(value, value) if isinstance(value, str) else value
