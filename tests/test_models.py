"""The shipped models, and what is said of a user's that does not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bsscale.data import Schema
from bsscale.errors import ConfigError
from bsscale.models import DCNV2, DLRM, MLP, DeepFM, Logistic, build_model
from tests.helpers import MODELS

SCHEMA = Schema(("site", "device", "hour"), (50, 7, 24), ("age", "price"))


def batch(rows: int = 5) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    columns = [torch.randint(0, n, (rows,), dtype=torch.int32) for n in SCHEMA.cardinalities]
    return torch.stack(columns, dim=1), torch.randn(rows, 2)


@pytest.mark.parametrize("name", MODELS)
def test_a_batch_gives_one_logit_a_sample_and_a_gradient_for_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    model = build_model(MODELS[name], SCHEMA)
    logits = model(*batch())
    assert logits.shape == (5,)
    logits.square().sum().backward()
    # DeepFM and logistic regression start at zero weights, whose gradients are not zero.
    silent = [n for n, p in model.named_parameters() if p.grad is None]
    assert not silent


@pytest.mark.parametrize("name", MODELS)
def test_samples_do_not_see_each_other(name: str) -> None:
    torch.manual_seed(0)
    model = build_model(MODELS[name], SCHEMA).double()
    categorical, numeric = batch(6)
    together = model(categorical, numeric.double())
    alone = torch.cat(
        [model(categorical[i : i + 1], numeric[i : i + 1].double()) for i in range(6)]
    )
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)


def test_fields_have_rows_of_their_own() -> None:
    model = Logistic(SCHEMA.cardinalities, 2)
    with torch.no_grad():
        model.categorical.table.weight[:, 0] = torch.arange(50 + 7 + 24)
    ids = torch.tensor([[3, 2, 1]], dtype=torch.int32)
    assert model(ids, torch.zeros(1, 2)).item() == 3 + (50 + 2) + (57 + 1)


def test_deepfm_second_order_term_is_the_sum_over_pairs() -> None:
    torch.manual_seed(0)
    model = DeepFM(SCHEMA.cardinalities, 2, embedding_dim=4).double()
    for parameter in model.deep.parameters():
        nn.init.zeros_(parameter)
    categorical, numeric = batch()
    v = model.embedding(categorical)
    pairs = sum((v[:, i] * v[:, j]).sum(1) for i in range(3) for j in range(i))
    torch.testing.assert_close(model(categorical, numeric.double()), pairs)


def test_dlrm_feeds_its_top_every_distinct_pair_once() -> None:
    torch.manual_seed(0)
    model = DLRM(SCHEMA.cardinalities, 2, embedding_dim=4, top_hidden=[]).double()
    categorical, numeric = batch()
    dense = model.bottom(numeric.double())
    vectors = [dense, *model.embedding(categorical).unbind(1)]
    dots = [(vectors[i] * vectors[j]).sum(1) for i in range(4) for j in range(i)]
    features = torch.cat([dense, torch.stack(dots, dim=1)], dim=1)
    expected = model.top(features).squeeze(1)
    torch.testing.assert_close(model(categorical, numeric.double()), expected)


@pytest.mark.parametrize("rank", [None, 3])
def test_dcnv2_is_the_formula_of_the_paper(rank: int | None) -> None:
    torch.manual_seed(0)
    model = DCNV2(SCHEMA.cardinalities, 2, embedding_dim=4, cross_layers=2, cross_rank=rank)
    model = model.double()
    categorical, numeric = batch()
    first = torch.cat([model.embedding(categorical).flatten(1), numeric.double()], dim=1)
    x = first
    for layer in model.cross:
        *factors, last = [each.weight for each in layer]
        matrix = last @ factors[0] if rank else last
        assert matrix.shape == (14, 14) and (rank is None or len(factors[0]) == rank)
        nn.init.normal_(layer[-1].bias)
        x = first * (x @ matrix.T + layer[-1].bias) + x
    expected = model.deep(x).squeeze(1)
    torch.testing.assert_close(model(categorical, numeric.double()), expected)


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        ({"cross_layers": 0}, "cross_layers=0 is below 1"),
        ({"cross_rank": 0}, "cross_rank=0 is below 1"),
        ({"cross_rank": 50}, "cross_rank=50, and there are 50 features"),
    ],
)
def test_dcnv2_refuses_other_cross_layers(options: dict[str, int], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        DCNV2(SCHEMA.cardinalities, 2, **options)


def test_he_initialization() -> None:
    torch.manual_seed(0)
    layer = MLP((), 400, hidden=(300,)).top[0]
    assert float(layer.weight.detach().std()) == pytest.approx((2 / 400) ** 0.5, rel=0.02)
    assert not layer.bias.any()


@pytest.mark.parametrize("cls", [DCNV2, DLRM, MLP, Logistic])
def test_data_without_numbers(cls: Any) -> None:
    model = cls(SCHEMA.cardinalities, 0)
    assert model(batch()[0], torch.zeros(5, 0)).shape == (5,)


@pytest.mark.parametrize("cls", [DCNV2, MLP, Logistic])
def test_data_without_categories(cls: Any) -> None:
    model = cls((), 2)
    assert model(torch.zeros(5, 0, dtype=torch.int32), batch()[1]).shape == (5,)


class Tiny(nn.Module):
    """A user's model."""

    def __init__(self, cardinalities: list[int], numeric_fields: int, width: int = 3) -> None:
        super().__init__()
        self.layer = nn.Linear(numeric_fields, width)

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        return self.layer(numeric).sum(1)


def test_a_users_module_by_its_path() -> None:
    model = build_model({"_target_": "tests.test_models.Tiny", "name": "x", "width": 4}, SCHEMA)
    assert type(model).__name__ == "Tiny" and model.layer.out_features == 4


@pytest.mark.parametrize(
    ("config", "fact"),
    [
        ({"_target_": "no.such.Model"}, "no.such.Model"),
        ({"_target_": "tests.test_models.Tiny", "depth": 4}, "depth"),
        ({"_target_": "builtins.dict"}, "dict"),
        ({"_target_": "bsscale.models.MLP", "embedding_dim": "many"}, "MLP"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(config: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact) as raised:
        build_model(config, SCHEMA)
    assert raised.value.remedy


@pytest.mark.parametrize(("name", "fields"), [("deepfm", ((), ())), ("dlrm", (("a",), (3,)))])
def test_a_model_that_the_data_cannot_feed_says_which_can(name: str, fields: Any) -> None:
    with pytest.raises(ConfigError, match="model=mlp"):
        build_model(MODELS[name], Schema(*fields, () if fields[0] else ("x",)))
