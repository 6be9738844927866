"""Contents over HTTP: published, read and expired things are seen by the very next request."""

import json
import time

import pytest
import redis

from models.contents.config import ContentConfig
from models.rank.ranker import RankerConfig
from service.journal import CATALOGUE
from service.live_state import partition_prefix
from tests import serving
from tests.newsroom import newsroom, piece, trained

RULE = ContentConfig(ranker=RankerConfig(least_questions=10**6))


@pytest.fixture(scope="module")
def models():
    return trained(newsroom(contents=[piece("old-video", 2.0, form="short_video")]), RULE)


@pytest.fixture
def client(tmp_path, state_server, models, shop):
    toy = serving.open_toy_shop(tmp_path, shop, redis_url=state_server.url)
    toy.publish(models, "r1")
    with serving.served(toy) as client:
        yield client


def ask(client, customer="nobody", **more):
    answer = client.post("/v1/content", json={"customer_id": customer, "k": 5} | more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer):
    return [item["item_id"] for item in answer["items"]]


def put(client, content_id, **told):
    now = time.time()
    answer = client.put(f"/v1/contents/{content_id}", json={"title": content_id, "published_at": now - 1} | told)
    assert answer.status_code == 200, answer.text


def read(client, customer, content_id, number=0, kind="view", at=None):
    event = {
        "event_id": f"{customer}-{content_id}-{number}-{kind}", "customer_id": customer, "kind": kind,
        "at": at or time.time(), "item_kind": "content", "item_id": content_id,
    }  # fmt: skip
    assert client.post("/v1/events", json={"events": [event]}).status_code == 202


def test_what_is_published_is_on_the_next_list_and_gone_when_it_expires(client):
    put(client, "flash", form="article", product_ids=["pot"], title="Sale 快讯")
    first = ask(client)
    assert ids(first)[0] == "flash"
    assert first["items"][0]["item_kind"] == "content"
    assert first["items"][0]["content"] == {"form": "article", "title": "Sale 快讯", "product_ids": ["pot"]}
    assert first["items"][0]["reason"]["code"] == "content_new"
    assert first["degraded"] == []
    put(client, "flash", expires_at=time.time() - 0.5)
    assert "flash" not in ids(ask(client, k=50))
    assert client.delete("/v1/contents/old-video").status_code in (200, 202, 204)
    assert "old-video" not in ids(ask(client, k=50))


def test_nobody_gets_what_he_has_just_read_unless_he_asks_for_it(client):
    put(client, "once")
    assert ids(ask(client, "reader"))[0] == "once"
    read(client, "reader", "once")
    assert "once" not in ids(ask(client, "reader", k=50))
    assert "once" in ids(ask(client, "reader", k=50, again=True))
    assert "once" in ids(ask(client, "another", k=50))


def test_forms_channel_and_exclusions_are_obeyed(client):
    put(client, "wecom", channels=["wecom"], form="short_video")
    assert ids(ask(client, forms=["short_video"], context={"channel": "app"})) == ["old-video"]
    assert ids(ask(client, forms=["short_video"], context={"channel": "wecom"})) == ["wecom", "old-video"]
    assert ids(ask(client, forms=["short_video"], exclude=["wecom"])) == ["old-video"]
    short = ask(client, forms=["podcast"])
    assert short["items"] == []
    assert "only 0 of 5 places filled" in short["degraded"][0]


def test_with_personalization_off_two_customers_get_the_strangers_list(client):
    for customer, taste in (("tea-fan-03", "tea"), ("silk-fan-04", "silk")):
        read(client, customer, f"{taste}-05", number=1)
        said = {"purpose": "personalization", "state": "off"}
        assert client.put(f"/v1/customers/{customer}/consent", json=said).status_code == 200
    stranger, one, two = (ask(client, who, k=30) for who in ("nobody", "tea-fan-03", "silk-fan-04"))
    assert ids(one) == ids(two) == ids(stranger)
    assert [i["reason"] for i in one["items"]] == [i["reason"] for i in two["items"]]
    assert "switched personalization off" in one["degraded"][0]


def test_what_others_read_lifts_a_content_within_moments(client):
    assert "tea-02" not in ids(ask(client, k=3))
    for number in range(300):
        read(client, f"crowd-{number}", "tea-02")
    serving.wait_for(lambda: ids(ask(client, k=3))[0] == "tea-02")
    answer = ask(client, k=1)
    assert answer["items"][0]["reason"]["code"] == "content_popular"
    body = client.get(f"/v1/decisions/{answer['decision_id']}").json()["body"]
    assert body["pulse"] != "0-0"  # a replay knows what had been read by then


def test_an_event_told_twice_and_an_impression_are_no_readings(client, shop, state_server):
    put(client, "twice")
    at = time.time()
    for _ in range(3):
        read(client, "reader", "twice", at=at)
    read(client, "reader", "twice", kind="impression")
    assert len(stream(shop, state_server)) == 1


def test_the_pulse_names_nobody(client, shop, state_server):
    read(client, "secret-reader", "tea-03")
    [told] = stream(shop, state_server)
    assert "secret-reader" not in json.dumps(told)
    assert [reading[0] for reading in told["readings"]] == ["tea-03"]


def stream(shop, state_server):
    """Everything in a shop's pulse."""
    key = partition_prefix(shop, CATALOGUE) + b"pulse"
    return [json.loads(fields[b"r"]) for _, fields in redis.Redis.from_url(state_server.url).xrange(key)]


def test_the_scene_answers_over_recommend_too(client):
    put(client, "fresh")
    answer = client.post("/v1/recommend", json={"customer_id": "nobody", "scene": "content", "k": 3})
    assert answer.status_code == 200
    assert ids(answer.json()) == ids(ask(client, k=3))
