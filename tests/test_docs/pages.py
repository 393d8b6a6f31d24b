# Copyright (c) The mmpointrend authors.
"""Pages of the documentation: their blocks of code, and the commands in them."""

import re
import shlex
from pathlib import Path


def blocks(page: Path, language: str) -> list[str]:
    """Contents of the blocks of a language, in order."""
    return re.findall(rf'^```{language}\n(.*?)^```', page.read_text(), re.S | re.M)


def commands(page: Path) -> list[str]:
    """Commands of the shell blocks, each on one line without its comment."""
    lines = '\n'.join(blocks(page, 'bash')).replace('\\\n', ' ').splitlines()
    found = [shlex.join(shlex.split(line, comments=True)) for line in lines]
    return [line for line in found if line]
