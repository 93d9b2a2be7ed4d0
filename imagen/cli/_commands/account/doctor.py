"""`imagen doctor`: the configuration, the providers that reply, and missing
parts.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import platform
import shutil

import msgspec
import trio

from .... import Client, ProviderStatus, catalog_age_note, open_client, version
from ....providers import CATALOG_AS_OF
from ..._console import Console, ExitStatus

__all__ = ["run_doctor"]


async def run_doctor(options: argparse.Namespace, console: Console) -> ExitStatus:
    """Probe every configured provider concurrently. Status 0 even if some are
    not configured: a missing key is not a fault.
    """
    async with open_client() as client:
        statuses = await _probe_all(client)
        free = await trio.to_thread.run_sync(shutil.disk_usage, client.settings.home)
        report = {
            "imagen": version(),
            "python": platform.python_version(),
            "home": str(client.settings.home),
            "free_bytes": free.free,
            "default_model": client.default_model.id,
            "catalog_as_of": str(CATALOG_AS_OF),
            "mcp": importlib.util.find_spec("mcp") is not None,
            "providers": [msgspec.to_builtins(status) for status in statuses],
        }
    broken = [status for status in statuses if status.configured and not status.usable]
    if console.json:
        console.emit(report)
    else:
        _print_report(report, statuses, console)
    return ExitStatus.SOME_FAILED if broken else ExitStatus.DONE


async def _probe_all(client: Client) -> list[ProviderStatus]:
    statuses: dict[str, ProviderStatus] = {}

    async def probe(name: str) -> None:
        statuses[name] = await client.probe(name)

    async with trio.open_nursery() as nursery:
        for name in client.settings.access:
            nursery.start_soon(probe, name)
    return [statuses[name] for name in client.settings.access]


def _print_report(
    report: dict[str, object], statuses: list[ProviderStatus], console: Console
) -> None:
    free = report["free_bytes"]
    assert isinstance(free, int)
    console.say(f"imagen {report['imagen']} on Python {report['python']}")
    console.say(f"home     {report['home']}, {free >> 30} GiB free")
    console.say(f"default  {report['default_model']}")
    console.say(f"catalog  of {report['catalog_as_of']}")
    if (note := catalog_age_note(datetime.datetime.now(datetime.UTC).date())) is not None:
        console.say(f"         {note}")
    console.say(
        "mcp      installed"
        if report["mcp"]
        else 'mcp      missing: pip install "imagen-trio[mcp]" for imagen-mcp'
    )
    console.say("")
    for status in statuses:
        mark = "ok" if status.usable else ("!!" if status.configured else "--")
        where = f" ({status.base_url})" if status.base_url else ""
        console.say(f"{mark}  {status.name}{where}: {status.message}")
