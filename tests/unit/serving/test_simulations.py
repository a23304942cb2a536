"""What-if over HTTP, from a release of a real small model: the issued forecast where nothing changes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import polars as pl
import pytest
from starlette.testclient import TestClient

from pipelines.demand.inputs import open_panel
from pipelines.demand.issues import rows_for
from pipelines.demand.model import DemandModel
from pipelines.demand.origins import Origins
from pipelines.demand.outputs import ASIDE, decide
from pipelines.demand.whatif import freeze as frozen_inputs
from pipelines.release import activate, freeze
from serving.app import create_app
from serving.auth import demo_key
from serving.bench import Bench
from serving.problems import Problem
from tests.unit.demand.conftest import make_shop
from tests.unit.serving.conftest import LOCAL

ROUTE = "/v1/forecasts:simulate"


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    shop = make_shop(tmp_path_factory.mktemp("shop"))
    settings, panel = shop.settings, open_panel(shop.settings, shop.lake)
    model = DemandModel.fit(Origins(panel, settings, 4), panel.last, settings.demand.quantiles)
    rows = rows_for(settings, panel, model)
    folder = tmp_path_factory.mktemp("model")
    model.to_dir(folder)
    stamp = {"issued_on": pl.lit(panel.grid.first_day(panel.last + 1)), "model_version": pl.lit("1")}
    inputs = frozen_inputs(model, rows, panel, None)
    assert inputs is not None
    forecasts = decide(model, rows, panel, settings)[0].drop(ASIDE)
    release = freeze(
        settings.releases_dir,
        shop={"shop": "made", "series": settings.demand.series},
        tables={"forecasts": forecasts.with_columns(**stamp), "forecast_inputs": inputs.with_columns(**stamp)},
        models={"demand": folder},
        reports={},
        facts={},
    )
    activate(settings.releases_dir, release.id)
    key = {"Authorization": f"Bearer {demo_key(settings)}"}
    with TestClient(create_app(settings), headers=key, **LOCAL) as client:
        yield client


def plan(covariates: dict[str, object], **key: object) -> dict[str, object]:
    return {"plans": [{"series": {"store": "S1", "item": 1} | key, "covariates": covariates}]}


def test_nothing_changed_gives_the_issued_forecast(asked: TestClient) -> None:
    item = asked.post(ROUTE, json=plan({})).json()["items"][0]
    issued = asked.get("/v1/forecasts", params={"store": "S1", "item": 1}).json()["items"][0]
    assert item["simulated_mean"] == item["mean"] == issued["mean"]
    assert item["simulated_quantiles"] == item["quantiles"] == issued["quantiles"]
    assert item["difference"] == [0.0] * 4


def test_a_promotion_sells_more_than_none(asked: TestClient) -> None:
    with_it, without = (asked.post(ROUTE, json=plan({"promotion": [value] * 4})).json()["items"][0] for value in (1, 0))
    pairs = zip(with_it["simulated_mean"], without["simulated_mean"], strict=True)
    assert all(more > 1.3 * less for more, less in pairs)  # it doubles demand in the made shop


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        (plan({"prise": [1.0]}), 422, "invalid-request"),
        (plan({"promotion": [1.0] * 5}), 422, "invalid-request"),
        (plan({}, item="x"), 422, "invalid-request"),
        (plan({}, colour="x"), 422, "invalid-request"),
        (plan({}, item=999), 404, "not-found"),
        ({"plans": plan({})["plans"] * 101}, 422, "invalid-request"),  # type: ignore[operator]
    ],
)
def test_what_cannot_be_asked(asked: TestClient, body: object, status: int, slug: str) -> None:
    answer = asked.post(ROUTE, json=body)
    assert answer.status_code == status
    assert answer.json()["type"].endswith(f"#{slug}")


def test_a_shop_without_plans_says_so(client: TestClient) -> None:
    answer = client.post(ROUTE, json={"plans": [{"series": {"product_id": "80000A"}, "covariates": {}}]})
    assert answer.status_code == 404
    assert answer.json()["type"].endswith("#not-in-this-shop")


def test_the_bench_turns_away_what_it_cannot_take_and_recovers() -> None:
    counted: list[int] = []

    async def full() -> tuple[str, str]:
        bench, hold = Bench(waiting=1, seconds=0.05, shed=lambda: counted.append(1)), threading.Event()
        with pytest.raises(Problem) as late:
            await bench.work(hold.wait)
        with pytest.raises(Problem) as shed:  # the first is still at work, though nobody waits for it
            await bench.work(lambda: None)
        hold.set()
        while bench._taken:
            await asyncio.sleep(0)
        assert await bench.work(lambda: "done") == "done"
        bench.close()
        return late.value.detail, shed.value.headers["Retry-After"]

    assert asyncio.run(full()) == ("No answer within 0.05 seconds.", "1")
    assert len(counted) == 2, "for the figures"
