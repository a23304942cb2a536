"""Whose stock is counted on which day: classes by turn, the records most likely wrong first.

How likely a record is wrong is one minus the product of the chances that nothing went wrong:

- phantom stock: on the books, but nothing sold where sales were expected. With q the probability of that silence if the
  stock is there, and π the share of phantom records known beforehand, Bayes says π ÷ (π + (1 − π) · q).
- wear: a share of records goes wrong each year since the last count, and each large movement adds a quarter of a year.
- a negative record is wrong for sure.

Records drift unseen in every second item of a shop (DeHoratius & Raman 2008, doi:10.1287/mnsc.1070.0789); counting by
risk finds most of it with the counts of an ordinary year.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from features.panel import Panel
from features.season import RHYTHMS
from pipelines.settings import StockReview
from pipelines.supply.paths import Array
from pipelines.supply.stock_review import ABOUT_ZERO

LIKELY_WRONG = 0.5  # a record this likely wrong is counted at once, whatever its class
_LARGE = 3.0  # times the mean sale of a period with sales: a large movement
_YEARS_PER_LARGE = 0.25
_NEVER_COUNTED_YEARS = 1.0
_WORK_DAYS_A_WEEK = 5


def silence(known: Panel, expected: pl.DataFrame, counted: Array) -> tuple[Array, Array]:
    """How long nothing has sold, and how probable so long a silence is if the stock is there.

    Each silent period's chance of no sale is that of the newest forecast issued before it. Where none was, it is the
    share of periods without sales (one of each added) in the year before the silence, or what the newest forecast says
    of the coming periods if that is more: demand that has faded is no reason to doubt the books. A count ends what was
    silent before it.

    Args:
        known: From `Panel.known`.
        expected: From `forecast_in_advance`; periods after the last known one are those to come.
        counted: Number of the period in which each series was last counted, minus infinity for never, shape (n,).

    Returns:
        Periods of silence and its probability, shape (n,).
    """
    history, year = known.quantity, RHYTHMS[known.grid.frequency].year
    periods = int(history.shape[1])
    number = known.first + np.arange(periods)
    silent = (history == 0) & (number[None, :] > counted[:, None])
    run = np.cumprod(silent[:, ::-1], axis=1)[:, ::-1].astype(bool)
    before = np.where(run, np.nan, history)
    start = periods - run.sum(axis=1)
    recent = np.arange(periods)[None, :] >= (start - year)[:, None]
    told = recent & ~np.isnan(before)
    zeros = ((before == 0) & told).sum(axis=1)
    usual = (zeros + 1) / (told.sum(axis=1) + 2)
    chance, ahead = _expected(known, expected)
    chance = np.where(np.isnan(chance), np.fmax(usual, ahead)[:, None], chance)
    probability = np.exp(np.where(run, np.log(np.clip(chance, 1e-9, 1.0)), 0.0).sum(axis=1))
    sold_ever = np.nansum(before, axis=1) > 0
    return run.sum(axis=1).astype(np.float64), np.where(sold_ever, probability, 1.0)


def _expected(known: Panel, expected: pl.DataFrame) -> tuple[Array, Array]:
    """Chance of no sale as it was forecast (series × period), and its mean over what is to come; NaN where unknown."""
    keys = list(known.keys)
    chance: Array = np.full_like(known.quantity, np.nan, dtype=np.float64)
    rows = known.series.select(keys).with_row_index("row")
    told = expected.with_columns(number=known.grid.index(pl.col("period"))).join(rows, on=keys)
    cells = told.filter(pl.col("number").is_between(known.first, known.last))
    chance[cells["row"].to_numpy(), cells["number"].to_numpy() - known.first] = cells["p_zero"].to_numpy()
    coming = told.filter(pl.col("number") > known.last).group_by("row").agg(pl.col("p_zero").mean())
    ahead = np.full(len(chance), np.nan)
    ahead[coming["row"].to_numpy()] = coming["p_zero"].to_numpy()
    return chance, ahead


def forecast_in_advance(forecasts: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Key columns, `period` and `p_zero` from the newest issue before each period began.

    Without a `p_zero` it is that of Poisson demand with the mean.
    """
    poisson = (-pl.col("mean").clip(0)).exp()
    return (
        forecasts.filter(pl.col("issued_on") <= pl.col("period"))
        .sort("issued_on")
        .unique([*keys, "period"], keep="last", maintain_order=True)
        .select(*keys, "period", p_zero=pl.coalesce("p_zero", poisson))
        .sort(*keys, "period")
    )


