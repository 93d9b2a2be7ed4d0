"""Takes in images that were not made here.

Their bytes are announced as to be removed first, and are taken off that list
with the row that has them. So a process that dies in between leaves a file that
the next one removes, and nothing that anybody has to guess about.
"""

from __future__ import annotations

from collections.abc import Callable

from .._errors import StorageError
from .._storage.database import Database, Transaction
from ._files import ImageFiles
from ._rows import ImageRow, insert_image

__all__ = ["adopt"]


async def adopt(
    database: Database, files: ImageFiles, row: ImageRow, data: bytes, now: Callable[[], float]
) -> bool:
    """Lists an image and keeps its bytes, which are those that `row` names.
    Gives whether it was not there yet.

    One that is there, and whose file is not, gets it back.

    Raises:
        StorageError: it cannot be written. There is no half of it.
    """
    announcement = "INSERT OR IGNORE INTO removals (sha256, media_type, queued_at) VALUES (?, ?, ?)"
    await database.write([(announcement, (row.sha256, row.media_type, now()))])
    result = await database.transact(lambda transaction: _adopt(transaction, files, row, data))
    if isinstance(result, StorageError):
        raise result
    return result


def _adopt(
    transaction: Transaction, files: ImageFiles, row: ImageRow, data: bytes
) -> bool | StorageError:
    """Runs while nobody else writes, so that nobody removes the file before its
    row is there.
    """
    path = files.path(row.sha256, row.media_type)
    there = transaction.run("SELECT sha256 FROM images WHERE id = ?", (row.id,))
    is_wanted = not there or there[0][0] == row.sha256
    if is_wanted and not path.is_file():
        try:
            files.store(data, path)
        except StorageError as error:
            return error
    added = transaction.change(*insert_image(row))
    transaction.change(
        "DELETE FROM removals WHERE sha256 = ?1 AND EXISTS (SELECT 1 FROM images WHERE sha256"
        " = ?1)",
        (row.sha256,),
    )
    return bool(added)
