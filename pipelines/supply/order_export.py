"""Approved order lines as files: one a supplier, the same lines always under the same name and with the same bytes.

An export is done in three steps: the intent enters the ledger (`exporting`, with the export's id and its file), the
file appears whole, the ledger says `exported`. Cut short at any point, the next export finishes it: the ledger knows
which lines belong to which file, and writing it again gives the same file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from pipelines.supply.orders import reference

FORMATS = ("csv", "json")


def planned(lines: pl.DataFrame, folder: Path, form: str) -> pl.DataFrame:
    """Lines with the export they belong to: `export_id`, a digest of the lines of one supplier, and its `file`.

    Args:
        lines: Rows of `orders.current`.
        folder: Where the files go.
        form: csv or json.

    Returns:
        The lines, by supplier.
    """
    parts = [
        one.with_columns(export_id=pl.lit(name), file=pl.lit(str(folder / _file_name(supplier, name, form))))
        for supplier, one in _by_supplier(lines)
        for name in [export_id(one)]
    ]
    if not parts:
        return lines.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in ("export_id", "file"))
    return pl.concat(parts)


def export_id(lines: pl.DataFrame) -> str:
    """A digest of lines and quantities, whatever their order.

    Example:
        >>> lines = pl.DataFrame({"order_line": ["b", "a"], "supplier_id": "S", "quantity": [1.0, 2.0]})
        >>> export_id(lines) == export_id(lines.reverse()) != export_id(lines.with_columns(quantity=pl.lit(3.0)))
        True
    """
    rows = lines.select("order_line", "supplier_id", pl.col("quantity").cast(pl.Float64)).sort("order_line").rows()
    return f"EXP-{hashlib.blake2b(repr(rows).encode(), digest_size=8).hexdigest()}"


def sheet(lines: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """What a supplier's file says, one row a line, by line.

    `reference` is for the reference field of the system that orders: by it the line is found among the open orders.

    Args:
        lines: Rows of one export.
        keys: The shop's series columns.
    """
    return lines.sort("order_line").select(
        reference(pl.col("order_line")).alias("reference"),
        "export_id",
        "supplier_id",
        *keys,
        "quantity",
        "receive_on",
        "unit_cost",
        value=(pl.col("quantity") * pl.col("unit_cost")).round(2),
    )


def _by_supplier(lines: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    parts = lines.sort("supplier_id", "order_line").partition_by("supplier_id", maintain_order=True)
    return [(part["supplier_id"][0], part) for part in parts]


def _file_name(supplier: str, name: str, form: str) -> str:
    """A name that any file system takes, whatever the supplier is called; the id keeps two of them apart."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", supplier)[:40].strip("_") or "supplier"
    return f"{plain}-{name}.{form}"
