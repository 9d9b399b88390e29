"""The same six curves in every format that is imported: log losses whose crossings are exact."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

TARGET = 0.5
# By arm and seed: samples and log loss. (Eighths and sixteenths, so that the arithmetic is exact.)
CURVES: Mapping[tuple[str, int], Mapping[int, float]] = {
    ("fixed", 0): {0: 1.0, 1024: 0.75, 2048: 0.625, 3072: 0.375, 4096: 0.25},
    ("fixed", 1): {1024: 1.0, 2048: 0.25},
    ("fixed", 2): {1024: 1.0, 2048: 0.875, 3072: 0.75},
    ("large", 0): {1024: 0.5, 2048: 0.375},
    ("large", 1): {1024: 0.75, 2048: 0.4375, 3072: 0.5625, 4096: 0.5, 5120: 0.25},
    ("large", 2): {1024: 1.0, 2048: math.nan},
}
# By hand: status, samples to target, and its interval.
EXPECTED: Mapping[tuple[str, int], tuple[str, float | None, tuple[int, int] | None]] = {
    # Half of the way from 0.625 to 0.375.
    ("fixed", 0): ("reached", 2560.0, (2048, 3072)),
    # At its last evaluation: two thirds of the way from 1 to 0.25.
    ("fixed", 1): ("reached", 1024 + 1024 * 2 / 3, (1024, 2048)),
    ("fixed", 2): ("exhausted", None, None),
    # At its first evaluation.
    ("large", 0): ("reached", 1024.0, (0, 1024)),
    # The first hit is not confirmed; equal to the target is a hit.
    ("large", 1): ("reached", 4096.0, (3072, 4096)),
    ("large", 2): ("diverged", None, None),
}
STEP = 128  # samples


def rows() -> Iterator[dict[str, Any]]:
    for (arm, seed), points in CURVES.items():
        for samples, loss in points.items():
            yield {"arm": arm, "seed": seed, "samples": samples, "log_loss": loss}


def csv_text(separator: str = ",", *names: str) -> str:
    header = names or ("arm", "seed", "samples", "log_loss")
    lines = [separator.join(map(str, row.values())) for row in rows()]
    return "\n".join([separator.join(header), *lines]) + "\n"


def write_csv(directory: Path) -> Path:
    path = directory / "curves[1].csv"  # (no pattern)
    path.write_text(csv_text())
    return path


def write_tsv(directory: Path) -> Path:
    # A table with columns that are not read, without order, and with samples to be computed.
    lines = [
        f"{row['samples'] // STEP}\tnone\t{row['log_loss']}\t{STEP}\t{row['seed']}\t{row['arm']}"
        for row in rows()
    ]
    path = directory / "curves.tsv"
    header = "step\tnote\tlog_loss\tglobal_batch\tseed\tarm"
    path.write_text("\n".join([header, *reversed(lines)]))
    return path


def write_parquet(directory: Path) -> Path:
    import polars as pl

    path = directory / "curves.parquet"
    pl.DataFrame(list(rows())).write_parquet(path)
    return path


def write_jsonl(directory: Path) -> Path:
    # Lines of training without an evaluation, and a blank one.
    path = directory / "curves.jsonl"
    lines = [json.dumps(row) for row in rows()]
    training = json.dumps({"arm": "fixed", "seed": 0, "samples": 512, "train_loss": 0.9})
    path.write_text("\n".join([training, "", *lines]) + "\n")
    return path


def mllog(key: str, value: Any, **metadata: Any) -> str:
    event = {"namespace": "", "time_ms": 1, "event_type": "POINT_IN_TIME", "key": key}
    return f"0: :::MLLOG {json.dumps({**event, 'value': value, 'metadata': metadata})}"


def write_mlperf(directory: Path) -> Path:
    for number, ((arm, seed), points) in enumerate(CURVES.items()):
        path = directory / "logs" / arm / f"result_{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            "some other output",
            mllog("seed", seed, file="train.py", lineno=3),
            mllog("global_batch_size", STEP),
            *(mllog("log_loss", loss, samples_count=n) for n, loss in points.items()),
            mllog("run_stop", None, status="success")[:-9],  # cut off while it was written
        ]
        path.write_text("\n".join(lines))
    return directory / "logs"


def write_passes(directory: Path) -> Path:
    """MLPerf logs by mlperf-logging itself, which count passes."""
    from mlperf_logging import mllog

    for (arm, seed), points in CURVES.items():
        path = directory / "passes" / arm / f"{seed}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        mllog.config(filename=str(path))
        logger = mllog.get_mllogger()
        logger.event(key=mllog.constants.SEED, value=seed)
        logger.event(key=mllog.constants.TRAIN_SAMPLES, value=4096)
        for samples, loss in points.items():
            logger.event("log_loss", value=loss, metadata={"epoch_num": samples / 4096})
        for handler in list(logger.logger.handlers):
            logger.logger.removeHandler(handler)
            handler.close()
    return directory / "passes"


def write_tensorboard(directory: Path) -> Path:
    """Event files as torch and Lightning write them."""
    from torch.utils.tensorboard import SummaryWriter

    return _with_writer(directory / "torch", lambda path: SummaryWriter(str(path)))


def write_tensorboardx(directory: Path) -> Path:
    from tensorboardX import SummaryWriter

    return _with_writer(directory / "x", lambda path: SummaryWriter(str(path)))


def _with_writer(directory: Path, open_writer: Callable[[Path], Any]) -> Path:
    for (arm, seed), points in CURVES.items():
        writer = open_writer(directory / arm / f"seed-{seed}")
        for samples, loss in points.items():
            writer.add_scalar("log_loss", loss, samples // STEP)
            writer.add_scalar("train/loss", loss + 1, samples // STEP)
        writer.close()
    return directory


def write_tensors(directory: Path) -> Path:
    """Event files as TensorFlow, Keras and JAX write scalars: as tensors."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    for (arm, seed), points in CURVES.items():
        writer = EventFileWriter(str(directory / "tensors" / arm / str(seed)))
        for samples, loss in points.items():
            writer.add_event(Event(step=samples // STEP, summary=scalar_pb("log_loss", loss)))
            writer.add_event(Event(step=samples // STEP, summary=scalar_pb("train/loss", loss + 1)))
        writer.close()
    return directory / "tensors"


def write_wandb(directory: Path) -> Path:
    import wandb

    for (arm, seed), points in CURVES.items():
        config = {"seed": seed, "optimizer": {"name": "sgd"}}
        run = wandb.init(mode="offline", dir=directory, group=arm, config=config, project="curves")
        for samples, loss in points.items():
            run.log({"samples": samples, "log_loss": loss})
            run.log({"other": 3})
        run.finish()
    return directory / "wandb"
