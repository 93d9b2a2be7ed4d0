"""Refusal of arguments that a tool does not have.

A dropped argument is money: an assistant that says n=2 and is not refused pays
for the default of four.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from difflib import SequenceMatcher

import imagen

from ._results.text import clip_line

__all__ = ["ignored_arguments", "nearest", "refuse_unknown"]

_MOST_NAMED = 3
_LONGEST_NAME = 40
_LEAST_ALIKE = 0.6
# Names as near as that are typing errors, and win over every other word.
_ALMOST_SAME = 0.8
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

# Names of the same thing in other programs. A word may mean several, of which
# a tool has at most some.
_OTHER_WORDS = {
    "count": "n num num_images number number_of_images image_count batch_size samples num_samples"
    " num_outputs quantity how_many amount variations num_variations repeat images_count",
    "prompt": "text description caption positive_prompt prompts message instruction instructions"
    " subject input idea",
    "size": "width height w h dimensions image_size image_dimensions pixels",
    "aspect_ratio": "aspect ratio ar orientation shape image_ratio",
    "resolution": "megapixels image_resolution",
    "seed": "random_seed rng_seed noise_seed",
    "negative_prompt": "negative neg neg_prompt avoid exclude without",
    "background": "transparent transparency bg background_color",
    "output_format": "format file_format image_format extension mime_type media_type file_type"
    " output_type",
    "references": "reference reference_images reference_image ref refs style_images input_images"
    " images image image_url",
    "reference": "style_image style_reference ref references style style_url reference_image",
    "max_cost_usd": "max_cost cost budget max_price price budget_usd cost_limit limit_usd max_usd"
    " spending_limit max_spend",
    "confirm_cost": "confirm confirmed approve approved yes force consent",
    "session_id": "id batch_id batch session task_id job_id job handle request_id generation_id",
    "after": "cursor index last_index offset last since_index page page_token next_token",
    "image_id": "id image uri image_uri image_ids image_url path image_path name file images",
    "image_ids": "ids id image image_id images uris paths",
    "images": "image image_id image_ids image_url image_urls input_image source src sources"
    " init_image photo file files image_path base_image input_images references",
    "image": "image_id image_url images input_image source src init_image photo file image_path"
    " path url uri base_image id",
    "model": "engine provider model_id model_name checkpoint deployment",
    "quality": "detail image_quality",
    "style": "preset style_preset",
    "apply_styles": "styles style_names style_name",
    "values": "variables vars params parameters substitutions",
    "timeout": "wait timeout_seconds max_wait wait_seconds seconds deadline timeout_ms",
    "full": "full_size original full_resolution inline whole preview",
    "cache": "use_cache cached reuse",
    "scale": "upscale factor scale_factor zoom upscale_factor",
    "mode": "creativity strategy",
    "strength": "denoise denoising_strength influence image_strength weight similarity",
    "mask": "mask_image mask_url inpaint_mask mask_path",
    "query": "text q search keyword keywords terms words prompt search_query",
    "since": "from date created_after start start_date from_date made_after",
    "min_rating": "rating stars minimum_rating min_stars",
    "limit": "count n max max_results page_size top per_page num_results",
    "trashed": "trash deleted include_trash in_trash",
    "tags": "tag labels label",
    "add_tags": "tags tag labels label",
    "remove_tags": "untag delete_tags drop_tags",
    "notes": "note comment comments description",
    "rating": "stars score rate",
    "collection": "album folder collection_name collections",
    "add_to_collection": "collection album folder add_collection collection_name",
    "remove_from_collection": "leave_collection remove_collection",
    "trash": "delete remove deleted trashed",
    "restore": "undelete untrash recover",
    "new": "again force fresh repeat",
}


def refuse_unknown(
    tool: str,
    arguments: Collection[str],
    tools: Mapping[str, Collection[str]],
    ignored: Collection[str] = (),
) -> None:
    """Refuse a call with arguments that the tool does not have. `tools` has the
    names of the arguments of every tool.

    Raises:
        InvalidRequestError: the sentence names the nearest arguments.
    """
    known = tools[tool]
    odd = [name for name in arguments if name not in known and name not in ignored]
    if not odd:
        return
    named = ", ".join(_quote(name) for name in odd[:_MOST_NAMED])
    more = f" and {len(odd) - _MOST_NAMED} more" if len(odd) > _MOST_NAMED else ""
    raise imagen.InvalidRequestError(
        f"{tool} has no {named}{more}; {_hint(tool, odd[:_MOST_NAMED], tools)} Nothing was made or"
        " changed."
    )


def ignored_arguments() -> frozenset[str]:
    """Return the names that the host's user lets pass, as some hosts add
    arguments of their own to every call.
    """
    return frozenset(os.environ.get("IMAGEN_MCP_IGNORE_ARGUMENTS", "").replace(",", " ").split())


def nearest(name: str, known: Collection[str]) -> list[str]:
    """Return the known names that may have been meant, at most two."""
    squeezed = _squeeze(name)
    by_letters = {_squeeze(one): one for one in known}
    by_word = {_squeeze(word): one for one in reversed(list(known)) for word in _words_for(one)}
    found = [by_word[squeezed]] if squeezed in by_word else []
    found += _alike(squeezed, by_letters, _ALMOST_SAME)
    if not found:
        # Of short words too many are alike.
        long = {word: one for word, one in by_word.items() if len(word) > 3}
        found = _alike(squeezed, long | by_letters, _LEAST_ALIKE)
    return list(dict.fromkeys(found))


def _alike(squeezed: str, names: Mapping[str, str], least: float) -> list[str]:
    """The name with the most similar letters, if they are similar enough."""
    scores = [(SequenceMatcher(None, squeezed, one).ratio(), one) for one in names]
    score, letters = max(scores, default=(0.0, ""))
    return [names[letters]] if score >= least else []


def _hint(tool: str, odd: Collection[str], tools: Mapping[str, Collection[str]]) -> str:
    known = tools[tool]
    guesses = {name: nearest(name, known) for name in odd}
    if meant := [(name, guess) for name, guess in guesses.items() if guess]:
        return f"did you mean {_pairs(meant)}?"
    elsewhere = next(_elsewhere(tool, odd, tools), None)
    return elsewhere or f"it has {', '.join(known) or 'no arguments'}."


def _pairs(meant: list[tuple[str, list[str]]]) -> str:
    if len(meant) == 1:
        return _either(meant[0][1])
    return ", ".join(f"{_either(guess)} for {_quote(name)}" for name, guess in meant)


def _either(names: list[str]) -> str:
    return " or ".join(_quote(name) for name in names)


def _elsewhere(
    tool: str, odd: Collection[str], tools: Mapping[str, Collection[str]]
) -> Iterator[str]:
    """Yield the tools that have what this one lacks, if its name is near."""
    for name in odd:
        for other, names in tools.items():
            if other != tool and (guess := nearest(name, names)):
                yield f"{other} has {_either(guess)}."


def _words_for(name: str) -> list[str]:
    return _OTHER_WORDS.get(name, "").split()


def _squeeze(name: str) -> str:
    """The letters that count: imageIds, image-ids and image_ids are alike."""
    return re.sub(r"[^a-z0-9]", "", _HUMP.sub("_", name[:_LONGEST_NAME]).casefold())


def _quote(name: str) -> str:
    return f"'{clip_line(name, _LONGEST_NAME)}'"
