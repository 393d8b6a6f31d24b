# Copyright (c) The mmpointrend authors.
"""Write a config that inherits another model's and adds PointRend: what ``mmpointrend convert`` does.

Usage: python tools/model_converters/add_pointrend.py CONFIG --out NEW.py [--fine-from backbone]
"""

import argparse
from pathlib import Path

from mmpointrend.apis import convert_config
from mmpointrend.engine.launch import run_cli


def main() -> None:
    """Read the command line, write the config and print it."""
    parser = argparse.ArgumentParser(description='Add PointRend to a detector or segmentor.')
    parser.add_argument('config', help='config of the model, or PACKAGE::NAME')
    parser.add_argument('--out', type=Path, required=True, help='the config to write, NEW.py')
    parser.add_argument(
        '--fine-from',
        choices=['neck', 'backbone'],
        default='neck',
        help="fine features: the neck's finest level (P2) or the backbone's (res2)",
    )
    args = parser.parse_args()
    convert_config(args.config, args.out, args.fine_from)
    print(args.out.read_text(), end='')


if __name__ == '__main__':
    run_cli(main)
