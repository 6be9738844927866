"""Audiences and groups through the running application, with a real state server; batch and service choose alike."""

import json
import time
from dataclasses import replace

import polars as pl
import pytest
import redis

from features.lake import Lake
from models.audience.model import fit_audience
from models.audience.selection import Budget, Rules
from models.rng import derived_rng
from models.trained import Models
from pond.cli.main import main
from tests import serving, worlds
from tests.unit.models.test_audience import SMALL, habits
from training.audience import AudienceQuestion, seek_audience

TEAS = [f"tea-{n}" for n in range(20)]
COFFEES = [f"coffee-{n}" for n in range(20)]


@pytest.fixture(scope="module")
def dataset():
    return habits()


@pytest.fixture(scope="module")
def models(dataset) -> Models:
    fitted = serving.fitted(dataset, ("popular", "repeat", "itemknn"))
    frame = fitted.customers.frame
    groups = [["tea lovers"] if name in TEAS[:8] else None for name in fitted.customers.ids]
    frame = frame.with_columns(group_ids=pl.Series(groups, dtype=pl.List(pl.String)))
    part = fit_audience(dataset, {}, SMALL, derived_rng(0, "part audience"))
    return replace(fitted, customers=replace(fitted.customers, frame=frame), parts={"audience": part})


@pytest.fixture
def toy(tmp_path, state_server, models):
    shop = serving.open_toy_shop(tmp_path, f"shop-{time.time_ns()}", redis_url=state_server.url)
    shop.publish(models, "r1")
    return shop


@pytest.fixture
def client(toy):
    with serving.served(toy) as client:
        yield client


def allow(client, names, purpose="marketing"):
    for name in names:
        said = {"purpose": purpose, "state": "on"}
        assert client.put(f"/v1/customers/{name}/consent", json=said).status_code == 200


def sought(client, **asked):
    body = {"aim": {"kind": "product", "id": "tea"}, "budget": {"customers": 100}} | asked
    answer = client.post("/v1/audience", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer):
    return [one["customer_id"] for one in answer["customers"]]


def test_nobody_is_listed_without_a_marketing_consent(client):
    answer = sought(client)
    assert answer["customers"] == []
    assert answer["left_out"] == {"no_marketing_consent": 60}
    assert answer["expected_responses"] == 0.0


def test_analysis_needs_no_marketing_consent_and_says_so_and_logs_nobody(client):
    answer = sought(client, for_analysis=True, budget={"customers": 20}, holdout_share=0.5)
    assert answer["for_analysis"] is True
    assert sorted(ids(answer)) == sorted(TEAS)
    assert {one["decision_id"] for one in answer["customers"]} == {""}
    assert answer["held_out"] == 0
    assert answer["expected_responses"] == pytest.approx(20, rel=0.1)


def test_who_switched_personalization_off_is_in_no_list(client):
    allow(client, TEAS)
    client.put("/v1/customers/tea-0/consent", json={"purpose": "personalization", "state": "off"})
    for analysis in (False, True):
        answer = sought(client, for_analysis=analysis)
        assert "tea-0" not in ids(answer)
        assert answer["left_out"]["personalization_off"] == 1


def test_consent_for_one_channel_is_none_for_another(client):
    client.put("/v1/customers/tea-1/consent", json={"purpose": "marketing", "state": "on", "channel": "wecom"})
    assert ids(sought(client, channel="wecom")) == ["tea-1"]
    assert ids(sought(client, channel="sms")) == []


def test_budget_in_money_pays_for_so_many(client):
    allow(client, TEAS)
    answer = sought(client, budget={"money": 3.5, "cost": 0.5})
    assert len(answer["customers"]) == 7
    assert answer["spent"] == 3.5
    assert answer["expected_responses"] == pytest.approx(sum(one["probability"] for one in answer["customers"]))


def test_who_bought_it_a_moment_ago_is_left_out_when_asked(client, dataset):
    allow(client, TEAS)
    event = {"event_id": "e1", "customer_id": "tea-3", "kind": "purchase", "at": time.time(), "item_id": "tea"}
    assert client.post("/v1/events", json={"events": [event]}).status_code == 202
    assert "tea-3" in ids(sought(client))
    answer = sought(client, bought_days=2)
    assert "tea-3" not in ids(answer)
    assert answer["left_out"]["bought_lately"] == 1


