"""Which family a feature of customers belongs to, and how it is called in English and in Chinese."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from features.customers import WINDOW_WEEKS

#: Family of features → whether a shop can do something about what it says.
FAMILIES: dict[str, bool] = {
    "recency": False,
    "cadence": False,
    "trend": False,
    "spend": False,
    "basket": True,
    "returns": True,
    "discounts": True,
    "channel": False,
    "delivery": True,
    "feedback": True,
    "tenure": False,
    "expectation": False,
}


@dataclass(frozen=True)
class Wording:
    """How a feature is told.

    Attributes:
        family: One of `FAMILIES`.
        english: What it is called, to begin a sentence with.
        chinese: The same in Chinese.
        form: Whether its values are numbers, or shares shown in percent.
    """

    family: str
    english: str
    chinese: str
    form: Literal["number", "share"] = "number"


WORDINGS: dict[str, Wording] = {
    "days_since_last_order": Wording("recency", "Days since the last order", "距上次下单天数"),
    "since_to_gap": Wording(
        "recency", "Time since the last order, in own mean gaps", "距上次下单时间（平均间隔的倍数）"
    ),
    "frequency": Wording("cadence", "Repeat purchase days", "重复购买天数"),
    "orders": Wording("cadence", "Orders so far", "累计订单数"),
    **{
        f"orders_{weeks}w": Wording("cadence", f"Orders in the last {weeks} weeks", f"最近 {weeks} 周订单数")
        for weeks in WINDOW_WEEKS
    },
    "gap_mean_days": Wording("cadence", "Mean days between purchases", "平均购买间隔天数"),
    "gap_sd_days": Wording("cadence", "Spread of the days between purchases", "购买间隔天数的标准差"),
    "gap_median_days": Wording("cadence", "Median days between purchases", "购买间隔天数中位数"),
    "gap_variation": Wording("cadence", "Irregularity of the gaps between purchases", "购买间隔的不规律程度"),
    "last_gap_to_mean": Wording(
        "cadence", "Last gap between purchases over the own mean", "最近购买间隔与平均间隔之比"
    ),
    "orders_trend": Wording(
        "trend", "Orders of the last 13 weeks over the 13 before", "近 13 周订单数与此前 13 周之比"
    ),
    "spend_trend": Wording("trend", "Spend of the last 13 weeks over the 13 before", "近 13 周消费额与此前 13 周之比"),
    "spend": Wording("spend", "Spend so far", "累计消费额"),
    "mean_order_value": Wording("spend", "Mean value of an order", "平均订单金额"),
    "last_order_value": Wording("spend", "Value of the last order", "最近订单金额"),
    **{
        f"spend_{weeks}w": Wording("spend", f"Spend in the last {weeks} weeks", f"最近 {weeks} 周消费额")
        for weeks in WINDOW_WEEKS
    },
    "products": Wording("basket", "Different products so far", "购买过的商品种数"),
    "lines_per_order": Wording("basket", "Lines per order", "每单行数"),
    "units_per_order": Wording("basket", "Units per order", "每单件数"),
    "return_share": Wording("returns", "Value returned over value bought", "退货金额占比", "share"),
    "discount_share": Wording("discounts", "Paid less than list price", "低于标价的折扣比例", "share"),
    "mean_hour": Wording("channel", "Mean hour of ordering", "平均下单时刻（小时）"),
    "weekend_share": Wording("channel", "Share of purchases on weekends", "周末购买占比", "share"),
    "channels": Wording("channel", "Channels used", "使用过的渠道数"),
    "main_channel_share": Wording("channel", "Orders through the main channel", "主渠道订单占比", "share"),
    "last_main_channel_share": Wording(
        "channel", "Last orders through the main channel", "最近订单中主渠道占比", "share"
    ),
    "delay_days_26w": Wording("delivery", "Mean days of delay of deliveries", "平均交付延迟天数"),
    "late_share_26w": Wording("delivery", "Deliveries that came late", "延迟交付占比", "share"),
    "last_csat": Wording("feedback", "Last satisfaction score", "最近满意度评分"),
    "mean_csat_26w": Wording("feedback", "Mean satisfaction score of half a year", "近半年平均满意度评分"),
    "last_nps": Wording("feedback", "Last willingness to recommend", "最近推荐意愿评分"),
    "complaints_13w": Wording("feedback", "Complaints in the last 13 weeks", "最近 13 周投诉次数"),
    "complaints_26w": Wording("feedback", "Complaints in the last 26 weeks", "最近 26 周投诉次数"),
    "days_since_complaint": Wording("feedback", "Days since the last complaint", "距上次投诉天数"),
    "T": Wording("tenure", "Periods since the first order", "首次下单至今的期数"),
    "recency": Wording("tenure", "Periods from the first to the last order", "首次至最近下单的期数"),
    "p_alive": Wording(
        "expectation", "Chance of still being a customer, by own rhythm", "按自身节奏仍为客户的概率", "share"
    ),
    "expected_orders": Wording(
        "expectation", "Orders to come, by number and age of past ones", "按历史订单预计的未来订单数"
    ),
    "p_no_order": Wording(
        "expectation",
        "chance of no order, by number and age of orders alone",
        "仅按订单次数与时间推算的不再下单概率",
        "share",
    ),
}
# What buy-till-you-die judges by is told with what it makes of it.
_SEEN_EN = "Days since the last order {}, purchase days {}: "
_SEEN_ZH = "距上次下单 {} 天，购买天数 {}："


def sentences(names: list[str], reasons: pl.DataFrame) -> pl.DataFrame:
    """Reasons with a sentence in English and one in Chinese.

    Args:
        names: The feature that speaks for each reason.
        reasons: Columns direction (of the risk: higher or lower), value and peer_median (null where unknown), and the
            customer's days_since_last_order and frequency.

    Returns:
        Columns text_en and text_zh, one row a reason.

    Example:
        >>> reasons = pl.DataFrame({"direction": ["higher"], "value": [0.25], "peer_median": [0.031],
        ...                         "days_since_last_order": [70], "frequency": [2]})
        >>> sentences(["return_share"], reasons)["text_zh"][0]
        '退货金额占比：25%（活跃客户中位数：3.1%），与较高的流失风险相关'
        >>> sentences(["p_no_order"], reasons)["text_en"][0].split(" (")[0]
        'Days since the last order 70, purchase days 3: chance of no order, by number and age of orders alone: 25 %'
    """
    told = [WORDINGS[name] for name in names]
    frame = reasons.with_columns(
        english=pl.Series([one.english for one in told], dtype=pl.String),
        chinese=pl.Series([one.chinese for one in told], dtype=pl.String),
        in_percent=pl.Series([one.form == "share" for one in told], dtype=pl.Boolean),
    )
    seen = (pl.col("days_since_last_order"), pl.col("frequency") + 1)
    is_expectation = pl.Series([name == "p_no_order" for name in names], dtype=pl.Boolean)
    before = {
        language: pl.when(is_expectation).then(pl.format(template, *seen)).otherwise(pl.lit(""))
        for language, template in (("en", _SEEN_EN), ("zh", _SEEN_ZH))
    }
    risk = pl.col("direction").replace_strict({"higher": "较高", "lower": "较低"}, return_dtype=pl.String)
    return frame.select(
        text_en=pl.format(
            "{}{}: {} (median of active customers: {}), associated with a {} risk of leaving",
            before["en"],
            "english",
            _amount("value", " %", "none yet"),
            _amount("peer_median", " %", "none yet"),
            "direction",
        ),
        text_zh=pl.format(
            "{}{}：{}（活跃客户中位数：{}），与{}的流失风险相关",
            before["zh"],
            "chinese",
            _amount("value", "%", "暂无"),
            _amount("peer_median", "%", "暂无"),
            risk,
        ),
    )


def _amount(column: str, percent: str, missing: str) -> pl.Expr:
    """A number in words: whole from 10 on, else with one or two decimals."""
    shown = pl.when("in_percent").then(pl.col(column) * 100).otherwise(column)
    size = shown.abs()
    digits = (
        pl.when(size >= 10)
        .then(shown.round(0).cast(pl.Int64).cast(pl.String))
        .when(size >= 1)
        .then(shown.round(1).cast(pl.String))
        .otherwise(shown.round(2).cast(pl.String))
        .str.strip_suffix(".0")
        .str.replace("^-0$", "0")
    )
    unit = pl.when("in_percent").then(pl.lit(percent)).otherwise(pl.lit(""))
    return (digits + unit).fill_null(missing)
