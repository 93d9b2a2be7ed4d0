"""Batches of generated images, streamed as they finish, on Trio.

A folder imports only from those above it in this list:

    _errors      exceptions
    _system      threads, locks, atomic writes: nothing that knows of images
    _requests    catalog of models; requests, their translation and options
    metadata     image headers; records in and beside image files; C2PA
    providers    steps of an exchange; one module or folder per provider
    _results     images, failures, costs, prices, events
    _policy      settings, budgets, rates, retries, breaker, model gate
    _transport   driver of exchanges, HTTP, connections to the providers
    _storage     SQLite and PostgreSQL, ledger, spending, webhooks
    library      images that were made: search, collections, cleanup, imaging
    prompts      templates, styles, grids, kept prompts
    sharing      archives, links, publishing to object stores
    _engine      one request: plan, admit, exchange, settle, keep
    _client      client, batches, sessions, workers
    _bridges     calls into a Trio run from elsewhere
    notebook     live sheet of a batch
    aio          the client for asyncio
    blocking     the client without an event loop
    telemetry    subscribers of events: OpenTelemetry, Prometheus, structlog
    testing      scripted transport, provider simulator
    web          the page in a browser, and its API
    cli          the command `imagen`, on public names only

docs/design.md draws the way of one request through them.
"""

from __future__ import annotations

import lazy_loader

from ._system import command_start as _command_start  # noqa: F401 # isort: skip

# A name is loaded when it is first used: a program that only asks for the
# version, or shows its own help, need not wait for Trio and httpx2.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
