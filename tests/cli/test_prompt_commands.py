"""`imagen prompt`, `style` and `grid`, and prompts and styles in the commands
that make images.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from PIL import Image as PillowImage

import imagen
from imagen.cli import main

Command = Callable[..., tuple[int, list[str], str]]
JsonCommand = Callable[..., list[dict[str, object]]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("OPENAI_API_KEY", "IMAGEN_DEFAULT_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("IMAGEN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    # The command replaces it.
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command: its status, the lines that it wrote, and what it said
    beside them.
    """

    def run(*arguments: str) -> tuple[int, list[str], str]:
        status = main(arguments)
        out, err = capsys.readouterr()
        return status, out.splitlines(), err

    return run


@pytest.fixture
def run_json(run: Command) -> JsonCommand:
    def run_json(*arguments: str) -> list[dict[str, object]]:
        status, lines, err = run(*arguments, "--json")
        assert status == 0, err
        return [json.loads(line) for line in lines]

    return run_json


def refused(run: Command, *arguments: str) -> str:
    status, lines, err = run(*arguments)
    assert (status, lines) == (2, [])
    (sentence,) = err.splitlines()
    assert sentence.startswith("imagen: ")
    assert sentence.endswith((".", "?"))
    return sentence


# --- imagen prompt ------------------------------------------------------------


def test_a_prompt_is_kept_found_filled_in_and_deleted(run, run_json):
    (saved,) = run_json(
        "prompt", "save", "sea", "a {{mood}} sea", "--tag", "Blue", "--notes", "for May"
    )
    assert (saved["kind"], saved["name"], saved["version"], saved["tags"]) == (
        "prompt",
        "sea",
        1,
        ["blue"],
    )
    assert saved["variables"] == [{"name": "mood", "type": "text", "options": [], "default": None}]
    assert run("prompt", "save", "sea", "a {{mood=calm}} sea {at dawn|at dusk}")[1] == [
        "sea: version 2"
    ]
    assert run("prompt", "favourite", "sea")[1] == ["sea is a favourite"]
    status, lines, _ = run("prompt", "list", "dawn", "--tag", "blue", "--favourites")
    assert status == 0
    assert lines[1].split(maxsplit=4) == [
        "*",
        "sea",
        "2",
        "blue",
        "a {{mood=calm}} sea {at dawn|at dusk}",
    ]
    assert run_json("prompt", "use", "sea", "--version", "1", "--set", "mood={wild|x}") == [
        {"kind": "prompt_text", "name": "sea", "version": 1, "text": "a {wild|x} sea"}
    ]
    assert sorted(run("prompt", "use", "sea", "--sample", "2")[1]) == [
        "a calm sea at dawn",
        "a calm sea at dusk",
    ]
    lines = run("prompt", "show", "sea")[1]
    assert lines[:2] == ["sea, version 2 of 2 *", "  a {{mood=calm}} sea {at dawn|at dusk}"]
    assert "variables: mood: text = calm" in lines
    assert [line.split(",")[0] for line in lines[-2:]] == ["version 2", "version 1"]
    assert "sea has 2 versions: --all-versions" in refused(run, "prompt", "delete", "sea")
    assert run("prompt", "rename", "sea", "ocean")[1] == ["sea is ocean now"]
    assert run("prompt", "delete", "ocean", "--all-versions")[1] == ["ocean is deleted"]
    assert run("prompt", "list")[1] == [
        "There is no such prompt: `imagen prompt save NAME TEXT` keeps one."
    ]


def test_a_prompt_is_read_from_standard_input(run, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("a sea\nat dawn\n"))
    assert run("prompt", "save", "sea", "-")[0] == 0
    assert run("prompt", "use", "sea")[1] == ["a sea", "at dawn"]


def test_one_that_is_no_template_yet_is_kept_all_the_same(run):
    status, _, err = run("prompt", "save", "sea", "a {sea")
    assert status == 0
    assert "is not a valid template: The brace at character 3 is not closed" in err
    assert run("prompt", "show", "sea")[1][1] == "  a {sea"


