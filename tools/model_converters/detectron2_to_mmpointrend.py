# Copyright (c) The mmpointrend authors.
"""Turn a PointRend model of detectron2's into a checkpoint of ours.

Usage: python tools/model_converters/detectron2_to_mmpointrend.py MODEL.pkl CHECKPOINT [--config NAME]

Takes .pkl (detectron2's zoo), .pth (what its training writes), .npz and .safetensors. CHECKPOINT is a .pth or a
.safetensors file. Every tensor of the source is used or named as
dropped, every tensor of the config's model is filled; otherwise nothing is written.
"""

import argparse
from pathlib import Path

from mmpointrend.cli.convert_weights import convert_weights
from mmpointrend.engine.launch import run_cli


def main() -> None:
    """Read the command line and convert."""
    parser = argparse.ArgumentParser(description="Convert a PointRend model of detectron2's.")
    parser.add_argument('source', help='.pkl, .pth, .npz or .safetensors of detectron2')
    parser.add_argument(
        'target', type=Path, help='checkpoint to write (.pth, .safetensors); its folder is made'
    )
    parser.add_argument(
        '--config',
        metavar='NAME',
        help='config of the target, by name or path; found by names and shapes where it is left out',
    )
    args = parser.parse_args()
    convert_weights(args.source, args.target, args.config)


if __name__ == '__main__':
    run_cli(main)
