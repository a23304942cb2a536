"""Commands about supply: they parse and print, nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.errors import ConfigError
from pipelines.options import HERE, Config, Day, Json, Sample, day, shop, show, writing


def replenish(
    config: Config = HERE,
    sample: Sample = False,
    as_of: Day = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write this file and nothing else.")] = None,
    as_json: Json = False,
) -> None:
    """Propose orders from the forecasts, the stock and the supply terms.

    With --as-of and --out a model is fitted for the occasion where the lake holds no forecasts for that very period.
    """
    from pipelines import rounds
    from pipelines.supply import jobs

    opening = day(as_of)
    if out is None:
        with writing(config, sample, as_json) as at:
            summary = jobs.replenish(at.settings, at.lake, as_of=opening)
    else:
        at = shop(config, sample, as_json)
        if opening is None:
            summary = jobs.replenish(at.settings, at.lake, out=out)
        else:
            summary = rounds.play(at.settings, at.lake, as_of=opening, out=out)
    show(summary, as_json)


def stock(
    config: Config = HERE,
    sample: Sample = False,
    as_of: Day = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the tables to this folder and nothing else.")] = None,
    as_json: Json = False,
) -> None:
    """Say what there is too much of, what will run out, which orders to change and what to count."""
    from pipelines.stock import review_stock

    if out is None:
        with writing(config, sample, as_json) as at:
            summary = review_stock(at.settings, at.lake, as_of=day(as_of))
    else:
        at = shop(config, sample, as_json)
        summary = review_stock(at.settings, at.lake, as_of=day(as_of), out=out)
    show(summary, as_json)


def simulate(
    policy: Annotated[
        list[str] | None,
        typer.Option("--policy", help="Which, the first is what others are compared with; all by default."),
    ] = None,
    config: Config = HERE,
    sample: Sample = False,
    origins: Annotated[int, typer.Option("--origins", min=2, help="How many past periods to order in.")] = 26,
    refit_every: Annotated[int, typer.Option("--refit-every", min=1, help="Periods that a model is kept.")] = 13,
    out: Annotated[Path | None, typer.Option("--out", help="Parquet file: every policy and series.")] = None,
    figure: Annotated[Path | None, typer.Option("--figure", help="Picture of service against stock (.svg).")] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", help="fill_rate=0.95 or service=0.95: say whether it is met, and nothing else."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Replay ordering policies on the shop's past and say what each would have cost."""
    from pipelines import replay

    at = shop(config, sample, as_json)
    if target is not None:
        if policy or out or figure:
            raise ConfigError("--target stands alone.", remedy="leave out --policy, --out and --figure")
        checked = replay.check_target(at.settings, at.lake, target=target, periods=origins, refit_every=refit_every)
        show(checked, as_json)
        return
    show(
        replay.simulate(
            at.settings,
            at.lake,
            policies=policy or (),
            periods=origins,
            refit_every=refit_every,
            out=out,
            figure=figure,
        ),
        as_json,
    )
