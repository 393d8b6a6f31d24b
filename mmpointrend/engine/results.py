# Copyright (c) The mmpointrend authors.
"""What finished runs leave behind, so that a second call does only what is missing.

A run's folder holds ``result.json``: a fingerprint of all that the run depends on, and its figures.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

__all__ = ['Figures', 'fingerprint', 'read_fingerprint', 'read_result', 'write_result']

Figures = dict[str, float]
"""What a run prints: name of the metric -> value."""

_NAME = 'result.json'


def fingerprint(*parts: object) -> str:
    """Short digest of what a run depends on.

    Args:
        *parts: Anything whose ``repr`` says all of it.

    Returns:
        16 hexadecimal digits; equal parts give equal digests.
    """
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def write_result(folder: Path, digest: str, figures: Mapping[str, float] | None) -> None:
    """Mark a run as begun or as finished.

    Args:
        folder: The run's folder; it exists.
        digest: Fingerprint of the run.
        figures: Its figures; None where it has only begun.
    """
    values = None if figures is None else {name: float(value) for name, value in figures.items()}
    record = {'fingerprint': digest, 'figures': values}
    (folder / _NAME).write_text(json.dumps(record, indent=2) + '\n', encoding='utf-8')


def read_result(folder: Path, expected: str) -> Figures | None:
    """Figures of a finished run.

    Args:
        folder: The run's folder.
        expected: Fingerprint of the run as it would be now.

    Returns:
        The figures; None where the run has not been finished as it would be now.
    """
    record = _read(folder)
    return record['figures'] if record and record['fingerprint'] == expected else None


def read_fingerprint(folder: Path) -> str | None:
    """Fingerprint of what has been run in a folder, finished or not.

    Args:
        folder: The run's folder.

    Returns:
        The fingerprint; None where nothing has been run.
    """
    record = _read(folder)
    return record['fingerprint'] if record else None


def _read(folder: Path) -> dict | None:
    path = folder / _NAME
    return json.loads(path.read_text(encoding='utf-8')) if path.is_file() else None
