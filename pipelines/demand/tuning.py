"""Search for trees that suit a shop better: a seeded search over rolling origins, judged with its standard error.

Features are computed once and shared by all trials. The shop's own settings are trial 0; a trial that is behind the
median of the others after an origin is given up (pruned). The best of many is flattered by having been chosen, so a
gain counts only where it is larger than its standard error over origins.

Source:
    Akiba et al. (2019), Optuna, KDD; Bergstra et al. (2011), Algorithms for Hyper-Parameter Optimization (TPE).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
import yaml

from pipelines.demand.backtest import MODEL, beside_actual, cutoffs, forecast_at
from pipelines.demand.evaluation import measure
from pipelines.demand.origins import Origins
from pipelines.errors import ConfigError, NotEnoughDataError
from pipelines.settings import Boosting, Demand, Settings

Metric = Literal["scaled_pinball", "wql", "wape", "rmsse"]
Parameters = dict[str, float]

_SPACE: dict[str, tuple[float, float]] = {
    "trees": (40, 600),
    "learning_rate": (0.02, 0.2),
    "leaves": (7, 127),
    "min_leaf": (10, 400),
    "bins": (31, 255),
    "row_share": (0.4, 1.0),
    "feature_share": (0.3, 1.0),
}
_WHOLE = ("trees", "leaves", "min_leaf", "bins")
_WARM_UP = 5  # trials before the first is pruned


@dataclass(frozen=True)
class Trial:
    """One set of parameters and how it did.

    Attributes:
        number: 0 is the shop's own settings.
        parameters: `trees` and the fields of `demand.boosting`.
        losses: The metric at each origin it was judged at, in the order of the search's cutoffs.
        pruned: Whether it was given up before the last of them.
    """

    number: int
    parameters: Parameters
    losses: tuple[float, ...]
    pruned: bool

    @property
    def loss(self) -> float:
        """Mean over the origins it was judged at."""
        return float(np.mean(self.losses))


@dataclass(frozen=True)
class Tuning:
    """What a search has found.

    Attributes:
        metric: What was made small.
        cutoffs: Period numbers of the origins.
        trials: All of them; the first is the shop's own settings.
    """

    metric: Metric
    cutoffs: tuple[int, ...]
    trials: tuple[Trial, ...]

    @property
    def best(self) -> Trial:
        """The trial with the least mean loss among those that saw every origin."""
        return min((trial for trial in self.trials if not trial.pruned), key=lambda trial: (trial.loss, trial.number))

    @property
    def gain(self) -> tuple[float, float | None]:
        """By which share of the loss of trial 0 the best is better, and its standard error (None for one origin)."""
        own = self.trials[0]
        saved = (np.asarray(own.losses) - np.asarray(self.best.losses)) / own.loss
        error = float(saved.std(ddof=1) / np.sqrt(len(saved))) if len(saved) > 1 else None
        return float(saved.mean()), error

    @property
    def is_better(self) -> bool:
        """Whether the gain is larger than its standard error."""
        gain, error = self.gain
        return error is not None and gain > error

    @property
    def verdict(self) -> str:
        """The result in words."""
        gain, error = self.gain
        if not self.best.number:
            return f"None of {len(self.trials) - 1} trials is better than your settings: keep them."
        if error is None:
            return f"Better by {gain:.1%} at one origin, which cannot tell a gain from chance: look at more origins."
        found = f"Better by {gain:.1%} ± {error:.1%} (standard error over {len(self.cutoffs)} origins)"
        if not self.is_better:
            return f"{found}: not more than one standard error, keep your settings."
        return f"{found}: more than one standard error. The best of {len(self.trials)} is flattered; expect less."


def search(
    origins: Origins,
    metric: Metric,
    *,
    count: int,
    trials: int | None = None,
    minutes: float | None = None,
    told: Callable[[Trial], None] = lambda trial: None,
) -> Tuning:
    """Look for better parameters of the trees.

    The same trials in the same order come out of the same data, settings and number of trials.

    Args:
        origins: The panel; its settings are trial 0.
        metric: What to make small.
        count: How many past cutoffs, one horizon apart, every trial is judged at.
        trials: Stop after so many.
        minutes: Start no new trial after so many minutes.
        told: Called after each trial.

    Raises:
        ConfigError: Optuna is not installed, or neither `trials` nor `minutes` is given.
        NotEnoughDataError: There is no past cutoff to judge at, or the metric is undefined at one.
    """
    optuna = _optuna()
    if trials is None and minutes is None:
        raise ConfigError("A search needs an end.", remedy="say --minutes or --trials")
    judged = cutoffs(origins, count)
    if not judged:
        raise NotEnoughDataError(
            "There is no past cutoff with a whole horizon after it.",
            remedy="shorten demand.horizon, or ingest more history",
        )
    shared = _Shared(origins.panel, origins.settings, origins.horizon)
    done: list[Trial] = []

    def objective(trial: Any) -> float:
        parameters = _suggested(trial, origins.settings.demand)
        candidate = replace(shared, settings=_with(origins.settings, parameters), _past={}, _part={})
        losses: list[float] = []
        for step, cutoff in enumerate(judged):
            losses.append(_loss(candidate, cutoff, metric))
            # as a share of what trial 0 lost there: origins differ more than parameters do
            before = done[0].losses[: step + 1] if done else losses
            trial.report(float(np.mean(losses) / np.mean(before)) if np.mean(before) else 1.0, step)
            if step + 1 < len(judged) and trial.should_prune():
                break
        done.append(Trial(trial.number, parameters, tuple(losses), len(losses) < len(judged)))
        told(done[-1])
        if done[-1].pruned:
            raise optuna.TrialPruned
        return done[-1].loss

    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=origins.settings.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_WARM_UP),
    )
    study.enqueue_trial(_current(origins.settings.demand))
    study.optimize(objective, n_trials=trials, timeout=None if minutes is None else 60 * minutes)
    return Tuning(metric, tuple(judged), tuple(done))


def as_metric(name: str) -> Metric:
    """A metric by its name.

    Raises:
        ConfigError: There is no such metric.
    """
    for known in get_args(Metric):
        if name == known:
            return known  # type: ignore[no-any-return]
    raise ConfigError(f"There is no metric {name!r} to tune for.", remedy=f"say {', '.join(get_args(Metric))}")


def as_yaml(parameters: Parameters) -> str:
    """The block of a shop's YAML file that says these parameters.

    Example:
        >>> print(as_yaml({"trees": 90, "leaves": 15, "row_share": 0.8}))
        demand:
          trees: 90
          boosting: {leaves: 15, row_share: 0.8}
    """
    grown = {name: value for name, value in parameters.items() if name != "trees"}
    inline = yaml.safe_dump(grown, default_flow_style=True, sort_keys=False, width=1000).strip()
    return f"demand:\n  trees: {parameters['trees']}\n  boosting: {inline}"


@dataclass
class _Shared(Origins):
    """Origins whose rows to forecast from are kept: every trial uses the same."""

    _kept: dict[tuple[int, int | None], pl.DataFrame] = field(default_factory=dict, repr=False)

    def rows(self, origin: int, fitted: int | None = None) -> pl.DataFrame:
        if (origin, fitted) not in self._kept:
            self._kept[origin, fitted] = super().rows(origin, fitted)
        return self._kept[origin, fitted]


def _optuna() -> ModuleType:
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            "Tuning needs Optuna, which is not installed.", remedy="pip install 'purvey[tune]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _current(demand: Demand) -> Parameters:
    return {"trees": demand.trees, **demand.boosting.model_dump()}


def _suggested(trial: Any, demand: Demand) -> Parameters:
    """Parameters of a trial, rounded as they will be printed; the shop's own are always inside the space."""
    found: Parameters = {}
    for name, own in _current(demand).items():
        low, high = min(_SPACE[name][0], own), max(_SPACE[name][1], own)
        if name in _WHOLE:
            found[name] = trial.suggest_int(name, int(low), int(high), log=True)
        else:
            found[name] = round(trial.suggest_float(name, low, high, log=name == "learning_rate"), 4)
    return found


def _with(settings: Settings, parameters: Parameters) -> Settings:
    grown = Boosting(**{name: value for name, value in parameters.items() if name != "trees"})  # type: ignore[arg-type]
    demand = settings.demand.model_copy(update={"trees": parameters["trees"], "boosting": grown})
    return settings.model_copy(update={"demand": demand})


def _loss(origins: Origins, cutoff: int, metric: Metric) -> float:
    quantiles: Sequence[float] = origins.settings.demand.quantiles
    told = forecast_at(origins, cutoff, quantiles)
    loss = measure(beside_actual(origins, cutoff, {MODEL: told}), quantiles)[metric]
    if loss is None:
        raise NotEnoughDataError(
            f"Nothing was demanded after {origins.panel.grid.name(cutoff)}: {metric} is undefined there.",
            remedy="choose fewer origins, or another --metric",
        )
    return loss
