"""Figures of a backtest: every metric by model, slice and cutoff, its mean and its standard error over cutoffs.

A slice is all cells, a demand class, a part of the horizon (`horizon=3`, `horizon=1-9`) or a level of a hierarchy
(`level=location_id`), where forecasts and demand are summed over each group first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from features.panel import Panel
from features.tables import MEAN, STANDARD_ERROR, quantile_column
from features.windows import IntArray
from pipelines.demand import metrics
from pipelines.demand.facts import group_facts_at

ALL = "all"
NAIVE = "seasonal_naive"
HORIZON, LEVEL = "horizon=", "level="
ADDED = "_added"
# Figures of which less is better: what a model adds to the naive forecast is the naive one's less its own.
LOSSES = (
    "wape", "wape_of_money", "wape_of_mean", "vn1", "mase", "rmsse", "mean_rmsse", "wrmsse",
    "scaled_pinball", "wql", "crps", "calibration_gap",
)  # fmt: skip
# What a shop optimises for (`demand.optimise_for`) → the loss by which its models are judged.
JUDGED_BY = {"wape": "wape", "rmsse": "rmsse", "mase": "mase", "money": "wape_of_money"}
_MOST_SINGLE = 8  # horizons that get a slice of their own each; longer ones are cut into thirds
_CUT = ["model", "slice", "cut", "metric", "value"]
NO_LEVELS: Mapping[str, IntArray] = MappingProxyType({})


def evaluate(
    long: pl.DataFrame, quantiles: Sequence[float], panel: Panel, levels: Mapping[str, IntArray] = NO_LEVELS
) -> pl.DataFrame:
    """Every figure of a backtest.

    Args:
        long: What `backtest` returns.
        quantiles: Its probabilities.
        panel: The panel it was made from: histories of groups are summed from what was known at each cutoff.
        levels: Name of a level of the hierarchy → group number of each row of the panel.

    Returns:
        `model`, `slice`, `cut`, `metric` and `value` (null where undefined). A cut is the number of a cutoff as text,
        `mean` over cutoffs, or `standard_error` of that mean (null with one cutoff). Beside each loss stands what the
        model adds to the seasonal naive forecast, paired by cutoff: `wape_added` is positive where it is better.
    """
    longest = int(long["horizon"].max())  # type: ignore[arg-type]
    groups = {
        (cutoff, name): group_facts_at(panel, cutoff, group)
        for cutoff in long["cutoff"].unique().sort().to_list()
        for name, group in levels.items()
    }
    rows: list[dict[str, Any]] = []
    for (model, cutoff), cut in long.group_by("model", "cutoff", maintain_order=True):
        found = {name: measure(part, quantiles) for name, part in _slices(cut, longest)}
        summed = {name: _summed(cut, group, groups[cutoff, name]) for name, group in levels.items()}
        found |= {LEVEL + name: _points(part) for name, part in summed.items()}
        by_level = [found[ALL]["wrmsse"], *(found[LEVEL + name]["wrmsse"] for name in levels)]
        found[ALL]["wrmsse"] = _mean(by_level)
        rows += [
            {"model": model, "slice": name, "cut": str(cutoff), "metric": metric, "value": value}
            for name, figures in found.items()
            for metric, value in figures.items()
        ]
    cuts = pl.DataFrame(rows, schema={**dict.fromkeys(_CUT, pl.String), "value": pl.Float64})
    return _with_spread(pl.concat([cuts, _added(cuts)]))


def measure(frame: pl.DataFrame, quantiles: Sequence[float]) -> dict[str, float | None]:
    """Every metric of some rows of one model and cutoff.

    `wape` is that of the median, the right point for absolute errors, `wape_of_money` the same with every unit at its
    price; `wape_of_mean`, `vn1`, `mase`, `bias_share` and the squared ones are those of the mean; the rest judge the
    quantiles. `crps` and `width_NN` are in units.
    """
    actual = frame["actual"].to_numpy()
    fan = frame.select(map(quantile_column, quantiles)).to_numpy()
    middle = int(np.argmin(np.abs(np.asarray(quantiles) - 0.5)))
    gaps = [gap for _, _, gap in metrics.calibration(actual, fan, quantiles)]
    median, price = fan[:, middle], frame["price"].to_numpy()
    figures = {"wape": metrics.wape(actual, median), "wape_of_money": metrics.wape(actual * price, median * price)}
    figures |= _points(frame)
    figures |= {
        "scaled_pinball": metrics.pinball(actual, fan, quantiles, frame["scale_season"].to_numpy()),
        "wql": metrics.wql(actual, fan, quantiles),
        "crps": metrics.crps(actual, fan, quantiles),
        "calibration_gap": max(gaps) if np.isfinite(gaps).all() else None,
    }
    for percent, low, high in metrics.intervals(quantiles):
        figures[f"coverage_{percent}"] = metrics.coverage(actual, fan[:, low], fan[:, high])
        figures[f"width_{percent}"] = float((fan[:, high] - fan[:, low]).mean())
    return figures


def _points(frame: pl.DataFrame) -> dict[str, float | None]:
    """Metrics of the mean forecast."""
    actual, mean = frame["actual"].to_numpy(), frame["mean"].to_numpy()
    group, step = frame["series"].to_numpy(), frame["scale_step"].to_numpy()
    return {
        "wape_of_mean": metrics.wape(actual, mean),
        "bias_share": metrics.bias(actual, mean),
        "vn1": metrics.vn1(actual, mean),
        "mase": metrics.mase(actual, mean, frame["scale_season"].to_numpy(), group),
        "rmsse": metrics.rmsse(actual, mean, step, group),
        "mean_rmsse": metrics.mean_rmsse(actual, mean, step, group),
        "wrmsse": metrics.wrmsse(actual, mean, step, frame["weight"].to_numpy(), group),
        "series": float(frame["series"].n_unique()),
    }


def _slices(cut: pl.DataFrame, longest: int) -> Iterator[tuple[str, pl.DataFrame]]:
    yield ALL, cut
    for (name,), part in sorted(cut.group_by("class", maintain_order=True)):
        yield str(name), part
    for first, last in _horizons(longest):
        within = cut.filter(pl.col("horizon").is_between(first, last))
        if within.height:
            yield f"{HORIZON}{first}" + (f"-{last}" if last > first else ""), within


def _horizons(longest: int) -> list[tuple[int, int]]:
    """First and last horizon of each slice.

    Example:
        >>> _horizons(2), _horizons(13)
        ([(1, 1), (2, 2)], [(1, 5), (6, 9), (10, 13)])
    """
    if longest <= _MOST_SINGLE:
        return [(step, step) for step in range(1, longest + 1)]
    starts = [1 + -(-third * longest // 3) for third in range(3)]
    return list(zip(starts, [*(start - 1 for start in starts[1:]), longest], strict=True))


def _summed(cut: pl.DataFrame, group: IntArray, facts: pl.DataFrame) -> pl.DataFrame:
    """The cells of groups: mean and actual summed over the group's series whose demand is known."""
    known = cut.filter(pl.col("actual").is_not_nan())
    longest = int(known["horizon"].max() or 0) + 1  # type: ignore[arg-type]
    cell = group[known["series"].to_numpy()].astype(np.int64) * longest + known["horizon"].to_numpy()
    cells, own = np.unique(cell, return_inverse=True)
    sums = {name: np.bincount(own, known[name].to_numpy(), minlength=len(cells)) for name in ("actual", "mean")}
    keys = {"series": cells // longest, "horizon": cells % longest}
    same = facts.with_columns(pl.col("series").cast(pl.Int64))
    return pl.DataFrame(keys | sums).join(same, on="series", how="left", maintain_order="left")


def _mean(values: Sequence[float | None]) -> float | None:
    """Their mean; None where one of them is undefined."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def _added(cuts: pl.DataFrame) -> pl.DataFrame:
    """What each model takes off the loss of the naive forecast of the same cutoff and slice."""
    losses = cuts.filter(pl.col("metric").is_in(LOSSES))
    naive = losses.filter(model=NAIVE).select("slice", "cut", "metric", naive="value")
    beside = losses.filter(pl.col("model") != NAIVE).join(
        naive, on=["slice", "cut", "metric"], how="inner", maintain_order="left"
    )
    return beside.select("model", "slice", "cut", pl.col("metric") + ADDED, value=pl.col("naive") - pl.col("value"))


def _with_spread(cuts: pl.DataFrame) -> pl.DataFrame:
    """The figures of the cutoffs, their means, and the standard errors of these: deviation / √cutoffs."""
    by = ["model", "slice", "metric"]
    over = cuts.group_by(by, maintain_order=True)
    mean = over.agg(cut=pl.lit(MEAN), value=pl.col("value").mean())
    error = over.agg(cut=pl.lit(STANDARD_ERROR), value=pl.col("value").std() / pl.col("value").count().sqrt())
    return pl.concat([cuts, mean.select(_CUT), error.select(_CUT)])
