"""Why this forecast: what moves it away from the usual level of its series, in units and in words.

TreeSHAP (Lundberg et al. 2020, Nature Machine Intelligence 2, section "TreeExplainer") gives each feature its share in
the forecast of the mean. Features are summed into a few drivers a planner knows. Under a log link the shares multiply;
they become units that add up by the logarithmic mean divisia index (Ang 2004, Energy Policy 32, LMDI-I): all of them
are weighed alike, so the result depends on no order in which drivers are taken away. That is the Aumann–Shapley value.

TreeSHAP halves what two features do only together. Thereby the level of a series would differ between its target
periods, although nothing known of its past does; that part is given to the drivers which do differ.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from features.forecast_tables import DRIVERS
from features.windows import Float64Array
from pipelines.demand.boosting import Boosting

MODELLED = DRIVERS[:-2]  # before launches, ends and planners
GROUPS = MODELLED[:-1]  # those that come from features
MOVERS = DRIVERS[1:]

# The first word of a feature says what it tells of; names that are more than their first word come before it.
_NAMES = {
    "ahead": "trend",  # how many periods ahead
    "weekday": "calendar",
    "seen_available": "stock_outs",
    "seen_available_to_usual": "stock_outs",
}
_FIRST_WORDS = {
    "level": (
        "age",
        "code",
        "decayed",
        "deviation",
        "lag",
        "largest",
        "log",
        "mean",
        "median",
        "share",
        "since",
        "value",
    ),
    "season": ("cosine", "month", "season", "sine", "week", "weekday", "year"),
    "trend": ("growth", "momentum"),
    "promotion": ("ahead", "alike", "seen"),
    "calendar": ("day", "holidays"),
    "stock_outs": ("known",),
}
_GROUP_OF = {word: group for group, words in _FIRST_WORDS.items() for word in words}
# A shop gives these their further words: they say nothing of what the feature is.
_NAMED_BY_THE_SHOP = ("ahead_", "code_", "growth_", "momentum_", "season_", "seen_", "value_")

_LOG_LINKS = ("tweedie", "poisson", "gamma")
_NOTHING = 1e-12
_MOST_NAMED = 3
_LEAST_SHARE = 0.05  # of the forecast or the usual level, whichever is larger: what moves less is not worth a word
_WORDS = {
    "season": ("the season", "季节"),
    "trend": ("the trend", "趋势"),
    "promotion": ("prices, promotions and the like", "价格、促销等"),
    "calendar": ("holidays and the calendar", "节假日与日历"),
    "stock_outs": ("stock-outs and gaps in the record", "缺货与记录缺口"),
    "correction": ("other methods and corrections", "其他方法与修正"),
    "lifecycle": ("its launch or end", "上市或退市"),
    "override": ("planners", "计划员调整"),
}


def group_of(feature: str) -> str:
    """The driver a feature belongs to.

    Raises:
        ValueError: It belongs to none: a new kind of feature needs its first word here.

    Example:
        >>> group_of("lag_0"), group_of("year_ago_1"), group_of("ahead_price"), group_of("stock_out_share")
        ('level', 'season', 'promotion', 'stock_outs')
    """
    if feature in _NAMES:
        return _NAMES[feature]
    if not feature.startswith(_NAMED_BY_THE_SHOP) and {"stock", "censored"} & set(feature.split("_")):
        return "stock_outs"
    word = feature.partition("_")[0]
    if word not in _GROUP_OF:
        raise ValueError(f"no driver is known for the feature {feature!r}")
    return _GROUP_OF[word]


def contributions(trees: Boosting, rows: pl.DataFrame) -> dict[str, Float64Array]:
    """What each group of features adds to the trees' score of the mean (its logarithm under a log link).

    Args:
        trees: The fitted trees.
        rows: Feature rows.

    Returns:
        Group → one value a row, and `expected`, the score where nothing is known of a row; together they are the score.
    """
    shap = trees.mean.predict(rows.select(trees.features).to_numpy(), pred_contrib=True)
    groups = np.array([group_of(feature) for feature in trees.features])
    # in C order, so that a sum over a row does not depend on how many rows there are
    parts = {group: np.ascontiguousarray(shap[:, :-1][:, groups == group]).sum(axis=1) for group in GROUPS}
    return {"expected": shap[:, -1]} | parts


def settled(parts: dict[str, Float64Array], rows: pl.DataFrame) -> dict[str, Float64Array]:
    """The same contributions with one level for all target periods of a series: the mean of theirs.

    What is left of each goes to the other groups, in proportion to the size of their contributions.

    Args:
        parts: What `contributions` gave.
        rows: Their rows, every target period of each series and origin among them.
    """
    series, origin = (rows[name].to_numpy().astype(np.int64) for name in ("series", "origin"))
    _, place = np.unique((series << 32) + origin, return_inverse=True)
    level = (np.bincount(place, parts["level"]) / np.bincount(place))[place]
    sizes = {group: np.abs(parts[group]) + _NOTHING for group in GROUPS[1:]}
    left = (parts["level"] - level) / np.column_stack(list(sizes.values())).sum(axis=1)
    return parts | {"level": level} | {group: parts[group] + left * size for group, size in sizes.items()}


def drivers(trees: Boosting, rows: pl.DataFrame, mean: Float64Array) -> pl.DataFrame:
    """The mean the model expects in each row as a sum of drivers, in units.

    `level` is the forecast from the series' own scale and recent level alone, the same for all target periods. Each
    other driver with score φ gets L(mean, level) · φ, L being the logarithmic mean. `correction` is what happened to
    the mean after the trees: other methods and alignment. Where nothing is expected at all, it alone takes the level
    away.

    Args:
        trees: The fitted trees.
        rows: Feature rows with their keys and `scale`, every target period of each series and origin among them.
        mean: What the model expects in each row, units, ≥ 0.

    Returns:
        One column a driver, in the order of `MODELLED`; their sum over a row is `mean`.
    """
    parts = settled(contributions(trees, rows), rows)
    scale = rows["scale"].to_numpy().astype(np.float64)
    level = parts["expected"] + parts["level"]
    unit = scale
    if _is_logarithmic(trees):
        level = np.exp(level)
        unit = logarithmic_mean(mean, scale * level)
    units = {"level": scale * level} | {group: unit * parts[group] for group in GROUPS[1:]}
    each = np.column_stack(list(units.values()))
    missing = mean - each.sum(axis=1)
    units["correction"] = np.where(np.abs(missing) > _NOTHING * np.abs(each).sum(axis=1), missing, 0.0)
    return pl.DataFrame(units)


def logarithmic_mean(one: Float64Array, other: Float64Array) -> Float64Array:
    """(a − b) / ln(a / b): a itself where both are equal, 0 where `one` is 0 (Ang & Liu 2007, Energy Policy 35).

    Args:
        one: ≥ 0.
        other: > 0.

    Example:
        >>> logarithmic_mean(np.array([3.0, 2.0, 0.0]), np.array([1.0, 2.0, 5.0])).round(4)
        array([1.8205, 2.    , 0.    ])
    """
    with np.errstate(divide="ignore"):
        distance = np.log(one / other)
    ratio = np.ones_like(distance)
    np.divide(np.expm1(distance), distance, out=ratio, where=distance != 0)
    return other * ratio


def in_words(found: pl.DataFrame) -> pl.DataFrame:
    """One sentence a forecast that names its strongest drivers, in English and in Chinese.

    Args:
        found: Columns `mean` and every driver, units.

    Returns:
        Columns `words_en` and `words_zh`, one row a forecast.

    Example:
        >>> quiet = {"promotion": 0.1, "calendar": 0.0, "stock_outs": 0.0, "correction": -0.1}
        >>> quiet |= {"lifecycle": 0.0, "override": 0.0}
        >>> in_words(pl.DataFrame({"mean": 12.0, "level": 10.0, "season": 3.0, "trend": -1.0} | quiet)).row(0)
        ('12 units: usual level 10; +3 from the season, −1 from the trend', '预计 12：平常水平 10；季节 +3，趋势 −1')
    """
    size = pl.max_horizontal("mean", "level")
    moved = (
        found.with_row_index("row")
        .unpivot(MOVERS, index=["row", "mean", "level"], variable_name="driver", value_name="units")
        .with_columns(strength=pl.col("units").abs(), amount=_amount(pl.col("units").abs(), size))
        .filter(pl.col("strength") >= _LEAST_SHARE * size, pl.col("amount").cast(pl.Float64) != 0)
        .sort("row", "strength", "driver", descending=[False, True, False])
        .group_by("row", maintain_order=True)
        .head(_MOST_NAMED)
        .with_columns(amount=pl.when(pl.col("units") < 0).then(pl.lit("−")).otherwise(pl.lit("+")) + pl.col("amount"))
        .with_columns(_phrase(place).alias(f"driver_{place}") for place in range(2))
        .group_by("row", maintain_order=True)
        .agg(
            en=pl.format("{} from {}", "amount", "driver_0").str.join(", "),
            zh=pl.format("{} {}", "driver_1", "amount").str.join("，"),
        )
    )
    total, usual = _amount(pl.col("mean"), size), _amount(pl.col("level"), size)
    units = pl.when(total == "1").then(pl.lit("unit")).otherwise(pl.lit("units"))
    return (
        found.with_row_index("row")
        .join(moved, on="row", how="left", maintain_order="left")
        .select(
            words_en=pl.format(
                "{} {}: usual level {}; {}", total, units, usual, pl.col("en").fill_null("nothing moves it much")
            ),
            words_zh=pl.format("预计 {}：平常水平 {}；{}", total, usual, pl.col("zh").fill_null("其他因素影响很小")),
        )
    )


def _is_logarithmic(trees: Boosting) -> bool:
    return str(trees.mean.dump_model(num_iteration=1)["objective"]).startswith(_LOG_LINKS)


def _phrase(place: int) -> pl.Expr:
    return pl.col("driver").replace_strict({driver: words[place] for driver, words in _WORDS.items()})


def _amount(value: pl.Expr, size: pl.Expr) -> pl.Expr:
    """As many decimals as a forecast of this size deserves."""
    return (
        pl.when(size >= 10)
        .then(value.round(0).cast(pl.Int64).cast(pl.String))
        .when(size >= 1)
        .then(value.round(1).cast(pl.String))
        .otherwise(value.round(2).cast(pl.String))
        .str.strip_suffix(".0")
    )
