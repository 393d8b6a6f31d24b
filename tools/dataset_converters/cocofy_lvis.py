# Copyright (c) The mmpointrend authors.
"""Rewrite LVIS annotations, v0.5 or v1, in COCO's categories.

A COCO model tested on the result by LVIS's federated rules has the paper's AP*. The metric
``mmpointrend.APStarMetric`` takes LVIS's own files as well; this file serves other tools, and loads
faster. Of v1 only the images of COCO val2017 are kept.

Usage: python tools/dataset_converters/cocofy_lvis.py lvis_v0.5_val.json lvis_v0.5_val_cocofied.json
"""

import argparse
import json
from pathlib import Path

from mmpointrend.data_files import read_json
from mmpointrend.engine.launch import output_file, run_cli
from mmpointrend.errors import InputError
from mmpointrend.evaluation.cocofy import cocofy


def main() -> None:
    """Read the command line, write the file, say what was written."""
    parser = argparse.ArgumentParser(description="Rewrite LVIS annotations in COCO's categories.")
    parser.add_argument('source', type=Path, help='LVIS json, v0.5 or v1')
    parser.add_argument('target', type=Path, help='where to write; its folder is made')
    args = parser.parse_args()
    try:
        cocofied = cocofy(read_json(args.source, 'the file'))
    except InputError as error:
        raise InputError(f'{args.source}: {error}') from error
    output_file(args.target).write_text(json.dumps(cocofied))
    with_truth = {annotation['category_id'] for annotation in cocofied['annotations']}
    negatives, inexhaustive = (
        sum(len(image[key]) for image in cocofied['images'])
        for key in ('neg_category_ids', 'not_exhaustive_category_ids')
    )
    print(
        f'{args.target}: LVIS {cocofied["cocofied_from"]}, {len(cocofied["images"])} images, '
        f'{len(cocofied["annotations"])} annotations, {len(cocofied["categories"])} categories '
        f'({len(with_truth)} with ground truth), {negatives} negatives, {inexhaustive} not '
        'exhaustive'
    )


if __name__ == '__main__':
    run_cli(main)
