"""A home written by version 0.1.0, whose last process was killed, opens whole in this version.

The JSON file beside the archive holds what version 0.1.0 reported for the same home. All replies
are scripted, and the clock starts 90 seconds after the kill.
"""

from __future__ import annotations

import json
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
import trio

import imagen
from imagen.testing import InlineWorkers, ScriptedReply, ScriptedTransport
from tests.support.images import png
from tests.support.scripted_client import REFUSED, error_reply, images_reply

DATA = Path(__file__).with_name("data")
ARCHIVE = DATA / "home-0.1.0-982b58a.zip"
FACTS = json.loads((DATA / "home-0.1.0-982b58a.json").read_text("utf-8"))
IDS = FACTS["ids"]
IMAGES = {image["id"]: image for image in FACTS["images"]}
# Set only in the tests that need them: with a receiver, the pending message is sent on opening.
HOOKS = ("IMAGEN_WEBHOOK_URL", "IMAGEN_WEBHOOK_SECRET")
STORE = ("IMAGEN_STORE_URL",)
SAME_FIELDS = (
    *(
        "index",
        "prompt",
        "revised_prompt",
        "model",
        "provider",
        "seed",
        "seconds",
        "rating",
        "notes",
    ),
    *("media_type", "width", "height", "size_bytes", "sha256"),
    *("attempt_id", "parent_id", "provider_id"),
)
LEFT = [name for name, session in FACTS["sessions"].items() if session["state"] == "CANCELLED"]
SLOW = ScriptedReply(after_seconds=5000.0)
DOWN = error_reply(503, {"error": {"message": "overloaded"}})


def new_image(number: int) -> ScriptedReply:
    """A reply with an image that the old home does not contain."""
    return images_reply(data=png((number, 255 - number, 7), (64, 64)), after_seconds=1.0)


class Outside:
    """The servers outside: OpenAI answers from a list, all others through a function."""

    def __init__(
        self, *replies: ScriptedReply, others: Callable[..., ScriptedReply] | None = None
    ) -> None:
        self.asked: list[tuple[str, object]] = []
        self._replies = list(replies)
        self._others = others

    def transport(self, access) -> ScriptedTransport:
        return ScriptedTransport(partial(self._answer, access.provider.name))

    def _answer(self, provider: str, request) -> ScriptedReply:
        self.asked.append((provider, request))
        if provider == "openai":
            assert self._replies, f"unexpected request: {request}"
            return self._replies.pop(0)
        assert self._others is not None, f"unexpected request to {provider}"
        return self._others(request)


@pytest.fixture
def home(tmp_path) -> Path:
    """A copy of the old home for one test."""
    folder = tmp_path / "home"
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(folder)
    with closing(sqlite3.connect(folder / "imagen.sqlite3")) as database:
        # One image was being written at the kill. Its receipt holds an absolute path.
        database.execute(
            "UPDATE attempts SET receipt = replace(receipt, ?, ?)", (FACTS["home"], str(folder))
        )
        database.commit()
    return folder


@asynccontextmanager
async def open_home(
    home: Path, outside: Outside | None = None, *, use: tuple[str, ...] = (), **environ: str
):
    """Open a client of this version on the old home, 90 seconds after the kill."""
    known = {
        name: value
        for name, value in FACTS["environ"].items()
        if name not in (*HOOKS, *STORE) or name in use
    }
    began = trio.current_time()
    async with imagen.open_client(
        imagen.load_settings({"IMAGEN_HOME": str(home), **known, **environ}),
        transport=(outside or Outside()).transport,
        workers=InlineWorkers(),
        clock=lambda: FACTS["opened_at"] + trio.current_time() - began,
    ) as client:
        yield client


def ids_of(images) -> list[str]:
    return [image.id for image in images]


