"""Measure all contestants and print two tables; what is measured is said in __init__.py."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.bench_training import measuring, peers

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = ("torch", *peers.EXTRAS)


def describe_machine(device: str) -> dict[str, Any]:
    # (not in the processes of the start-up)
    from bsscale.records.environment import describe_environment

    environment = describe_environment(device)
    environment["packages"] |= {
        name: metadata.version(name) for name in peers.EXTRAS if name not in peers.missing()
    }
    return environment | {"cpu": cpu_model(), "cores": os.cpu_count()}


def cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def print_tables(
    machine: dict[str, Any], steps: list[dict[str, Any]], startup: list[dict[str, Any]]
) -> None:
    from rich.console import Console

    console = Console()
    versions = machine["packages"]
    packages = ", ".join(f"{name} {versions[name]}" for name in SHOWN if name in versions)
    on_cpu = machine["device"].startswith("cpu")
    device = f"{machine['cpu']}, one thread" if on_cpu else machine["device"]
    console.print(f"{device}; {packages}", highlight=False)
    if steps:
        console.print(step_table(steps))
    if startup:
        console.print(startup_table(startup))


def step_table(steps: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    def medians(row: dict[str, Any]) -> dict[str, float]:
        return {key: statistics.median(row[key]) for key in ("cpu_us", "wall_us")}

    eager = {row["micro_batch"]: medians(row) for row in steps if row["contestant"] == "eager"}
    table = Table(title="Microseconds per run and step, medians (CPU: min to max)")
    table.add_column("contestant", no_wrap=True)
    for heading in ("micro_batch", "CPU", "min", "max", "wall", "CPU / eager", "wall / eager"):
        table.add_column(heading, justify="right")
    for number, row in enumerate(steps, 1):
        median = medians(row)
        base = eager.get(row["micro_batch"])
        table.add_row(
            row["contestant"],
            str(row["micro_batch"]),
            *(f"{us:.0f}" for us in (median["cpu_us"], min(row["cpu_us"]), max(row["cpu_us"]))),
            f"{median['wall_us']:.0f}",
            *(f"{median[key] / base[key]:.2f}" if base else "-" for key in median),
            end_section=number == len(steps) or steps[number]["micro_batch"] != row["micro_batch"],
        )
    return table


def startup_table(startup: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table(title="CPU seconds of a fresh process up to its first step")
    table.add_column("contestant")
    for heading in ("median", "min", "max"):
        table.add_column(heading, justify="right")
    for row in startup:
        values = (statistics.median(row["cpu_s"]), min(row["cpu_s"]), max(row["cpu_s"]))
        table.add_row(row["contestant"], *(f"{seconds:.2f}" for seconds in values))
    return table


def selected(only: str | None) -> list[str]:
    """Names of contestants, whole or their first words; all of them if none is given."""
    names = list(measuring.contestants())
    wanted = only.split(",") if only else names
    if unknown := set(wanted) - {*names, *(name.split()[0] for name in names)}:
        sys.exit(f"No contestant is called {', '.join(unknown)}; there are {', '.join(names)}.")
    return [name for name in names if name in wanted or name.split()[0] in wanted]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}", description="Training steps and start-up, compared."
    )
    parser.add_argument("--micro-batches", default="64,512,4096", help="default: %(default)s")
    parser.add_argument(
        "--rounds", type=int, default=7, help="turns at steps; default: %(default)s"
    )
    parser.add_argument("--startup-rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--only", help="contestants, separated by commas")
    parser.add_argument(
        "--device", default="cpu", choices=["cpu", "cuda"], help="cuda: eager and bsscale, only"
    )
    parser.add_argument("--json", type=Path, help="file for every number and the machine")
    parser.add_argument("--startup", metavar="NAME", help="take this contestant's first step, only")
    options = parser.parse_args()
    if options.startup:
        measuring.take_first_step(options.startup)
        return
    for name in peers.missing():
        print(f"{name} is left out: pip install -c constraints.txt -e '.[bench]'")
    # Before the workers start; this process has measured nothing yet.
    os.environ["BENCH_TRAINING_DEVICE"] = options.device
    on_cuda = "eager,bsscale" if options.device == "cuda" else None
    names = selected(options.only or on_cuda)
    micro_batches = [int(micro_batch) for micro_batch in options.micro_batches.split(",")]
    machine = describe_machine(options.device)
    steps = startup = []
    if options.rounds:
        steps = measuring.measure_steps(names, micro_batches, options.rounds)
    if options.startup_rounds:
        trained = [name for name in names if not name.startswith("products")]
        startup = measuring.measure_startup(trained, options.startup_rounds)
    print_tables(machine, steps, startup)
    if options.json:
        result = {"machine": machine, "steps": steps, "startup": startup}
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
