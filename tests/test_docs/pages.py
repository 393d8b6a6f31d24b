# Copyright (c) The mmpointrend authors.
"""Pages of the documentation: their blocks of code, and the commands in them."""

import re
import shlex
from pathlib import Path

# Configs of a user, by the first words of what they inherit.
CONFIGS = {'mine.py': '8xb2-1x_coco', 'labels.py': 'fpn_r50_4xb2-80k', 'road.py': 'labels.py'}


def blocks(page: Path, language: str) -> list[str]:
    """Contents of the blocks of a language, in order."""
    return re.findall(rf'^```{language}\n(.*?)^```', page.read_text(), re.S | re.M)


def commands(page: Path) -> list[str]:
    """Commands of the shell blocks, each on one line without its comment."""
    lines = '\n'.join(blocks(page, 'bash')).replace('\\\n', ' ').splitlines()
    found = [shlex.join(shlex.split(line, comments=True)) for line in lines]
    return [line for line in found if line]


def write_pages_configs(page: Path, folder: Path) -> None:
    """Write the configs of a page into a folder, under the names that it gives them."""
    codes = [code for code in blocks(page, 'python') if code.startswith('_base_')]
    for (name, base), code in zip(CONFIGS.items(), codes, strict=True):
        assert base in code.splitlines()[0]
        (folder / name).write_text(code)
