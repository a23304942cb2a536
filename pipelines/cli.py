"""The command line: parses and prints, nothing else. Heavy imports stay inside commands, so `--help` is instant."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from pipelines.customers_cli import customers, offers, reasons, usability
from pipelines.demand_cli import changes, explain, forecast, tune
from pipelines.keys_cli import keys_app
from pipelines.lists_cli import lists_app
from pipelines.options import HERE, Config, Json, Sample
from pipelines.options import settings as _settings
from pipelines.options import shop as _shop
from pipelines.options import show as _print
from pipelines.orders_cli import orders_app
from pipelines.override_cli import override_app
from pipelines.quarantine_cli import quarantine_app
from pipelines.supply_cli import replenish, simulate, stock

if TYPE_CHECKING:
    from pipelines.errors import PurveyError
    from pipelines.summary import Summary

# Libraries that would report home are told not to, before any of them is imported.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

app = typer.Typer(
    name="purvey",
    help="Raw orders in, served decisions out: forecasts, customer scores, replenishment.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(keys_app, name="keys")
app.add_typer(lists_app, name="lists")
app.add_typer(orders_app, name="orders")
app.add_typer(override_app, name="override")
app.add_typer(quarantine_app, name="quarantine")


# -- the whole flow ------------------------------------------------------------------------------------------------


@app.command()
def run(
    config: Config = HERE,
    sample: Sample = False,
    again: Annotated[bool, typer.Option("--again", help="Run every step, even where nothing has changed.")] = False,
    as_json: Json = False,
) -> None:
    """Run the whole flow: ingest, features, train, score, lists, replenish, stock, monitor, release."""
    from pipelines import workflow
    from pipelines.printing import print_json, print_run, print_step

    shop = _shop(config, sample, as_json)

    def told(name: str, result: str, summary: Summary | None, seconds: float) -> None:
        if not as_json:
            print_step(name, result, summary, seconds)

    done = workflow.run(shop, again=again, told=told)
    if as_json:
        print_json({"steps": done.rows, "summaries": [summary.as_dict() for summary in done.summaries]})
    else:
        print_run(shop, done)


@app.command()
def check(config: Config = HERE, sample: Sample = False, as_json: Json = False) -> None:
    """Check the configuration and its sources; write nothing."""
    from pipelines.ingest import jobs

    _print(jobs.check(_shop(config, sample, as_json).settings), as_json)


app.command()(usability)


@app.command()
def ingest(config: Config = HERE, sample: Sample = False, as_json: Json = False) -> None:
    """Take new files into the lake; bad rows go to quarantine."""
    _run_steps(["ingest"], config, sample, as_json)


@app.command()
def features(config: Config = HERE, sample: Sample = False, as_json: Json = False) -> None:
    """Build demand per series and period from order lines."""
    _run_steps(["features"], config, sample, as_json)


@app.command()
def train(
    what: Annotated[str, typer.Argument(help="demand, customers or all")] = "all",
    config: Config = HERE,
    sample: Sample = False,
    as_json: Json = False,
) -> None:
    """Train, backtest and register models; a better one becomes champion."""
    _run_steps(_capability("train", what), config, sample, as_json)


@app.command()
def score(
    what: Annotated[str, typer.Argument(help="demand, customers or all")] = "all",
    config: Config = HERE,
    sample: Sample = False,
    as_json: Json = False,
) -> None:
    """Forecast and score with the champions; write the results to the lake."""
    _run_steps(_capability("score", what), config, sample, as_json)


@app.command()
def monitor(config: Config = HERE, sample: Sample = False, as_json: Json = False) -> None:
    """Compare the newest data with the reference, and earlier forecasts with what came true."""
    _run_steps(["monitor"], config, sample, as_json)


@app.command()
def release(config: Config = HERE, sample: Sample = False, as_json: Json = False) -> None:
    """Freeze what the lake says now into a release and make it current."""
    _run_steps(["release"], config, sample, as_json)


# -- for other programs --------------------------------------------------------------------------------------------


app.command()(forecast)


app.command()(explain)


@app.command()
def backtest(
    what: Annotated[str, typer.Argument(help="demand or customers")] = "demand",
    config: Config = HERE,
    sample: Sample = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="The Parquet file of predictions; customers may do without.")
    ] = None,
    origins: Annotated[int | None, typer.Option("--origins", min=1, help="How many cutoffs.")] = None,
    as_json: Json = False,
) -> None:
    """Forecast (or score) from past cutoffs and write predictions beside what came true."""
    shop = _shop(config, sample, as_json)
    if _capability("backtest", what)[0].endswith("customers"):
        from pipelines.customers import jobs as customer_jobs

        _print(customer_jobs.backtest(shop.settings, shop.lake, out=out), as_json)
    else:
        from pipelines.demand import jobs as demand_jobs

        if out is None:
            raise typer.BadParameter("demand needs a file: --out F.parquet")
        _print(demand_jobs.backtest(shop.settings, shop.lake, origins=origins, out=out), as_json)


app.command()(customers)


app.command()(reasons)


app.command()(offers)


app.command()(replenish)


app.command()(stock)


app.command()(simulate)


app.command()(tune)


# -- releases and serving ------------------------------------------------------------------------------------------


@app.command()
def releases(config: Config = HERE, sample: Sample = False, as_json: Json = False) -> None:
    """List the releases that are kept."""
    from pipelines.printing import print_json, print_releases
    from pipelines.release import current, releases

    settings = _shop(config, sample, as_json).settings
    kept, serving = releases(settings.releases_dir), current(settings.releases_dir)
    rows = [
        {"release": one.id, "created_at": one.created_at, "current": serving is not None and one.id == serving.id}
        for one in kept
    ]
    print_json(rows) if as_json else print_releases(rows)


@app.command()
def rollback(config: Config = HERE, sample: Sample = False, as_json: Json = False) -> None:
    """Make the previous release current again; model aliases follow it."""
    from pipelines.summary import Summary
    from pipelines.workflow import rollback

    now = rollback(_shop(config, sample, as_json))
    _print(Summary("rollback", wrote={"current_release": now.id, "champions": now.model_versions}), as_json)


@app.command()
def serve(
    config: Config = HERE,
    sample: Sample = False,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port to listen on.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Processes that answer.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Print a fresh key, valid 24 h from this machine only.")] = False,
) -> None:
    """Serve the current release over HTTP."""
    from pipelines.printing import print_welcome
    from serving.auth import demo_key
    from serving.run import serve

    settings = _settings(config, sample)
    where = host or settings.serving.host, port or settings.serving.port
    settings = settings.served_at(*where)
    if demo:
        print_welcome(settings, *where, demo_key(settings))
    serve(settings, *where, workers)


@app.command()
def export(
    what: Annotated[
        str, typer.Argument(help="forecasts, customers, segments, churn, replenishment, classes, stock, advice, counts")
    ],
    out: Annotated[Path, typer.Option("--out", help="A .csv, .parquet or .json file.")],
    config: Config = HERE,
    sample: Sample = False,
    as_json: Json = False,
) -> None:
    """Write a list of the current release to a file."""
    from pipelines.exports import export as write

    _print(write(_settings(config, sample), what, out), as_json)


# -- planners ------------------------------------------------------------------------------------------------------


app.command()(changes)


# -- keeping -------------------------------------------------------------------------------------------------------


@app.command()
def scorecard(
    config: Config = HERE,
    sample: Sample = False,
    into: Annotated[
        Path | None, typer.Option("--into", help="Rewrite the marked tables of this Markdown file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show how good the models were on cuts they had not seen, beside their baselines; --json tells everything."""
    from pipelines.printing import print_json, print_tables
    from pipelines.scorecard import scorecard, write_into

    shop = _shop(config, sample, as_json)
    tables = scorecard(shop.lake)
    if into is not None:
        write_into(into, tables)
    if as_json:
        print_json({title: frame.to_dicts() for title, frame in scorecard(shop.lake, whole=True).items()})
    else:
        print_tables(tables)


