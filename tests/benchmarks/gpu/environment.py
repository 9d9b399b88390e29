"""What the machine has, and whether bsscale can be imported there without a warning."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

IMPORTED = ("bsscale.__main__", "bsscale.cli.tasks", "bsscale.engines.ddp", "bsscale.training.run")


def main() -> None:
    import numpy as np
    import torch

    print(f"python {sys.version.split()[0]} ({sys.executable}), numpy {np.__version__}")
    print(f"torch {torch.__version__}, CUDA {torch.version.cuda}, {os.cpu_count()} cores")
    print(f"TF32 in matrix products: {torch.backends.cuda.matmul.allow_tf32}")
    tf32 = {name: value for name, value in os.environ.items() if "TF32" in name}
    print(f"variables about TF32: {tf32 or 'none'}")
    if torch.cuda.is_available():
        device = torch.cuda.get_device_properties(0)
        print(f"{torch.cuda.device_count()} x {device.name}, {device.total_memory / 2**30:.0f} GiB")
    for command in (["nvidia-smi"], ["gcc", "--version"], ["nvcc", "--version"]):
        if shutil.which(command[0]):
            done = subprocess.run(command, capture_output=True, text=True, timeout=20)
            print(done.stdout.strip()[:2500])
    started = time.perf_counter()
    command = [sys.executable, "-W", "error", "-c", f"import {', '.join(IMPORTED)}"]
    done = subprocess.run(command)
    took = time.perf_counter() - started
    print(f"imports without a warning: exit code {done.returncode}, {took:.1f} s")
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
