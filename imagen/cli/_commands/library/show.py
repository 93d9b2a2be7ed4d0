"""`imagen show`: everything known about one image, of the library or any file."""

from __future__ import annotations

import argparse
import datetime
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import msgspec
import trio

from .... import Image, StorageError, open_client
from ....metadata import FileDescription, ForeignRecord, Provenance, Record, describe_file
from ..._arguments.options import add_command, user_path
from ..._console import Console, ExitStatus, say_error, usd
from ..._output.json_output import kept_record
from ..._output.preview import Preview, add_preview

__all__ = ["add_show", "run_show"]

_STATES = {
    "trusted": "signature and contents hold, and the certificate is trusted",
    "valid": "signature and contents are valid; the certificate is not trusted",
    "invalid": "the file or its manifest was changed, so nothing in it can be believed",
    "remote": "the manifest lies elsewhere and was not fetched",
}
_BY_AI = {True: "yes, by its manifest", False: "no, by its manifest"}


def add_show(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The arguments of the command."""
    show = commands.add_parser(
        "show",
        help="show the record of an image or of any image file",
        description=(
            "For a file, its embedded record by imagen or another program (AUTOMATIC1111, Forge,"
            " ComfyUI, Fooocus, InvokeAI, NovelAI, SwarmUI), and its signature (C2PA)."
        ),
    )
    add_command(show, run_show)
    show.add_argument(
        "id", metavar="ID|FILE", help="id of an image or its beginning, or path of a file"
    )
    add_preview(show)
    show.add_argument("--trust", type=user_path, metavar="PEM", help="file of trusted certificates")


async def run_show(options: argparse.Namespace, console: Console) -> ExitStatus:
    """Everything about one image."""
    trusted = (
        None
        if options.trust is None
        else await trio.to_thread.run_sync(_read_certificates, options.trust)
    )
    file = user_path(options.id)
    preview = Preview(console, options.preview)
    if await trio.to_thread.run_sync(os.path.isfile, file):
        _show_file(await _describe(file, trusted), console)
        await preview.show(file)
        return ExitStatus.DONE
    async with open_client() as client:
        image = await client.library.get(options.id)
    if image is None:
        say_error(f"There is no file and no image {options.id}; imagen history lists the images.")
        return ExitStatus.USAGE
    await _show_image(image, trusted, console)
    await preview.show(image)
    return ExitStatus.DONE


def _read_certificates(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{path} cannot be read: {error}.") from error


async def _describe(path: Path, trusted: str | None) -> FileDescription:
    return await trio.to_thread.run_sync(partial(describe_file, path, trust_anchors=trusted))


async def _show_image(image: Image, trusted: str | None, console: Console) -> None:
    try:
        description = None
        if image.path is not None:
            description = await _describe(await trio.to_thread.run_sync(image.fetch), trusted)
        problem = None
    except StorageError as error:
        description, problem = None, error.message
    provenance = None if description is None else description.provenance
    if console.json:
        console.emit(
            {
                **kept_record(image),
                "provenance": msgspec.to_builtins(provenance),
                "problem": problem,
            }
        )
        return
    facts = {
        "file": image.path,
        "image": _image(image),
        **_record_facts(image.record),
        "problem": problem,
    }
    _say(facts | _provenance_facts(provenance), console)


def _show_file(description: FileDescription, console: Console) -> None:
    if console.json:
        console.emit({"kind": "file", **msgspec.to_builtins(description, enc_hook=str)})
        return
    facts: dict[str, object] = {"file": description.path, "image": _image(description)}
    if description.record is not None:
        facts |= _record_facts(description.record)
        facts["record"] = (
            "in the file"
            if description.sidecar is None
            else f"beside it, in {description.sidecar.name}"
        )
    elif description.foreign is not None:
        facts |= _foreign_facts(description.foreign)
    else:
        facts["record"] = "none that imagen can read"
    facts |= _provenance_facts(description.provenance)
    facts["metadata"] = ", ".join(description.keys) or "none"
    facts |= {
        f"problem {number}": problem for number, problem in enumerate(description.problems, 1)
    }
    _say(facts, console)


def _say(facts: Mapping[str, object], console: Console) -> None:
    for name, value in facts.items():
        if value not in (None, ""):
            console.say(f"{name:<17}{value}")


def _moment(time: datetime.datetime) -> str:
    try:
        return f"{time.astimezone():%Y-%m-%d %H:%M:%S}"
    except (OverflowError, OSError, ValueError):
        # A file may claim any year, and not all of them can be put into this
        # time zone.
        return time.isoformat()


def _image(one: Image | FileDescription) -> str:
    return f"{one.width}x{one.height} {one.media_type}, {one.size_bytes:,} bytes"


def _record_facts(record: Record) -> dict[str, object]:
    facts: dict[str, object] = {
        "id": record.id,
        "made": f"{_moment(record.created_at)} in {record.seconds:.1f} s",
        "model": f"{record.model} at {record.provider}",
        "seed": record.seed,
        "cost": f"{usd(record.cost_usd)} ({record.cost_source})",
        "prompt": record.prompt,
        "revised prompt": record.revised_prompt,
        "made from": record.parent_id,
        "tags": ", ".join(record.tags),
        "rating": record.rating or None,
        "notes": record.notes,
    }
    for adjustment in record.adjustments:
        sent = adjustment.sent or "left out"
        facts[f"{adjustment.field}:"] = f"asked {adjustment.asked}, {sent}: {adjustment.reason}"
    return facts


def _foreign_facts(record: ForeignRecord) -> dict[str, object]:
    return {
        "made with": record.program,
        "model": record.model,
        "seed": record.seed,
        "prompt": record.prompt,
        "negative prompt": record.negative_prompt,
        "steps": record.steps,
        "sampler": record.sampler,
        "guidance": record.guidance,
        **{f"{name}:": value for name, value in record.parameters.items()},
    }


def _provenance_facts(provenance: Provenance | None) -> dict[str, object]:
    if provenance is None:
        return {}
    signed_at = provenance.signed_at
    return {
        "provenance": f"{provenance.state}: {_STATES[provenance.state]}",
        "signed by": ", ".join(filter(None, (provenance.signer, provenance.issuer))),
        "signed at": None if signed_at is None else _moment(signed_at),
        "claimed by": provenance.claim_generator,
        "actions": ", ".join(provenance.actions),
        "made by AI": None if provenance.made_by_ai is None else _BY_AI[provenance.made_by_ai],
        "source type": provenance.digital_source_type,
        "ingredients": provenance.ingredients or None,
        "manifest": "; ".join(provenance.problems),
    }
