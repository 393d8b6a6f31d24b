# Copyright (c) The mmpointrend authors.
"""The console script ``mmpointrend``: hands over to :mod:`mmpointrend.cli`.

It lies beside the package, since importing the package needs torch and OpenMMLab's packages in their
ranges: if they are missing, of another version or broken, it says so in a sentence, and
``mmpointrend doctor`` still looks at what is installed.
"""

import importlib
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

__all__ = ['main']


def main() -> None:
    """Run ``mmpointrend``.

    Raises:
        SystemExit: Always, with the exit status.
    """
    if sys.argv[1:] == ['doctor']:
        sys.exit(_examine_installation())
    try:
        run = importlib.import_module('mmpointrend.cli').main
    except Exception as error:
        # A package that is broken fails with whatever its author did not think of.
        sys.exit(f'error: {error} (`mmpointrend doctor` looks at the whole installation)')
    run()


def _examine_installation() -> int:
    # By its path: the package around it may not be importable.
    spec = find_spec('mmpointrend')
    if spec is None or spec.origin is None:
        sys.exit('error: the package mmpointrend is not installed: pip install mmpointrend')
    report = runpy.run_path(str(Path(spec.origin).with_name('installation.py')))
    status: int = report['print_installation']()
    return status


if __name__ == '__main__':
    main()
