"""Callbacks of a simulated provider: to this machine only, over TLS like the
real ones, at most three times.
"""

import ipaddress
import ssl
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import h11
import trio

from .messages import Callback

_TRIES = 3
_PAUSE_SECONDS = 0.1
_LONGEST_SECONDS = 5.0


async def call_back(callback: Callback, after_seconds: float, tls: ssl.SSLContext | None) -> None:
    """Wait for the end of the job, and send its callback until a try succeeds."""
    if not _is_here(callback.url):
        return
    await trio.sleep(after_seconds)
    for number in range(_TRIES):
        await trio.sleep(number * _PAUSE_SECONDS)
        headers, body = callback.sign(int(time.time()))
        status = None
        with trio.move_on_after(_LONGEST_SECONDS):
            status = await _post(callback.url, headers, body, tls)
        if status is not None and 200 <= status < 300:
            return


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _post(
    url: str, headers: Mapping[str, str], body: bytes, tls: ssl.SSLContext | None
) -> int | None:
    """Return the status of the reply; None if there is none."""
    parts = urlsplit(url)
    fields = {
        "host": parts.netloc,
        "content-length": str(len(body)),
        "connection": "close",
        **headers,
    }
    http = h11.Connection(h11.CLIENT)
    request = h11.Request(method="POST", target=parts.path or "/", headers=list(fields.items()))
    try:
        async with await trio.open_ssl_over_tcp_stream(
            parts.hostname or "", parts.port or 443, https_compatible=True, ssl_context=tls
        ) as stream:
            events = (request, h11.Data(data=body), h11.EndOfMessage())
            await stream.send_all(b"".join(http.send(event) or b"" for event in events))
            while (event := http.next_event()) is h11.NEED_DATA:
                http.receive_data(bytes(await stream.receive_some()))
            return event.status_code if isinstance(event, h11.Response) else None
    except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError):
        return None
