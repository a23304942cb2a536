"""`make bench`: an inventory game under the public VN2 rules, on seeded twins of its data, policies paired by seed.

Each shop is fitted once with the demand engine as it is and forecast anew each round. All policies of a seed meet the
same demand and the same forecasts. The ratio of the static order-up-to policy is the best of a grid on other seeds than
those judged; the tuned ratio of the path rule is found by the program itself from each shop's forecasts.

    PYTHONPATH=.:tests python tests/bench/rounds.py [--seeds 20] [--tuning-seeds 4] [--issues FOLDER]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import yaml
from made_twin import HOLDING_COST, KEYS, LEAD_WEEKS, ROUNDS, SHORTAGE_COST, Player, Result, Twin, made_twin

from pipelines.demand.occasion import issues
from pipelines.ingest.jobs import ingest
from pipelines.settings import Supply, load_settings
from pipelines.steps import Shop
from pipelines.supply.decision import decide
from pipelines.supply.line_arrays import Lines
from pipelines.supply.outlook import Outlook, outlook
from pipelines.supply.policies import POLICIES, Forecast, Known
from pipelines.supply.ratios import effective_ratios

Array = npt.NDArray[np.float64]
RATIO = SHORTAGE_COST / (SHORTAGE_COST + HOLDING_COST)
RATIOS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75)
HORIZON = LEAD_WEEKS + 2
FIRST_JUDGED = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--tuning-seeds", type=int, default=4)
    parser.add_argument("--issues", type=Path, help="where forecasts are kept between runs")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.issues or Path(scratch)
        tuning = [Game(seed, folder) for seed in range(1, 1 + asked.tuning_seeds)]
        static = min(RATIOS, key=lambda ratio: sum(game.play(up_to(ratio)).cost for game in tuning))
        players = {
            "paths": paths,
            "critical ratio order-up-to": up_to(RATIO),
            f"best static order-up-to ({static})": up_to(static),
            "z·σ·√L": known("safety_stock"),
            "organiser's benchmark": known("seasonal_cover"),
            "min-max": known("min_max"),
        }
        judged = [Game(seed, folder) for seed in range(FIRST_JUDGED, FIRST_JUDGED + asked.seeds)]
        tell({name: [game.play(player) for game in judged] for name, player in players.items()})


class Game:
    """One twin and what was forecast for it at the opening of each round."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.twin = made_twin(seed)
        if not (folder / f"{seed}_{ROUNDS - 1}").exists():
            forecast(self.twin, seed, folder)
        self.ahead = [self._outlook(folder / f"{seed}_{week}") for week in range(ROUNDS)]
        self.ratio: Array | None = None

    def play(self, player: Callable[[Game], Player]) -> Result:
        """Play one policy."""
        return self.twin.play(player(self))

    def _outlook(self, folder: Path) -> Outlook:
        tables = [
            pl.read_parquet(folder / f"{name}.parquet") for name in ("forecasts", "lead_time_demand", "path_ranks")
        ]
        return outlook(self.twin.series.select(KEYS), tables[0], tables[1], KEYS, tables[2])


def forecast(twin: Twin, seed: int, folder: Path) -> None:
    """Fit the engine to a twin once, and forecast at the opening of each round."""
    with tempfile.TemporaryDirectory() as scratch:
        shop = Path(scratch)
        twin.table(ROUNDS).write_parquet(shop / "demand.parquet")
        twin.series.write_parquet(shop / "series.parquet")
        content = {
            "shop": "twin",
            "data_dir": "lake",
            "sources": [{"table": name, "path": f"{name}.parquet"} for name in ("demand", "series")],
            "demand": {"series": KEYS, "frequency": "week", "horizon": 8},
        }
        (shop / "shop.yaml").write_text(yaml.safe_dump(content))
        own = Shop(load_settings(shop / "shop.yaml"))
        ingest(own.settings, own.lake)
        told = issues(own.settings, own.lake, periods=ROUNDS, horizon=HORIZON, refit_every=ROUNDS)
        for week, (day, tables) in enumerate(told):
            assert day == twin.opening(week)
            (folder / f"{seed}_{week}").mkdir(parents=True)
            for name, table in tables.items():
                table.write_parquet(folder / f"{seed}_{week}" / f"{name}.parquet")


