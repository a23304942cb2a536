"""Two promises held against what came: the service that was aimed at, and demand over the lead time as forecast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from features.quantiles import demand_at
from pipelines.errors import ConfigError
from pipelines.settings import Supply
from pipelines.supply.backtest import Past, Walk
from pipelines.supply.measures import measure

LEVELS = (0.5, 0.8, 0.95)
KINDS = {"fill_rate": "fill_rate", "service": "cycle_service"}
"""Objectives of `supply.objective` that are a target, and the measure that says whether it was met."""
_EXACT = 1e-9


def target(said: str) -> tuple[str, float]:
    """Objective and level of a target as it is typed.

    Raises:
        ConfigError: It is none.

    Example:
        >>> target("fill_rate=.95")
        ('fill_rate', 0.95)
    """
    kind, _, number = said.partition("=")
    try:
        level = float(number)
    except ValueError:
        level = float("nan")
    if kind not in KINDS or not 0 < level < 1:
        raise ConfigError(
            f"{said!r} is no target.", remedy="name one as fill_rate=0.95 or service=0.95, between 0 and 1"
        )
    return kind, level


def aimed(past: Past, supply: Supply, kind: str, level: float) -> tuple[Past, Supply]:
    """The past and the settings with every line aiming at one target."""
    terms = past.terms.with_columns(service_target=pl.lit(level))
    return replace(past, terms=terms), supply.model_copy(update={"objective": kind, "service_target": level})


def reached(past: Past, walk: Walk, kind: str, level: float) -> pl.DataFrame:
    """`target`, `level`, `realised` and `points` between them (hundredths), one row."""
    found = getattr(measure(past.scenario(), walk.totals, days_a_period=past.days_a_period), KINDS[kind])
    return pl.DataFrame({"target": [kind], "level": [level], "realised": [found], "points": [100 * (found - level)]})


def coverage(past: Past, levels: Sequence[float] = LEVELS) -> pl.DataFrame:
    """How often demand over the lead time stayed below its forecast quantiles, all lines and reviews together.

    Demand comes in whole units, so a right quantile q at level τ has share(y < q) ≤ τ ≤ share(y ≤ q). Lead times of
    less than a period count as one; windows that end after the record, or hold unknown demand, are left out.

    Args:
        past: The past.
        levels: Probabilities τ.

    Returns:
        `level`, `windows`, `share_below`, `share_at_most` and `miss`: how far τ lies outside the two, 0 if between.
    """
    line = np.arange(len(past.terms))
    window = np.clip(past.lead, 1, past.outlooks[0].horizon)
    below, at_most, windows = np.zeros(len(levels)), np.zeros(len(levels)), 0
    unknown = np.concatenate([np.zeros((len(line), 1)), np.cumsum(np.isnan(past.demand), axis=1)], axis=1)
    filled = np.concatenate([np.zeros((len(line), 1)), np.cumsum(np.nan_to_num(past.demand), axis=1)], axis=1)
    for period, ahead in enumerate(past.outlooks):
        start = past.before + period
        end = np.minimum(start + window, past.demand.shape[1])
        whole = (start + window <= past.demand.shape[1]) & (unknown[line, end] == unknown[line, start])
        came = (filled[line, end] - filled[line, start])[whole, None]
        place = line[whole], window[whole] - 1
        asked = np.asarray(levels, np.float64)[None]
        quantile = demand_at(asked, ahead.levels, ahead.sums[place], ahead.sums_mean[place])
        below += (came < quantile - _EXACT).sum(axis=0)
        at_most += (came <= quantile + _EXACT).sum(axis=0)
        windows += int(whole.sum())
    share_below, share_at_most = below / max(windows, 1), at_most / max(windows, 1)
    tau = np.asarray(levels, np.float64)
    miss = np.maximum(np.maximum(share_below - tau, tau - share_at_most), 0.0)
    return pl.DataFrame(
        {
            "level": tau,
            "windows": np.full(len(tau), windows),
            "share_below": share_below,
            "share_at_most": share_at_most,
            "miss": miss,
        }
    )
