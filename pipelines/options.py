"""What all commands have in common: their options, the shop they work on, and how a summary is printed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipelines.settings import Settings
    from pipelines.steps import Shop
    from pipelines.summary import Summary

Config = Annotated[Path, typer.Option("--config", "-c", help="The shop's YAML file, or the folder of a shop.yaml.")]
Sample = Annotated[bool, typer.Option("--sample", help="Use the sample shop that comes with the program.")]
Json = Annotated[bool, typer.Option("--json", help="Print machine-readable results.")]
Out = Annotated[Path, typer.Option("--out", help="The Parquet file to write.")]
Day = Annotated[datetime | None, typer.Option("--as-of", formats=["%Y-%m-%d"], help="What was known on this date.")]
HERE = Path("shop.yaml")


def settings(config: Path, sample: bool) -> Settings:
    """The shop's settings: of its file, or of the sample that comes with the program."""
    from pipelines.settings import load_settings, sample_config

    if sample:
        return load_settings(sample_config(), data_dir=str(Path.cwd() / "data" / "online_retail"))
    return load_settings(config)


def shop(config: Path, sample: bool, as_json: bool) -> Shop:
    """The shop a command works on; progress bars stay away from machine-readable results."""
    from pipelines.steps import Shop
    from pipelines.summary import be_quiet

    if as_json:
        be_quiet()
    return Shop(settings(config, sample))


@contextmanager
def writing(config: Path, sample: bool, as_json: bool) -> Iterator[Shop]:
    """The shop a command writes to: no second writer meanwhile, tables in today's layout."""
    from pipelines.workflow import locked

    opened = shop(config, sample, as_json)
    with locked(opened.settings):
        opened.lake.migrate()
        yield opened


def show(summary: Summary, as_json: bool) -> None:
    """Print what a job read, wrote and found."""
    from pipelines.printing import print_json, print_summary

    print_json(summary.as_dict()) if as_json else print_summary(summary)


def day(moment: datetime | None) -> date | None:
    """The day that was asked for."""
    return moment.date() if moment else None
