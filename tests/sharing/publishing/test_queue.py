"""The queue: whatever happens in whatever order, in the end the store has what
was wanted last.
"""

from __future__ import annotations

import random
from functools import partial
from itertools import pairwise

import pytest
import trio

import imagen
from imagen import StoreSettings
from imagen.sharing import Publisher
from imagen.sharing._publishing import publications as _rows
from imagen.sharing._publishing import publisher as _publisher
from imagen.testing import InlineWorkers
from tests.support.publishing import Shelf, open_shelf, running
from tests.support.scripted_client import virtual_time

pytestmark = pytest.mark.usefixtures("engine")

STORE = "file:///store"
LEASE = 120.0
IMAGES = [f"{number:064x}" for number in range(2)]
SETTINGS = StoreSettings(url=STORE)
# How often each comes: those that die hold up the others until their lease is
# over.
MOVES = {
    "publish": 3.0,
    "remove": 3.0,
    "claim": 4.0,
    "do": 4.0,
    "tell": 3.0,
    "die": 0.3,
    "time": 0.7,
}


class FakeStore:
    """What `ObjectStore` does, in memory; fails as often as it is told."""

    def __init__(
        self, *failures: imagen.ImagenError, for_ever: imagen.ImagenError | None = None
    ) -> None:
        self.objects: dict[str, bytes] = {}
        self.failures = list(failures)
        self.for_ever = for_ever
        self.asked: list[tuple[str, float]] = []

    def check(self) -> None:
        pass

    def put(self, key: str, data: bytes, media_type: str) -> None:
        self._ask("put")
        self.objects[key] = data

    def delete(self, key: str) -> None:
        self._ask("delete")
        self.objects.pop(key, None)

    def _ask(self, what: str) -> None:
        self.asked.append((what, trio.current_time()))
        if self.for_ever is not None:
            raise self.for_ever
        if self.failures:
            raise self.failures.pop(0)


@pytest.fixture
async def shelf(tmp_path):
    async with open_shelf(tmp_path, InlineWorkers()) as opened:
        yield opened


def publisher_to(shelf: Shelf, store: FakeStore, settings: StoreSettings = SETTINGS) -> Publisher:
    publisher = shelf.publisher(settings, now=virtual_time)
    publisher._store = store  # type: ignore[assignment]
    return publisher


def busy() -> imagen.ProviderError:
    return imagen.ProviderError("The store answered 503.", retryable=True)


@pytest.mark.parametrize("seed", range(40))
async def test_in_the_end_the_store_has_what_was_wanted_last(shelf, seed):
    """Workers claim, do it at some moment of their lease, and then tell of it,
    fail, or die.
    """
    chance = random.Random(seed)
    now, objects, wanted = 1000.0, set(), {}
    # Claims that are worked on: until when, and whether it was done in the
    # store already.
    under_way: list[tuple[_rows.Lease, float, bool]] = []

    async def step(what: str) -> None:
        nonlocal now
        match what:
            case "publish" | "remove":
                sha256 = chance.choice(IMAGES)
                wanted[sha256] = what == "publish" or (
                    wanted.get(sha256, False) and what != "remove"
                )
                statement = (
                    _rows.enqueue(sha256, "image/png", store=STORE, now=now)
                    if what == "publish"
                    else _rows.remove(sha256, store=STORE, now=now)
                )
                await shelf.database.write([statement])
            case "claim":
                claim = partial(
                    _rows.lease, store=STORE, now=now, until=now + LEASE, limit=chance.randint(1, 3)
                )
                under_way.extend(
                    (one, now + LEASE, False) for one in await shelf.database.transact(claim)
                )
            case "do" if under_way:
                place = chance.randrange(len(under_way))
                claim, until, _ = under_way[place]
                (objects.add if claim.state == "queued" else objects.discard)(claim.sha256)
                under_way[place] = claim, until, True
            case "tell" if under_way:
                claim, _, done = under_way.pop(chance.randrange(len(under_way)))
                if done:
                    state = "published" if claim.state == "queued" else "removed"
                    end = partial(_rows.finish, leased=claim, store=STORE, state=state, now=now)
                else:
                    end = partial(
                        _rows.finish,
                        leased=claim,
                        store=STORE,
                        state=claim.state,
                        now=now,
                        next_try_at=now + 1.0,
                    )
                await shelf.database.transact(end)
            case "die" if under_way:
                under_way.pop(chance.randrange(len(under_way)))
            case "time":
                now += chance.choice((1.0, 30.0, LEASE + 1))
                # No request goes on beyond its lease.
                under_way[:] = [one for one in under_way if one[1] > now]

    async def check() -> None:
        """What is said to be there is there, unless a process is about to
        change it.
        """
        busy = {claim.sha256 for claim, _, _ in under_way}
        for sha256, state in await shelf.database.read("SELECT sha256, state FROM publications"):
            if sha256 not in busy and state in ("published", "removed"):
                assert (sha256 in objects) == (state == "published")

    for _ in range(400):
        await step(chance.choices(list(MOVES), list(MOVES.values()))[0])
        await check()
    for _ in range(4):
        # Everybody who is still there does what he has claimed, and so does the
        # next one.
        under_way[:] = [(claim, until, False) for claim, until, _ in under_way]
        for what in ("do", "tell", "claim") * len(IMAGES):
            await step(what)
        now += LEASE + 1
    assert objects == {sha256 for sha256, is_wanted in wanted.items() if is_wanted}
    states = dict(await shelf.database.read("SELECT sha256, state FROM publications"))
    assert states == {
        sha256: "published" if is_wanted else "removed"
        for sha256, is_wanted in wanted.items()
        if sha256 in states
    }


