"""Base URLs and loopback addresses."""

from __future__ import annotations

import httpx2
import pytest

from imagen import (
    ConfigurationError,
)
from imagen._system.urls import check_base_url, is_loopback


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://api.example/v1", "https://api.example/v1"),
        ("  https://api.example/v1/ \n", "https://api.example/v1"),
        ("https://api.example", "https://api.example"),
        ("https://api.example///", "https://api.example"),
        ("https://API.Example:443/v1", "https://api.example/v1"),
        ("https://10.0.0.1:8443/v1", "https://10.0.0.1:8443/v1"),
        ("http://localhost:8080/v1/", "http://localhost:8080/v1"),
        ("http://LOCALHOST/v1", "http://localhost/v1"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://[::1]:8080/v1", "http://[::1]:8080/v1"),
    ],
)
def test_a_base_url_is_https_or_on_this_machine(text, expected):
    assert check_base_url(text, variable="X_BASE_URL") == expected


@pytest.mark.parametrize(
    "text",
    [
        "http://api.example/v1",
        "http://10.0.0.1/v1",
        "http://0.0.0.0/v1",
        "http://[2001:db8::1]/v1",
        "http://localhost.example/v1",
        "http://127.0.0.1.example/v1",
        "http://2130706433/v1",
        "ws://localhost/v1",
        "ftp://api.example",
        "file:///etc/passwd",
        "api.example/v1",
        "localhost:8080",
        "https://",
        "https:///v1",
        "",
        "https://[::1",
        "https://api.example:port/v1",
        "https://exa\u2028mple/v1",
        "https://user:pass@api.example/v1",
        "http://sk-secret@localhost/v1",
        "https://api.example/v1?key=sk-secret",
        "https://api.example/v1#sk-secret",
        "https://api..example/v1",
        "https://api.example:99999/v1",
        "https://" + "a" * 64 + ".example",
    ],
)
def test_any_other_base_url_is_refused_by_the_name_of_its_variable(text):
    with pytest.raises(ConfigurationError, match="X_BASE_URL") as caught:
        check_base_url(text, variable="X_BASE_URL")
    assert "pass" not in caught.value.message.replace("password", "")
    assert "sk-secret" not in caught.value.message


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1", "http://127.1.2.3:9", "http://localhost/x", "http://[::1]:8080"]
)
def test_loopback_is_known_by_its_text(url):
    assert is_loopback(httpx2.URL(url))
    assert not is_loopback(
        httpx2.URL(url.replace("127", "128").replace("localhost", "local").replace("::1", "::2"))
    )