def paths(game: Game) -> Player:
    """`purvey replenish` with its defaults."""
    supply = Supply()

    def player(week: int, on_hand: Array, coming: Array) -> Array:
        items = len(on_hand)
        lines = Lines(
            on_hand=on_hand,
            receipts=coming[:, None],
            due=np.ones((items, 1)),
            now=np.zeros(items),
            lead=np.full(items, float(LEAD_WEEKS)),
            lead_sd=np.zeros(items),
            review=np.ones(items),
            holding_cost=np.full(items, HOLDING_COST),
            shortage_cost=np.full(items, SHORTAGE_COST),
            service_target=np.full(items, 0.95),
            moq=np.zeros(items),
            multiple=np.ones(items),
            maximum=np.full(items, np.inf),
            ratio=game.ratio,
        )
        if game.ratio is None:
            game.ratio = effective_ratios(lines, game.ahead[week], supply, seed=0, threads=2)
            lines = Lines(**{**vars(lines), "ratio": game.ratio})
        return decide(lines, game.ahead[week], supply, seed=0, threads=2)["quantity"].to_numpy()

    return player


def up_to(ratio: float) -> Callable[[Game], Player]:
    """Order up to one quantile of demand forecast for the protection interval."""

    def made(game: Game) -> Player:
        def player(week: int, on_hand: Array, coming: Array) -> Array:
            level = facts(game, week).demand_at(np.full(len(on_hand), ratio))
            return np.ceil(np.maximum(level - on_hand - coming, 0) - 1e-9)

        return player

    return made


def known(name: str) -> Callable[[Game], Player]:
    """A policy of planning systems, its parameters set anew each round."""

    def made(game: Game) -> Player:
        def player(week: int, on_hand: Array, coming: Array) -> Array:
            wish = POLICIES[name](facts(game, week))(on_hand, coming[:, None], week)
            return np.ceil(np.maximum(wish, 0) - 1e-9)

        return player

    return made


def facts(game: Game, week: int) -> Known:
    """What is known at the opening of a round; the service aimed at is what the costs ask for."""
    history, ahead = game.twin.known(week), game.ahead[week]
    items, interval = len(history), LEAD_WEEKS
    return Known(
        history=history[:, -104:],
        lead_time=np.full(items, float(LEAD_WEEKS)),
        review=np.ones(items),
        holding_cost=np.full(items, HOLDING_COST),
        shortage_cost=np.full(items, SHORTAGE_COST),
        fixed_cost=np.zeros(items),
        service_target=np.full(items, RATIO),
        season=(np.arange(history.shape[1] - 104, history.shape[1] + 8)) % 52,
        forecast=Forecast(ahead.levels, ahead.sums[:, interval], ahead.sums_mean[:, interval]),
    )


def tell(results: dict[str, Sequence[Result]]) -> None:
    """Print each policy and what the first saves against it, with the standard error of the paired difference."""
    first = np.array([result.cost for result in next(iter(results.values()))])
    print(f"{'policy':36s} {'cost':>8s} {'fill':>6s} {'stock':>7s} {'saved by paths':>15s} {'s.e.':>6s}")
    for name, played in results.items():
        cost = np.array([result.cost for result in played])
        saved = 1 - first / cost
        error = saved.std(ddof=1) / np.sqrt(len(saved)) if len(saved) > 1 else float("nan")
        fill, stock = (np.mean([getattr(result, of) for result in played]) for of in ("fill_rate", "stock"))
        print(f"{name:36s} {cost.mean():8.0f} {fill:6.3f} {stock:7.0f} {saved.mean():15.1%} {error:6.2%}")


if __name__ == "__main__":
    main()
