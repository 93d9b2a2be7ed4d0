"""`imagen migrate`: the home in another database, its images in a store."""

from __future__ import annotations

import argparse

from .... import Client, ConfigurationError, load_settings
from ....library import move_to_postgresql
from ..._arguments.options import add_client_command, add_command
from ..._console import Console, ExitStatus

__all__ = ["add_migrate_command"]


def add_migrate_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Define the command."""
    migrate = commands.add_parser(
        "migrate", help="move the home to another database, or its images to a store"
    )
    what = migrate.add_subparsers(required=True, metavar="WHAT")
    add_command(
        what.add_parser(
            "sqlite-to-postgres",
            help="copy the SQLite file to an empty PostgreSQL database",
            description=(
                "Copy ledger, library, prompts and all else of IMAGEN_HOME to the PostgreSQL"
                " database of IMAGEN_DATABASE_URL, and compare numbers and sums. The SQLite file"
                " and the files of images stay as they are. Run it again if it was interrupted:"
                " it goes on where it was."
            ),
        ),
        _sqlite_to_postgres,
    )
    add_client_command(
        what,
        "images-to-store",
        "put all images into the object store of IMAGEN_IMAGES_URL",
        _images_to_store,
        "Put every file of the library that is only on this machine into the object store. Copies"
        " stay here, within their size. Run it again if it was interrupted: it goes on where it"
        " was. Clients may be open meanwhile, and do the same in the background.",
    )


async def _images_to_store(
    options: argparse.Namespace, client: Client, console: Console
) -> ExitStatus:
    moved = await client.library.upload(
        lambda done, total: console.live(f"{done:,} of {total:,} images are in the store")
    )
    console.clear_live()
    if console.json:
        console.emit({"kind": "uploaded", "images": moved})
    else:
        console.say(f"{moved:,} images were put into the store.")
    return ExitStatus.DONE


async def _sqlite_to_postgres(options: argparse.Namespace, console: Console) -> ExitStatus:
    settings = load_settings()
    if settings.database_url is None:
        raise ConfigurationError(
            "IMAGEN_DATABASE_URL is not set: name the PostgreSQL database that the home moves to."
        )
    moved = await move_to_postgresql(
        settings.home,
        settings.database_url,
        schema=settings.database_schema,
        on_progress=lambda table, rows: console.live(f"{table}: {rows:,} rows"),
    )
    console.clear_live()
    if console.json:
        console.emit({"kind": "moved", "rows": moved.rows})
        return ExitStatus.DONE
    for table, rows in moved.rows.items():
        console.say(f"{rows:>12,}  {table}")
    console.say("All rows are in PostgreSQL, and equal. The SQLite file is as it was.")
    return ExitStatus.DONE
