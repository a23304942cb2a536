from __future__ import annotations

import csv
import html
import io
import re
from copy import copy
from datetime import timedelta
from urllib.parse import quote

import polars as pl
import pytest
from starlette.testclient import TestClient

from pipelines.release import activate, current, freeze
from pipelines.settings import Settings
from serving import store
from serving.app import create_app
from serving.auth import demo_key
from serving.decided import now
from tests.made_shop import AS_OF, CUSTOMERS, HOSTILE_SEGMENT, ISSUED_ON, PRODUCTS, made_release, made_tables
from tests.unit.serving.conftest import LOCAL

ANSWERS = [
    "/v1/forecasts",
    "/v1/forecasts/drivers",
    "/v1/forecasts/changes",
    "/v1/forecasts/totals",
    "/v1/customers/12346",
    "/v1/segments",
    "/v1/segments/champions/customers",
    "/v1/churn",
    "/v1/replenishment",
    "/v1/monitoring/drift",
    "/v1/models",
]


@pytest.mark.parametrize("path", ANSWERS)
def test_every_answer_says_where_it_comes_from(client: TestClient, settings: Settings, path: str) -> None:
    answer = client.get(path)
    body = answer.json()
    release = current(settings.releases_dir)
    assert release is not None
    assert body["release"] == release.id
    assert body["stale"] is False
    assert body["model_version"]
    assert len(body["as_of"]) == len("2011-12-09")
    assert client.get(path, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


def test_a_forecast_holds_the_numbers_of_the_table(client: TestClient) -> None:
    table = made_tables()["forecasts"].filter(pl.col("product_id") == PRODUCTS[7]).sort("period")
    body = client.get("/v1/forecasts", params={"product_id": PRODUCTS[7]}).json()
    assert body["total"] == 1
    item = body["items"][0]
    assert item["product_id"] == PRODUCTS[7]
    assert item["periods"] == [str(period) for period in table["period"]]
    assert item["mean"] == pytest.approx(table["mean"].to_list(), abs=1e-4)
    assert set(item["quantiles"]) == {"p10", "p50", "p90"}
    assert item["quantiles"]["p90"] == pytest.approx(table["p90"].to_list(), abs=1e-4)
    assert item["attributes"] == {"description": "TEA TOWEL No 7"}
    flagged = client.get("/v1/forecasts", params={"product_id": PRODUCTS[0]}).json()["items"][0]
    assert flagged["flags"] == ["cold_start", "obsolete"]


def test_drivers_add_up_to_the_mean_and_speak_two_languages(client: TestClient) -> None:
    one = {"product_id": PRODUCTS[7]}
    forecast = client.get("/v1/forecasts", params=one).json()["items"][0]
    items = client.get("/v1/forecasts/drivers", params=one).json()["items"]
    assert [item["period"] for item in items] == forecast["periods"]
    assert [sum(item["drivers"].values()) for item in items] == pytest.approx(forecast["mean"], abs=1e-3)
    assert all("usual level" in item["words"] for item in items)
    chinese = client.get("/v1/forecasts/drivers", params=one | {"lang": "zh"}).json()["items"]
    assert all("平常水平" in item["words"] for item in chinese)
    assert client.get("/v1/forecasts/drivers", params={"lang": "fr"}).status_code == 422
    unexplained = client.get("/v1/forecasts/drivers", params={"product_id": PRODUCTS[50]})
    assert (unexplained.status_code, unexplained.json()["type"]) == (404, "/docs#not-found")
    assert client.get("/lists/forecasts").text.count("usual level") > 10, "the list says why"
    rows = pl.read_csv(client.get("/v1/forecasts/drivers", params=one | {"format": "csv", "lang": "zh"}).content)
    assert rows["words"].to_list() == [item["words"] for item in chinese]


def test_several_series_at_once(client: TestClient) -> None:
    body = client.get("/v1/forecasts", params={"product_id": [PRODUCTS[3], PRODUCTS[1], "none"]}).json()
    assert [item["product_id"] for item in body["items"]] == [PRODUCTS[1], PRODUCTS[3]]


def test_changes_of_forecasts_come_largest_first_and_by_series(client: TestClient) -> None:
    body = client.get("/v1/forecasts/changes", params={"limit": 1000}).json()
    moves = [abs(item["mean"] - item["mean_before"]) for item in body["items"]]
    assert body["total"] == len(moves) == 60 * 7
    assert moves == sorted(moves, reverse=True)
    one = client.get("/v1/forecasts/changes", params={"product_id": PRODUCTS[7]}).json()["items"]
    assert [item["product_id"] for item in one] == [PRODUCTS[7]] * 7
    assert one[0]["from_model"] is None
    assert client.get("/v1/forecasts/changes", params={"product_id": "none"}).status_code == 404


def test_totals_are_those_of_the_table_by_level_and_group(client: TestClient) -> None:
    means = (
        made_tables()["forecasts"].filter(pl.col("product_id") < PRODUCTS[20]).group_by("period").agg(pl.sum("mean"))
    )
    items = client.get("/v1/forecasts/totals", params={"level": "region", "group": "EU"}).json()["items"]
    assert [item["mean"] for item in items] == pytest.approx(means.sort("period")["mean"].to_list())
    assert {(item["level"], item["group"], item["series"]) for item in items} == {("region", "EU", 20)}
    assert client.get("/v1/forecasts/totals").json()["total"] == 16
    assert client.get("/v1/forecasts/totals", params={"group": "Mars"}).status_code == 404
    assert client.get("/v1/forecasts/totals", params={"product_id": PRODUCTS[7]}).status_code == 422
    rows = pl.read_csv(client.get("/v1/forecasts/totals?format=csv").content)
    assert rows.filter(group="EU")["mean"].to_list() == pytest.approx(means.sort("period")["mean"].to_list())


@pytest.mark.parametrize(
    "path",
    [
        "/v1/forecasts",
        "/v1/forecasts/drivers",
        "/v1/forecasts/totals",
        "/v1/churn",
        "/v1/replenishment",
        "/v1/segments/others/customers",
    ],
)
def test_a_walk_over_the_pages_sees_everything_once(client: TestClient, path: str) -> None:
    whole = client.get(path, params={"limit": 1000}).json()
    seen, cursor = [], None
    while True:
        body = client.get(path, params={"limit": 17} | ({"cursor": cursor} if cursor else {})).json()
        seen += body["items"]
        cursor = body["next"]
        if cursor is None:
            break
    assert seen == whole["items"]
    assert len(seen) == whole["total"]


def test_a_walk_ends_on_its_release_and_a_cursor_of_one_before_that_has_gone(new_settings: Settings) -> None:
    made_release(new_settings, 1)
    headers = {"Authorization": f"Bearer {demo_key(new_settings)}"}
    with TestClient(create_app(new_settings), headers=headers, **LOCAL) as client:
        first = client.get("/v1/forecasts?limit=5").json()
        cursor = first["next"]
        made_release(new_settings, 2)
        assert client.app.state.store.refresh()
        rest = client.get("/v1/forecasts", params={"cursor": cursor}).json()
        assert rest["release"] == first["release"], "a walk ends on the release it began on"
        assert len(rest["items"]) == len(PRODUCTS) - 5
        made_release(new_settings, 3)
        assert client.app.state.store.refresh()
        answer = client.get("/v1/forecasts", params={"cursor": cursor})
        assert (answer.status_code, answer.json()["type"]) == (410, "/docs#cursor-expired")


def test_the_churn_list_holds_active_customers_most_at_risk_first(client: TestClient) -> None:
    scores = made_tables()["customer_scores"]
    expected = scores.filter((pl.col("status") == "active") & (pl.col("churn_probability") >= 0.4))
    body = client.get("/v1/churn?min_risk=0.4&limit=1000").json()
    risks = [item["churn_probability"] for item in body["items"]]
    assert body["total"] == expected.height == len(risks)
    assert risks == sorted(risks, reverse=True)
    assert {item["status"] for item in body["items"]} == {"active"}
    high = client.get("/v1/churn?band=high&segment=loyal&limit=1000").json()["items"]
    assert high
    assert {(item["churn_band"], item["segment"]) for item in high} == {("high", "loyal")}


def test_customers_of_segments_reconcile_with_their_counts(client: TestClient) -> None:
    for scheme in ("kmeans", "rfm"):
        segments = client.get("/v1/segments", params={"scheme": scheme}).json()["items"]
        assert sum(segment["customers"] for segment in segments) == len(CUSTOMERS)
        for segment in segments:
            listed = client.get(f"/v1/segments/{quote(segment['segment'], safe='')}/customers?limit=1").json()
            assert listed["total"] == segment["customers"]


@pytest.mark.parametrize("customer", ["EU/12346", "EU/12346/customers", "a b?c#d", "ü😀", ".."])
def test_a_customer_is_reached_whatever_the_id(new_settings: Settings, customer: str) -> None:
    scores = made_tables()["customer_scores"].with_columns(pl.col("customer_id").replace("12346", customer))
    tables = {"customer_scores": scores}
    made = freeze(new_settings.releases_dir, shop={}, tables=tables, models={}, reports={}, facts={})
    activate(new_settings.releases_dir, made.id)
    headers = {"Authorization": f"Bearer {demo_key(new_settings)}"}
    with TestClient(create_app(new_settings), headers=headers, **LOCAL) as client:
        answer = client.get(f"/v1/customers/{quote(customer, safe='').replace('.', '%2E')}")
        assert answer.status_code == 200
        assert answer.json()["customer"]["customer_id"] == customer


def test_drift_is_as_of_the_data_and_says_when_it_was_checked(client: TestClient, new_settings: Settings) -> None:
    body = client.get("/v1/monitoring/drift").json()
    checked_at = made_tables()["drift"]["checked_at"].max()
    assert (body["as_of"], body["checked_on"]) == (str(AS_OF), str(checked_at.date()))
    for without, as_of in (
        (("customer_scores", "segments"), str(ISSUED_ON - timedelta(days=1))),
        (("customer_scores", "segments", "forecasts", "lead_time_demand"), None),
    ):
        made_release(new_settings, without=without)
        headers = {"Authorization": f"Bearer {demo_key(new_settings)}"}
        with TestClient(create_app(new_settings), headers=headers, **LOCAL) as other:
            body = other.get("/v1/monitoring/drift").json()
            assert (body["as_of"], body["checked_on"]) == (as_of, str(checked_at.date()))


@pytest.mark.parametrize("name", ["forecasts", "replenishment"])
def test_forecasts_and_orders_come_as_csv_too(client: TestClient, name: str) -> None:
    table = made_tables()[name]
    rows = pl.read_csv(client.get(f"/v1/{name}?format=csv").content, schema_overrides={"product_id": pl.String})
    # What is decided on says which line it is.
    assert rows.columns == table.columns + (["order_line"] if name == "replenishment" else [])
    assert rows.height == table.height
    number = "mean" if name == "forecasts" else "quantity"
    assert rows[number].sum() == pytest.approx(table[number].sum(), abs=1e-3)
    one = pl.read_csv(client.get(f"/v1/{name}?format=csv&product_id={PRODUCTS[7]}").content)
    assert one["product_id"].unique().to_list() == [PRODUCTS[7]]
    page = client.get(f"/lists/{name}").text
    link = html.unescape(re.search(r'href="([^"]+)">CSV', page)[1])
    assert client.get(link).headers["content-type"].startswith("text/csv")


def test_replenishment_says_that_it_is_illustrative(client: TestClient) -> None:
    body = client.get("/v1/replenishment?min_quantity=1&supplier_id=illustrative").json()
    assert body["illustrative"] is True
    assert all(item["illustrative"] and item["quantity"] >= 1 for item in body["items"])
    due = [item["order_by"] for item in body["items"]]
    assert due == sorted(due)


@pytest.mark.parametrize("how", [{"params": {"format": "csv"}}, {"headers": {"Accept": "text/csv"}}])
def test_csv_holds_the_whole_list_and_runs_nothing(client: TestClient, how: dict[str, dict[str, str]]) -> None:
    answer = client.get("/v1/churn", **how)
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"].startswith('attachment; filename="made_shop-churn-')
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8"))))
    assert len(rows) == client.get("/v1/churn").json()["total"]
    assert {row["reasons"] for row in rows} == {"'@not ordered for long"}
    assert any(row["segment"] == "'" + HOSTILE_SEGMENT for row in rows)
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for cell in row.values())


