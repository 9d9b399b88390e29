"""Run one phase; what is measured is said in __init__.py."""

from __future__ import annotations

import argparse
import faulthandler
import signal
import sys
from importlib import import_module
from pathlib import Path

from tests.benchmarks.gpu.cases import Cases

PHASES = {"smoke": "smoke", "time": "timing", "eval": "evaluation", "study": "study"}


def main() -> None:
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}")
    parser.add_argument("phase", choices=PHASES)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--json", type=Path, required=True, help="file that lines are added to")
    options = parser.parse_args()
    # If the time is up: say where, and end the processes that were started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    faulthandler.register(signal.SIGTERM, chain=True)
    faulthandler.enable()
    cases = Cases(options.phase, options.json, options.device)
    import_module(f"{__package__}.{PHASES[options.phase]}").run(cases)
    print(f"{options.phase}: {cases.done} cases, {cases.failed} failed", flush=True)
    sys.exit(1 if cases.failed else 0)


if __name__ == "__main__":
    main()
