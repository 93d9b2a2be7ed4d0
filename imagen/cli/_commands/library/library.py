"""`imagen tag`, `rate`, `note`, `trash`, `restore`, `lineage`, `clean` and
`library`: looking after images.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import msgspec
import trio

from .... import Client, Image, InvalidRequestError, load_settings, open_client
from ....library import (
    CleanupPlan,
    CleanupRules,
    Finding,
    Lineage,
    find_damage,
    put_aside,
)
from ..._arguments.options import add_client_command, add_command, number_from, whole
from ..._console import Console, ExitStatus, file_size
from ..._output.json_output import kept_record

__all__ = ["add_library_commands", "find_images"]

_ANEW = (
    "The database of {home} cannot be read ({damage}). It is renamed now and not deleted. The"
    " images are listed again from their files, also those of the trash, with the tag recovered."
    " Lost with it are the attempts and what was spent (budgets begin at zero), jobs that"
    " providers still have, tags, ratings, notes, collections, saved prompts, sessions, links, and"
    " the lists of published images and webhooks. A backup has them: to use one, put it in the"
    " place of the new database."
)


def add_library_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Defines them all."""
    tag = add_client_command(commands, "tag", "add or remove tags", _tag)
    tag.add_argument(
        "ids", nargs=1, metavar="ID", help="id from `imagen history`, or its beginning"
    )
    tag.add_argument(
        "tags",
        nargs="+",
        metavar="TAG",
        help="-TAG after -- removes one; --remove removes all that follow",
    )
    tag.add_argument("--remove", action="store_true", help="remove these tags")
    rate = add_client_command(commands, "rate", "rate images", _rate)
    rate.add_argument(
        "stars", type=whole(0, 5), metavar="STARS", help="1 to 5; 0 removes the rating"
    )
    _add_ids(rate)
    note = add_client_command(commands, "note", "write a note on an image", _note)
    note.add_argument("ids", nargs=1, metavar="ID")
    note.add_argument("text", help="text; an empty one removes the note")
    _add_ids(add_client_command(commands, "trash", "move images to the trash", _trash))
    _add_ids(add_client_command(commands, "restore", "restore images from the trash", _restore))
    delete = add_client_command(
        commands, "delete", "delete images and their files permanently", _delete
    )
    _add_ids(delete)
    delete.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    lineage = add_client_command(
        commands, "lineage", "show an image's sources and derivatives", _lineage
    )
    lineage.add_argument("ids", nargs=1, metavar="ID")
    clean = add_client_command(
        commands,
        "clean",
        "apply the cleanup rules, and empty the trash",
        _clean,
        "The rules are those of [cleanup] in imagen.toml, or those given here. Images with stars,"
        " in a collection or shared stay. The trash is deleted permanently after trash_days.",
    )
    clean.add_argument(
        "--dry-run", action="store_true", help="print what would go, and change nothing"
    )
    clean.add_argument("--max-age-days", type=number_from(0), metavar="DAYS")
    clean.add_argument("--max-images", type=whole(0, 2**60), metavar="N")
    clean.add_argument("--max-bytes", type=whole(0, 2**60), metavar="BYTES")
    clean.add_argument("--trash-days", type=number_from(0), metavar="DAYS")
    library = commands.add_parser("library", help="size and integrity of the library")
    what = library.add_subparsers(required=True, metavar="WHAT")
    add_client_command(what, "size", "number and size of the images", _size)
    add_client_command(what, "tags", "list the tags", _tags)
    check = add_command(what.add_parser("check", help="verify every file"), _check_all)
    check.add_argument(
        "--repair",
        action="store_true",
        help="repair what is damaged; paid images are never deleted, and a database that cannot be"
        " read is renamed and made anew",
    )
    backup = add_client_command(
        what, "backup", "write a copy of the database: ledger, library, prompts", _backup
    )
    backup.add_argument("path", type=_path, metavar="PATH", help="a new file")


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _add_ids(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "ids", nargs="+", metavar="ID", help="id from `imagen history`, or its beginning"
    )


async def find_images(client: Client, ids: Sequence[str]) -> Sequence[Image]:
    """The images of ids, or of their beginnings.

    Raises:
        InvalidRequestError: one is not there.
    """
    found: list[Image] = []
    for image_id in ids:
        image = await client.library.get(image_id)
        if image is None:
            raise InvalidRequestError(f"There is no image {image_id}; imagen history lists them.")
        found.append(image)
    return found


