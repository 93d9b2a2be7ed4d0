"""What goes for good goes whole, and nothing else goes with it."""

from __future__ import annotations

import msgspec
import pytest

import imagen
from imagen.library import CleanupRules
from tests.support.custom_provider import Atelier, open_atelier
from tests.support.images import PNG
from tests.support.library import open_shelf
from tests.support.scripted_client import FakeProvider, open_test_client

pytestmark = pytest.mark.usefixtures("engine")

DAY = 86_400.0


async def test_a_removal_that_was_cut_off_is_finished_later(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        image = await shelf.add()
        # A process that died after the rows were gone.
        await shelf.database.transact(
            lambda transaction: shelf.library._deletion._delete_rows(transaction, [image.id], None)
        )
        assert image.path.exists()
        assert await shelf.library.check() == []
        await shelf.library.delete([])
        assert not image.path.exists()


async def test_bytes_that_came_back_meanwhile_are_kept(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        image = await shelf.add(data=PNG)
        await shelf.database.transact(
            lambda transaction: shelf.library._deletion._delete_rows(transaction, [image.id], None)
        )
        again = await shelf.add(data=PNG)
        await shelf.library.delete([])
        assert again.data == PNG
        assert await shelf.database.read("SELECT 1 FROM removals") == []


async def test_bytes_that_are_announced_by_a_receipt_are_kept(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        image = await shelf.add(data=PNG)
        receipt = msgspec.json.encode({"images": [], "files": [str(image.path)]}).decode()
        await shelf.database.write(
            [
                (
                    (
                        "INSERT INTO attempts (id, provider, model, operation, images, request,"
                        " state, owner, created_at, receipt)"
                        " VALUES ('a', 'p', 'm', 'generate', 1, '{}', 'sent', 'o', 0, ?)"
                    ),
                    (receipt,),
                )
            ]
        )
        await shelf.library.delete(image)
        assert image.path.exists()
        await shelf.database.write([("UPDATE attempts SET state = 'failed' WHERE id = 'a'", ())])
        await shelf.library.delete([])
        assert not image.path.exists()


async def test_what_was_protected_after_the_plan_stays(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        images = [await shelf.add(day=day) for day in range(3)]
        rules = CleanupRules(max_images=0)
        doomed = await shelf.library._cleanup._expired(rules, shelf.clock.now)
        assert len(doomed) == 3
        await shelf.library.rate(images[1], 5)
        await shelf.library._cleanup._trash(doomed, rules, shelf.clock.now)
        assert [image.id async for image in shelf.library.find()] == [images[1].id]


async def test_what_was_restored_after_the_plan_stays(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        image = await shelf.add()
        await shelf.library.trash(image)
        before = shelf.clock.now + DAY
        await shelf.library.restore(image)
        assert await shelf.library._deletion.delete([image.id], only_trashed_before=before) == 0
        assert image.path.exists()


@pytest.mark.parametrize(
    ("rules", "gone"),
    [
        (CleanupRules(), []),
        (CleanupRules(max_age_days=398), [0, 1]),
        (CleanupRules(max_images=2), [0, 1, 2]),
        (CleanupRules(max_bytes=0), [0, 1, 2, 3, 4]),
        (CleanupRules(max_images=0, keep_shared=False), [0, 1, 2, 3, 4]),
    ],
)
async def test_the_oldest_go_first_and_a_dry_run_only_says_so(tmp_path, rules, gone):
    async with open_shelf(tmp_path) as shelf:
        images = [await shelf.add(day=day) for day in range(5)]
        planned = await shelf.library.clean(rules, dry_run=True)
        assert len(await shelf.library.list()) == 5
        assert await shelf.library.clean(rules) == planned
        assert [one.image_id for one in planned.trashed] == [images[index].id for index in gone]


async def test_the_trash_is_emptied_after_its_time_and_its_files_with_it(tmp_path):
    removed: list[str] = []
    async with open_shelf(tmp_path, on_removed=removed.append) as shelf:
        image = await shelf.add()
        await shelf.library.trash(image)
        shelf.clock.now += 29 * DAY
        assert (await shelf.library.clean(CleanupRules())).deleted == ()
        shelf.clock.now += 2 * DAY
        (deleted,) = (await shelf.library.clean(CleanupRules())).deleted
        assert deleted.image_id == image.id
        assert removed == [image.sha256]
        assert await shelf.library.get(image.id) is None


async def test_shared_images_stay_as_long_as_their_link_is_good(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        images = [await shelf.add(day=day) for day in range(3)]
        now = shelf.clock.now
        share = (
            "INSERT INTO shares (id, image_id, created_at, expires_at, revoked_at) VALUES (?, ?, 0,"
            " ?, ?)"
        )
        await shelf.database.write(
            [
                (share, ("a", images[0].id, now + 1, None)),
                (share, ("b", images[1].id, now + 1, 5.0)),
            ]
        )
        plan = await shelf.library.clean(CleanupRules(max_images=0), dry_run=True)
        assert [one.image_id for one in plan.trashed] == [images[1].id, images[2].id]
        shelf.clock.now += 2
        assert (
            len((await shelf.library.clean(CleanupRules(max_images=0), dry_run=True)).trashed) == 3
        )


@pytest.mark.parametrize(
    "wrong", [{"max_images": -1}, {"trash_days": float("nan")}, {"max_age_days": -0.5}]
)
def test_rules_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="must be 0 or more"):
        CleanupRules(**wrong)


async def test_deleting_keeps_what_it_cost(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, _):
        image = await client.generate("a cat")
        spent = (await client.spending()).settled_usd
        assert await client.library.delete([image, "0" * 16]) == 1
        assert (await client.spending()).settled_usd == spent
        assert not image.path.exists()


async def test_tags_that_make_no_sense_are_refused(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        image = await shelf.list_row()
        for wrong in ("", "   ", "a,b", "a\x1b[31m", "x" * 65, "\ud800"):
            with pytest.raises(imagen.InvalidRequestError, match="A tag is"):
                await shelf.library.tag(image, [wrong])
        with pytest.raises(imagen.InvalidRequestError, match="list of words"):
            await shelf.library.tag(image, "sea")
        with pytest.raises(imagen.InvalidRequestError, match="stars"):
            await shelf.library.rate(image, 6)
        for wrong in ("x" * 100_001, "\ud800"):
            with pytest.raises(imagen.InvalidRequestError, match="note"):
                await shelf.library.annotate(image, wrong)
        await shelf.library.tag(image, ["../../etc", "<b>", "夜", "🏠"])
        assert (await shelf.library.get(image.id)).tags == ("../../etc", "<b>", "夜", "🏠")
        for tag in ("../../etc", "<b>", "夜", "🏠"):
            assert [one.id for one in await shelf.library.list(tags=[tag.upper()])] == [image.id]


async def test_what_was_made_of_an_image_goes_with_it_though_the_process_died_in_between(tmp_path):
    asked: list[str] = []

    def forget(sha256: str) -> None:
        asked.append(sha256)
        if len(asked) == 1:
            raise imagen.StorageError("The disk is away.")

    async with open_shelf(tmp_path, on_removed=forget) as shelf:
        image = await shelf.add()
        with pytest.raises(imagen.StorageError):
            await shelf.library.delete(image)
        await shelf.library.delete([])
        await shelf.library.delete([])
        assert asked == [image.sha256] * 2
        assert await shelf.library.check() == []


def worked_on(image: imagen.Image) -> imagen.InputImage:
    return imagen.InputImage(
        sha256=image.sha256, media_type="image/png", width=8, height=8, id=image.id
    )


async def test_what_an_image_was_made_from_can_be_worked_on_until_that_image_goes_too(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        parent = await shelf.add(data=PNG)
        requests = (
            imagen.Edit(prompt="blue", images=(worked_on(parent),)),
            imagen.Restyle(image=worked_on(await shelf.add()), reference=worked_on(parent)),
            imagen.Generate(prompt="like it", references=(worked_on(parent),)),
        )
        children = [await shelf.add(request=request) for request in requests]
        await shelf.library.delete(parent)
        assert not parent.path.exists()
        for child in children:
            assert shelf.library.files.find_input(parent.sha256) == PNG
            await shelf.library.delete(child)
        assert shelf.library.files.find_input(parent.sha256) is None
        assert await shelf.library.check() == []


async def test_an_input_goes_with_the_last_image_that_was_made_from_it(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        outside = worked_on(shelf.image(data=PNG))
        shelf.library.files.store_input(PNG, sha256=outside.sha256, media_type="image/png")
        one, other = [await shelf.add(request=imagen.Vary(image=outside)) for _ in range(2)]
        await shelf.library.delete(one)
        assert shelf.library.files.find_input(outside.sha256) == PNG
        await shelf.library.delete(other)
        assert shelf.library.files.find_input(outside.sha256) is None


async def test_an_input_that_is_an_image_of_the_library_stays_that(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        parent = await shelf.add(data=PNG)
        child = await shelf.add(request=imagen.Vary(image=worked_on(parent)))
        await shelf.library.delete(child)
        assert parent.data == PNG
        assert await shelf.library.check() == []


async def test_an_edit_can_be_made_again_though_its_parent_was_deleted(autojump_clock):
    async with open_atelier(Atelier()) as client:
        parent = await client.generate("a cat")
        child = await client.edit("blue", parent)
        await client.library.delete(parent)
        assert (await client.replay(child)).image.request.images == child.request.images


@pytest.mark.parametrize("media_type", ["image/png", "application/x-none"])
async def test_what_an_image_says_it_was_made_from_deletes_nothing_elsewhere(media_type, tmp_path):
    victim = tmp_path / "victim.png"
    victim.write_bytes(b"another's")
    async with open_shelf(tmp_path / "home") as shelf:
        for sha256 in ("../../../victim", str(victim.with_suffix("")), "0" * 64):
            source = imagen.InputImage(sha256=sha256, media_type=media_type, width=8, height=8)
            image = await shelf.add(request=imagen.Edit(prompt="a cat", images=(source,)))
            assert await shelf.library.delete(image) == 1
        assert await shelf.database.read("SELECT * FROM removals") == []
    assert victim.read_bytes() == b"another's"