async def test_faults_are_tried_again_after_longer_and_longer_waits(shelf, autojump_clock):
    store = FakeStore(*[busy() for _ in range(4)])
    (image,) = await shelf.add(b"one")
    async with running(publisher_to(shelf, store)) as publisher:
        (done,) = await publisher.publish([image])
    assert (done.state, done.tries, done.last_error) == ("published", 5, None)
    moments = [at for _, at in store.asked]
    assert [round(after - before, 3) for before, after in pairwise(moments)] == [0.5, 1, 2, 5]


@pytest.mark.long_on_postgresql
async def test_after_the_last_try_it_has_failed_and_says_why(shelf, autojump_clock):
    store = FakeStore(for_ever=busy())
    (image,) = await shelf.add(b"one")
    seen = []
    async with running(publisher_to(shelf, store)) as publisher:
        (done,) = await publisher.publish(
            [image], progress=lambda done, total: seen.append((done, total))
        )
        assert (done.state, done.last_error) == ("failed", "The store answered 503.")
        assert done.next_try_at is None
        assert len(store.asked) == len(_publisher._WAITS) + 1
        assert (seen[0], seen[-1]) == ((0, 1), (1, 1))
        store.for_ever = None
        (done,) = await publisher.publish([image])
    assert done.state == "published"


@pytest.mark.long_on_postgresql
@pytest.mark.parametrize(
    "error", [busy(), imagen.AuthenticationError("No."), imagen.ConfigurationError("No bucket.")]
)
async def test_what_is_to_be_taken_away_is_never_given_up(shelf, autojump_clock, error):
    store = FakeStore()
    (image,) = await shelf.add(b"one")
    async with running(publisher_to(shelf, store)) as publisher:
        await publisher.publish([image])
        store.for_ever = error
        await publisher.unpublish([image], wait=False)
        await trio.sleep(10 * 86_400)
        (found,) = await publisher.find([image])
        assert (found.state, found.last_error) == ("removing", error.message)
        store.for_ever = None
        await trio.sleep(86_400)
        assert [one.state for one in await publisher.find([image])] == ["removed"]
    assert store.objects == {}
    assert len(store.asked) < 60


async def test_a_changed_mind_does_not_wait_for_the_next_try(shelf, autojump_clock):
    store = FakeStore(for_ever=busy())
    unwanted, deleted, wanted = await shelf.add(b"one", b"two", b"three")
    async with running(publisher_to(shelf, store)) as publisher:
        await publisher.publish([unwanted, deleted, wanted], wait=False)
        await trio.sleep(3 * 3600)
        store.for_ever = None
        with trio.fail_after(120):
            assert [one.state for one in await publisher.unpublish([unwanted])] == ["removed"]
            assert [one.state for one in await publisher.publish([wanted])] == ["published"]
            await shelf.delete([deleted])
            while (await publisher.find([deleted]))[0].state != "removed":
                await trio.sleep(1)


@pytest.mark.parametrize("error", [busy(), imagen.AuthenticationError("No.")])
async def test_what_could_not_be_taken_away_is_tried_at_once_when_it_is_asked_for_again(
    shelf, autojump_clock, error
):
    store = FakeStore()
    (image,) = await shelf.add(b"one")
    async with running(publisher_to(shelf, store)) as publisher:
        await publisher.publish([image])
        store.for_ever = error
        await publisher.unpublish([image], wait=False)
        await trio.sleep(3 * 3600)
        store.for_ever = None
        with trio.fail_after(60):
            assert [one.state for one in await publisher.unpublish([image])] == ["removed"]
            assert store.objects == {}


async def test_unpublishing_reports_the_refusal_of_the_store(shelf, autojump_clock):
    store = FakeStore()
    (image,) = await shelf.add(b"one")
    async with running(publisher_to(shelf, store)) as publisher:
        await publisher.publish([image])
        store.for_ever = imagen.AuthenticationError("No.")
        with trio.fail_after(60):
            (found,) = await publisher.unpublish([image])
        assert (found.state, found.last_error) == ("removing", "No.")


async def test_a_disk_that_fails_for_a_moment_is_waited_for(shelf, autojump_clock):
    (image,) = await shelf.add(b"one")
    publisher = publisher_to(shelf, FakeStore())
    failures = [OSError("the disk is away")]

    def read(sha256: str) -> bytes | None:
        if failures:
            raise failures.pop()
        return shelf.read(sha256)

    publisher._read = read
    async with running(publisher):
        (done,) = await publisher.publish([image])
    assert (done.state, done.tries) == ("published", 2)


