# Copyright (c) The mmpointrend authors.
"""Turn a PointRend model of detectron2's into a checkpoint of ours.

Usage: python tools/model_converters/detectron2_to_mmpointrend.py MODEL.pkl CHECKPOINT [--config NAME]

Takes .pkl (detectron2's zoo), .pth (what its training writes), .npz and .safetensors. CHECKPOINT is a .pth or a
.safetensors file. Every tensor of the source is used or named as
dropped, every tensor of the config's model is filled; otherwise nothing is written.
"""

import argparse
from pathlib import Path

from mmpointrend.checkpoints.saving import save_model
from mmpointrend.engine.detectron2 import convert, find_config, load_weights, matching_configs
from mmpointrend.engine.launch import output_file, run_cli
from mmpointrend.version import __version__


def main() -> None:
    """Read the command line, convert, say what became of the tensors."""
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
    weights = load_weights(args.source)
    target = output_file(args.target)
    if args.config is None:
        conversions = matching_configs(weights)
    else:
        conversions = {args.config: convert(weights, find_config(args.config))}
    config, *others = conversions
    conversion = conversions[config]
    meta = dict(config=config, source=Path(args.source).name, mmpointrend_version=__version__)
    save_model(target, conversion.state_dict, meta)
    print(f'{target}: {len(conversion.state_dict)} tensors for {config}')
    for other in others:
        print(f'fits as well: {other}')
    for name, reason in conversion.dropped.items():
        print(f'dropped: {name} ({reason})')
    if conversion.filled:
        print(f'filled with 0: {len(conversion.filled)} num_batches_tracked')


if __name__ == '__main__':
    run_cli(main)
