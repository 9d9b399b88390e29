"""The W&B workspace and report as they are written: what W&B itself would store."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bsscale.errors import ConfigError
from bsscale.objectives import Criterion
from bsscale.tracking.dashboard import build_dashboard
from bsscale.tracking.options import DashboardOptions
from tests.conftest import Finished

GOLDEN = Path(__file__).with_name("golden") / "dashboard.json"
AUC = Criterion("auc", "max")


def contents(
    criterion: Criterion = AUC, loss: str = "log_loss", only: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Sections, filters and panels of both, less layouts and identifiers."""
    made = build_dashboard("entity", "project", criterion, loss, only).specifications()
    workspace = made["workspace"]["section"]
    grids = [b["metadata"] for b in made["report"]["blocks"] if b["type"] == "panel-grid"]
    titles = [b["children"][0]["text"] for b in made["report"]["blocks"] if b["type"] == "heading"]
    return {
        "workspace": {
            "x axis": workspace["settings"]["xAxis"],
            "grouping": workspace["runSets"][0]["grouping"],
            "filters": workspace["runSets"][0]["filters"],
            "sections": {
                each["name"]: panels(each["panels"])
                for each in workspace["panelBankConfig"]["sections"]
            },
        },
        "report": {
            title: {
                "filters": grid["runSets"][0]["filters"]["filters"],
                "grouping": grid["runSets"][0]["grouping"],
                "panels": panels(grid["panelBankSectionConfig"]["panels"]),
            }
            for title, grid in zip(titles, grids, strict=True)
        },
    }


def panels(made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": panel["viewType"], **panel["config"]} for panel in made]


def test_every_panel_is_as_it_was() -> None:
    """To regenerate: BSSCALE_WRITE_GOLDEN=1 python -m pytest tests/test_dashboard.py."""
    made = json.dumps(contents(), indent=1) + "\n"
    if os.environ.get("BSSCALE_WRITE_GOLDEN"):
        GOLDEN.write_text(made)
    assert made == GOLDEN.read_text()


def test_both_show_every_question() -> None:
    made = contents()
    sections = made["workspace"]["sections"]
    for shown in (sections, {k: v["panels"] for k, v in made["report"].items()}):
        every = {panel.get("chartTitle"): panel for each in shown.values() for panel in each}
        auc = every["AUC over samples, by arm, with the target"]
        assert auc["metrics"] == ["auc", "target"]
        for title, metric in (
            ("AUC over samples, by arm, with the target", "auc"),
            ("Learning rate over samples", "lr"),
            ("Momentum over samples", "momentum"),
        ):
            curve = every[title]
            assert (curve["xAxis"], curve["groupBy"]) == ("samples", "plan.value.series")
            assert metric in curve["metrics"]
        # Censored runs count, with their budget.
        bars = every["Samples to target or budget, median by arm"]
        assert bars["metrics"] == ["summary_metrics.samples_to_target_at_least"]
        assert (bars["groupBy"], bars["groupAgg"]) == ("plan.value.series", "median")
        for title, key in (
            ("gpus", "config:gpus.value"),
            ("stair count", "config:plan.value.schedule.cycle_first_stair_count"),
            ("peak learning rate", "config:plan.value.peak_lr"),
        ):
            points = every[f"Samples to target or budget, over {title}"]
            assert points["xAxis"] == key
            assert points["yAxis"] == "summary:samples_to_target_at_least"
        counted = {p["metrics"][0] for p in shown["Status"]}
        assert counted == {
            f"summary_metrics.runs_{status}"
            for status in ("reached", "exhausted", "diverged", "failed")
        }
        assert every["Samples per second, median by arm"]["metrics"] == [
            "summary_metrics.samples_per_s"
        ]
        assert every["Median AUC over samples, every arm of one comparison"]["useMetricRegex"]


def test_it_may_show_one_study_one_target_or_one_data_set_only() -> None:
    only = DashboardOptions(study="0123456789ab", dataset="flights", target=0.72).only()
    assert only == {"study": "01234567", "dataset": "flights", "target": 0.72}
    made = contents(only=only)
    for shown in (made["workspace"]["filters"], made["report"]["Convergence"]["filters"]):
        text = json.dumps(shown)
        for key, value in only.items():
            assert f'"plan.value.{key}"' in text and json.dumps(value) in text
    comparison = json.dumps(made["report"]["Comparison"]["filters"])
    assert "01234567" in comparison and "flights" not in comparison
    with pytest.raises(ConfigError, match=r"task\.study=012"):
        DashboardOptions(study="012").only()


@pytest.mark.parametrize(
    ("criterion", "loss", "curves"),
    [
        (Criterion("log_loss", "min"), "log_loss", {"Log loss": ["log_loss", "target"]}),
        (Criterion("r2", "max"), "mse", {"R2": ["r2", "target"], "Validation loss": ["mse"]}),
    ],
)
def test_its_panels_are_those_of_the_metric(
    criterion: Criterion, loss: str, curves: dict[str, list[str]]
) -> None:
    sections = contents(criterion, loss)["workspace"]["sections"]
    shown = {p["chartTitle"].split(" over")[0]: p["metrics"] for p in sections["Convergence"]}
    assert shown == curves
    [median] = [p for p in sections["Comparison"] if p.get("useMetricRegex")]
    assert median["chartTitle"].startswith(f"Median {criterion.title} over samples")
    assert median["metricRegex"] == f"{criterion.name}/.*"
    made = build_dashboard("entity", "project", criterion, loss).specifications()
    assert "auc" not in json.dumps(made).lower()


def test_the_task_writes_both_and_needs_no_network(
    bsscale: Callable[..., Finished], tmp_path: Path
) -> None:
    done = bsscale("task=dashboard", "hydra.run.dir=made")
    assert done.code == 0, done.text
    built = build_dashboard("", "bsscale", AUC, "log_loss").specifications()
    for name in ("workspace", "report"):
        assert json.loads((tmp_path / "made" / f"{name}.json").read_text()) == built[name]


def test_without_wandb_workspaces_the_command_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    with pytest.raises(
        ConfigError, match=r"pip install 'bsscale\[dashboard\]', .* -e '\.\[dashboard\]'"
    ):
        build_dashboard("", "bsscale", AUC, "log_loss")


@pytest.mark.parametrize("wrong", ["x", "x/", "/x", "a/b/c", ""])
def test_a_destination_is_an_entity_and_a_project(wrong: str) -> None:
    with pytest.raises(ConfigError, match="ENTITY/PROJECT"):
        DashboardOptions(publish=wrong).destination()
    assert DashboardOptions(publish="team/project").destination() == ("team", "project")


def test_what_keeps_it_from_being_sent_is_an_error_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = build_dashboard("entity", "project", AUC, "log_loss")

    def save(self: object) -> None:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(type(made.workspace), "save", save)
    with pytest.raises(ConfigError, match=r"could not be sent to W&B: no route to host"):
        made.publish()
