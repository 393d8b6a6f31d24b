# Copyright (c) The mmpointrend authors.
"""PointRend against the standard heads, from nothing, in minutes on a CPU: ``mmpointrend demo``."""

import sys

from mmpointrend.cli import main

if __name__ == '__main__':
    main(['demo', *sys.argv[1:]])
