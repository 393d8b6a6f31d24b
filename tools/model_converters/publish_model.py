# Copyright (c) The mmpointrend authors.
"""Keep of a checkpoint what others need: the weights, classes and config, without the state of training.

Usage: python tools/model_converters/publish_model.py CHECKPOINT TARGET

TARGET is a .safetensors file, which holds tensors and texts and can be read without trust in its
source, or a .pth file. CHECKPOINT is a path or an address, of either format.
"""

import argparse
from pathlib import Path

from mmengine.runner import CheckpointLoader

from mmpointrend.checkpoints.saving import save_model
from mmpointrend.engine.launch import output_file, run_cli

# What inferencers read.
_KEPT = ('cfg', 'dataset_meta', 'config', 'epoch', 'iter', 'mmpointrend_version')


def main() -> None:
    """Read the command line, load, write."""
    parser = argparse.ArgumentParser(description='Keep the weights of a checkpoint.')
    parser.add_argument('source', help='path or address of a checkpoint')
    parser.add_argument('target', type=Path, help='.safetensors or .pth file; its folder is made')
    args = parser.parse_args()
    checkpoint = CheckpointLoader.load_checkpoint(args.source, map_location='cpu')
    weights = checkpoint.get('state_dict', checkpoint)
    meta = (checkpoint.get('meta') if weights is not checkpoint else None) or {}
    target = output_file(args.target)
    save_model(target, weights, {key: meta[key] for key in _KEPT if key in meta})
    print(f'{target}: {len(weights)} tensors')


if __name__ == '__main__':
    run_cli(main)
