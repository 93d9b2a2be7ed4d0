"""Stores: what settings may say, and what becomes of their errors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import imagen
from imagen import StoreSettings
from imagen._storage.object_store import ObjectStore
from tests.support.store_server import StoreServer, open_store_server

KEY = "ab/abcdef.png"


@pytest.fixture(scope="module")
def server() -> Iterator[StoreServer]:
    with open_store_server() as opened:
        opened.make_bucket("bucket")
        yield opened


@pytest.fixture
def store(server: StoreServer, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-tell")
    server.faults()
    options = {"endpoint": server.endpoint, "region": "us-east-1"}
    return ObjectStore(StoreSettings(url="s3://bucket/art", options=options))


def test_an_object_is_put_read_and_taken_away(store, server):
    assert store.get(KEY) is None
    assert store.size(KEY) is None
    store.put(KEY, b"12345", "image/webp")
    store.put(KEY, b"12345", "image/webp")
    assert store.get(KEY) == b"12345"
    assert store.size(KEY) == 5
    assert server.objects("bucket")[f"art/{KEY}"]["content_type"] == "image/webp"
    store.delete(KEY)
    store.delete(KEY)
    assert store.get(KEY) is None


def test_an_svg_is_a_download_so_that_no_script_runs_in_the_origin_of_the_store(store, server):
    for media_type, disposition in (("image/svg+xml", "attachment"), ("image/png", "")):
        store.put(KEY, b"<svg/>", media_type)
        kept = server.objects("bucket")[f"art/{KEY}"]
        assert (kept["content_type"], kept["disposition"]) == (media_type, disposition)
    store.delete(KEY)


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        ("500 Oops", imagen.ProviderError, "answered 500"),
        ("503 Slow Down", imagen.ProviderError, "answered 503"),
        ("429 Too Many", imagen.ProviderError, "answered 429"),
        ("408 Timeout", imagen.ProviderError, "answered 408"),
        ("401 Who", imagen.AuthenticationError, "refuses the keys"),
        ("403 No", imagen.AuthenticationError, "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ("404 Not Found", imagen.ConfigurationError, "create the bucket"),
        ("400 Bad", imagen.ConfigurationError, "answered 400"),
        ("301 Moved", imagen.ConfigurationError, "set region"),
    ],
)
def test_each_answer_of_a_store_is_one_sentence_of_ours(store, server, status, kind, words):
    server.faults(status=status)
    calls = [
        lambda: store.put(KEY, b"1", "image/png"),
        lambda: store.delete(KEY),
        lambda: store.get(KEY),
        lambda: store.size(KEY),
    ]
    # What is not there is no error for those who only look.
    for call in calls[:1] if status.startswith("404") else calls:
        with pytest.raises(kind, match=words) as caught:
            call()
        assert caught.value.retryable is (kind is imagen.ProviderError)
        assert caught.value.message.count("\n") == 0
        assert "do-not-tell" not in str(caught.value)


def test_a_bucket_that_is_not_there_is_noticed_when_deleting_too(server, store):
    options = {"endpoint": server.endpoint, "region": "us-east-1"}
    with pytest.raises(imagen.ConfigurationError, match="create the bucket"):
        ObjectStore(StoreSettings(url="s3://missing", options=options)).delete(KEY)


def test_what_is_not_in_a_folder_is_away_already(tmp_path):
    store = ObjectStore(StoreSettings(url=tmp_path.as_uri()))
    store.delete(KEY)
    assert store.get(KEY) is None


def test_a_link_that_cannot_be_signed_is_one_sentence(store, monkeypatch):
    import obstore
    from obstore.exceptions import GenericError

    def fail(*ignored):
        raise GenericError("Generic S3 error: asking http://169.254.169.254/latest failed")

    monkeypatch.setattr(obstore, "sign", fail)
    with pytest.raises(imagen.AuthenticationError, match="No keys for s3://bucket/art were found"):
        store.sign(KEY, 60)


def test_a_store_that_is_away_may_be_back_later(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-tell")
    settings = StoreSettings(
        url="s3://bucket", options={"endpoint": "http://127.0.0.1:9", "region": "auto"}
    )
    with pytest.raises(
        imagen.ProviderError, match=r"The store s3://bucket cannot be reached\."
    ) as caught:
        ObjectStore(settings).put(KEY, b"1", "image/png")
    assert caught.value.retryable


def test_missing_keys_are_told_by_the_names_that_they_should_have():
    from obstore.exceptions import GenericError

    error = GenericError(
        "Generic S3 error: Error performing PUT http://169.254.169.254/latest/api/token in 1ms"
    )
    for url, name in (
        ("s3://b", "AWS_ACCESS_KEY_ID"),
        ("gs://b", "GOOGLE_APPLICATION_CREDENTIALS"),
    ):
        found = ObjectStore(StoreSettings(url=url))._translate(error)
        assert isinstance(found, imagen.AuthenticationError)
        assert name in found.message


def test_a_full_folder_is_tried_again_and_one_that_is_closed_is_not(tmp_path):
    from obstore.exceptions import GenericError, PermissionDeniedError

    store = ObjectStore(StoreSettings(url=tmp_path.as_uri()))
    full = store._translate(GenericError("Generic LocalFileSystem error: No space left on device"))
    assert isinstance(full, imagen.ProviderError)
    assert full.retryable
    closed = store._translate(PermissionDeniedError("no"))
    assert isinstance(closed, imagen.ConfigurationError)


def test_an_azure_store_without_an_account_is_one_sentence(monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(imagen.ConfigurationError, match="AZURE_STORAGE_ACCOUNT_NAME"):
        ObjectStore(StoreSettings(url="az://container")).check()


def test_an_azure_link_is_signed_and_holds_no_key(monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    azure = ObjectStore(
        StoreSettings(url="az://container/art", options={"account_name": "gallery"})
    )
    link = azure.sign(KEY, 60)
    assert link.startswith("https://gallery.blob.core.windows.net/container/art/ab/abcdef.png?")
    assert "a2V5" not in link


@pytest.mark.parametrize(
    "url",
    [
        "",
        "bucket",
        "ftp://bucket",
        "https://bucket.example.com",
        "s3://",
        "file://",
        "file:///",
        "file://host/folder",
        "s3://key:secret@bucket",
        "s3://bucket?sig=secret",
        "s3://bucket#x",
        "s3://[",
    ],
)
def test_a_url_that_is_no_place_is_refused_without_repeating_it(url):
    with pytest.raises(imagen.ConfigurationError, match=r"^The URL of the store .*\.$") as caught:
        StoreSettings(url=url)
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    "name", ["secret_access_key", "access_key_id", "session_token", "account_key", "password", "x"]
)
def test_a_key_in_the_options_is_refused(name):
    with pytest.raises(imagen.ConfigurationError, match="read from the environment only") as caught:
        StoreSettings(url="s3://bucket", options={name: "do-not-tell"})
    assert "do-not-tell" not in caught.value.message


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            {"options": {"endpoint": "http://storage.example.com"}},
            "endpoint of the store must begin with https",
        ),
        ({"options": {"endpoint": "https://key:secret@example.com"}}, "holds a user name"),
        ({"public_url": "http://cdn.example.com"}, "public_url of the store must begin with https"),
        ({"cache_control": "private\r\nx-evil: 1"}, "plain text"),
        ({"max_at_once": 0}, "from 1 to 64"),
        ({"max_at_once": 65}, "from 1 to 64"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_a_sentence(wrong, words):
    with pytest.raises(imagen.ConfigurationError, match=words):
        StoreSettings(url="s3://bucket", **wrong)


def test_stores_are_told_apart_by_their_place_and_not_by_their_slash():
    plain = StoreSettings(url="s3://bucket/art")
    assert plain.name == StoreSettings(url="s3://bucket/art/").name == "s3://bucket/art"
    assert (
        plain.name
        != StoreSettings(url="s3://bucket/art", options={"endpoint": "https://r2.example.com"}).name
    )
