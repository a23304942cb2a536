"""`make bench`: what the buy-till-you-die models cost, in seconds and memory, beside lifetimes where it is at hand.

Fit: by maximum likelihood with standard errors, from three columns to a model. Score: P(alive), expected purchases and
the probability of no purchase of each customer. Order: how far the likelihood moves when the customers come in another.
lifetimes is no dependency; give the Python of an environment that has it (it needs numpy < 2, pandas < 2.2):

    python tests/bench/customers.py [--customers 1000000] [--lifetimes /path/to/python] [--beside 2000,20000]

Each figure is measured in a process of its own. Ratios are of figures of one run, on the same customers.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import shoppers
from measuring import answer, child, measured, run, seconds

from pipelines.customers.btyd import BetaGeometric, fit_beta_geometric
from pipelines.customers.pareto import Pareto, fit_pareto
from pipelines.customers.spending import GammaGamma, fit_gamma_gamma

Row = tuple[str, str, str]
BARS = {"bg": "≤ 2 s, < 1 GB", "mbg": "≤ 3 s, < 1 GB", "pareto": "≤ 15 s, < 1 GB", "gamma_gamma": "< 1 GB"}
NAMES = {"bg": "BG/NBD", "mbg": "MBG/NBD", "pareto": "Pareto/NBD", "gamma_gamma": "Gamma-Gamma"}


# -- in a child process ------------------------------------------------------------------------------------------------


def make(folder: Path, customers: int) -> dict[str, Any]:
    x, recency, age = shoppers.histories(customers)
    for name, values in {"x": x, "recency": recency, "age": age, "mean": shoppers.receipts(x)}.items():
        np.save(folder / f"{name}.npy", values)
    return {}


def fit(folder: Path, model: str) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    columns = _columns(folder)
    _fit(model, *(column[:1000] for column in columns))  # what is done once a process is not the model's
    with measured(figures):
        fitted = _fit(model, *columns)
    errors = fitted.standard_errors
    parameters = [getattr(fitted, name) for name in errors]
    return figures | {"converged": fitted.converged, "parameters": parameters, "errors": list(errors.values())}


def score(folder: Path, model: str) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    columns = _columns(folder)
    fitted = _fit(model, *(column[:100_000] for column in columns))
    assert isinstance(fitted, BetaGeometric | Pareto)
    x, recency, age, _ = (column.to_numpy() for column in columns)
    with measured(figures):
        alive = fitted.p_alive(x, recency, age)
        fitted.expected_purchases(52.0, x, recency, age, alive=alive)
        fitted.p_no_purchase(13.0, x, recency, age, alive=alive)
    return figures


def order(folder: Path, model: str) -> dict[str, Any]:
    columns = _columns(folder)
    mixed = np.random.default_rng(1).permutation(len(columns[0]))
    likelihoods = [_fit(model, *those).log_likelihood for those in (columns, [column[mixed] for column in columns])]
    return {"moved": abs(likelihoods[1] - likelihoods[0])}


def _columns(folder: Path) -> list[pl.Series]:
    return [pl.Series(np.load(folder / f"{name}.npy")) for name in ("x", "recency", "age", "mean")]


def _fit(model: str, x: pl.Series, recency: pl.Series, age: pl.Series, mean: pl.Series) -> Any:
    if model == "gamma_gamma":
        fitted: GammaGamma = fit_gamma_gamma(x + 1, mean)
        return fitted
    return (
        fit_pareto(x, recency, age)
        if model == "pareto"
        else fit_beta_geometric(x, recency, age, modified=model == "mbg")
    )


# -- in the parent -----------------------------------------------------------------------------------------------------


def bench_size(folder: Path, customers: int) -> Iterator[Row]:
    child(make, folder, customers=customers)
    for model, bar in BARS.items():
        figures = child(fit, folder, model=model)
        assert figures["converged"], model
        yield f"{customers:,}: {NAMES[model]}, fit", f"{seconds(figures)}, {figures['peak_mb'] / 1024:.2f} GB", bar
    for model in ("bg", "mbg", "pareto"):
        yield f"{customers:,}: {NAMES[model]}, score", seconds(child(score, folder, model=model)), "≤ 0.5 s"
        moved = child(order, folder, model=model)["moved"]
        yield f"{customers:,}: {NAMES[model]}, another order", f"{moved:.1e} of log-likelihood", "≤ 1e-6"


def bench_beside(folder: Path, customers: int, python: str) -> Iterator[Row]:
    child(make, folder, customers=customers)
    script = str(Path(__file__).with_name("lifetimes_fit.py"))
    for model, name in NAMES.items():
        theirs, ours = run([python, script, model, str(folder)]), child(fit, folder, model=model)
        wall, processor = (theirs[kind] / ours[kind] for kind in ("seconds", "processor_seconds"))
        furthest = max(
            abs(own - their) / error
            for own, their, error in zip(ours["parameters"], theirs["parameters"], ours["errors"], strict=True)
        )
        yield f"{customers:,}: {name}, fit: lifetimes", seconds(theirs), ""
        yield f"{customers:,}: {name}, fit: purvey", f"{seconds(ours)}, {furthest:.3f} standard errors from there", ""
        yield f"{customers:,}: {name}, fit: ratio", f"{wall:.0f} × ({processor:.0f} × processor)", "≥ 20 ×"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--lifetimes", default=os.environ.get("LIFETIMES_PYTHON"), help="a Python with lifetimes")
    parser.add_argument("--beside", default="2000,20000", help="how many customers beside lifetimes")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        answer(asked.child, globals())
        return
    with tempfile.TemporaryDirectory() as folder:
        for what, figure, bar in bench_size(Path(folder), asked.customers):
            print(f"{what:<44}{figure:>48}   {bar}", flush=True)
    for customers in map(int, asked.beside.split(",")):
        if not asked.lifetimes:
            print("lifetimes is not at hand: --lifetimes (or LIFETIMES_PYTHON) names no Python that has it")
            return
        with tempfile.TemporaryDirectory() as folder:
            for what, figure, bar in bench_beside(Path(folder), customers, asked.lifetimes):
                print(f"{what:<44}{figure:>48}   {bar}", flush=True)


if __name__ == "__main__":
    main()