def large_movements(known: Panel, counted: Array) -> Array:
    """Periods of the last year, and since the last count, that sold far more than usual, shape (n,)."""
    history = known.quantity
    sold = np.where(history > 0, history, np.nan)
    usual = np.nansum(sold, axis=1) / np.maximum((history > 0).sum(axis=1), 1)
    number = known.first + np.arange(history.shape[1])
    since = (number[None, :] > counted[:, None]) & (number > known.last - RHYTHMS[known.grid.frequency].year)[None, :]
    return np.asarray(((history > _LARGE * usual[:, None]) & since).sum(axis=1), dtype=np.float64)


def record_risks(lines: pl.DataFrame, settings: StockReview) -> pl.DataFrame:
    """How likely each record is wrong, and why.

    Args:
        lines: `as_of`, `on_hand`, `silent_periods`, `silence_probability`, `large_movements`, `demand_mean` (forecast
            over the cover horizon) and `last_counted_on` (null for never).
        settings: What is known of records beforehand.

    Returns:
        The lines with `phantom_probability`, `record_risk` and `reason`.
    """
    prior = settings.phantom_share
    posterior = prior / (prior + (1 - prior) * pl.col("silence_probability"))
    suspect = (pl.col("on_hand") > 0) & (pl.col("demand_mean") >= ABOUT_ZERO)
    since = (pl.col("as_of") - pl.col("last_counted_on")).dt.total_days() / 365.25
    wear = since.fill_null(_NEVER_COUNTED_YEARS) + _YEARS_PER_LARGE * pl.col("large_movements")
    worn = 1 - (1 - settings.wrong_a_year) ** wear
    return (
        lines.with_columns(
            phantom_probability=pl.when(suspect & (pl.col("silent_periods") > 0)).then(posterior).otherwise(0.0)
        )
        .with_columns(
            record_risk=pl.when(pl.col("on_hand") < 0)
            .then(1.0)
            .otherwise(1 - (1 - pl.col("phantom_probability")) * (1 - worn))
        )
        .with_columns(reason=_reason())
    )


def _reason() -> pl.Expr:
    chance = pl.col("silence_probability")
    likely = (
        pl.when(chance < 0.001)
        .then(pl.lit("under 1 in 1,000"))
        .otherwise(pl.format("1 in {}", (1 / chance).round(0).cast(pl.Int64)))
    )
    return (
        pl.when(pl.col("on_hand") < 0)
        .then(pl.lit("The record is below zero."))
        .when(pl.col("phantom_probability") >= LIKELY_WRONG)
        .then(
            pl.format(
                "{} on the books, but nothing sold for {} periods where sales were expected (a chance of {}).",
                pl.col("on_hand").round(0).cast(pl.Int64),
                pl.col("silent_periods").cast(pl.Int64),
                likely,
            )
        )
        .when(pl.col("large_movements") > 1)
        .then(
            pl.format(
                "{} large movements {}.",
                pl.col("large_movements").cast(pl.Int64),
                pl.when(pl.col("last_counted_on").is_null())
                .then(pl.lit("within a year, and no count on record"))
                .otherwise(pl.format("since it was counted on {}", pl.col("last_counted_on").cast(pl.String))),
            )
        )
        .when(pl.col("last_counted_on").is_null())
        .then(pl.lit("No count on record."))
        .otherwise(pl.format("Last counted on {}.", pl.col("last_counted_on").cast(pl.String)))
    )


