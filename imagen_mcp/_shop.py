"""What a server works with, and how a tool gets at it."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from mcp.server.mcpserver import Context

import imagen

__all__ = ["Desk", "Shop", "client_of"]


class Shop(NamedTuple):
    """`local_files` says whether callers may name files of this machine, `confirm_above_usd` what needs the user's consent."""

    client: imagen.Client
    local_files: bool = True
    confirm_above_usd: Decimal | None = None


Desk = Context[Shop]


def client_of(ctx: Desk) -> imagen.Client:
    return ctx.request_context.lifespan_context.client