def usd(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def moment(value) -> float | None:
    return None if value is None else value.timestamp()


def image_ids(session: dict) -> list[str]:
    return [outcome["image"] for outcome in session["outcomes"] if "image" in outcome]


# --- the library ----------------------------------------------------------------------------------


async def test_every_image_keeps_all_its_fields(autojump_clock, home):
    async with open_home(home) as client:
        images = [image async for image in client.library.find(state="any")]
        assert ids_of(images) == [image["id"] for image in FACTS["images"]]
        for image in images:
            was = IMAGES[image.id]
            for name in SAME_FIELDS:
                assert getattr(image, name) == was[name], (was["prompt"], name)
            assert list(image.tags) == was["tags"]
            assert (image.cost.usd, image.cost.source) == (usd(was["cost_usd"]), was["cost_source"])
            assert moment(image.created_at) == was["created_at"]
            assert moment(image.trashed_at) == was["trashed_at"]
            assert image.path == home / was["file"]
            assert (image.request.tag, image.request.negative_prompt) == (
                was["tag"],
                was["negative_prompt"],
            )
            assert image.record.operation == was["operation"]


async def test_the_library_check_finds_nothing_wrong(autojump_clock, home):
    async with open_home(home) as client:
        assert list(await client.library.check()) == []
        size = await client.library.size()
        assert {name: getattr(size, name) for name in FACTS["size"]} == FACTS["size"]


@pytest.mark.parametrize(
    "search", FACTS["searches"], ids=lambda search: f"{search['query']} {search['filters']}"
)
async def test_search_and_filters_give_the_same_images(search, autojump_clock, home):
    async with open_home(home) as client:
        if search["query"] is None:
            found = await client.library.list(**search["filters"])
        else:
            found = await client.library.search(search["query"], **search["filters"])
        assert ids_of(found) == search["ids"]


async def test_tags_and_collections_are_unchanged(autojump_clock, home):
    async with open_home(home) as client:
        assert dict(await client.library.tags()) == FACTS["tags"]
        collections = client.library.collections
        found = await collections.list()
        assert [one.name for one in found] == [one["name"] for one in FACTS["collections"]]
        for one, was in zip(found, FACTS["collections"], strict=True):
            assert (one.id, one.notes, one.images) == (was["id"], was["notes"], was["count"])
            assert moment(one.created_at) == was["created_at"]
            assert ids_of(await collections.images(one.name)) == was["images"]


async def test_a_trashed_image_can_be_restored_to_its_collection(autojump_clock, home):
    thrown = IDS["thrown"]
    async with open_home(home) as client:
        assert ids_of(await client.library.list(state="trashed")) == [thrown]
        assert await client.library.restore(thrown) == 1
        assert thrown in ids_of(await client.library.search("grey square"))
        assert ids_of(await client.library.collections.images("Sea")) == [
            IDS["dusk"],
            IDS["fog"],
            thrown,
        ]


async def test_lineage_is_unchanged(autojump_clock, home):
    def tree(lineage) -> dict:
        return {lineage.image.id: [tree(child) for child in lineage.children]}

    async with open_home(home) as client:
        assert tree(await client.library.lineage(IDS["stars"])) == FACTS["lineage"]


async def test_existing_thumbnails_are_reused(autojump_clock, home):
    before = sorted(
        str(path.relative_to(home)) for path in (home / "renditions").rglob("*") if path.is_file()
    )
    assert before == FACTS["renditions"]
    async with open_home(home) as client:
        for name in ("dusk", "kite"):
            image = await client.library.get(IDS[name])
            path = await client.renditions.get(image, imagen.library.thumbnail(256))
            assert str(path.relative_to(home)) in before


# --- the ledger -----------------------------------------------------------------------------------


def figures(spending) -> dict:
    was = FACTS["spending"]
    return {
        **{
            name: str(getattr(spending, name))
            for name in ("settled_usd", "reserved_usd", "unknown_usd")
        },
        "attempts": {name: getattr(spending.attempts, name) for name in was["attempts"]},
        "images": spending.images,
        "unpriced": spending.unpriced,
        "by_source": {source: str(amount) for source, amount in spending.by_source.items()},
    }


async def test_spending_is_unchanged_also_after_a_second_opening(autojump_clock, home):
    for _ in range(2):
        # The first client settles the attempts of the killed process, the second must not.
        async with open_home(home) as client:
            assert figures(await client.spending()) == FACTS["spending"]
            for key, groups in FACTS["spending_by"].items():
                groups_now = {
                    group.name: figures(group.spending) for group in await client.spending_by(key)
                }
                assert groups_now == groups, key
            hits = await client.cache_hits()
            assert (hits.images, hits.saved_usd) == (2, Decimal(FACTS["cache_hits"]["saved_usd"]))


async def test_spending_equals_the_sum_of_the_attempts(autojump_clock, home):
    # The image that was being written at the kill is paid too: 0.04.
    settled = sum(row["settled_nanousd"] or 0 for row in FACTS["attempts"]) + 40_000_000
    async with open_home(home) as client:
        spending = await client.spending()
        assert spending.settled_usd == Decimal(settled) / 10**9
        assert (
            sum(getattr(spending.attempts, name) for name in FACTS["spending"]["attempts"])
            == FACTS["rows"]["attempts"]
        )


async def test_unknown_attempts_are_listed_and_can_be_reconciled(autojump_clock, home):
    async with open_home(home) as client:
        unknown = await client.unknown_attempts()
        assert [(row.id, row.model, str(row.reserved_usd)) for row in unknown] == [
            (row["id"], row["model"], row["reserved_usd"]) for row in FACTS["unknown"]
        ]
        await client.reconcile(unknown[0].id, "0.01")
        assert len(await client.unknown_attempts()) == len(unknown) - 1
        after = await client.spending()
        assert after.settled_usd == Decimal(FACTS["spending"]["settled_usd"]) + Decimal("0.01")


async def test_a_standing_budget_counts_the_old_attempts(autojump_clock, home):
    # The limit for posters is 0.15, and 0.08 of it is spent.
    async with open_home(home, Outside(new_image(1))) as client:
        await client.generate("a poster of a market", model="test-model", tag="poster")
        with pytest.raises(imagen.BudgetExceededError):
            await client.generate("a poster of a race", model="test-model", tag="poster")


async def test_the_cache_answers_old_requests_with_their_images(autojump_clock, home):
    async with open_home(home) as client:
        image = await client.generate("a poster of a fair", model="test-model", cache=True)
        assert (image.id, image.cached) == (IDS["poster"], True)
        drawn = await client.generate(
            "a lighthouse at dusk", model="sketch", size="64x64", seed=11, cache=True
        )
        assert (drawn.id, drawn.cached) == (IDS["dusk"], True)
        assert (await client.cache_hits()).images == 4


async def test_a_job_that_was_polled_at_the_kill_is_collected(autojump_clock, home):
    link = "https://delivery.bfl.ai/bridge.png"

    def answer(request) -> ScriptedReply:
        if request.url == link:
            return ScriptedReply(
                chunks=(png((3, 2, 1), (64, 64)),), headers={"content-type": "image/png"}
            )
        assert request.url.endswith(FACTS["job"]["remote_id"])
        ready = {"id": FACTS["job"]["remote_id"], "status": "Ready", "result": {"sample": link}}
        return ScriptedReply(
            chunks=(json.dumps(ready).encode(),), headers={"content-type": "application/json"}
        )

    async with open_home(home, Outside(others=answer), **FACTS["job"]["environ"]) as client:
        await client.collect()
        (image,) = await client.library.search("stone bridge")
        assert (image.model, image.seed) == (FACTS["job"]["model"], 5)
        assert (await client.spending()).reserved_usd == 0


# --- sessions and batches -------------------------------------------------------------------------


def agrees(outcome, was: dict) -> bool:
    """Compare an outcome with its facts."""
    if (outcome.index, outcome.cost.usd) != (was["index"], usd(was["cost_usd"])):
        return False
    if "image" in was:
        now = (outcome.id, outcome.model, outcome.cached)
        return now == (was["image"], was["model"], was["cached"])
    return (outcome.error.code, outcome.error.billed) == (was["code"], was["billed"])


async def finished(session):
    with trio.fail_after(3000):
        await session.wait_finished()
    return session


@pytest.mark.parametrize("name", FACTS["sessions"])
async def test_a_session_has_all_its_outcomes(name, autojump_clock, home):
    was = FACTS["sessions"][name]
    async with open_home(home) as client:
        session = await finished(await client.sessions.get(was["id"]))
        assert (session.state, session.requested) == (was["state"], was["requested"])
        assert len(session.outcomes) == len(was["outcomes"])
        assert all(map(agrees, session.outcomes, was["outcomes"]))


@pytest.mark.parametrize("name", LEFT)
async def test_an_unfinished_session_can_be_resumed_to_its_end(name, autojump_clock, home):
    was = FACTS["sessions"][name]
    outside = Outside(*map(new_image, range(4)))
    async with open_home(home, outside) as client:
        session = await finished(await client.resume_session(was["id"]))
        assert session.state == "COMPLETED"
        assert sorted(outcome.index for outcome in session.outcomes) == list(
            range(was["requested"])
        )
        assert all(agrees(*pair) for pair in zip(session.outcomes, was["outcomes"], strict=False))
        missing = was["requested"] - len(was["outcomes"])
        assert len(outside.asked) <= missing


async def test_resuming_a_finished_session_sends_nothing(autojump_clock, home):
    was = FACTS["sessions"]["finished session"]
    async with open_home(home) as client:
        session = await finished(await client.resume_session(was["id"]))
        assert ids_of(image for _, image in session.images) == image_ids(was)
        ((number, failure),) = session.failures
        assert isinstance(failure.error, imagen.ContentFilterError)
        assert failure.error.message == was["outcomes"][number]["message"]


async def test_a_resumed_session_keeps_its_fallback_hedge_and_budget(autojump_clock, home):
    was = FACTS["sessions"]["killed session"]
    # Four images are missing: a slow reply, an outage, a success, and the budget is used up.
    outside = Outside(SLOW, DOWN, new_image(1), new_image(2))
    async with open_home(home, outside) as client:
        began = trio.current_time()
        session = await client.resume_session(was["id"])
        _, hedged = await session.wait_image(after=1)
        assert hedged.model == "sketch"
        assert trio.current_time() - began == pytest.approx(
            was["way"]["ways"]["hedge_after_seconds"], abs=2
        )
        await finished(session)
        rest = session.outcomes[3:]
        assert [outcome.model for outcome in rest[:-1]] == ["sketch", "test-model"]
        assert isinstance(rest[-1].error, imagen.BudgetExceededError)


async def test_a_resumed_session_keeps_its_routing(autojump_clock, home):
    was = FACTS["sessions"]["session by price"]
    async with open_home(home, Outside(new_image(1), new_image(2))) as client:
        session = await finished(await client.resume_session(was["id"]))
        assert [image.model for _, image in session.images] == ["small-model"] * 3


async def test_a_resumed_session_keeps_its_cache_option(autojump_clock, home):
    was = FACTS["sessions"]["session with the cache"]
    # The library has an image for the same request from outside this session, so nothing is sent.
    async with open_home(home) as client:
        session = await finished(await client.resume_session(was["id"]))
        last = session.outcomes[-1]
        assert (last.id, last.cached) == (was["outcomes"][0]["image"], True)


async def test_a_resumed_session_keeps_wait_false(autojump_clock, home):
    was = FACTS["sessions"]["session that does not wait"]
    with (home / "imagen.toml").open("a") as file:
        file.write("\n[providers.openai]\nrate_limit = { images = 1, period_seconds = 60 }\n")
    async with open_home(home, Outside(new_image(1))) as client:
        session = await finished(await client.resume_session(was["id"]))
        made, refused = session.outcomes[2:]
        assert made.index == 2
        assert refused.error.code == "RATE_LIMIT"


@pytest.mark.parametrize("name", FACTS["batches"])
async def test_a_batch_can_be_reopened_by_its_id(name, autojump_clock, home):
    was = FACTS["batches"][name]
    async with open_home(home) as client, client.reopen_batch(was["id"]) as batch:
        outcomes = [outcome async for outcome in batch]
        assert len(outcomes) == len(was["outcomes"])
        assert all(map(agrees, outcomes, was["outcomes"]))


# --- prompts, styles, shares, webhooks, publishing ------------------------------------------------


async def test_prompts_keep_all_versions(autojump_clock, home):
    async with open_home(home) as client:
        found = await client.prompts.list()
        assert [prompt.name for prompt in found] == [
            versions[0]["name"] for versions in FACTS["prompts"]
        ]
        for versions in FACTS["prompts"]:
            history = await client.prompts.history(versions[0]["name"])
            assert len(history) == len(versions)
            for prompt, was in zip(history, versions, strict=True):
                for name in (
                    "version",
                    "versions",
                    "text",
                    "negative_prompt",
                    "notes",
                    "favourite",
                ):
                    assert getattr(prompt, name) == was[name], (was["name"], name)
                assert [list(prompt.styles), list(prompt.tags)] == [was["styles"], was["tags"]]
                assert dict(prompt.parameters) == was["parameters"]
                assert moment(prompt.created_at) == was["created_at"]
        assert [prompt.name for prompt in await client.prompts.list(favourites=True)] == ["harbour"]
        assert [
            prompt.name for prompt in await client.prompts.list("rough sea", tag="morning")
        ] == ["harbour"]


async def test_added_styles_are_loaded_beside_the_built_in_ones(autojump_clock, home):
    async with open_home(home) as client:
        styles = await client.styles()
        assert len(styles) > len(FACTS["styles"])
        for name, was in FACTS["styles"].items():
            style = styles[name]
            for field in ("description", "prefix", "suffix", "negative_prompt"):
                assert getattr(style, field) == was[field]
            assert dict(style.parameters) == was["parameters"]


async def test_share_links_still_open_the_same_image_and_collection(autojump_clock, home):
    async with open_home(home) as client:
        shares = await client.shares.list(ended=True)
        assert [share.id for share in shares] == [was["id"] for was in FACTS["shares"]]
        for share, was in zip(shares, FACTS["shares"], strict=True):
            for name in ("token", "url", "image_id", "collection_id"):
                assert getattr(share, name) == was[name]
            for name in ("created_at", "expires_at", "revoked_at"):
                assert moment(getattr(share, name)) == was[name]
        tokens = {share.id: share.token for share in shares}
        image = await client.shares.resolve(tokens[IDS["share"]])
        assert image.image.id == IDS["dusk"]
        collection = await client.shares.resolve(tokens[IDS["share of a collection"]])
        assert collection.collection.name == "Sea"
        for name in ("share taken back", "share that ended"):
            assert await client.shares.resolve(tokens[IDS[name]]) is None


async def test_webhooks_are_listed_and_the_pending_one_is_sent_with_its_id(autojump_clock, home):
    outside = Outside(others=lambda request: ScriptedReply(status=204, after_seconds=5.0))
    async with open_home(home, outside, use=HOOKS) as client:
        found = await client.webhooks.list()
        assert [message.id for message in found] == [was["id"] for was in FACTS["webhooks"]]
        for message, was in zip(found, FACTS["webhooks"], strict=True):
            assert message.body == was["body"]
            assert (message.state, message.last_error) == (was["state"], was["last_error"])
        await trio.sleep(10)
        assert [message.id for message in await client.webhooks.list("dead")] == [
            IDS["webhook dead"]
        ]
        assert not await client.webhooks.list("pending")
        ((_, request),) = outside.asked
        assert request.url == FACTS["environ"]["IMAGEN_WEBHOOK_URL"]
        assert request.headers["webhook-id"] == IDS["webhook waiting"]


async def test_publications_keep_their_states(autojump_clock, home):
    pytest.importorskip("obstore")
    async with open_home(home, use=STORE) as client:
        images = [image async for image in client.library.find(state="any")]
        found = await client.publisher.find(images)
        assert [{"sha256": one.sha256, "state": one.state} for one in found] == FACTS["published"]
        status = await client.publisher.status()
        assert {name: getattr(status, name) for name in FACTS["publishing"]} == FACTS["publishing"]


# --- new work -------------------------------------------------------------------------------------


async def test_new_images_can_be_made_in_the_old_home(autojump_clock, home):
    outside = Outside(new_image(1), error_reply(400, REFUSED), new_image(2))
    async with open_home(home, outside) as client:
        kite = await client.library.get(IDS["kite"])
        image = await client.edit("make it evening", kite, model="test-model")
        assert image.parent_id == kite.id
        with pytest.raises(imagen.ContentFilterError):
            await client.generate("something else", model="test-model")
        session = await finished(client.start_session("a last one", model="test-model"))
        assert session.state == "COMPLETED"
        await client.library.tag(image, ["sea"])
        await client.library.collections.add("Sea", image)
    async with open_home(home) as client:
        assert (await client.library.size()).images == FACTS["size"]["images"] + 2
        assert dict(await client.library.tags())["sea"] == FACTS["tags"]["sea"] + 1
        assert ids_of(await client.library.collections.images("Sea"))[-1] == image.id
        after = await client.spending()
        assert after.settled_usd == Decimal(FACTS["spending"]["settled_usd"]) + Decimal("0.08")
        assert list(await client.library.check()) == []