def test_named_customers_are_left_out(client):
    allow(client, TEAS)
    answer = sought(client, exclude=["tea-1", "tea-2"])
    assert not {"tea-1", "tea-2"} & set(ids(answer))
    assert answer["left_out"]["named"] == 2


def test_everybodys_part_is_logged_with_its_odds_and_the_list_names_nobody(client):
    allow(client, TEAS)
    answer = sought(client, holdout_share=0.3, name="spring")
    assert 0 < answer["held_out"] < 20
    assert len(answer["customers"]) + answer["held_out"] == 20
    listed = client.get(f"/v1/decisions/{answer['customers'][0]['decision_id']}").json()
    assert listed["customer_id"] == ids(answer)[0]
    assert listed["scene"] == "audience"
    assert listed["body"]["part"] == "listed"
    assert listed["body"]["propensity"] == 0.7
    assert listed["body"]["audience"] == answer["decision_id"]
    head = client.get(f"/v1/decisions/{answer['decision_id']}").json()
    assert head["body"]["held_out"] == answer["held_out"]
    assert not any(name in json.dumps(head) for name in TEAS)
    assert ids(sought(client, holdout_share=0.3, name="spring")) == ids(answer)
    assert ids(sought(client, holdout_share=0.3, name="autumn")) != ids(answer)


def test_what_is_sold_out_has_no_audience(client):
    allow(client, TEAS)
    client.put("/v1/products/tea", json={"title": "tea", "category": "drinks/tea", "stock": 0})
    answer = sought(client)
    assert answer["customers"] == []
    assert any("nobody is listed" in note for note in answer["degraded"])


def test_bundle_and_content_told_a_moment_ago_have_audiences(client):
    client.put("/v1/bundles/b1", json={"product_ids": ["tea", "bread1"]})
    client.put("/v1/contents/c1", json={"product_ids": ["coffee"]})
    bundle = sought(client, aim={"kind": "bundle", "id": "b1"}, for_analysis=True, budget={"customers": 20})
    content = sought(client, aim={"kind": "content", "id": "c1"}, for_analysis=True, budget={"customers": 20})
    assert len(ids(bundle)) == 20
    assert {name.split("-")[0] for name in ids(content)} <= {"coffee", "past"}