async def _tell(
    client: Client, images: Sequence[Image], changed: int, what: str, console: Console
) -> ExitStatus:
    if not console.json:
        console.say(
            f"{what} {changed} of {len(images)}."
            if len(images) > 1
            else f"{what if changed else 'No change'}."
        )
        return ExitStatus.DONE
    for image in images:
        now = await client.library.get(image.id)
        console.emit({"kind": "deleted", "id": image.id} if now is None else kept_record(now))
    return ExitStatus.DONE


async def _tag(options: argparse.Namespace, client: Client, console: Console) -> ExitStatus:
    images = await find_images(client, options.ids)
    if options.remove:
        changed = await client.library.tag(images, remove=options.tags)
    else:
        removed = [tag[1:] for tag in options.tags if tag.startswith("-")]
        added = [tag for tag in options.tags if not tag.startswith("-")]
        changed = await client.library.tag(images, added, remove=removed)
    return await _tell(client, images, changed, "Tagged", console)


async def _rate(options: argparse.Namespace, client: Client, console: Console) -> ExitStatus:
    images = await find_images(client, options.ids)
    return await _tell(
        client, images, await client.library.rate(images, options.stars), "Rated", console
    )


async def _note(options: argparse.Namespace, client: Client, console: Console) -> ExitStatus:
    images = await find_images(client, options.ids)
    return await _tell(
        client, images, await client.library.annotate(images, options.text), "Noted", console
    )


async def _trash(options: argparse.Namespace, client: Client, console: Console) -> ExitStatus:
    images = await find_images(client, options.ids)
    return await _tell(
        client, images, await client.library.trash(images), "Moved to the trash", console
    )


async def _restore(options: argparse.Namespace, client: Client, console: Console) -> ExitStatus:
    images = await find_images(client, options.ids)
    return await _tell(client, images, await client.library.restore(images), "Restored", console)


async def _delete(options: argparse.Namespace, client: Client, console: Console) -> ExitStatus:
    images = await find_images(client, options.ids)
    if not options.yes and not await console.ask(f"Delete {len(images)} images for good?"):
        raise InvalidRequestError(
            "Nothing was deleted: add --yes, or use `imagen trash`, from where they can come back."
        )
    return await _tell(client, images, await client.library.delete(images), "Deleted", console)


async def _lineage(options: argparse.Namespace, client: Client, console: Console) -> ExitStatus:
    (image,) = await find_images(client, options.ids)
    tree = await client.library.lineage(image)
    assert tree is not None
    if tree.missing_parent is not None and not console.json:
        console.say(f"{tree.missing_parent}  (deleted)")
    stack = [(tree, 0)]
    while stack:
        one, depth = stack.pop()
        _print_branch(one, depth, image.id, console)
        stack += [(child, depth + 1) for child in reversed(one.children)]
    return ExitStatus.DONE


def _print_branch(tree: Lineage, depth: int, asked: str, console: Console) -> None:
    image = tree.image
    if console.json:
        console.emit({**kept_record(image), "depth": depth})
        return
    words = image.prompt if len(image.prompt) <= 60 else image.prompt[:59] + "…"
    mark = "  <" if image.id == asked else ""
    console.say(
        f"{'  ' * depth}{image.id}  {msgspec.to_builtins(image.request)['operation']} "
        f" {words}{mark}"
    )


async def _clean(options: argparse.Namespace, client: Client, console: Console) -> ExitStatus:
    given = {
        name: getattr(options, name)
        for name in ("max_age_days", "max_images", "max_bytes", "trash_days")
    }
    changes = {name: value for name, value in given.items() if value is not None}
    rules: CleanupRules = msgspec.structs.replace(client.settings.cleanup, **changes)
    plan = await client.library.clean(rules, dry_run=options.dry_run)
    if console.json:
        for action, doomed in (("trash", plan.trashed), ("delete", plan.deleted)):
            for one in doomed:
                console.emit(
                    {
                        "kind": "cleanup",
                        "action": action,
                        "dry_run": options.dry_run,
                        **msgspec.to_builtins(one),
                    }
                )
        return ExitStatus.DONE
    _print_plan(plan, rules, options.dry_run, console)
    return ExitStatus.DONE