async def test_a_database_that_fails_is_waited_for(shelf, autojump_clock, monkeypatch):
    (image,) = await shelf.add(b"one")
    store = FakeStore()
    publisher = publisher_to(shelf, store)
    await publisher.publish([image], wait=False)
    reading, transacting = shelf.database.read, shelf.database.transact
    failures = {"read", "transact"}

    async def read(sql, values=()):
        if sql == _rows.NEXT and "read" in failures:
            failures.remove("read")
            raise imagen.StorageError("The disk is away.")
        return await reading(sql, values)

    async def transact(work):
        if store.asked and "transact" in failures:
            failures.remove("transact")
            raise imagen.StorageError("The disk is away.")
        return await transacting(work)

    monkeypatch.setattr(shelf.database, "read", read)
    monkeypatch.setattr(shelf.database, "transact", transact)
    async with running(publisher):
        await trio.sleep(600)
        assert [one.state for one in await publisher.find([image])] == ["published"]
    # It was put, could not be told of, and was put again when the lease was
    # over.
    assert [what for what, _ in store.asked] == ["put", "put"]
    assert failures == set()


async def test_a_stop_waits_for_what_is_due_but_not_for_the_rest(shelf, autojump_clock):
    store = FakeStore(for_ever=busy())
    images = await shelf.add(b"one", b"two")
    begun = trio.current_time()
    async with running(publisher_to(shelf, store)) as publisher:
        await publisher.publish(images, wait=False)
    assert trio.current_time() - begun < 1
    assert len(store.asked) == 2
    assert [one.state for one in await publisher.find(images)] == ["queued", "queued"]


async def test_a_cancelled_wait_leaves_images_in_line(shelf, autojump_clock):
    store = FakeStore(busy(), busy(), busy(), busy())
    images = await shelf.add(b"one")
    async with running(publisher_to(shelf, store)) as publisher:
        with trio.move_on_after(1.0) as scope:
            await publisher.publish(images)
        assert scope.cancelled_caught
        assert [one.state for one in await publisher.publish(images)] == ["published"]


async def test_no_more_are_on_their_way_than_allowed(tmp_path, autojump_clock):
    class Slow(InlineWorkers):
        running = most = 0

        async def run(self, call):
            self.running += 1
            self.most = max(self.most, self.running)
            await trio.sleep(1)
            self.running -= 1
            return call()

    workers = Slow()
    async with open_shelf(tmp_path, workers) as shelf:
        images = await shelf.add(*[bytes([number]) for number in range(10)])
        settings = StoreSettings(url=STORE, max_at_once=3)
        async with running(publisher_to(shelf, FakeStore(), settings)) as publisher:
            await publisher.publish(images)
    assert workers.most == 3


async def test_stores_do_not_mix(shelf, autojump_clock):
    (image,) = await shelf.add(b"one")
    here, there = FakeStore(), FakeStore()
    other = StoreSettings(url="file:///other")
    async with (
        running(publisher_to(shelf, here)) as first,
        running(publisher_to(shelf, there, other)) as second,
    ):
        await first.publish([image])
        assert there.objects == {}
        assert await second.find([image]) == []
        await second.publish([image])
        await shelf.delete([image])
        await trio.sleep(100)
        assert (await first.status()).removed == (await second.status()).removed == 1
    assert here.objects == there.objects == {}


async def test_a_thousand_images_are_put_in_line_and_found_again(shelf, autojump_clock):
    images = await shelf.add(*[str(number).encode() for number in range(1100)])
    publisher = publisher_to(shelf, FakeStore())
    found = await publisher.publish(images, wait=False)
    assert [one.sha256 for one in found] == [image.sha256 for image in images]
    assert (await publisher.status()).queued == 1100


@pytest.mark.sqlite
async def test_every_question_is_answered_by_an_index(shelf):
    questions = [
        (_rows.NEXT, (STORE,)),
        (_rows.COUNTS, (STORE,)),
        (_rows.LATEST, (STORE, "failed", 10)),
        (_rows.of_hashes(2), (*IMAGES, STORE)),
        (_rows._LEASE, (1.0, STORE, STORE, 1.0, 8)),
        (_rows._FINISH, ("published", None, None, 1.0, IMAGES[0], STORE, "queued", 1)),
        (_rows._END_LEASE, (1.0, IMAGES[0], STORE, 1)),
        (_rows._FAIL_ALL, ("No.", STORE, STORE, 500)),
    ]
    for sql, values in questions:
        plan = [
            str(row[3]) for row in await shelf.database.read(f"EXPLAIN QUERY PLAN {sql}", values)
        ]
        assert plan
        assert not any(step.startswith("SCAN") or "TEMP B-TREE" in step for step in plan), (
            sql,
            plan,
        )