@app.command()
def forget(
    customers: Annotated[list[str] | None, typer.Argument(metavar="CUSTOMER…", help="Whom, by customer_id.")] = None,
    from_file: Annotated[Path | None, typer.Option("--from", help="A text file, one customer a line.")] = None,
    why: Annotated[str, typer.Option("--why", help="The reason, kept with the date; it must not name them.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; change nothing.")] = False,
    config: Config = HERE,
    sample: Sample = False,
    as_json: Json = False,
) -> None:
    """Remove customers from everything the shop keeps, for good; completes what was cut short."""
    from pipelines import forgetting
    from pipelines.workflow import locked

    shop = _shop(config, sample, as_json)
    whom = [*(customers or []), *(forgetting.names_in(from_file) if from_file else [])]
    with locked(shop.settings):
        shop.lake.migrate()
        summary = forgetting.forget(shop.settings, shop.lake, whom, why=why, dry_run=dry_run)
    _print(summary, as_json)


@app.command()
def backup(
    out: Annotated[Path, typer.Option("--out", help="The .tar file to write.")],
    config: Config = HERE,
    sample: Sample = False,
    as_json: Json = False,
) -> None:
    """Write everything the shop has into one file."""
    from pipelines.backup import backup as write

    _print(write(_shop(config, sample, as_json).settings, out), as_json)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `purvey backup` wrote.")],
    config: Config = HERE,
    sample: Sample = False,
    as_json: Json = False,
) -> None:
    """Unpack a backup into the shop's folder, which must be empty."""
    from pipelines.backup import restore as unpack

    _print(unpack(_shop(config, sample, as_json).settings, file), as_json)


# -- shared --------------------------------------------------------------------------------------------------------


def _capability(verb: str, what: str) -> list[str]:
    from pipelines.errors import ConfigError

    if what not in ("demand", "customers", "all"):
        raise ConfigError(f"There is nothing called {what!r} to {verb}.", remedy="say demand, customers or all")
    return [verb] if what == "all" else [f"{verb} {what}"]


def _run_steps(names: list[str], config: Path, sample: bool, as_json: bool) -> None:
    from pipelines import steps, workflow
    from pipelines.printing import print_json, print_summary

    shop = _shop(config, sample, as_json)
    done = workflow.run(shop, steps=steps.steps_named(names), again=True)
    if as_json:
        print_json([summary.as_dict() for summary in done.summaries])
    else:
        for summary in done.summaries:
            print_summary(summary)


def main(arguments: list[str] | None = None) -> Any:
    """Run one command; errors a user can mend are said in words, with the exit code of their kind."""
    from pipelines.errors import OutputError, PurveyError

    try:
        return app(args=arguments)
    except PurveyError as error:
        _fail(error, arguments)
    except BrokenPipeError:
        sys.stderr.close()  # the reader has seen enough
        raise SystemExit(0) from None
    except OSError as error:
        _fail(OutputError(f"The system refused: {error}.", remedy="check free space and permissions"), arguments)
    except KeyboardInterrupt:
        print("purvey: stopped; run the same command again to go on", file=sys.stderr)
        raise SystemExit(130) from None


def _fail(error: PurveyError, arguments: list[str] | None) -> NoReturn:
    if "--json" in (sys.argv if arguments is None else arguments):
        from pipelines.printing import as_json

        print(as_json({"error": error.message, **error.where, "remedy": error.remedy}), file=sys.stderr)
    else:
        print(f"purvey: {error}", file=sys.stderr)
    raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