def test_json_asked_for_by_name_wins_over_the_accept_header(client: TestClient) -> None:
    assert client.get("/v1/churn?format=json", headers={"Accept": "text/csv"}).json()["total"]


def test_an_old_release_is_served_and_marked_stale(new_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    made_release(new_settings)
    headers = {"Authorization": f"Bearer {demo_key(new_settings)}"}
    days = new_settings.serving.stale_after_days + 1
    monkeypatch.setattr(store.Held, "age_days", days)
    with TestClient(create_app(new_settings), headers=headers, **LOCAL) as client:
        assert client.get("/v1/churn").json()["stale"] is True
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json()["stale"]) == (200, True)
        assert "stale" in client.get("/").text
        age = next(line for line in client.get("/metrics").text.splitlines() if line.startswith("purvey_release_age"))
    assert float(age.split()[1]) == pytest.approx(timedelta(days=days).total_seconds())


def test_metrics_count_by_route_template(client: TestClient) -> None:
    client.get("/v1/customers/12346")
    client.get("/v1/customers/12347")
    client.get("/v1/somewhere-else")
    text = client.get("/metrics").text
    assert 'purvey_request_seconds_count{method="GET",route="/v1/customers/{customer_id}",status="200"}' in text
    assert 'route="unmatched",status="404"' in text
    assert "12346" not in text
    assert 'purvey_model_info{model="demand",version="1"} 1.0' in text


