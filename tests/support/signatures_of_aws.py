"""Signature Version 4, computed from its published steps and nothing else."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import quote

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<id>[^/]+)/(?P<scope>[^,]+),"
    r" SignedHeaders=(?P<names>[^,]+), Signature=(?P<signature>[0-9a-f]{64})"
)


def check_signature(
    method: str,
    raw_path: str,
    headers: Mapping[str, str],
    body: bytes,
    secret: str,
    region: str,
    service: str = "bedrock",
    query: str = "",
) -> None:
    """Assert that the request, as it arrived, is signed by the secret. A query is
    sorted and encoded already.
    """
    found = _AUTHORIZATION.fullmatch(headers["authorization"])
    assert found is not None, "the header has another form"
    moment = headers["x-amz-date"]
    assert found["scope"] == f"{moment[:8]}/{region}/{service}/aws4_request"
    names = found["names"].split(";")
    assert names == sorted(names)
    assert {"host", "x-amz-date"} <= set(names)
    canonical = [
        method,
        # A path is encoded once more, as for every service but S3.
        quote(raw_path, safe="/-_.~"),
        query,
        *(f"{name}:{' '.join(headers[name].split())}" for name in names),
        "",
        found["names"],
        hashlib.sha256(body).hexdigest(),
    ]
    digest = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", moment, found["scope"], digest])
    key = f"AWS4{secret}".encode()
    for part in found["scope"].split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    assert hmac.digest(key, text.encode(), "sha256").hex() == found["signature"]
