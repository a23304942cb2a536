"""A first look: load the champion by its alias, see its forecasts, meet the customers by segment.

Open with `marimo edit notebooks/first_look.py`, or run it as a script; the shop is the one of
`PURVEY_CONFIG` (a YAML file or a folder with a shop.yaml), or the sample.
"""

import marimo

app = marimo.App(width="medium", app_title="A first look")


@app.cell
def _():
    import os
    import warnings

    import marimo as mo
    import polars as pl

    from pipelines.lake import Lake
    from pipelines.settings import load_settings, sample_config
    from pipelines.tracking import Tracker

    settings = load_settings(os.environ.get("PURVEY_CONFIG") or sample_config())
    lake = Lake(settings.lake_url, settings.storage_options)
    tracker = Tracker(settings)
    return lake, mo, pl, settings, tracker, warnings


@app.cell
def _(mo, settings, tracker):
    mo.vstack([mo.md(f"# {settings.shop}\nEvery model the shop has trained:"), tracker.models()])
    return


@app.cell
def _(mo, settings, tracker, warnings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own type hints, at import
        import mlflow

        mlflow.set_tracking_uri(settings.tracking_uri)
        mlflow.set_registry_uri(settings.tracking_uri)  # whatever the environment says of another shop's
        champion = mlflow.pyfunc.load_model("models:/demand@champion")

    # Rows it was registered with: the same features it sees in the flow.
    example = tracker.example("demand")
    predicted = champion.predict(example.to_pandas())
    mo.vstack([mo.md("## The champion, loaded by its alias\nPredictions for the rows kept beside it:"), predicted])
    return (predicted,)


@app.cell
def _(lake, mo, pl, settings):
    _all = lake.read("forecasts")
    _newest = _all.filter(pl.col("issued_on") == _all["issued_on"].max())
    _keys = settings.demand.series
    _largest = _newest.group_by(_keys).agg(total=pl.col("mean").sum()).sort("total", descending=True).head(5)
    forecasts = _newest.join(_largest.select(_keys), on=_keys, how="semi").sort(*_keys, "period")
    mo.vstack([mo.md("## Forecasts of the five largest series"), forecasts])
    return (forecasts,)


@app.cell
def _(lake, mo, pl):
    mo.stop(not lake.exists("customer_scores"), mo.md("This shop has no customers to judge."))
    _all = lake.read("customer_scores")
    segments = (
        _all.filter(pl.col("as_of") == _all["as_of"].max())
        .group_by("segment")
        .agg(
            customers=pl.len(),
            churn_probability=pl.col("churn_probability").mean(),
            value=pl.col("value").sum(),
        )
        .sort("value", descending=True)
    )
    mo.vstack([mo.md("## Customers by segment"), segments])
    return (segments,)


if __name__ == "__main__":
    app.run()