def test_the_start_page_counts_drift_and_names_reports_for_people(client: TestClient) -> None:
    page = client.get("/").text
    drift = made_tables()["drift"]
    alarms = drift.filter(pl.col("status") == "drift").height
    judged = drift.drop_nulls("threshold").height
    assert re.search(rf'drift checks raise an alarm</dt><dd>{alarms}</dd><dd class="note">of {judged}<', page)
    assert '<a href="/reports/drift.html">Drift report</a>' in page
    assert '<a href="/reports/drift_order_lines.html">Drift of order lines</a>' in page


def test_hostile_texts_are_escaped_on_pages(client: TestClient) -> None:
    for path in ("/lists/forecasts", "/lists/churn", "/lists/segments", "/lists/replenishment"):
        page = client.get(path).text
        assert "<script" not in page
    assert "&lt;script&gt;" in client.get("/lists/forecasts").text + client.get("/lists/forecasts?page=2").text


@pytest.mark.parametrize("path", ["/", "/docs", "/sign-in", "/lists/forecasts"])
def test_pages_need_no_script_no_inline_style_and_nobody_else(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert not re.search(r"<script|<style|\sstyle=|\son[a-z]+=|javascript:", answer.text)
    assert "//" not in answer.text.replace("http://www.w3.org", "").replace("&lt;", "")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert len(answer.content) < 200_000


def test_the_drift_report_runs_its_scripts_in_a_sandbox(client: TestClient) -> None:
    answer = client.get("/reports/drift_order_lines.html")
    policy = answer.headers["content-security-policy"]
    assert "sandbox allow-scripts" in policy
    assert "allow-same-origin" not in policy
    still = client.get("/reports/drift.html").headers["content-security-policy"]
    assert "sandbox" not in still, "its links lead on with the session"
    assert "script-src" not in still, "and it may run nothing"
    assert "http" not in policy


def test_the_audit_goes_on_before_any_number(client: TestClient) -> None:
    answer = client.get("/v1/audit", params={"before": 10**20})
    assert (answer.status_code, answer.json()["items"] != []) == (200, True)


def test_orders_of_a_release_without_states_are_proposed(client: TestClient) -> None:
    held = client.app.state.store.now()
    old = copy(held)
    old._tables = held._tables | {
        "replenishment": held.table("replenishment").drop("state", "state_reason", strict=False)
    }
    with client.app.state.database.reading() as connection:
        assert set(now(connection, old)["state"]) == {"proposed"}
