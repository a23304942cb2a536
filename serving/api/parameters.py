"""Query parameters several nouns share, and the documentation of an answer by example."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from serving.answers import MOST, Columns
from serving.layouts import ARROW, COLUMNS, CSV, Format, Layout

RELEASE_ID = "20261123-061500-5c1d9e0a"
NEXT = "WyIyMDI2MTEyMy0wNjE1MDAtNWMxZDllMGEiLDEwMF0"
_KEY_EXAMPLES = {"product_id": "85123A", "location_id": "all"}


class Paging(BaseModel):
    """Which part of a list is asked for. What is not known is refused, so that a typing error is not ignored."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=100, ge=1, le=MOST, description="How many items at most.", examples=[100])
    cursor: str | None = Field(default=None, max_length=300, description="`next` of the page before.")


class Listing(Paging):
    """Which part of a list, and how it is written."""

    format: Format | None = Field(
        default=None, description="csv or arrow: the whole list as a file, or as an Arrow stream.", examples=["json"]
    )
    layout: Layout | None = Field(
        default=None, description="columns: one list a column instead of one object an item.", examples=["rows"]
    )


def without_nul(text: str) -> str:
    """A text the store is asked for as it is: PostgreSQL takes no NUL.

    Raises:
        ValueError: It has one.
    """
    if "\0" in text:
        raise ValueError("has a NUL")
    return text


def filters(name: str, series: list[str], **more: Any) -> type[Listing]:
    """A set of query parameters: the shop's series columns, `more`, paging and format.

    Example:
        >>> filters("Example", ["product_id"])(product_id=["85123A"]).limit
        100
    """
    by_key: dict[str, Any] = {
        column: (
            list[str],
            Field(
                default=[],
                max_length=MOST,
                description=f"Only series with this {column}; repeat it for several.",
                examples=[[_KEY_EXAMPLES.get(column, "1")]],
            ),
        )
        for column in series
    }
    return create_model(name, __base__=Listing, **by_key, **more)


def example_keys(series: list[str]) -> dict[str, Any]:
    """Key columns of an imaginary series.

    Example:
        >>> example_keys(["product_id"])
        {'product_id': '85123A'}
    """
    return {column: _KEY_EXAMPLES.get(column, "1") for column in series}


def documented(model: type[BaseModel], example: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entry of an operation's good answer, with its example."""
    whole = {"release": RELEASE_ID, "stale": False} | example
    return {200: {"model": model, "description": "The answer", "content": {"application/json": {"example": whole}}}}


def with_csv(entry: dict[int | str, dict[str, Any]], example: str) -> dict[int | str, dict[str, Any]]:
    """The same entry for an operation that also answers by columns, as CSV and as an Arrow stream."""
    rows = entry[200]["content"]["application/json"]["example"]
    names = list(rows["items"][0])
    by_column = {name: value for name, value in rows.items() if name != "items"} | {
        "columns": {name: [item[name] for item in rows["items"]] for name in names}
    }
    content = entry[200]["content"] | {
        COLUMNS: {"schema": Columns.model_json_schema(), "example": by_column},
        CSV: {"schema": {"type": "string"}, "example": example},
        ARROW: {"schema": {"type": "string", "format": "binary"}, "example": "(an Arrow IPC stream)"},
    }
    return entry | {200: entry[200] | {"content": content}}


def taken(example: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entry of an operation that takes something in, with its example."""
    return {202: {"description": "Taken in", "content": {"application/json": {"example": example}}}}
