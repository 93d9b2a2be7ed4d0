"""Prompts: templates, styles, grids, and a library of saved prompts.

_template_syntax, _templates  parser, variables; templates and wildcards
_expansions                   lazy sequence of a template's prompts
_grids                        combinations of prompts, models, seeds, ...
_styles, _style_files         styles; their TOML and CSV files
_prompt, _prompt_library      saved prompts; the public `PromptLibrary`
_tables                       CSV files
"""

from __future__ import annotations

from ._expansions import Expansions
from ._grids import Grid, grid
from ._prompt import Prompt, PromptsImported
from ._prompt_library import PromptLibrary, open_prompts
from ._style_files import add_styles, load_styles, read_styles_csv, write_styles_csv
from ._styles import SharedStyle, Style, apply_styles, choose_styles
from ._template_syntax import Variable
from ._templates import Template, read_wildcards

__all__ = [
    "Expansions",
    "Grid",
    "Prompt",
    "PromptLibrary",
    "PromptsImported",
    "SharedStyle",
    "Style",
    "Template",
    "Variable",
    "add_styles",
    "apply_styles",
    "choose_styles",
    "grid",
    "load_styles",
    "open_prompts",
    "read_styles_csv",
    "read_wildcards",
    "write_styles_csv",
]
