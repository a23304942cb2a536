"""What if: forecasts of demand under other prices or promotions."""

from datetime import date
from typing import Annotated, Any

import numpy as np
import polars as pl
from fastapi import APIRouter, Body, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from serving.answers import Answer, answer, matching
from serving.api.parameters import documented, example_keys
from serving.auth import needs, visible
from serving.problems import Problem, responses
from serving.store import Held

MOST_SERIES = 100
_TABLE = "forecast_inputs"
_DECIMALS = 4


class Plan(BaseModel):
    """Another plan for one series: its key columns, and for each covariate a value a period (null: as planned)."""

    model_config = ConfigDict(extra="forbid")

    series: dict[str, str | int] = Field(description="Key column → value.")
    covariates: dict[str, list[Annotated[float, Field(allow_inf_nan=False)] | None]] = Field(
        description="Price, promotion or whatever the shop plans ahead → a value a period, from the first on."
    )


class Plans(BaseModel):
    """What is asked: plans of some series."""

    model_config = ConfigDict(extra="forbid")

    plans: list[Plan] = Field(min_length=1, max_length=MOST_SERIES)


class Simulation(BaseModel):
    """What was issued for one series and what would have been, as lists over its periods."""

    model_config = ConfigDict(extra="allow")

    periods: list[date]
    mean: list[float]
    quantiles: dict[str, list[float]]
    simulated_mean: list[float]
    simulated_quantiles: dict[str, list[float]]
    difference: list[float]


class Simulations(Answer):
    """One item a plan, in their order."""

    items: list[Simulation]


def routes(series: list[str]) -> APIRouter:
    """The routes of this noun.

    Args:
        series: The shop's series columns.
    """
    router = APIRouter(tags=["forecasts"], dependencies=[needs("forecasts:read", cost="what_if")])
    example = {"plans": [{"series": example_keys(series), "covariates": {"promotion": [1, 1, None]}}]}

    @router.post(
        "/v1/forecasts:simulate",
        summary="Forecasts under another plan",
        responses=documented(Simulations, _example(series)) | responses("not-found", "not-in-this-shop", "busy"),
        response_model=Simulations,
    )
    async def simulate_forecasts(
        request: Request, asked: Annotated[Plans, Body(openapi_examples={"promotion": {"value": example}})]
    ) -> Response:
        """What the champion would have said, had prices or promotions been planned otherwise. Nothing is kept.

        An unchanged plan gives exactly the issued forecast. Series do not move each other: totals pull as issued.
        """
        held: Held = request.app.state.store.now()
        if not held.has(_TABLE):
            raise Problem("not-in-this-shop", "This shop's demand model knows no prices or promotions ahead.")
        known = visible(request, held.table(_TABLE))
        items = await request.app.state.bench.work(lambda: [_simulated(held, known, plan) for plan in asked.plans])
        return answer(
            request,
            held,
            {"items": items},
            as_of=held.only("forecasts", "issued_on"),
            model_version=held.only("forecasts", "model_version"),
        )

    return router


def _simulated(held: Held, known: pl.DataFrame, plan: Plan) -> dict[str, Any]:
    if set(plan.series) != set(held.series):
        named = ", ".join(held.series)
        raise Problem("invalid-request", f"A series is named by {named}.", errors=[("series", f"should have {named}")])
    chosen = {column: [str(value)] for column, value in plan.series.items()}
    kept = matching(known, chosen)
    if kept.is_empty():
        raise Problem("not-found", f"There is no forecast for {', '.join(str(v) for v in plan.series.values())[:200]}.")
    asked = held.what_if()
    issued = matching(held.table("forecasts"), chosen).sort("horizon")
    for name, values in plan.covariates.items():
        if name not in asked.covariates:
            possible = ", ".join(asked.covariates)
            raise Problem(
                "invalid-request", "A covariate is unknown.", errors=[(name[:200], f"should be one of: {possible}")]
            )
        if len(values) > issued.height:
            raise Problem(
                "invalid-request", "A plan is too long.", errors=[(name, f"has at most {issued.height} periods")]
            )
    found = asked.simulate(kept.row(0, named=True), issued, plan.covariates)
    was = issued["mean"].to_numpy()
    return {
        **kept.select(held.series).row(0, named=True),
        "periods": issued["period"].to_list(),
        "mean": _sent(was),
        "quantiles": {name: _sent(issued[name].to_numpy()) for name in found.quantiles},
        "simulated_mean": _sent(found.mean),
        "simulated_quantiles": {name: _sent(values) for name, values in found.quantiles.items()},
        "difference": _sent(found.mean - was),
    }


def _sent(values: Any) -> list[float]:
    rounded: list[float] = pl.Series(np.asarray(values, dtype=np.float64)).round(_DECIMALS).to_list()
    return rounded


def _example(series: list[str]) -> dict[str, Any]:
    item = example_keys(series) | {
        "periods": ["2011-12-05", "2011-12-12"],
        "mean": [412.6, 371.2],
        "quantiles": {"p10": [240.0, 206.5], "p50": [396.1, 352.8], "p90": [604.7, 561.0]},
        "simulated_mean": [633.2, 371.2],
        "simulated_quantiles": {"p10": [370.1, 206.5], "p50": [611.0, 352.8], "p90": [921.4, 561.0]},
        "difference": [220.6, 0.0],
    }
    return {"as_of": "2011-12-05", "model_version": "3", "items": [item]}
