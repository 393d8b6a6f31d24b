# Copyright (c) The mmpointrend authors.
"""Peak memory of masks that never become dense: many objects of a very large image, from features to run lengths.

The network's input is small, the original image is not: whole bitmaps of 2,000 objects in 20,000x20,000 pixels would be
800 GB. Prints JSON: seconds, and bytes over what the process had with its inputs and weights.

Usage: python tools/analysis_tools/sparse_memory.py [--objects 2000] [--image 20000 20000] [--largest 1000]
"""

import argparse
import json
import time

import numpy as np
import torch
from benchmark_rendering import environment, peak_bytes
from mmengine.structures import InstanceData
from rendering_inputs import generator_of, smooth_features
from rendering_instances import Instances, build_roi_head

from mmpointrend.engine.launch import run_cli


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description='Memory of masks that never become dense.')
    parser.add_argument('--objects', type=int, default=2000)
    parser.add_argument('--image', type=int, nargs=2, default=(20000, 20000), help='height, width')
    parser.add_argument(
        '--largest', type=int, default=1000, help='longest side of an object in pixels of the image'
    )
    parser.add_argument('--variant', choices=['adaptive', 'lossless'], default='adaptive')
    parser.add_argument('--threads', type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    height, width = args.image
    # The longer side of the input is 1333, as in COCO's recipes.
    scale = 1333 / max(height, width)
    side = tuple(int(length * scale) // 32 * 32 + 32 for length in (height, width))
    sizes = Instances(args.objects, 80, (side[0], side[1]), encoded=True)
    head = build_roi_head(args.variant, sizes, 'cpu')
    level = smooth_features((1, 256, side[0] // 4, side[1] // 4), 'cpu')
    rng = np.random.default_rng(0)
    extent = np.exp(rng.uniform(np.log(16), np.log(args.largest), (args.objects, 1)))
    extent = np.minimum(extent * rng.uniform(0.7, 1.0, (args.objects, 2)), [width, height])
    corner = rng.uniform(0, 1, (args.objects, 2)) * ([width, height] - extent)
    boxes = torch.from_numpy(np.concatenate([corner, corner + extent], axis=1) * scale).float()
    labels = torch.randint(80, (args.objects,), generator=generator_of('labels'))
    meta = {'ori_shape': (height, width), 'img_shape': side, 'scale_factor': (scale, scale)}
    found: list[InstanceData] = []

    @torch.no_grad()
    def run() -> None:
        results = InstanceData(bboxes=boxes.clone(), labels=labels)
        head.predict_mask((level,), [meta], [results], rescale=True)
        found.append(results)

    start = time.perf_counter()
    peak = peak_bytes(run, 'cpu')
    seconds = time.perf_counter() - start
    counts = [len(mask['counts']) for mask in found[0].masks]
    print(
        json.dumps(
            {
                'objects': args.objects,
                'image': [height, width],
                'largest': args.largest,
                'variant': args.variant,
                'seconds': round(seconds, 1),
                'peak_bytes_over_inputs': peak,
                'bytes_of_run_lengths': sum(counts),
                'cpu': environment('cpu')['cpu'],
            }
        )
    )


if __name__ == '__main__':
    run_cli(main)
