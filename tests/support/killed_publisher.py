"""Publishes what is in line in a home, until it is killed: its arguments are
the home, the endpoint and the bucket.
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from imagen import StoreSettings
from tests.support.publishing import open_shelf


async def main(home: str, endpoint: str, bucket: str) -> None:
    settings = StoreSettings(
        url=f"s3://{bucket}/images", options={"endpoint": endpoint, "region": "us-east-1"}
    )
    async with open_shelf(Path(home)) as shelf:
        await shelf.publisher(settings).run()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
