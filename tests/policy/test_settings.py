"""What the environment and imagen.toml say, and what they may not."""

from __future__ import annotations

from pathlib import Path

import pytest

import imagen


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    return tmp_path / "home"


def load(home: Path, toml: str = "", **environ: str) -> imagen.Settings:
    home.mkdir(exist_ok=True)
    (home / "imagen.toml").write_text(toml)
    return imagen.load_settings({"IMAGEN_HOME": str(home), **environ})


def test_the_environment_comes_before_the_file(home):
    settings = load(
        home, 'default_model = "gpt-image-2"\nsalvage_seconds = 5', IMAGEN_DEFAULT_MODEL="imagen-4"
    )
    assert settings.default_model == "imagen-4"
    assert settings.salvage_seconds == 5
    assert settings.session_ttl_seconds == 3600
    assert settings.max_concurrent_sessions == 10
    settings = load(home, IMAGEN_SESSION_TTL="60", IMAGEN_MAX_CONCURRENT_SESSIONS="3")
    assert (settings.session_ttl_seconds, settings.max_concurrent_sessions) == (60, 3)


def test_keys_are_read_and_never_shown(home):
    settings = load(home, OPENAI_API_KEY=" sk-secret \n")
    assert settings.access["openai"].key.reveal() == "sk-secret"
    assert "sk-secret" not in repr(settings)
    assert settings.access["openai"].configured
    assert not settings.access["nexos"].configured
    assert settings.access["sketch"].configured


def test_a_server_of_ones_own_needs_no_key(home):
    settings = load(home, OPENAI_BASE_URL="http://localhost:8080/v1/")
    assert settings.access["openai"].configured
    assert settings.access["openai"].base_url == "http://localhost:8080/v1"
    assert (
        load(home, '[providers.openai]\nbase_url = "https://x.example"').access["openai"].configured
    )


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"OPENAI_API_KEY": "two words"}, "OPENAI_API_KEY holds characters"),
        ({"OPENAI_BASE_URL": "http://example.com/v1"}, "must begin with https"),
        ({"OPENAI_BASE_URL": "https://me:secret@example.com"}, "user name or password"),
        ({"NEXOS_API_BASE_URL": "example.com"}, "NEXOS_API_BASE_URL"),
        ({"IMAGEN_SESSION_TTL": "soon"}, "IMAGEN_SESSION_TTL must be a number"),
        ({"IMAGEN_MAX_CONCURRENT_SESSIONS": "0"}, "above 0"),
    ],
)
def test_a_wrong_variable_is_named_and_its_value_kept_quiet(home, environ, sentence):
    with pytest.raises(imagen.ConfigurationError, match=sentence) as caught:
        load(home, **environ)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        ("default_model =", "imagen.toml is wrong"),
        (f"session_ttl_seconds = {'9' * 5000}", "imagen.toml is wrong"),
        (f"models = {'[' * 3000}", "imagen.toml is wrong"),
        ("colour = 1", "colour"),
        ('[providers.openai]\nkey = "sk-secret"', "key"),
        ("[retry]\nattempts = 'many'", "attempts"),
    ],
)
def test_a_wrong_file_is_said_to_be_wrong(home, toml, sentence):
    with pytest.raises(imagen.ConfigurationError, match=sentence):
        load(home, toml)


def test_the_current_folder_may_add_models_and_not_move_a_provider(home):
    Path("imagen.toml").write_text('default_model = "mine"\n[models.mine]\nprovider = "openai"')
    settings = load(home, '[models.other]\nprovider = "openai"')
    assert settings.default_model == "mine"
    assert set(settings.models) == {"mine", "other"}
    Path("imagen.toml").write_text('[providers.openai]\nbase_url = "https://evil.example"')
    with pytest.raises(imagen.ConfigurationError, match="models and default_model only"):
        load(home, OPENAI_API_KEY="k")


def test_home_is_the_systems_data_folder_unless_it_is_moved(home, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(home))
    assert imagen.load_settings({}).home.name == "imagen"
    assert imagen.load_settings({"IMAGEN_HOME": "~/images"}).home == Path.home() / "images"


@pytest.mark.parametrize(
    "table",
    [
        {"provider": "fal", "wire_name": "https://elsewhere.example/model"},
        {"provider": "fal", "wire": {"endpoints": {"edit": "https://elsewhere.example/edit"}}},
    ],
    ids=["name", "wire"],
)
def test_a_table_of_a_model_sends_nothing_elsewhere(table):
    with pytest.raises(imagen.ConfigurationError, match="names an address"):
        imagen.providers.load_catalog({"mine": table})


def test_no_provider_calls_back_by_plain_http(tmp_path):
    environ = {"IMAGEN_HOME": str(tmp_path), "IMAGEN_CALLBACK_URL": "http://127.0.0.1:8000"}
    with pytest.raises(
        imagen.ConfigurationError, match="IMAGEN_CALLBACK_URL must begin with https://"
    ):
        imagen.load_settings(environ)


def test_a_home_whose_name_is_no_text_is_refused(tmp_path):
    with pytest.raises(imagen.ConfigurationError, match="IMAGEN_HOME"):
        imagen.load_settings({"IMAGEN_HOME": f"{tmp_path}/\udcff"})
