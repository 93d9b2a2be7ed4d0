"""This library: one batch. With --write the way it comes, journal and library;
without, images stay in memory.
"""

from __future__ import annotations

import trio

import imagen

from ..replies import MODEL
from ._run import Run


async def main(run: Run) -> None:
    settings = imagen.load_settings(
        {
            "IMAGEN_HOME": str(run.folder),
            "OPENAI_API_KEY": "no-key-is-needed",
            "OPENAI_BASE_URL": run.url,
        }
    )
    async with imagen.open_client(settings, library="home" if run.write else None) as client:
        await _fetch(client, run, run.warm_up)
        with run.measured():
            await _fetch(client, run, run.images)


async def _fetch(client: imagen.Client, run: Run, n: int) -> None:
    async with client.open_batch("x", n=n, max_at_once=run.at_once, model=MODEL) as batch:
        async for outcome in batch:
            if isinstance(outcome, imagen.Failure):
                raise outcome.error
            run.image(outcome.size_bytes)
            if run.delete and outcome.path is not None:
                outcome.path.unlink()


if __name__ == "__main__":
    trio.run(main, Run())
