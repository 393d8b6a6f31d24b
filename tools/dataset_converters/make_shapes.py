# Copyright (c) The mmpointrend authors.
"""Writes the generated data set Shapes for both tasks.

The pictures depend on the seed alone: the same command writes the same bytes, and more pictures
leave the first ones as they are.
"""

import argparse
from pathlib import Path

from rich.progress import track

from mmpointrend.datasets.shapes.scene import LEAST_SIZE
from mmpointrend.datasets.shapes.writer import write_split


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'out', type=Path, help='folder to write to; earlier Shapes there are replaced'
    )
    parser.add_argument('--train', type=int, default=300, help='number of training pictures')
    parser.add_argument('--val', type=int, default=60, help='number of validation pictures')
    parser.add_argument('--size', type=int, default=512, help='side of the pictures in pixels')
    parser.add_argument('--seed', type=int, default=0, help='seed of the data set')
    parser.add_argument(
        '--one-class', action='store_true', help="all objects of one class, 'object'"
    )
    parser.add_argument(
        '--plain', action='store_true', help='vivid objects on grey ground, none over another'
    )
    args = parser.parse_args()
    if args.size < LEAST_SIZE:
        parser.error(f'--size must be at least {LEAST_SIZE}, but got {args.size}')
    if min(args.train, args.val, args.seed) < 0:
        parser.error('--train, --val and --seed must not be negative')
    return args


def main() -> None:
    """Writes both splits and says where."""
    args = parse_args()
    for split, count in (('train', args.train), ('val', args.val)):
        looks = {'one_class': args.one_class, 'plain': args.plain}
        pictures = write_split(args.out, split, count, args.size, args.seed, **looks)
        for _ in track(pictures, description=f'Shapes, {split}', total=count):
            pass
    print(f'{args.train} training and {args.val} validation pictures are in {args.out}')


if __name__ == '__main__':
    main()