def test_prompts_are_carried_by_files(run, run_json, home):
    (home / "p.csv").write_text('name,prompt,tags\nsea,"a sea, calm","blue,wet"\n')
    assert run_json("prompt", "import", str(home / "p.csv")) == [
        {"kind": "prompts_imported", "added": 1, "changed": 0, "unchanged": 0}
    ]
    assert run("prompt", "export", str(home / "out.csv"))[1] == [
        f"1 prompts are in {home / 'out.csv'}"
    ]
    assert run("prompt", "import", str(home / "out.csv"))[1] == [
        "0 added, 0 have a new version, 1 were there already"
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("prompt", "use", "none"), "There is no prompt 'none': `imagen prompt list`"),
        (("prompt", "show", "sea", "--version", "9"), "There is no prompt 'sea' with a version 9"),
        (("prompt", "use", "sea"), "Missing value of the variable mood"),
        (("prompt", "use", "sea", "--set", "mood"), "--set takes NAME=VALUE, not 'mood'"),
        (
            ("prompt", "use", "sea", "--set", "moud=x"),
            "Unknown variable 'moud': the template has mood",
        ),
        (("prompt", "use", "car"), "stands for more than one: --sample"),
        (("prompt", "use", "car", "--sample", "3"), "Invalid sample size 3: the template has 2"),
        (("prompt", "favourite", "none"), "There is no prompt 'none'"),
        (("prompt", "rename", "car", "sea"), "The prompt 'sea' already exists"),
        (("prompt", "delete", "none"), "There is no prompt 'none'"),
        (("prompt", "list", "***"), "There is no word to search for"),
        (("prompt", "save", "x", "y", "--apply-style", "watercolor"), "did you mean watercolour?"),
        (("prompt", "import", "none.csv"), "none.csv cannot be read"),
        (("prompt", "export", "."), ". cannot be written: it is a folder"),
        (("style", "export", "/"), "/ cannot be written: it is a folder"),
        (("generate", "@none"), "There is no prompt 'none'"),
        (("generate", "@car"), "stands for more than one: `imagen grid`"),
        (("generate", "a __beast__", "--set", "x=1"), "Unknown wildcard beast"),
        (("generate", "a cat", "--apply-style", "none"), "Unknown style 'none'"),
        (("grid", "a __../beast__"), "Invalid wildcard"),
        (("grid", "{1|2|3}", "--most", "2"), "The grid has 3 requests"),
        (("grid", "a cat", "--sheet", "sheet.gif"), "--sheet is a file that ends in .png or .jpg"),
        (("grid", "a cat", "--model", "none"), "There is no model 'none'"),
        (("style", "show", "none"), "Unknown style 'none'"),
        (("style", "import", "none.csv"), "none.csv cannot be read"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(run, arguments, sentence):
    assert run("prompt", "save", "sea", "a {{mood}} sea")[0] == 0
    assert run("prompt", "save", "car", "a {red|blue} car")[0] == 0
    assert sentence in refused(run, *arguments)


def test_every_command_speaks_json(run, run_json, home):
    assert (
        run(
            "prompt",
            "save",
            "sea",
            "a {{mood=calm}} sea",
            "--negative",
            "boats",
            "--apply-style",
            "oil",
        )[0]
        == 0
    )
    (home / "s.csv").write_text("name,prompt,negative_prompt\nCine,film,\n")
    for arguments, kind in (
        (("prompt", "list"), "prompt"),
        (("prompt", "show", "sea"), "prompt"),
        (("prompt", "use", "sea"), "prompt_text"),
        (("prompt", "favourite", "sea"), "prompt_changed"),
        (("prompt", "favourite", "sea", "--remove"), "prompt_changed"),
        (("prompt", "export", "p.csv"), "prompts_exported"),
        (("prompt", "import", "p.csv"), "prompts_imported"),
        (("prompt", "rename", "sea", "lake"), "prompt_changed"),
        (("prompt", "delete", "lake"), "prompt_changed"),
        (("style", "list"), "style"),
        (("style", "show", "oil"), "style"),
        (("style", "import", str(home / "s.csv")), "styles_imported"),
        (("style", "export", "s.csv"), "styles_exported"),
    ):
        assert {record["kind"] for record in run_json(*arguments)} == {kind}, arguments
    assert run_json("prompt", "list") == []


def test_people_read_what_goes_with_a_prompt_and_what_a_style_says(run):
    assert run("style", "list")[1][0].split() == ["STYLE", "LOOK"]
    long = "a sea " * 30
    run(
        "prompt",
        "save",
        "sea",
        long,
        "--negative",
        "boats",
        "--apply-style",
        "oil",
        "--notes",
        "for May",
    )
    lines = run("prompt", "show", "sea")[1]
    assert {"not: boats", "styles: oil", "notes: for May"} <= set(lines)
    assert lines[-1].endswith("a sea a s...")


def test_on_a_terminal_a_prompt_cannot_drive_it(run, monkeypatch):
    run("prompt", "save", "sea", "a \x1b[2Jsea\nat dawn")
    assert run("prompt", "use", "sea")[1] == ["a \x1b[2Jsea", "at dawn"]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert run("prompt", "use", "sea")[1] == ["a  [2Jsea", "at dawn"]


# --- imagen style -------------------------------------------------------------


def test_styles_are_listed_shown_and_carried_by_files(run, run_json, home):
    listed = run_json("style", "list")
    assert {style["kind"] for style in listed} == {"style"}
    assert len(listed) >= 16
    assert run("style", "show", "icon")[1][0].startswith("icon: ")
    assert run_json("style", "show", "icon")[0]["parameters"] == {"aspect_ratio": "1:1"}
    (home / "s.csv").write_text(
        'name,prompt,negative_prompt\nCine,"still of {prompt}, film",ugly\n'
    )
    assert run("style", "import", str(home / "s.csv"))[1] == ["1 added: Cine"]
    status, lines, err = run("style", "import", str(home / "s.csv"))
    assert (status, lines) == (0, ["0 added"])
    assert "Left as they are in styles.toml: Cine." in err
    assert run("style", "export", str(home / "out.csv"))[0] == 0
    assert '"Cine","still of {prompt}, film","ugly"' in (home / "out.csv").read_text()


# --- making images ------------------------------------------------------------


def prompt_of(run_json: JsonCommand, image: dict[str, object]) -> str:
    (shown,) = run_json("show", str(image["id"]))
    return str(shown["prompt"] if "prompt" in shown else shown["request"]["prompt"])


def test_a_kept_prompt_and_styles_make_an_image(run_json):
    run_json(
        "prompt", "save", "sea", "a {{mood}} sea", "--apply-style", "oil", "--negative", "boats"
    )
    image, summary = run_json(
        "generate", "@sea", "--set", "mood=wild", "--apply-style", "noir", "--size", "64x64"
    )
    assert summary["succeeded"] == 1
    prompt = prompt_of(run_json, image)
    assert prompt.startswith("a black and white film still of an oil painting of a wild sea, ")


def test_a_prompt_is_a_template_only_where_values_are_set(run_json):
    image, _ = run_json("generate", "{a|b} __c__", "--size", "64x64")
    assert prompt_of(run_json, image) == "{a|b} __c__"
    image, _ = run_json("generate", "{{what}} {{what}}", "--set", "what={a|b}", "--size", "64x64")
    assert prompt_of(run_json, image) == "{a|b} {a|b}"


def test_a_grid_says_what_it_would_cost_and_sends_nothing(run, run_json, home):
    arguments = (
        "grid",
        "a {red|blue} car",
        "--model",
        "sketch",
        "--seed",
        "1",
        "--seed",
        "2",
        "--seed",
        "3",
    )
    (quote,) = run_json(*arguments, "--dry-run")
    assert (quote["n"], quote["axes"]) == (6, {"prompt": 2, "model": 1, "seed": 3})
    status, lines, _ = run(*arguments, "--dry-run")
    assert status == 0
    assert lines[0] == "6 images: 2 prompts x 1 model x 3 seeds"
    assert "Nothing was sent." in lines
    assert not (home / "imagen.sqlite3").exists()


def test_a_grid_is_made_as_one_batch_and_drawn_on_one_sheet(run_json, home):
    (home / "wildcards").mkdir()
    (home / "wildcards" / "animals.txt").write_text("cat\ndog\n")
    run_json("prompt", "save", "pets", "a __animals__", "--apply-style", "ink")
    *images, sheet, summary = run_json(
        "grid",
        "@pets",
        "--seed",
        "1",
        "--seed",
        "2",
        "--size",
        "64x64",
        "--sheet",
        str(home / "sheet.png"),
    )
    assert summary["succeeded"] == 4
    assert sorted(image["index"] for image in images) == [0, 1, 2, 3]
    prompts = {image["index"]: prompt_of(run_json, image) for image in images}
    assert prompts[0].startswith("a brush and ink drawing of a cat, ")
    assert prompts[3].startswith("a brush and ink drawing of a dog, ")
    assert (sheet["kind"], sheet["images"]) == ("sheet", 4)
    with PillowImage.open(home / "sheet.png") as drawn:
        assert drawn.width > 200
    assert not list(home.glob("*.part"))


def test_sizes_of_a_grid_count_before_the_shape_of_a_kept_prompt(run_json, home):
    async def keep() -> None:
        async with imagen.prompts.open_prompts(home) as prompts:
            await prompts.save(
                "poster", "a car", parameters={"aspect_ratio": "16:9", "quality": "high"}
            )

    trio.run(keep)
    sizes = ("--size", "64x64", "--size", "96x64")
    made = [
        line
        for line in run_json("grid", "@poster", "--model", "sketch", *sizes)
        if line["kind"] == "image"
    ]
    assert sorted((image["width"], image["height"]) for image in made) == [(64, 64), (96, 64)]


def test_a_sample_of_a_grid_is_the_same_each_time(run_json):
    arguments = ("grid", "{1|2|3|4|5|6|7|8|9} cats", "--sample", "2", "--size", "64x64")
    first, second = (
        sorted(
            prompt_of(run_json, line) for line in run_json(*arguments) if line["kind"] == "image"
        )
        for _ in range(2)
    )
    assert first == second
    assert len(set(first)) == 2


def test_copies_of_a_grid_and_its_sheet_are_named_to_people(run, home):
    status, _, err = run(
        "grid",
        "a {cat|dog}",
        "--size",
        "64x64",
        "--out",
        str(home / "out"),
        "--sheet",
        str(home / "s.jpg"),
    )
    assert status == 0
    assert sorted(path.name for path in (home / "out").iterdir()) == ["a-cat-1.png", "a-dog-2.png"]
    assert (home / "s.jpg").read_bytes().startswith(b"\xff\xd8")
    assert f"All of them are on {home / 's.jpg'}." in err
    assert "No key is set, so this is the built-in sketch engine" in err


def test_images_of_a_grid_are_there_also_where_the_sheet_cannot_be_written(run, home):
    status, lines, err = run(
        "grid", "a cat", "--size", "64x64", "--sheet", str(home / "none" / "sheet.png")
    )
    assert status == 0
    assert lines[-1].startswith("1 of 1 made")
    assert "There is no sheet" in err
