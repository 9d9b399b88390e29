"""DeepSpeed's engine on the CPU: no ZeRO, float32, a world of one process.

On first use DeepSpeed compiles an operator for communication, which needs a C++ compiler and takes
most of a minute; later processes find it in PyTorch's cache of extensions.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from itertools import islice
from pathlib import Path

os.environ |= {
    "DS_ACCELERATOR": "cpu",
    "LOCAL_RANK": "0",  # there is no launcher to set it
    # Of the virtual environment, which need not be activated: ninja is in it.
    "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))),
}

import deepspeed
from deepspeed.utils import logger
from torch import distributed
from torch.nn.functional import binary_cross_entropy_with_logits

from tests.benchmarks.bench_training.model import Epoch, build_model, build_optimizer
from tests.benchmarks.bench_training.peers import endless

logger.setLevel(logging.ERROR)


def build(micro_batch: int) -> Callable[[int], None]:
    """What takes a number of steps, with an engine of its own."""
    if not distributed.is_initialized():  # without a launcher, and without a port
        distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    model = build_model()
    config = {
        "train_micro_batch_size_per_gpu": micro_batch,
        "gradient_clipping": 0.0,  # DeepSpeed clips at norm 1 unless told otherwise
        "steps_per_print": 10**9,
    }
    with redirect_stdout(io.StringIO()):  # it reports the operators that it compiles
        engine, *_ = deepspeed.initialize(
            model=model, optimizer=build_optimizer(model), config=config
        )
    batches = endless(Epoch(micro_batch))

    def advance(steps: int) -> None:
        for ids, label in islice(batches, steps):
            engine.backward(binary_cross_entropy_with_logits(engine(ids), label))
            engine.step()

    return advance
