"""Engines: the same training, by stacked runs, by torch's own machinery, or over processes.

`stacked.StackedEngine` trains many runs at once in one process, and a single run as well;
`eager.EagerEngine` trains any module run by run; `ddp.DDPEngine` is one rank of a run over many
processes. An engine owns models and optimizers, reads its share of every global batch from the
training stream, and scores samples. It knows nothing of targets or records.

Import them from their modules: each pulls in other parts of torch, some of which take a second.
"""

import os
import platform
from pathlib import Path

__all__ = ["mkl_mode"]


def mkl_mode(processor: str) -> str | None:
    """The mode in which MKL adds alike at every address of a matrix; None: it does so anyway.

    On some processors (AMD Zen 4) its products add in an order that depends on the address of a
    matrix, and so on a run's place in its stack. In the mode of oneMKL's "conditional numerical
    reproducibility" they do not. Those of Intel's processors do not without it either
    (tests/engines/test_width.py), and there it would cost up to 14% (docs/speed.md).

    Parameters
    ----------
    processor
        A text of the system with the maker of the processor.
    """
    return None if "GenuineIntel" in processor else "AUTO,STRICT"


_cpuinfo = Path("/proc/cpuinfo")
_mode = mkl_mode(_cpuinfo.read_text() if _cpuinfo.exists() else platform.processor())
if _mode is not None:
    os.environ.setdefault("MKL_CBWR", _mode)  # (read by MKL at its first product in a process)
