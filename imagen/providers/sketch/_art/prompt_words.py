"""Words of a prompt: the known ones, their tags, and defaults for the rest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

# Each tag and its words, in the singular.
_WORDS: dict[str, str] = {
    "night": "night midnight nocturnal dark darkness starlit moonlit moonlight nacht nuit noche",
    "dusk": "dusk sunset evening twilight sundown abend",
    "dawn": "dawn sunrise morning daybreak morgen",
    "day": "day noon daytime sun sunny sunshine sunlight soleil bright summer spring",
    "storm": "storm stormy thunder thunderstorm lightning tempest hurricane",
    "winter": "winter wintry ice icy frozen frost frosty arctic glacier",
    "autumn": "autumn autumnal october november harvest maple",
    "mountain": (
        "mountain alps alpine peak summit cliff canyon volcano everest fjord berg berge hiking"
    ),
    "city": (
        "city skyline downtown skyscraper metropolis urban town cyberpunk street avenue tokyo"
        " manhattan york london paris berlin building architecture stadt office"
    ),
    "sea": "sea ocean coast coastal beach island shore harbor harbour wave bay surf ship port meer",
    "lake": "lake pond lagoon reflection loch",
    "river": "river stream valley creek brook waterfall fluss",
    "forest": "forest wood woodland pine fir jungle grove redwood taiga wald bear deer wolf elf",
    "desert": "desert dune sahara sand sandy arid camel oasis mars martian",
    "field": (
        "field flower garden meadow poppy tulip lavender rose daisy bloom blossom wildflower farm "
        "sunflower grass botanical bee butterfly"
    ),
    "hills": (
        "hill landscape countryside village rural pasture scenery nature horizon road path"
        " sheep cow"
    ),
    "roof": "roof rooftop chimney attic",
    "space": (
        "space galaxy nebula cosmos cosmic universe orbit spaceship spacecraft astronaut alien"
        " asteroid interstellar milky starship"
    ),
    "planet": "planet saturn jupiter",
    "moon": "moon lunar mond lune luna",
    "stars": "star starry constellation",
    "aurora": "aurora borealis northern polarlicht",
    "rain": "rain rainy raining drizzle monsoon umbrella regen",
    "snow": "snow snowy snowing snowfall blizzard snowflake schnee ski",
    "fog": "fog foggy mist misty haze hazy",
    "lighthouse": "lighthouse beacon leuchtturm",
    "boat": "boat sailboat sail sailing ship yacht sailor fisherman pirate",
    "house": "house cabin cottage hut barn home haus chalet",
    "castle": "castle fortress palace tower wizard knight king queen dragon kingdom fairytale",
    "cat": "cat kitten kitty katze",
    "fox": "fox dog puppy wolf fuchs hund",
    "windmill": "windmill mill holland dutch",
    "gull": "bird gull seagull crow raven swallow eagle geese goose owl vogel",
    "tree": "tree oak baum",
    "balloon": "balloon airship zeppelin",
    "person": (
        "man woman person girl boy child wanderer hiker traveler traveller figure people monk hero"
    ),
    "rocket": "rocket shuttle launch",
    "station": "station satellite",
}

# Words that are colours.
TINTS: dict[str, str] = {
    "red": "d7352b", "crimson": "b3142f", "scarlet": "e0311f", "ruby": "b5123e", "pink": "f08bab",
    "magenta": "d13c8f", "orange": "f0842c", "amber": "f2a93b", "gold": "e6b13c",
    "golden": "e6b13c",
    "yellow": "f5cc3d", "green": "3f9a58", "emerald": "14906a", "jade": "2fa37c", "olive": "87893c",
    "mint": "8fd3b6", "teal": "16868a", "turquoise": "2fb8b3", "cyan": "35b6cf", "blue": "2f6fc4",
    "azure": "3f93e0", "navy": "1f2f63", "indigo": "41358f", "violet": "7d4cb5", "purple": "80409c",
    "lilac": "b796d6", "brown": "8a5a3a", "copper": "b8683c", "white": "f6f2e8", "silver": "b9c0c8",
    "grey": "8d9299", "gray": "8d9299", "black": "1c1c22",
}  # fmt: skip

# Place of a subject (the scene in space draws what is in orbit), its size in
# units, and the ground if the prompt names none.
PLACES: dict[str, tuple[str, float, str]] = {
    "lighthouse": ("rock", 0.46, "sea"),
    "boat": ("water", 0.15, "sea"),
    "house": ("rise", 0.2, "hills"),
    "castle": ("rise", 0.3, "hills"),
    "windmill": ("rise", 0.34, "field"),
    "cat": ("rise", 0.34, "roof"),
    "fox": ("rise", 0.26, "forest"),
    "person": ("rise", 0.22, "hills"),
    "tree": ("rise", 0.13, "hills"),
    "gull": ("flock", 0.13, "lake"),
    "balloon": ("flock", 0.15, "hills"),
    "rocket": ("orbit", 0.13, "space"),
    "station": ("orbit", 0.17, "space"),
    "planet": ("orbit", 0.2, "space"),
}

_GROUND_TAGS = ("roof", "desert", "field", "forest", "river", "lake", "sea", "hills")


def _tags_by_word() -> dict[str, list[str]]:
    tags_of: dict[str, list[str]] = {}
    for tag, words in _WORDS.items():
        for word in words.split():
            tags_of.setdefault(word, []).append(tag)
    return tags_of


_TAGS_OF = _tags_by_word()


def known_words(prompt: str) -> list[str]:
    """Return the known words of a prompt, in order; a plural counts as its
    singular.
    """
    found: list[str] = []
    # An image needs a handful of words: the end of a very long prompt is not
    # read.
    for word in re.findall(r"[^\W\d_]+", prompt[:20_000].lower()):
        forms = (word, word[:-1], word[:-2], word[:-3] + "y") if word.endswith("s") else (word,)
        found += [form for form in forms if form in _TAGS_OF or form in TINTS][:1]
    return found


def plan_tags(words: Sequence[str], dice: Random) -> list[str]:
    """The tags of the words, with the gaps filled: a ground for a lone subject,
    a scene for a lone mood.
    """
    tags = list(dict.fromkeys(tag for word in words for tag in _TAGS_OF.get(word, ())))
    if any(tag in _GROUND_TAGS for tag in tags):
        return [tag for tag in tags if tag != "space"]
    if "mountain" in tags:
        return [*tags, dice.choice(("forest", "lake", "lake"))]
    if "city" in tags:
        return [*tags, "roof" if "cat" in tags else "sea"]
    homes = [PLACES[tag][2] for tag in tags if tag in PLACES]
    if "space" in tags or homes:
        return [*tags, *homes[:1]]
    scene = dice.choice(
        (["hills"], ["lake"], ["mountain", "lake"], ["mountain", "forest"], ["sea"])
    )
    return [*tags, *scene] if tags else ["abstract"]
