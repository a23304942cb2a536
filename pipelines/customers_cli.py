"""Commands about customers: they parse and print, nothing else."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.options import HERE, Config, Day, Json, Out, Sample, day, shop, show, writing


def usability(config: Config = HERE, sample: Sample = False, as_json: Json = False) -> None:
    """Say whether what was taken in can carry the models of customers: findings, and what to do about them."""
    from pipelines.customers.usability import report

    at = shop(config, sample, as_json)
    show(report(at.settings, at.lake), as_json)


def customers(
    out: Out, config: Config = HERE, sample: Sample = False, as_of: Day = None, as_json: Json = False
) -> None:
    """Judge every customer for the occasion: fits on what was known and writes one file, nothing else."""
    from pipelines.customers import jobs

    at = shop(config, sample, as_json)
    show(jobs.customers(at.settings, at.lake, as_of=day(as_of), out=out), as_json)


def reasons(
    customers: Annotated[list[str] | None, typer.Argument(metavar="CUSTOMER…", help="Whom; else --top.")] = None,
    config: Config = HERE,
    sample: Sample = False,
    top: Annotated[int, typer.Option("--top", min=1, help="So many active customers, likeliest to leave.")] = 20,
    as_of: Day = None,
    as_json: Json = False,
) -> None:
    """Say what the champion's probability of leaving goes with, customer by customer."""
    from pipelines.customers import jobs
    from pipelines.printing import print_reasons

    with writing(config, sample, as_json) as at:
        summary = jobs.explain(at.settings, at.lake, at.tracker, customers or (), top=top, as_of=day(as_of))
    show(summary, as_json) if as_json else print_reasons(summary)


def offers(
    customers: Annotated[list[str] | None, typer.Argument(metavar="CUSTOMER…", help="Whom; else --top.")] = None,
    config: Config = HERE,
    sample: Sample = False,
    top: Annotated[int, typer.Option("--top", min=1, help="So many of those worth most.")] = 20,
    everyone: Annotated[bool, typer.Option("--all", help="Everyone who has ordered.")] = False,
    products: Annotated[int, typer.Option("--products", min=1, help="So many of each kind a customer.")] = 5,
    as_of: Day = None,
    as_json: Json = False,
) -> None:
    """Say what customers may buy next: products bought before, and new ones like them."""
    from pipelines.customers import offer_jobs
    from pipelines.printing import print_offers

    with writing(config, sample, as_json) as at:
        summary = offer_jobs.offer(
            at.settings,
            at.lake,
            customers or (),
            top=None if everyone else top,
            products=products,
            as_of=day(as_of),
        )
    show(summary, as_json) if as_json else print_offers(summary)
