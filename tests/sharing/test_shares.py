"""Links end by themselves, can be taken back, and cannot be forged by anyone
else.
"""

from __future__ import annotations

import base64
import datetime
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imagen
from imagen.sharing._links.tokens import ShareTokens
from tests.support.lengths import examples
from tests.support.sharing import SECRET, URL, Desk, open_desk

pytestmark = pytest.mark.usefixtures("engine")

DAY = datetime.timedelta(days=1)
LETTERS = string.ascii_letters + string.digits + "-_"
TOKENS = ShareTokens(imagen.Secret(SECRET))


async def test_a_link_opens_an_image_until_its_end(tmp_path):
    async with open_desk(tmp_path) as desk:
        image = await desk.shelf.add()
        share = await desk.shares.share(image, expires=2 * DAY)
        assert share.url == f"{URL}/{share.token}"
        assert (share.image_id, share.collection_id, share.revoked_at) == (image.id, None, None)
        desk.shelf.clock.now += 2 * DAY.total_seconds() - 1
        shared = await desk.shares.resolve(share.token)
        assert shared is not None
        assert shared.image == image
        assert desk.shares.remaining(shared) == 1
        desk.shelf.clock.now += 1
        assert await desk.shares.resolve(share.token) is None


async def test_a_link_to_a_collection_opens_it_as_it_is_now(tmp_path):
    async with open_desk(tmp_path) as desk:
        await desk.library.collections.create("a/b")
        share = await desk.shares.share(collection="a/b")
        image, other = await desk.shelf.add(), await desk.shelf.add()
        await desk.library.collections.add("a/b", image)
        shared = await desk.shares.resolve(share.token)
        assert shared is not None
        assert shared.collection is not None
        assert await desk.shares.images(shared.collection) == [image]
        assert await desk.shares.image(shared.collection, image.id) == image
        assert await desk.shares.image(shared.collection, other.id) is None
        await desk.library.collections.rename("a/b", "c")
        assert await desk.shares.resolve(share.token) is not None


ENDS = {
    "revoked": lambda desk, share, image: desk.shares.revoke(share.id),
    "trashed": lambda desk, share, image: desk.library.trash(image),
    "deleted": lambda desk, share, image: desk.library.delete(image),
}


@pytest.mark.parametrize("end", ENDS)
async def test_what_is_over_opens_nothing(end, tmp_path):
    async with open_desk(tmp_path) as desk:
        image, other = await desk.shelf.add(), await desk.shelf.add()
        share, kept = await desk.shares.share(image), await desk.shares.share(other)
        await ENDS[end](desk, share, image)
        assert await desk.shares.resolve(share.token) is None
        assert await desk.shares.resolve(kept.token) is not None


async def test_a_collection_that_is_gone_opens_nothing(tmp_path):
    async with open_desk(tmp_path) as desk:
        await desk.library.collections.create("sea")
        share = await desk.shares.share(collection="sea")
        await desk.library.collections.delete("sea")
        assert await desk.shares.resolve(share.token) is None


async def test_a_link_is_taken_back_once(tmp_path):
    async with open_desk(tmp_path) as desk:
        share = await desk.shares.share(await desk.shelf.add())
        assert [await desk.shares.revoke(share.id) for _ in range(2)] == [True, False]
        assert not await desk.shares.revoke("nothing")


async def test_links_are_listed_newest_first_and_those_that_ended_only_when_asked_for(tmp_path):
    async with open_desk(tmp_path) as desk:
        image = await desk.shelf.add()
        made = []
        for days in (1, 30, 20):
            made.append(await desk.shares.share(image, expires=days * DAY))
            desk.shelf.clock.now += 1
        await desk.shares.revoke(made[2].id)
        desk.shelf.clock.now += 2 * DAY.total_seconds()
        assert await desk.shares.list() == [made[1]]
        assert [share.id for share in await desk.shares.list(ended=True)] == [
            share.id for share in reversed(made)
        ]
        assert len(await desk.shares.list(ended=True, limit=2)) == 2


@pytest.mark.parametrize("at", [0, 5, 11, 17, 18, 30, 59])
@pytest.mark.parametrize("shift", [1, 2, 16, 32])
async def test_a_token_with_another_letter_opens_nothing(at, shift, tmp_path):
    token = TOKENS.make("00112233445566ff", 2_000_000_000)
    other = LETTERS[(LETTERS.index(token[at]) + shift) % 64]
    forged = token[:at] + other + token[at + 1 :]
    assert TOKENS.read(token, 0) == ("00112233445566ff", 2_000_000_000)
    assert TOKENS.read(forged, 0) is None


