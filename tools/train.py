# Copyright (c) The mmpointrend authors.
"""Train a model of either task: ``python tools/train.py CONFIG [--work-dir DIR] [--resume
[CHECKPOINT]] ...``."""

from mmpointrend.engine.launch import run_cli, train

if __name__ == '__main__':
    run_cli(train)
