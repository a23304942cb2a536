"""`make bench`: the customers of the sample shop by one fixed protocol, beside what is known to be good.

Six cuts 28 days apart whose windows are complete; everyone who had ordered by the cut. Churn (91 days): AUC is the mean
over cuts, its difference to each other model with the 90 % interval of a bootstrap that draws customers, the same for
both models and all cuts; Brier score and calibration error (ten bins of equal count) of all cuts pooled, beside the
95th percentile that a perfectly calibrated model of this size would show. Value (91 and 182 days): normalised Gini
beside BTYD × Gamma-Gamma's, expected over actual totals.

    python tests/bench/customers_sample.py [--config configs/online_retail.yaml]
"""

from __future__ import annotations

import argparse
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.customers import FEATURES
from pipelines.customers import metrics
from pipelines.customers.backtest import churn_at, value_at
from pipelines.customers.jobs import _book
from pipelines.customers.moments import Past, Shared
from pipelines.lake import Lake
from pipelines.settings import load_settings

Floats = NDArray[np.float64]
CUTS, STEP_DAYS, CHURN_DAYS = 6, 28, 91
DRAWS = 400
OTHERS = ("recency_rule", "bg_nbd", "pareto_nbd", "lightgbm")


def cuts(last: date, days: int) -> list[date]:
    return [last - timedelta(days=days + STEP_DAYS * back) for back in range(CUTS)]


def plain_lightgbm(past: Past) -> Floats:
    """What trees say that learn churn from the same snapshots alone: no BTYD, no anchor."""
    from pipelines.trees import lightgbm as lgb

    days = past.training_days(3)
    rows = pl.concat([past.moment(day).rows for day in days]).select(list(FEATURES)).cast(pl.Float64)
    churned = np.concatenate([past.churned(day) for day in days])
    terms = {"objective": "binary", "learning_rate": 0.03, "num_leaves": 15, "min_data_in_leaf": 40, "lambda_l2": 5.0}
    sampling = {"feature_fraction": 0.7, "bagging_fraction": 0.8, "bagging_freq": 1, "seed": 1}
    data = lgb.Dataset(rows.to_numpy(), churned)
    booster = lgb.train(terms | sampling | {"num_threads": 1, "verbosity": -1, "deterministic": True}, data, 250)
    now = past.moment(past.cut).rows.select(list(FEATURES)).cast(pl.Float64)
    return np.asarray(booster.predict(now.to_numpy()))


def mean_auc(judged: pl.DataFrame, model: str, weights: Floats | None = None) -> float:
    parts = []
    for cut in judged.partition_by("cut"):
        happened, score = cut["churned"].cast(pl.Float64).to_numpy(), cut[model].to_numpy()
        if weights is None:
            parts.append(metrics.auc(happened, score))
            continue
        drawn = np.repeat(np.arange(cut.height), weights[cut["who"].to_numpy()].astype(int))
        parts.append(metrics.auc(happened[drawn], score[drawn]))
    return float(np.mean(parts))


def differences(judged: pl.DataFrame) -> dict[str, tuple[float, float, float]]:
    """Other model → how much higher our AUC is: as measured, and the ends of its 90 % interval."""
    ranked = judged.with_columns(recency_rule="days_since_last_order")
    rng, customers = np.random.default_rng(0), judged["who"].n_unique()
    draws = [rng.multinomial(customers, np.full(customers, 1 / customers)).astype(float) for _ in range(DRAWS)]
    drawn = {model: np.array([mean_auc(ranked, model, draw) for draw in draws]) for model in ("churn", *OTHERS)}
    found = {}
    for other in OTHERS:
        low, high = np.quantile(drawn["churn"] - drawn[other], (0.05, 0.95))
        found[other] = mean_auc(ranked, "churn") - mean_auc(ranked, other), float(low), float(high)
    return found


def churn(book: pl.DataFrame, last: date, settings: Any, shared: Shared) -> None:
    frames = []
    for cut in cuts(last, CHURN_DAYS):
        past = Past(book, cut, horizon_days=CHURN_DAYS, period_days=settings.customers.period_days, shared=shared)
        said = churn_at(book, cut, last, settings, shared=shared)
        frames.append(said.with_columns(lightgbm=pl.Series(plain_lightgbm(past))))
    judged = pl.concat(frames)
    judged = judged.with_columns(who=pl.col("customer_id").rank("dense").cast(pl.Int64) - 1)
    print(f"churn, {CHURN_DAYS} days, {judged.height:,} customers at {CUTS} cuts")
    for model in ("churn", *OTHERS):
        ranked = judged.with_columns(recency_rule="days_since_last_order")
        happened, said = judged["churned"].cast(pl.Float64).to_numpy(), judged[model].to_numpy()
        brier, ece = metrics.brier(happened, said), metrics.calibration_error(happened, said)
        active = mean_auc(ranked.filter("active"), model)
        print(
            f"  {model:<14} AUC {mean_auc(ranked, model):.4f} (active {active:.4f})  Brier {brier:.4f}  ECE {ece:.4f}"
        )
    said, rng = judged["churn"].to_numpy(), np.random.default_rng(0)
    perfect = [metrics.calibration_error((rng.random(len(said)) < said).astype(float), said) for _ in range(300)]
    print(f"  a perfect model's ECE: below {np.quantile(perfect, 0.95):.4f} in 95 of 100 draws")
    for other, (gain, low, high) in differences(judged).items():
        print(f"  AUC above {other:<14} {gain:+.4f}  [{low:+.4f}, {high:+.4f}]")


def value(book: pl.DataFrame, last: date, days: int, settings: Any, shared: Shared) -> None:
    ratios, ginis = [], []
    for cut in cuts(last, days):
        said = value_at(book, cut, last, days, settings, shared=shared)
        actual = said["actual"].to_numpy()
        ratios.append(said["value"].sum() / actual.sum())
        ginis.append([metrics.gini(actual, said[model].to_numpy()) for model in ("value", "btyd", "past_spend")])
    own, btyd, past_spend = np.mean(ginis, axis=0)
    print(f"value, {days} days: Gini {own:.4f}, BTYD × Gamma-Gamma {btyd:.4f}, past spend {past_spend:.4f}")
    each = " ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"  expected over actual: geometric mean {np.exp(np.mean(np.log(ratios))):.3f}, newest cut first {each}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/online_retail.yaml"))
    settings = load_settings(parser.parse_args().config)
    lake = Lake(settings.lake_url, settings.storage_options)
    if not lake.exists("order_lines"):
        raise SystemExit("there is no sample shop yet: make pipeline")
    book, last = _book(settings, lake)
    shared = Shared()
    churn(book, last, settings, shared)
    for days in (91, 182):
        value(book, last, days, settings, shared)


if __name__ == "__main__":
    main()