@settings(max_examples=examples(300))
@given(
    token=st.text() | st.text(LETTERS, min_size=60, max_size=60) | st.text(min_size=60, max_size=60)
)
def test_no_text_at_all_is_a_token_unless_it_was_signed(token):
    assert TOKENS.read(token, 0) is None


@given(st.binary(min_size=8, max_size=8), st.integers(1, 2**32 - 1), st.text(min_size=16))
def test_a_token_is_good_for_its_own_secret_only(share_id, expires_at, secret):
    tokens = ShareTokens(imagen.Secret("another " + secret))
    token = tokens.make(share_id.hex(), expires_at)
    assert tokens.read(token, expires_at - 1) == (share_id.hex(), expires_at)
    assert tokens.read(token, expires_at) is None
    assert TOKENS.read(token, 0) is None
    assert set(token) <= set(LETTERS)


async def test_a_longer_life_cannot_be_written_into_a_token(tmp_path):
    async with open_desk(tmp_path) as desk:
        share = await desk.shares.share(await desk.shelf.add())
        data = bytearray(base64.urlsafe_b64decode(share.token))
        data[9:13] = b"\xff" * 4
        assert await desk.shares.resolve(base64.urlsafe_b64encode(data).decode()) is None
        # Nor does one that is signed, for an end that the share has not.
        assert await desk.shares.resolve(TOKENS.make(share.id, 2**32 - 1)) is None
        assert await desk.shares.resolve(TOKENS.make("00" * 8, 2**32 - 1)) is None


async def test_no_token_is_kept_and_none_shows_in_a_repr(tmp_path):
    async with open_desk(tmp_path) as desk:
        share = await desk.shares.share(await desk.shelf.add())
        rows = await desk.shelf.database.read("SELECT * FROM shares")
        assert share.token not in repr(rows) + repr(share) + str(share) + f"{share}"
        assert [one.token for one in await desk.shares.list()] == [share.token]
    for path in tmp_path.glob("imagen.sqlite3*"):
        assert share.token.encode() not in path.read_bytes()


async def test_without_a_secret_nothing_is_shared_and_nothing_opens(tmp_path):
    async with open_desk(tmp_path) as desk:
        token = (await desk.shares.share(await desk.shelf.add())).token
    async with open_desk(tmp_path, secret=None) as desk:
        for call in (desk.shares.share("x"), desk.shares.list()):
            with pytest.raises(
                imagen.ConfigurationError, match="set IMAGEN_SHARE_SECRET to at least 16"
            ):
                await call
        assert await desk.shares.resolve(token) is None
    with pytest.raises(imagen.ConfigurationError, match="IMAGEN_SHARE_SECRET is too short"):
        async with open_desk(tmp_path, secret="fifteen letters"):
            pass


WRONG = {
    "neither": ({}, "expected one image or one collection"),
    "both": ({"image": "x", "collection": "sea"}, "expected one image or one collection"),
    "no image": ({"image": "00112233445566ff"}, "outside the trash"),
    "no collection": ({"collection": "nothing"}, "Unknown collection"),
    "no time": ({"image": "x", "expires": DAY * 0}, "one second to ten years"),
    "no end": ({"image": "x", "expires": DAY * 4000}, "one second to ten years"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_what_cannot_be_shared_is_said(name, tmp_path):
    fields, sentence = WRONG[name]
    async with open_desk(tmp_path) as desk:
        with pytest.raises(imagen.InvalidRequestError, match=sentence):
            await desk.shares.share(**fields)
        assert await desk.shares.list() == []


async def test_what_is_in_the_trash_is_not_shared(tmp_path):
    async with open_desk(tmp_path) as desk:
        image = await desk.shelf.add()
        await desk.library.trash(image)
        with pytest.raises(imagen.InvalidRequestError, match="outside the trash"):
            await desk.shares.share(image)


@pytest.mark.sqlite
async def test_what_is_asked_of_the_table_uses_an_index(tmp_path):
    async with open_desk(tmp_path) as desk:
        asked: list[str] = []
        read = desk.shelf.database.read

        async def note(sql: str, values: object = ()) -> object:
            asked.append(sql)
            return await read(sql, values)

        desk.shelf.database.read = note  # type: ignore[method-assign, assignment]
        await use(desk)
        for sql in asked:
            plan = " ".join(
                str(row[3])
                for row in await read(f"EXPLAIN QUERY PLAN {sql}", (None,) * sql.count("?"))
            )
            assert "USING" in plan, sql
            assert not [step for step in plan.split("SCAN ")[1:] if "USING INDEX" not in step], (
                f"{sql}: {plan}"
            )


async def use(desk: Desk) -> None:
    image = await desk.shelf.add()
    share = await desk.shares.share(image)
    await desk.shares.resolve(share.token)
    await desk.shares.list()
