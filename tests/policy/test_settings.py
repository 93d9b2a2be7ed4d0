"""What the environment and imagen.toml say, and what they may not."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec
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


AROUND = (
    *("{}", '"{}"', "'{}'", "`{}`", "\u201c{}\u201d", "\u00ab{}\u00bb", "\u2018'{}'\u2019"),
    *("\ufeff{}", "{}\r", "\u200b{}\u200d", "{}\u00a0", '  "{}" \r\n', '"{}'),
)


@pytest.mark.parametrize("around", AROUND)
def test_what_copying_adds_around_a_value_is_left_out(home, around):
    variables = {
        "OPENAI_API_KEY": "sk-secret",
        "OPENAI_BASE_URL": "https://api.example/v1",
        "IMAGEN_DEFAULT_MODEL": "gpt-image-2",
        "IMAGEN_SESSION_TTL": "60",
        "IMAGEN_SHARE_SECRET": "a-secret-of-links",
    }
    settings = load(home, **{name: around.format(value) for name, value in variables.items()})
    assert settings.access["openai"].key.reveal() == "sk-secret"
    assert settings.access["openai"].base_url == "https://api.example/v1"
    assert settings.default_model == "gpt-image-2"
    assert settings.session_ttl_seconds == 60
    assert settings.share_secret.reveal() == "a-secret-of-links"


@pytest.mark.parametrize("empty", ["", " ", '""', "''", "\ufeff", "\r\n", '" "'])
def test_an_empty_value_is_none(home, empty):
    settings = load(home, OPENAI_API_KEY=empty, OPENAI_BASE_URL=empty, IMAGEN_STORE_URL=empty)
    assert settings.access["openai"].key is None
    assert not settings.access["openai"].configured
    assert settings.store is None


def test_a_home_in_quotes_is_the_folder_they_name(home):
    assert imagen.load_settings({"IMAGEN_HOME": f'"{home}"'}).home == home


@pytest.mark.parametrize(
    "key", ['sk-"a', "sk-a'b", "sk-a\u200bb", "sk-\u201ca", "sk-a\tb", "sk-a\nb"]
)
def test_a_key_with_a_mark_inside_is_refused(home, key):
    with pytest.raises(imagen.ConfigurationError, match="OPENAI_API_KEY"):
        load(home, OPENAI_API_KEY=key)


def test_a_file_may_begin_with_a_mark_of_its_editor(home):
    home.mkdir()
    (home / "imagen.toml").write_bytes(b"\xef\xbb\xbfsalvage_seconds = 5\r\n")
    assert imagen.load_settings({"IMAGEN_HOME": str(home)}).salvage_seconds == 5


def test_a_file_in_another_encoding_is_said_to_be_so(home):
    home.mkdir()
    (home / "imagen.toml").write_bytes("salvage_seconds = 5".encode("utf-16"))
    with pytest.raises(imagen.ConfigurationError, match=r"imagen.toml is not UTF-8 text"):
        imagen.load_settings({"IMAGEN_HOME": str(home)})


@pytest.mark.parametrize(
    ("toml", "field"),
    [
        ('[[budgets]]\nper = "day"\nusd = "NaN"', "budgets"),
        ('[[budgets]]\nper = "day"\nusd = "sNaN"', "budgets"),
        ('[[budgets]]\nper = "day"\nusd = "Infinity"', "budgets"),
        ('[[budgets]]\nper = "day"\nusd = "1e999999999"', "budgets"),
        ('[[budgets]]\nper = "day"\nusd = nan', "budgets"),
        ('[[budgets]]\nper = "day"\nusd = -0.01', "budgets"),
        ('[[budgets]]\nper = "day"\nimages = -1', "budgets"),
        ('[[budgets]]\nper = "day"\nimages = 99999999999999999999', "budgets"),
        ('confirm_above_usd = "NaN"', "confirm_above_usd"),
        ('confirm_above_usd = "-1"', "confirm_above_usd"),
        ("confirm_above_usd = inf", "confirm_above_usd"),
        ("[bounds]\nmax_body_bytes = -5", "max_body_bytes"),
        ("[bounds]\nmax_body_bytes = 0", "max_body_bytes"),
        ("[bounds]\nreply_seconds = nan", "reply_seconds"),
        ("[bounds]\nidle_seconds = inf", "idle_seconds"),
        ("[bounds]\nidle_second = 5", "idle_second"),
        ("[retry]\nattempts = 0", "attempts"),
        ("[retry]\nattempts = 100000000", "attempts"),
        ("[retry]\nwait_max_seconds = -1", "wait_max_seconds"),
        ("[retry]\ntries = 3", "tries"),
        ("[routes]\ncooldown_seconds = nan", "cooldown_seconds"),
        ("[routes]\nhedge_after_seconds = -1", "hedge_after_seconds"),
        ("[cleanup]\nmax_age_days = nan", "max_age_days"),
        ("salvage_seconds = -1", "salvage_seconds"),
        ("session_ttl_seconds = nan", "session_ttl_seconds"),
        ("max_concurrent_sessions = 0", "max_concurrent_sessions"),
        ("[providers.bfl.settings]\npoll_seconds = 0.0", "poll_seconds"),
        ("[providers.bfl.settings]\npoll_seconds = nan", "poll_seconds"),
        ("[providers.fal.settings]\npoll_seconds = -1.0", "poll_seconds"),
        ('openai_api_key = "sk-secret"', "Keys are read from the environment only"),
        ('[providers.openai]\nkey = "sk-secret"', "Keys are read from the environment only"),
        ("a = " + "[" * 5000 + "]" * 5000, "nested too deep"),
        ("a" + ".a" * 5000 + " = 1", ""),
    ],
)  # fmt: skip
def test_an_impossible_number_is_refused_by_file_and_field(home, toml, field):
    with pytest.raises(imagen.ConfigurationError) as caught:
        load(home, toml)
    assert field in str(caught.value)
    assert "imagen.toml" in str(caught.value)
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize(
    "price",
    [
        'usd_per_image = "-1"',
        'usd_per_image = "NaN"',
        'usd_per_image = "-Infinity"',
        'usd_per_image = "1e30"',
        "usd_per_image = nan",
        'table = { auto = { "*" = "-0.01" } }',
        'per_megapixel = { first = "-1" }',
        'per_million_tokens = { image_output = "NaN" }',
        'usd_per_image = "1", estimate_margin = "0"',
        'usd_per_image = "1", economy = "-0.5"',
        'usd_per_unit = "1", typical_units = "0"',
    ],
)
def test_an_impossible_price_is_refused_in_the_home_too(home, price):
    settings = load(home, f"[models.gpt-image-2]\nprice = {{ {price} }}")
    with pytest.raises(imagen.ConfigurationError, match=r"\[models.\"gpt-image-2\"\]"):
        settings.load_catalog()


@pytest.mark.parametrize(
    "field",
    [
        "rate_limit = { images = -1 }",
        "rate_limit = { max_at_once = 0 }",
        "capabilities = { max_images_per_request = 0 }",
        "capabilities = { guidance = { low = nan, high = 1.0 } }",
        "capabilities = { steps = { low = 9, high = 1 } }",
        "capabilities = { scales = [-2.0] }",
        "capabilities = { inputs = { max_bytes = -1 } }",
    ],
)
def test_an_impossible_limit_of_a_model_is_refused(home, field):
    settings = load(home, f"[models.gpt-image-2]\n{field}")
    with pytest.raises(imagen.ConfigurationError, match=r"\[models.\"gpt-image-2\"\]"):
        settings.load_catalog()


def test_the_built_in_models_pass_these_checks():
    built_in = imagen.providers.load_catalog()
    assert len(imagen.providers.load_catalog({model.id: {} for model in built_in})) == len(built_in)


KNOWN = [
    '[models.gpt-image-2]\nprice = { usd_per_image = "0" }',
    '[models.gpt-image-2]\nprice = { usd_per_image = "0.000001" }',
    "[models.gpt-image-2.capabilities]\nmax_images_per_request = 1",
    '[models.cheap]\nlike = "gpt-image-2"\nwire_name = "gpt-image-2"',
    '[models.cheap]\nprovider = "openai"\nwire_name = "gpt-image-2"',
    '[models.cheap]\nprovider = "openai"\nwire_name = "GPT-Image-2-2026-04-21"',
    '[models."openai/gpt-image-2"]\nprovider = "openai"\nwire_name = "other"',
    "[models.mine.capabilities]\nmax_images_per_request = 1",
]


@pytest.mark.parametrize("table", KNOWN)
def test_the_current_folder_changes_no_model_that_is_known(home, table):
    Path("imagen.toml").write_text(table)
    with pytest.raises(imagen.ConfigurationError, match="add models, and not change one"):
        load(home, '[models.mine]\nprovider = "openai"\nprice = { usd_per_image = "1" }')


def test_the_current_folder_adds_models(home):
    Path("imagen.toml").write_text(
        '[models.new]\nlike = "gpt-image-2"\nwire_name = "gpt-image-9"\n'
    )
    settings = load(home)
    new, known = (settings.load_catalog().find(name) for name in ("new", "gpt-image-2"))
    assert (new.wire_name, new.price) == ("gpt-image-9", known.price)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[[budgets]]\nper = "ever"\nusd = "9"', "models and default_model only"),
        ("[bounds]\nreply_seconds = 5", "models and default_model only"),
        ('openai_api_key = "sk-x"', "Keys are read from the environment only"),
        ("no_such_setting = 1", "no_such_setting"),
        ('[models.x]\nprovider = "openai"\nprize = 1', "prize"),
        ("[" * 5000, "imagen.toml is wrong"),
    ],
)
def test_the_current_folder_sets_nothing_else(home, text, sentence):
    Path("imagen.toml").write_text(text)
    with pytest.raises(imagen.ConfigurationError, match=sentence):
        load(home)


def test_a_current_folder_that_is_gone_is_no_error(home, tmp_path):
    Path.cwd().rmdir()
    assert load(home).models == {}


def test_a_home_under_another_name_is_the_same_file(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "imagen.toml").write_text("salvage_seconds = 5")
    (tmp_path / "link").symlink_to(tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    settings = imagen.load_settings({"IMAGEN_HOME": str(tmp_path / "link")})
    assert settings.salvage_seconds == 5


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal(-1), Decimal("Infinity")])
def test_settings_made_by_hand_are_checked_too(home, value):
    with pytest.raises(ValueError, match="confirm_above_usd"):
        msgspec.structs.replace(load(home), confirm_above_usd=value)