def plan_counts(
    lines: pl.DataFrame, settings: StockReview, as_of: date, *, keys: Sequence[str], holidays: Sequence[date] = ()
) -> pl.DataFrame:
    """The counts of the coming days: each class at an even pace, so that all of it is counted in its turn.

    Of each class the same number is counted every work day. Records that are likely wrong come first, then what is
    overdue or was never counted, then each as it falls due; nothing else is counted before it is due. Of those due on
    the same day the one with the most money at stake is first: its risk times the value of its stock.

    Args:
        lines: Key columns, `abc`, `record_risk`, `stock_value`, `last_counted_on` and what else is to be in the plan.
        settings: Pace and how far ahead is planned.
        as_of: The first day that may be planned.
        keys: The shop's series columns.
        holidays: Days nobody counts on.

    Returns:
        The lines that are to be counted, with `count_on`, by day, then the most at stake first.
    """
    days = _work_days(as_of, settings.plan_days, holidays)
    order = ["_urgent", "_at_stake", *keys]
    descending = [True, True, *[False] * len(keys)]
    lines = lines.with_columns(
        _urgent=pl.col("record_risk") >= LIKELY_WRONG, _at_stake=pl.col("record_risk") * pl.col("stock_value")
    )
    plans = []
    for name, every in zip("ABC", settings.count_every_days, strict=True):
        own = lines.filter(pl.col("abc") == name)
        if own.is_empty():
            continue
        pace = own.height / max(every * _WORK_DAYS_A_WEEK / 7, 1.0)
        due_on = pl.col("last_counted_on") + pl.duration(days=every)
        left = ((due_on - pl.lit(as_of)).dt.total_days().clip(0) * (_WORK_DAYS_A_WEEK / 7)).fill_null(0.0)
        own = own.with_columns(_due=pl.when("_urgent").then(0.0).otherwise(left))
        own = own.sort("_due", *order, descending=[False, *descending])
        day = turns(own["_due"].to_numpy(), pace)
        plans.append(own.drop("_due").with_columns(_day=pl.Series(day)).filter(pl.col("_day") < len(days)))
    if not plans:
        return lines.clear().drop("_urgent", "_at_stake").with_columns(count_on=pl.lit(None, dtype=pl.Date))
    plan = pl.concat(plans)
    on = pl.Series("count_on", days, dtype=pl.Date).gather(plan["_day"])
    plan = plan.drop("_day").with_columns(on).sort("count_on", *order, descending=[False, *descending])
    return plan.drop("_urgent", "_at_stake")


def turns(due: Array, pace: float) -> npt.NDArray[np.int64]:
    """The day on which each has its turn: a queue that serves `pace` a day, nobody before the day they are due.

    The waiting of a queue in one line (Lindley 1952, doi:10.1017/S0305004100027638).

    Args:
        due: Days, rising.
        pace: How many a day, above 0; may be a part.

    Example:
        >>> turns(np.array([0.0, 0.0, 0.0, 0.0, 5.0, 5.0]), 2.0).tolist()
        [0, 0, 1, 1, 5, 5]
    """
    rank = np.arange(len(due))
    place = rank + np.maximum.accumulate(np.ceil(due) * pace - rank)
    return np.asarray(np.floor(place / pace + 1e-9), dtype=np.int64)


def _work_days(first: date, days: int, holidays: Sequence[date]) -> list[date]:
    ahead = (first + timedelta(days=day) for day in range(days))
    return [day for day in ahead if day.isoweekday() <= _WORK_DAYS_A_WEEK and day not in holidays]


def last_counts(counts: pl.DataFrame, as_of: date, keys: Sequence[str]) -> pl.DataFrame:
    """The last count of each series before a day: key columns, `last_counted_on`, `counted` and `recorded`."""
    return (
        counts.filter(pl.col("counted_on") < as_of)
        .sort("counted_on")
        .unique(list(keys), keep="last", maintain_order=True)
        .select(*keys, "counted", "recorded", last_counted_on="counted_on")
    )


def record_accuracy(counts: pl.DataFrame, classes: pl.DataFrame, settings: StockReview, as_of: date) -> pl.DataFrame:
    """Record accuracy by class over the year before a day: counts within tolerance of the record ÷ counts.

    Args:
        counts: Table stock_counts; a count without the record it was held against is left out.
        classes: Key columns and `abc`.
        settings: The tolerance.
        as_of: The day.

    Returns:
        `abc`, `counted`, `within_tolerance`, `record_accuracy`, `units_too_many` and `units_too_few` on the books.
    """
    keys = [name for name in classes.columns if name != "abc"]
    off = pl.col("recorded") - pl.col("counted")
    year = counts.filter(
        pl.col("counted_on").is_between(as_of - timedelta(days=365), as_of, closed="left"),
        pl.col("recorded").is_not_null(),
    )
    return (
        year.join(classes, on=keys, how="left")
        .with_columns(pl.col("abc").fill_null("C"), off=off)
        .group_by("abc")
        .agg(
            counted=pl.len(),
            within_tolerance=(pl.col("off").abs() <= settings.count_tolerance * pl.col("recorded").abs()).sum(),
            units_too_many=pl.col("off").clip(0).sum(),
            units_too_few=(-pl.col("off")).clip(0).sum(),
        )
        .with_columns(record_accuracy=pl.col("within_tolerance") / pl.col("counted"))
        .select("abc", "counted", "within_tolerance", "record_accuracy", "units_too_many", "units_too_few")
        .sort("abc")
    )
