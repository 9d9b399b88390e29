"""Presets and ds_config.json files: whatever is in them is taken as it stands, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from bsscale.config.schedules import resolve
from bsscale.errors import ConfigError
from bsscale.schedules.options import (
    DeepSpeedConfig,
    OneCycleConfig,
    ScheduleConfig,
    ScheduleContext,
)

CONTEXT = ScheduleContext(
    base_lr=0.5, gpus=4, global_batch=100, samples_per_pass=10_000, momentum=0.9
)
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def built(path: Path) -> object:
    options: ScheduleConfig
    if path.suffix == ".json":
        options = DeepSpeedConfig(config=str(path))
    else:
        options = OneCycleConfig(preset=str(path))
    return resolve(options).build(CONTEXT)


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("", "holds no options"),
        ("# only a comment\n", "holds no options"),
        ("null", "holds no options"),
        ("{}", "holds no options"),
        ("- 1", "holds no options"),
        ("cycle_max_lr: null", "gives cycle_max_lr no value"),
        ("cycle_max_lr: 1\ncycle_max_lr: 2", "is not YAML"),
        ("cycle_max_lr: ${oc.env:HOME}", "refers to something else"),
        ("${oc.env:HOME}: 1", "refers to something else"),
        ("cycle_max_lr: [1, {a: '${seed}'}]", "refers to something else"),
        ("cycle_max_lr: true", "could not be converted"),
        ("cycle_max_lr: {a: 1}", "cycle_max_lr"),
        ("cycle_first_step_size: 1.5", "could not be converted"),
        (f"cycle_max_lr: 1{'0' * 400}", "too large"),
        ("cycle_max_lr: .inf", "inf"),
        (f"cycle_max_lr: 1{'0' * 5000}", "is not YAML"),
        (f"cycle_first_step_size: 1{'0' * 400}", "cycle_first_step_size"),
        ("cycle_max_lr: " + "[" * 3000, "p.yaml"),
        (BOMB, "holds YAML aliases"),
        ("\ud800".encode("utf-8", "surrogatepass"), "is not UTF-8 text"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"\0", "is not YAML"),
        ("!!python/object/apply:os.system [ls]", "is not YAML"),
    ],
)
def test_a_preset_is_plain_values(tmp_path: Path, text: str | bytes, fact: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError) as caught:
        built(path)
    assert fact in caught.value.fact and caught.value.remedy


@pytest.mark.parametrize(
    ("params", "fact"),
    [
        ('"cycle_min_lr": 0.1, "cycle_max_lr": 1, "cycle_max_lr": 2', "is given twice"),
        ('"cycle_min_lr": 0.1, "cycle_max_lr": 1, "cycle_momentum": "false"', "is 'false'"),
        ('"cycle_min_lr": 0.1, "cycle_max_lr": 1, "cycle_momentum": 0', "cycle_momentum is 0"),
        ('"cycle_min_lr": "auto", "cycle_max_lr": "auto"', "cycle_min_lr, cycle_max_lr"),
        (f'"cycle_min_lr": 0.1, "cycle_max_lr": 1{"0" * 400}', "cycle_max_lr is inf"),
        (f'"cycle_min_lr": 0.1, "cycle_max_lr": 1{"0" * 5000}', "is not JSON"),
        ('"cycle_min_lr": 0.1, "cycle_max_lr": NaN', "cycle_max_lr is nan"),
        ('"cycle_min_lr": 0.1, "cycle_max_lr": null', "cycle_max_lr is None"),
        (
            f'"cycle_min_lr": 0.1, "cycle_max_lr": 1, "cycle_first_step_size": 1{"0" * 400}',
            "cycle_first_step_size is above",
        ),
        (f'"cycle_min_lr": {"[" * 100_000}', "nested too deeply"),
        ('"\\ud800": 1', "is not known"),
    ],
)
def test_a_deepspeed_section_is_plain_values(tmp_path: Path, params: str, fact: str) -> None:
    path = tmp_path / "ds.json"
    path.write_text('{"scheduler": {"type": "OneCycle", "params": {' + params + "}}}")
    with pytest.raises(ConfigError) as caught:
        built(path)
    assert fact in caught.value.fact and caught.value.remedy


def test_auto_is_explained_for_each_key(tmp_path: Path) -> None:
    path = tmp_path / "ds.json"
    keys = ("warmup_min_lr", "warmup_max_lr", "warmup_num_steps", "total_num_steps")
    params = ", ".join(f'"{key}": "auto"' for key in keys)
    path.write_text(f'{{"scheduler": {{"type": "WarmupDecayLR", "params": {{{params}}}}}}}')
    with pytest.raises(ConfigError) as caught:
        built(path)
    assert all(key in caught.value.fact and f"{key} (" in caught.value.remedy for key in keys)
    assert "its learning_rate" in caught.value.remedy and "Hugging Face" in caught.value.remedy


@pytest.mark.parametrize("steps", [0, 1])
def test_a_warmup_of_no_steps_is_one_of_two(tmp_path: Path, steps: int) -> None:
    rates = []
    for number in (steps, 2):
        path = tmp_path / "ds.json"
        path.write_text(
            '{"type": "WarmupLR", "params": {"warmup_max_lr": 0.1, '
            f'"warmup_num_steps": {number}}}}}'
        )
        rates.append([built(path).lr(step) for step in range(5)])  # type: ignore[attr-defined]
    assert rates[0] == rates[1]


@pytest.mark.parametrize("name", ["p.yaml", "ds.json"])
def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path, name: str) -> None:
    text = '{"type": "WarmupLR", "params": {"warmup_max_lr": 0.1}}'
    if name == "p.yaml":
        text = "cycle_max_lr: 3"
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    built(tmp_path / name)
