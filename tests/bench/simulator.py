"""`make bench`: how fast the simulator is, and how near replenishment comes to exact optima.

Speed: item-periods a second of the walk, 100,000 items × 104 weeks, demand drawn beforehand.
Lost sales: Poisson 5, holding 1; the projected-inventory rule, its ratio tuned on draws of its own, against the optimum
by value iteration (Zipkin 2008's model, doi:10.1287/opre.1070.0471).
Intermittent: weekly items like those of the VN2 competition's rules (negative binomial, lead two weeks, holding 0.2,
lost sale 1), paired over seeds, against order-up-to policies.

    PYTHONPATH=. python tests/bench/simulator.py [--threads 2] [--seeds 20] [--only speed|lost|intermittent]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

import numpy as np
from scipy import stats

from features.quantiles import demand_at
from pipelines.supply.measures import compare, cost, measure
from pipelines.supply.paths import draws
from pipelines.supply.policies.rules import OrderUpTo
from pipelines.supply.projected import ProjectedInventory
from pipelines.supply.scenario import Scenario
from pipelines.supply.simulator import simulate
from pipelines.supply.tuning import Stationary, cheapest_odds, critical_ratio, effective_ratio, tune

Row = tuple[str, str, str]
LEVELS = np.array([0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99])
OPTIMA = {  # lead time → exact optimal cost a period at a lost sale of 4, 9, 19, 39
    1: (4.041, 5.438, 6.676, 7.836),
    2: (4.395, 6.094, 7.664, 9.106),
    3: (4.599, 6.531, 8.363, 10.04),
    4: (4.73, 6.84, 8.89, 10.79),
}


# -- speed -------------------------------------------------------------------------------------------------------------


def bench_speed(threads: int, items: int = 100_000, periods: int = 104) -> Iterator[Row]:
    rng = np.random.default_rng(1)
    demand = rng.poisson(5, (items, periods)).astype(np.float32)
    worlds = {
        "fixed lead times": ({"lead": np.full(items, 2)}, "≥ 50 M/s"),
        "a lead time an item": ({"lead": rng.integers(0, 5, items)}, ""),
        "random lead times, MOQ, multiples": (
            {"lead": rng.integers(0, 5, (items, periods), dtype=np.int32), "moq": 12.0, "multiple": 6.0},
            "≥ 10 M/s",
        ),
        "random lead times, MOQ, expiry": (
            {"lead": rng.integers(0, 5, (items, periods), dtype=np.int32), "moq": 12.0, "shelf_life": 6},
            "",
        ),
    }
    policy = OrderUpTo(np.full(items, 22, np.float32))
    for name, (given, bar) in worlds.items():
        scenario = Scenario(demand, on_hand=20.0, holding_cost=1.0, shortage_cost=9.0, **given)
        wall, processor = [], []
        for _ in range(3):
            started, used = time.perf_counter(), time.process_time()
            simulate(scenario, policy, threads=threads)
            wall.append(time.perf_counter() - started)
            processor.append(time.process_time() - used)
        walked = items * periods / 1e6
        figure = f"{walked / min(wall):.0f} M item-periods/s ({walked / min(processor):.0f} M a processor second)"
        yield f"walk, {name}", figure, bar


# -- lost sales --------------------------------------------------------------------------------------------------------


class Remembered:
    """A policy for items alike: a state seen before is looked up, so that millions of periods take seconds."""

    def __init__(self, policy: ProjectedInventory) -> None:
        self.policy = policy
        self.codes = np.zeros(0, np.int64)
        self.quantities = np.zeros(0, np.float32)

    def __call__(self, inventory: np.ndarray, pipeline: np.ndarray, period: int) -> np.ndarray:
        states = np.column_stack([inventory, pipeline])
        codes = states.astype(np.int64) @ 64 ** np.arange(states.shape[1])
        unique, first, place = np.unique(codes, return_index=True, return_inverse=True)
        new = first[~np.isin(unique, self.codes)]
        for rows in np.array_split(new, len(new) // 500 + 1):
            decided = self.policy.decide(inventory[rows], pipeline[rows])
            self.codes = np.concatenate([self.codes, codes[rows]])
            self.quantities = np.concatenate([self.quantities, decided])
        order = np.argsort(self.codes)
        self.codes, self.quantities = self.codes[order], self.quantities[order]
        return self.quantities[np.searchsorted(self.codes, unique)][place]


def lost_sales(lead: int, shortage: float, seed: int, items: int) -> Callable[[float], np.ndarray]:
    """Cost of each item over 300 periods as a function of the factor on the odds of the critical ratio."""
    demand = np.random.default_rng([seed, lead]).poisson(5, (items, 350)).astype(np.float32)
    scenario = Scenario(
        demand, np.full(items, lead), 10.0, 1.0, shortage, receipts=np.full((items, lead + 1), 5.0), warm_up=50
    )
    paths = stats.poisson.ppf(draws(512, lead + 1, seed)[2:, None], 5).astype(np.float32)
    ratio = np.array([shortage / (shortage + 1)])

    def spent(odds: float) -> np.ndarray:
        tuned = effective_ratio(ratio, np.array([odds])).astype(np.float32)
        policy = Remembered(ProjectedInventory(paths, tuned, 1, True, np.ones(1, np.float32)))
        return cost(scenario, simulate(scenario, policy).totals)

    return spent


def bench_lost() -> Iterator[Row]:
    for lead, optima in OPTIMA.items():
        for shortage, optimum in zip((4.0, 9.0, 19.0, 39.0), optima, strict=True):
            tuning = lost_sales(lead, shortage, seed=1, items=1000)
            odds = cheapest_odds(lambda factor, spent=tuning: float(spent(factor).mean()))
            judged = lost_sales(lead, shortage, seed=2, items=4000)
            found, plain = judged(odds), judged(1.0)
            error = found.std() / np.sqrt(len(found)) / optimum
            above = f"{found.mean() / optimum - 1:+.2%} ± {error:.2%} (untuned {plain.mean() / optimum - 1:+.2%})"
            ratio = effective_ratio(np.array([shortage / (shortage + 1)]), np.array([odds])).item()
            bar = "≤ +2 %" if shortage <= 9 else "≤ +4 %"
            yield f"lost sales, lead {lead}, {shortage:.0f} : 1, ratio {ratio:.3f}", f"{above} of the optimum", bar


# -- intermittent ------------------------------------------------------------------------------------------------------


def intermittent(seed: int, items: int) -> tuple[Stationary, np.ndarray, Scenario]:
    """Lines, the shape of their negative binomials, and 104 weeks of demand after a warm-up."""
    rng = np.random.default_rng([seed, items])
    mean, shape = np.exp(rng.normal(0, 1, items)).clip(0.05, 30), rng.uniform(0.3, 2, items)
    share = shape / (shape + mean)
    demand = rng.negative_binomial(shape[:, None], share[:, None], (items, 123)).astype(np.float32)
    each = np.ones(items)
    lines = Stationary(
        levels=LEVELS,
        quantiles=stats.nbinom.ppf(LEVELS[None, :], shape[:, None], share[:, None]),
        mean=mean,
        lead=2 * each,
        review=each,
        holding_cost=0.2 * each,
        shortage_cost=each,
        multiple=each,
        segment=np.zeros(items, np.int64),
    )
    receipts = np.repeat(np.rint(mean)[:, None], 3, axis=1).astype(np.float32)
    return lines, shape, Scenario(demand, np.full(items, 2), np.rint(mean), 0.2, 1.0, receipts=receipts, warm_up=20)


def order_up_to(lines: Stationary, shape: np.ndarray, ratio: float) -> OrderUpTo:
    """The quantile of demand over lead time and review, exact."""
    level = stats.nbinom.ppf(ratio, 3 * shape, shape / (shape + lines.mean))
    return OrderUpTo(level.astype(np.float32))


def projected(lines: Stationary, ratio: np.ndarray) -> ProjectedInventory:
    """The rule from quantiles alone, as replenishment has them."""
    ranks = draws(256, 3, 11)[2:]
    paths = np.stack([demand_at(rank[None], lines.levels, lines.quantiles, lines.mean) for rank in ranks])
    return ProjectedInventory(
        paths.astype(np.float32), ratio.astype(np.float32), 1, True, lines.multiple.astype(np.float32)
    )


def bench_intermittent(seeds: int, items: int = 599) -> Iterator[Row]:
    lines, shape, scenario = intermittent(1000, 4000)
    ratios = np.arange(0.5, 0.9, 0.025)
    totals = [cost(scenario, simulate(scenario, order_up_to(lines, shape, ratio)).totals).sum() for ratio in ratios]
    static = float(ratios[int(np.argmin(totals))])
    costs: dict[str, list[float]] = {}
    fills: dict[str, list[float]] = {}
    taken = 0.0
    for seed in range(seeds):
        lines, shape, scenario = intermittent(seed, items)
        started = time.perf_counter()
        tuned = tune(lines, lost=True, seed=seed).multiplier * critical_ratio(lines)
        taken += time.perf_counter() - started
        policies = {
            "order-up-to at .833": order_up_to(lines, shape, 1 / 1.2),
            f"best order-up-to, {static:.3f}": order_up_to(lines, shape, static),
            "projected at .833": projected(lines, critical_ratio(lines)),
            "projected, tuned": projected(lines, tuned),
        }
        for name, policy in policies.items():
            totals = simulate(scenario, policy).totals
            costs.setdefault(name, []).append(cost(scenario, totals).sum())
            fills.setdefault(name, []).append(measure(scenario, totals, days_a_period=7).fill_rate)
    yield "tuning of 599 lines", f"{taken / seeds:.2f} s, last ratio {tuned[0]:.3f}", "≤ 2 s"
    for baseline, bar in (("order-up-to at .833", "≥ 10 %"), (f"best order-up-to, {static:.3f}", "≥ 2 %")):
        table = compare({name: np.array(values) for name, values in costs.items()}, baseline)
        row = table.filter(policy="projected, tuned").row(0, named=True)
        error = row["saving_se"] / table.filter(policy=baseline)["cost"].item()
        yield f"intermittent, saving on {baseline}", f"{row['saving_share']:.2%} ± {error:.2%}", bar
    for row in table.iter_rows(named=True):
        name = row["policy"]
        yield f"intermittent, {name}", f"{row['cost']:.1f} a week, fill rate {np.mean(fills[name]):.3f}", ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--only", choices=["speed", "lost", "intermittent"])
    asked = parser.parse_args()
    parts = {
        "speed": lambda: bench_speed(asked.threads),
        "lost": bench_lost,
        "intermittent": lambda: bench_intermittent(asked.seeds),
    }
    for name, part in parts.items():
        if asked.only in (None, name):
            for what, figure, bar in part():
                print(f"{what:<52}{figure:>52}   {bar}", flush=True)


if __name__ == "__main__":
    main()