def _print_plan(plan: CleanupPlan, rules: CleanupRules, dry_run: bool, console: Console) -> None:
    would = "would go" if dry_run else "went"
    for doomed, where in ((plan.trashed, "to the trash"), (plan.deleted, "from there for good")):
        total = file_size(sum(one.size_bytes for one in doomed))
        console.say(
            f"{len(doomed)} {'image' if len(doomed) == 1 else 'images'} ({total}) {would} {where}."
        )
    if not rules.has_limit:
        console.say(
            "No rule moves anything to the trash: give one here, or set it in [cleanup] of"
            " imagen.toml."
        )
    if dry_run:
        console.say("Nothing was changed.")


async def _size(options: argparse.Namespace, client: Client, console: Console) -> ExitStatus:
    size = await client.library.size()
    if console.json:
        console.emit({"kind": "library_size", **msgspec.to_builtins(size)})
        return ExitStatus.DONE
    console.say(f"{size.images:,} images, {file_size(size.size_bytes)}, in {client.library.folder}")
    console.say(f"{size.trashed_images:,} in the trash, {file_size(size.trashed_bytes)}")
    return ExitStatus.DONE


async def _tags(options: argparse.Namespace, client: Client, console: Console) -> ExitStatus:
    tags = await client.library.tags()
    if console.json:
        for name, images in tags:
            console.emit({"kind": "tag", "name": name, "images": images})
    elif tags:
        console.table(
            [(name, f"{images:,}") for name, images in tags], ("TAG", "IMAGES"), right={1}
        )
    else:
        console.say("No tags yet: imagen tag ID TAG puts one on an image.")
    return ExitStatus.DONE


async def _check_all(options: argparse.Namespace, console: Console) -> ExitStatus:
    if options.repair:
        await _make_database_anew(console)
    async with open_client() as client:
        return await _check(options, client, console)


async def _make_database_anew(console: Console) -> None:
    """Put a database that cannot be read aside, after it is said what that
    means; the check then lists the images again.
    """
    home = load_settings().home
    damage = await trio.to_thread.run_sync(find_damage, home)
    if damage is None:
        return
    console.note(_ANEW.format(home=home, damage=damage))
    aside = await trio.to_thread.run_sync(put_aside, home)
    if console.json:
        record = {"image_id": None, "path": str(aside), "repaired": "renamed, and made anew"}
        console.emit({"kind": "finding", "finding": "unreadable_database", **record})
    else:
        console.say(f"{aside}  the old database; the new one is empty but for the images")


async def _check(options: argparse.Namespace, client: Client, console: Console) -> ExitStatus:
    findings = await client.library.check(
        repair=options.repair,
        on_progress=lambda checked: console.live(f"{checked:,} images checked"),
    )
    console.clear_live()
    for finding in findings:
        if console.json:
            console.emit({"kind": "finding", **_finding_record(finding)})
        else:
            console.say(_finding_line(finding))
    left = [finding for finding in findings if finding.repaired is None]
    if not console.json and not findings:
        console.say("All is well: every image has its file, whole, and every file its image.")
    if not console.json and left and not options.repair:
        console.say("Mend it with: imagen library check --repair")
    return ExitStatus.SOME_FAILED if left else ExitStatus.DONE


async def _backup(options: argparse.Namespace, client: Client, console: Console) -> ExitStatus:
    target: Path = options.path
    await client.library.back_up(target)
    if console.json:
        console.emit({"kind": "backup", "path": str(target)})
    else:
        console.say(f"The copy is in {target}; the files of images are in {client.library.folder}.")
    return ExitStatus.DONE


def _finding_record(finding: Finding) -> dict[str, object]:
    return {
        "finding": finding.kind,
        "image_id": finding.image_id,
        "path": None if finding.path is None else str(finding.path),
        "repaired": finding.repaired,
    }


def _finding_line(finding: Finding) -> str:
    words = {
        "missing": "the file is missing",
        "damaged": "the file is damaged",
        "waiting": "the file is not in the object store yet",
        "orphan": "no image has this file",
        "leftover": "a write that was cut off left this",
        "unindexed": "search does not find the image",
        "unreadable": "its row in the database is damaged",
    }
    about = "  ".join(str(part) for part in (finding.image_id, finding.path) if part is not None)
    repaired = "" if finding.repaired is None else f": {finding.repaired}"
    return f"{about}  {words[finding.kind]}{repaired}"
