"""The files of UCI "Online Retail" and "Online Retail II" as order lines, products and customers.

Each line meets the rules from top to bottom; the first that applies decides.

| rule | applies to | becomes |
|---|---|---|
| overlap | lines of an invoice that a later file of the same ingest has too | excluded |
| exact_duplicate | lines equal in all eight columns to one before them | excluded |
| bad_debt | invoices A…: bad-debt adjustments | excluded |
| postage | POST, DOT, C2, C3: postage and carriage | excluded |
| fee | BANK CHARGES, AMAZONFEE, CRUK: what others charged the shop | excluded |
| manual | M, B, ADJUST, ADJUST2: entries and corrections by hand | excluded |
| discount | D | excluded |
| sample | S: samples sent out | excluded |
| voucher | gift_0001_…, GIFT: gift vouchers | excluded |
| test | TEST…: test products | excluded |
| pads | PADS: a non-product code of the data set's owner | excluded |
| write_off | price 0 and quantity below 0: damaged, lost, recounted | excluded |
| no_price | price 0 and quantity above 0: found, given away, corrected | excluded |
| cancellation | invoices C… with a quantity below 0 | a return, matched to the sale it takes back |
| sale | everything else: a code of five digits (and letters), DCGS… or SP…, quantity above 0, price above 0 | a sale |

What fits no row of the table (an unknown code, a price below 0, a quantity below 0 outside a cancellation, a value that
is no number) is quarantined. Other facts: times are local (`timezone` of the shop) and become UTC; stock codes are
compared in capitals (85123a is 85123A); a line without a customer stays, with `customer_id` null: it is demand, but
tells nothing of a customer. `line_no` counts an invoice's lines in the order of their values, before any rule: the two
files disagree on the order of the lines they share. A product is called by its most frequent description, a customer's
country is the most frequent one; of equals the latest counts.
"""

from __future__ import annotations

import polars as pl

from pipelines.ingest.mapping import occurrence
from pipelines.ingest.sources import ROW

FILE = "_file"
COLUMNS: dict[str, pl.DataType] = {
    "InvoiceNo": pl.String(),
    "StockCode": pl.String(),
    "Description": pl.String(),
    "Quantity": pl.Float64(),
    "InvoiceDate": pl.Datetime("us", "UTC"),
    "UnitPrice": pl.Float64(),
    "CustomerID": pl.String(),
    "Country": pl.String(),
}
RULES = {
    "overlap": "in a later file too",
    "exact_duplicate": "equal to a line before it",
    "bad_debt": "invoice A…: bad-debt adjustment",
    "postage": "POST, DOT, C2, C3",
    "fee": "BANK CHARGES, AMAZONFEE, CRUK",
    "manual": "M, B, ADJUST, ADJUST2: by hand",
    "discount": "D",
    "sample": "S",
    "voucher": "gift_0001_…, GIFT",
    "test": "TEST…",
    "pads": "PADS",
    "write_off": "price 0, quantity below 0",
    "no_price": "price 0, quantity above 0",
}
_CODES = {
    "postage": ["POST", "DOT", "C2", "C3"],
    "fee": ["BANK CHARGES", "AMAZONFEE", "CRUK"],
    "manual": ["M", "B", "ADJUST", "ADJUST2"],
    "discount": ["D"],
    "sample": ["S"],
    "pads": ["PADS"],
}
_LINE = [name for name in COLUMNS if name != "InvoiceNo"]
_PRODUCT = r"^(\d{5}[A-Z]*|DCGS[A-Z0-9]*|SP\d+)$"


def adapt(rows: pl.DataFrame) -> pl.DataFrame:
    """Order lines, each with the rule that decided on it.

    Args:
        rows: The files one below the other in the order of the configuration: `_file` (its number), `_row` and the
            eight columns, typed.

    Returns:
        All rows in canonical columns (`features.tables.OrderLines`, not yet judged) with `_file`, `_row`,
        `description`, `country` and `rule`, which is null for lines that go on: sales, returns and what will be
        quarantined.
    """
    invoice = pl.col("InvoiceNo")
    cancelled = invoice.str.starts_with("C") & (pl.col("Quantity") < 0)
    numbered = rows.sort(FILE, "InvoiceNo", *_LINE, ROW).with_columns(
        line_no=occurrence(FILE, "InvoiceNo"),
        _again=pl.col(FILE) < pl.col(FILE).max().over("InvoiceNo"),
        _code=pl.col("StockCode").str.to_uppercase(),
    )
    once = numbered.filter(~pl.col("_again"))
    first = once.sort(FILE, ROW).unique(subset=list(COLUMNS), keep="first", maintain_order=True)
    marked = numbered.join(first.select(FILE, ROW, _first=True), on=[FILE, ROW], how="left")
    return marked.sort(FILE, ROW).select(
        FILE,
        ROW,
        "line_no",
        order_id=invoice,
        ordered_at="InvoiceDate",
        customer_id="CustomerID",
        product_id="_code",
        location_id=pl.lit("all"),
        kind=pl.when(cancelled).then(pl.lit("return")).otherwise(pl.lit("sale")),
        quantity=pl.when(cancelled).then(-pl.col("Quantity")).otherwise(pl.col("Quantity")),
        unit_price="UnitPrice",
        description="Description",
        country="Country",
        rule=_rule(),
    )


def _rule() -> pl.Expr:
    code, price, quantity = pl.col("_code"), pl.col("UnitPrice"), pl.col("Quantity")
    rules = {
        "overlap": pl.col("_again"),
        "exact_duplicate": pl.col("_first").is_null(),
        "bad_debt": pl.col("InvoiceNo").str.starts_with("A"),
        **{rule: code.is_in(codes) for rule, codes in _CODES.items()},
        "voucher": code.str.contains(r"^GIFT(_\d+_\d+)?$"),
        "test": code.str.starts_with("TEST"),
        "write_off": (price == 0) & (quantity < 0),
        "no_price": (price == 0) & (quantity > 0),
    }
    return pl.coalesce(pl.when(applies).then(pl.lit(rule)) for rule, applies in rules.items())


def unknown(lines: pl.DataFrame) -> pl.DataFrame:
    """Reasons (`_row`, `reason`) against the lines of one file whose code nobody knows."""
    code = pl.col("product_id")
    return lines.filter(~code.str.contains(_PRODUCT)).select(
        ROW, reason=pl.format("StockCode '{}' is neither a product nor a known other code", code)
    )


def attributes(lines: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Tables that the good lines bring along: products with `description`, customers with `country`."""
    return {
        "products": most_frequent(lines, "product_id", "description"),
        "customers": most_frequent(lines, "customer_id", "country"),
    }


def most_frequent(lines: pl.DataFrame, key: str, value: str) -> pl.DataFrame:
    """The most frequent value of each key; of equals the one seen last. Keys without a value have null.

    Example:
        >>> seen = pl.DataFrame({"k": ["a", "a", "b"], "v": ["x", "y", None], "ordered_at": [1, 2, 3]})
        >>> most_frequent(seen, "k", "v").rows()
        [('a', 'y'), ('b', None)]
    """
    counted = (
        lines.filter(pl.col(key).is_not_null())
        .group_by(key, value)
        .agg(_times=pl.when(pl.col(value).is_not_null()).then(1).sum(), _seen=pl.col("ordered_at").max())
    )
    return (
        counted.sort(key, "_times", "_seen", value)
        .unique(subset=key, keep="last", maintain_order=True)
        .drop("_times", "_seen")
    )
