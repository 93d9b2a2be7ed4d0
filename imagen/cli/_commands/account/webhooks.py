"""`imagen webhooks`: messages to the user's server, delivered and dead."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from .... import Webhook, open_client
from ..._console import Console, ExitStatus

__all__ = ["run_webhooks"]


async def run_webhooks(options: argparse.Namespace, console: Console) -> ExitStatus:
    """List messages, or queue one again and send it before the command ends."""
    async with open_client() as client:
        if options.retry is not None:
            await client.webhooks.retry(options.retry)
        messages = await client.webhooks.list("dead" if options.dead else None)
    if options.retry is not None:
        _tell_retried(options.retry, console)
    elif console.json:
        for message in messages:
            console.emit(_record(message))
    elif messages:
        console.table(
            map(_row, messages), ("ID", "STATE", "ATTEMPTS", "NEXT TRY", "LAST ERROR"), right=(2,)
        )
    else:
        console.say(
            "No message is dead."
            if options.dead
            else "No message yet: each batch that is over makes one."
        )
    return ExitStatus.DONE


def _tell_retried(message_id: str, console: Console) -> None:
    if console.json:
        console.emit({"kind": "retried", "id": message_id})
    else:
        console.say(f"{message_id} is sent again; `imagen webhooks` shows what becomes of it.")


def _row(message: Webhook) -> tuple[str, str, str, str, str]:
    next_try = (
        "-"
        if message.next_try_at is None
        else f"{message.next_try_at.astimezone():%Y-%m-%d %H:%M:%S}"
    )
    return message.id, message.state, str(message.attempts), next_try, message.last_error or "-"


def _record(message: Webhook) -> Mapping[str, object]:
    return {
        "kind": "webhook",
        "id": message.id,
        "state": message.state,
        "attempts": message.attempts,
        "next_try_at": message.next_try_at,
        "last_error": message.last_error,
        "created_at": message.created_at,
        "ended_at": message.ended_at,
    }