@pytest.mark.parametrize("kind", ["product", "category", "bundle", "content", "campaign"])
def test_unknown_aim_is_said_to_be_unknown(client, kind):
    body = {"aim": {"kind": kind, "id": "nothing"}, "budget": {"customers": 1}}
    answer = client.post("/v1/audience", json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_aim")


@pytest.mark.parametrize("budget", [{}, {"money": 5}, {"cost": 5}, {"money": 5, "cost": 0}, {"customers": 0}])
def test_budget_must_make_sense(client, budget):
    body = {"aim": {"kind": "product", "id": "tea"}, "budget": budget}
    assert client.post("/v1/audience", json=body).status_code == 422


def test_batch_and_service_choose_alike(client, toy, models):
    """The lake knows what the live state knows: both list the same customers with the same probabilities."""
    allow(client, [*TEAS[:15], *COFFEES[:5]])
    lake = Lake(toy.shop.lake_dir)
    word = {"purpose": "marketing", "channel": None, "at": worlds.day(0), "state": "on", "source": None}
    said = [{"customer_id": name} | word for name in [*TEAS[:15], *COFFEES[:5]]]
    lake.append("consents", pl.DataFrame(said, schema=worlds.SCHEMAS["consents"]))
    asked = {"budget": {"customers": 12}, "holdout_share": 0.2, "name": "both"}
    service = sought(client, **asked)
    rules = Rules(Budget(12), holdout_share=0.2, seed="both")
    now = time.time_ns() // 1000  # the service is asked now: days are counted until then
    batch = seek_audience(models, lake, AudienceQuestion("product", "tea", rules, as_of=now))
    assert batch.listed["customer_id"].to_list() == ids(service)
    assert batch.listed["probability"].to_list() == [one["probability"] for one in service["customers"]]
    assert batch.held_out.height == service["held_out"]
    assert batch.listed["reason_zh"].to_list() == [one["reason"]["zh"] for one in service["customers"]]


def test_command_writes_the_list_and_its_holdout(toy, tmp_path, capsys):
    out, held = tmp_path / "list.csv", tmp_path / "held.csv"
    words = ["audience", "--shop", toy.shop.name, "--product", "tea", "--budget", "9", "--home", str(tmp_path)]
    assert main([*words, "--analysis", "--out", str(out)]) == 0
    assert pl.read_csv(out).height == 9
    assert "expected to buy within 14 days" in capsys.readouterr().out
    assert main([*words, "--out", str(out), "--holdout", "0.2", "--holdout-out", str(held)]) == 0
    assert "60 no_marketing_consent" in capsys.readouterr().out
    assert pl.read_csv(out).height == pl.read_csv(held).height == 0
    for wrong in (["--category", "drinks"], ["--holdout", "0.2"], ["--money", "3"], ["--cap", "region"]):
        assert main([*words, *wrong, "--analysis", "--out", str(out)]) == 2


def posted(client, group="tea lovers", **asked):
    answer = client.post(f"/v1/groups/{group}/recommend", json={"k": 2} | asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_group_gets_what_its_members_want_and_no_member_is_named(client):
    answer = posted(client)
    assert answer["group"] == {"members_counted": 8, "coverage": 1.0}
    assert "tea" in [item["item_id"] for item in answer["items"]]
    assert {item["stage"] for item in answer["items"]} == {"group"}
    logged = client.get(f"/v1/decisions/{answer['decision_id']}").json()
    assert logged["body"]["request"]["group_id"] == "tea lovers"
    assert not any(name in json.dumps([answer, logged]) for name in TEAS)


def test_too_few_members_get_what_is_popular_and_it_says_so(client):
    answer = posted(client, members=TEAS[:4])
    assert answer["group"]["members_counted"] == 0
    assert {item["stage"] for item in answer["items"]} == {"popular"}
    assert any("too few members" in note for note in answer["degraded"])


def test_who_is_off_takes_no_part(client):
    for name in TEAS[:4]:
        client.put(f"/v1/customers/{name}/consent", json={"purpose": "personalization", "state": "off"})
    assert posted(client)["group"]["members_counted"] == 0
    assert posted(client, members=TEAS[:10])["group"]["members_counted"] == 6


def test_strangers_do_not_fill_a_group_up(client):
    assert posted(client, members=[*TEAS[:4], *(f"nobody-{n}" for n in range(20))])["group"]["members_counted"] == 0


def test_members_told_live_join_and_leave(client):
    for name in COFFEES[:6]:
        client.put(f"/v1/customers/{name}", json={"group_ids": ["tea lovers", "coffee corner"]})
    client.put("/v1/customers/tea-0", json={"group_ids": []})
    assert posted(client)["group"]["members_counted"] == 13
    assert posted(client, group="coffee corner")["group"]["members_counted"] == 6
    client.put("/v1/customers/coffee-0", json={"group_ids": ["tea lovers"]})
    assert posted(client, group="coffee corner")["group"]["members_counted"] == 5


def test_who_is_erased_is_in_no_group_and_in_no_audience(client, toy, state_server):
    client.put("/v1/customers/tea-1", json={"group_ids": ["tea lovers", "coffee corner"]})
    answer = sought(client, for_analysis=True)
    assert "tea-1" in ids(answer)
    receipt = client.delete("/v1/customers/tea-1/data").json()["receipt"]
    serving.wait_for(lambda: client.get(f"/v1/erasures/{receipt}").json()["state"] == "done")
    assert posted(client)["group"]["members_counted"] == 7
    assert "tea-1" not in ids(sought(client, for_analysis=True))
    server = redis.Redis.from_url(state_server.url)
    keys = server.scan_iter(f"pond:v1:{{{toy.shop.name}:*m:*", count=1_000)
    assert not any(server.sismember(key, "tea-1") for key in keys)


def test_what_is_hidden_is_not_posted(client):
    client.put("/v1/products/tea", json={"title": "tea", "status": "hidden"})
    assert "tea" not in [item["item_id"] for item in posted(client, k=4)["items"]]


def test_group_scene_shows_products(client):
    answer = client.post("/v1/groups/tea lovers/recommend", json={"scene": "content"})
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_scene")
