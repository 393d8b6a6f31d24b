# Copyright (c) The mmpointrend authors.
"""Test a model of either task: ``python tools/test.py CONFIG CHECKPOINT [--out ...] [--show-dir
...] [--tta] ...``."""

from mmpointrend.engine.launch import run_cli, test

if __name__ == '__main__':
    run_cli(test)
