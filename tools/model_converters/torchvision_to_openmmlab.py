# Copyright (c) The mmpointrend authors.
"""Rename torchvision's MobileNetV2 weights for the ``MobileNetV2`` of mmdet or mmseg.

The tensors stay what they are, in RGB and with ImageNet's mean and standard deviation; the classifier is left out.

Usage: python tools/model_converters/torchvision_to_openmmlab.py mobilenet_v2-b0353104.pth CHECKPOINT.pth --to mmdet
"""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mmpointrend.checkpoints.saving import save_model
from mmpointrend.engine.checkpoint import load_from_local
from mmpointrend.engine.launch import output_file, run_cli
from mmpointrend.errors import CheckpointError

# Blocks of each of the seven stages, which torchvision counts through.
_BLOCKS = (1, 2, 3, 4, 3, 3, 1)
_STAGES = [(stage, block) for stage, count in enumerate(_BLOCKS, 1) for block in range(count)]
# The layers of a block: the first has no expansion.
_MMDET = ('expand_conv', 'depthwise_conv', 'linear_conv')
_MMSEG = ('conv.0', 'conv.1', 'conv.2')
# torchvision's second stem, on the last stage; mmseg's backbone ends before it.
_LAST = len(_STAGES) + 1


def rename(weights: Mapping[str, Any], package: str) -> dict[str, Tensor]:
    """Rename a state dict.

    Args:
        weights: torchvision's ``mobilenet_v2(...).state_dict()``.
        package: ``'mmdet'`` or ``'mmseg'``.

    Returns:
        The state dict of that package's ``MobileNetV2``.

    Raises:
        CheckpointError: A tensor is not of torchvision's MobileNetV2, or one of it is missing.
    """
    renamed = {}
    for name, tensor in weights.items():
        if name.startswith('classifier.'):
            continue
        ours = _renamed(name, package)
        if ours is None:
            raise CheckpointError(
                f"the tensor {name} is not of torchvision's MobileNetV2: take the file that "
                'MobileNet_V2_Weights.IMAGENET1K_V1 names.'
            )
        if not (package == 'mmseg' and name.startswith(f'features.{_LAST}.')):
            renamed[ours] = tensor
    # A convolution and the five tensors of its normalisation; 2 layers in the first block, 3 in others.
    layers = 1 + 2 + 3 * (len(_STAGES) - 1) + (package == 'mmdet')
    if len(renamed) != 6 * layers:
        raise CheckpointError(
            f"the weights hold {len(renamed)} of the {6 * layers} tensors of torchvision's MobileNetV2: they are "
            'those of another model, or damaged.'
        )
    return renamed


def _renamed(name: str, package: str) -> str | None:
    found = re.fullmatch(r'features\.(\d+)\.(?:conv\.)?(.+)\.(\w+)', name)
    if found is None:
        return None
    number, place, kind = int(found[1]), found[2], found[3]
    if number in (0, _LAST):
        part = {'0': 'conv', '1': 'bn'}.get(place)
        return part and f'conv{1 if number == 0 else 2}.{part}.{kind}'
    if number > _LAST:
        return None
    stage, block = _STAGES[number - 1]
    layers = (_MMDET if package == 'mmdet' else _MMSEG)[
        1 if number == 1 and package == 'mmdet' else 0 :
    ]
    # The linear layer is not wrapped: its convolution and normalisation are counted with the others.
    linear = 1 if number == 1 else 2
    places = {f'{index}.{part}': (index, part) for index in range(linear) for part in (0, 1)}
    places |= {str(linear): (linear, 0), str(linear + 1): (linear, 1)}
    if place not in places:
        return None
    index, kept = places[place]
    return f'layer{stage}.{block}.{layers[index]}.{("conv", "bn")[kept]}.{kind}'


def main() -> None:
    """Read the command line and convert."""
    parser = argparse.ArgumentParser(description="Rename torchvision's MobileNetV2 weights.")
    parser.add_argument('source', help="torchvision's mobilenet_v2-b0353104.pth")
    parser.add_argument('target', type=Path, help='checkpoint to write; its folder is made')
    parser.add_argument('--to', choices=['mmdet', 'mmseg'], required=True, help='whose MobileNetV2')
    args = parser.parse_args()
    weights = load_from_local(args.source, map_location='cpu')
    renamed = rename(weights.get('state_dict', weights), args.to)
    save_model(output_file(args.target), renamed, dict(source=Path(args.source).name))
    print(f'{args.target}: {len(renamed)} tensors for {args.to}')


if __name__ == '__main__':
    run_cli(main)
