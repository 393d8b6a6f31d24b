# Copyright (c) The mmpointrend authors.
"""Tell apart what the mask APs of two instance models differ by: detections, their order, or masks.

Each model draws the masks of each model's detections, and every pair is evaluated twice: with the
detections' own scores, and with each score replaced by the best IoU of its mask with an instance of
its class. The second says how good boxes and masks are, whatever the order.

Usage: python tools/analysis_tools/swap_masks.py CONFIG_A CHECKPOINT_A CONFIG_B CHECKPOINT_B
       [--names A B]
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.model import BaseModel
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import load_checkpoint
from mmengine.structures import InstanceData
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

import mmpointrend  # noqa: F401  (checkpoints of mmengine load, and mmpointrend:: in configs)
from mmpointrend.engine.checks import build_dataset, check_checkpoint_classes
from mmpointrend.engine.launch import read_config, run_cli, task_of
from mmpointrend.errors import ConfigError

_FIGURES = tuple(
    f'{metric}_mAP{size}' for metric in ('segm', 'boundary') for size in ('', '_s', '_m', '_l')
)


def draw_masks(model: BaseModel, batch: dict, detections: InstanceData) -> DetDataSample:
    """Masks of given detections by a model.

    Args:
        model: A two-stage detector with a mask head, in evaluation mode.
        batch: One image, as the test dataset gives it, collated.
        detections: ``bboxes`` in pixels of the original image, ``labels`` and ``scores``.

    Returns:
        The image's data sample, with the detections and their ``masks`` as ``pred_instances``.
    """
    data = model.data_preprocessor(batch, False)
    (sample,) = data['data_samples']
    boxes: Tensor = detections.bboxes
    regions = InstanceData(
        # The head rescales its boxes in place; the product is a copy.
        bboxes=boxes * boxes.new_tensor(sample.scale_factor).repeat(2),
        labels=detections.labels,
        scores=detections.scores,
    )
    features = model.extract_feat(data['inputs'])
    (sample.pred_instances,) = model.roi_head.predict_mask(
        features, [sample.metainfo], [regions], rescale=True
    )
    return sample


def score_by_masks(sample: DetDataSample) -> DetDataSample:
    """Replace each score by the best IoU of the mask with an instance of its class, 0 without one.

    Args:
        sample: A data sample with ``gt_instances`` and ``pred_instances``, masks of the original
            size.

    Returns:
        A copy with other scores.
    """
    truth, predicted = sample.gt_instances, sample.pred_instances
    areas = truth.masks.to_ndarray().reshape(len(truth), -1).astype(np.float32)
    masks = predicted.masks.flatten(1).float().numpy()
    shared = masks @ areas.T
    union = masks.sum(1)[:, None] + areas.sum(1) - shared
    overlap = shared / np.maximum(union, 1)
    overlap[predicted.labels.numpy()[:, None] != truth.labels.numpy()] = 0
    copy = sample.clone()
    copy.pred_instances = predicted.clone()
    copy.pred_instances.scores = torch.from_numpy(overlap.max(axis=1, initial=0))
    return copy


@torch.no_grad()
def compare(cfg: Config, models: Sequence[BaseModel], dataset: Any) -> dict[tuple, dict]:
    """Evaluate each model's masks on each model's detections.

    Args:
        cfg: Config whose ``test_evaluator`` says how.
        models: The models, in evaluation mode.
        dataset: The test dataset.

    Returns:
        (number of the model that detects, of the one that draws, whether scores are those of the
        masks) -> figures.
    """
    numbers = range(len(models))
    evaluators = {
        (boxes, masks, by_masks): Evaluator(cfg.test_evaluator)
        for by_masks in (False, True)
        for boxes in numbers
        for masks in numbers
    }
    for evaluator in evaluators.values():
        evaluator.dataset_meta = dataset.metainfo
    for index in track(range(len(dataset)), 'images'):
        batch = pseudo_collate([dataset[index]])
        detected = [model.test_step(batch)[0].pred_instances for model in models]
        for boxes in numbers:
            for masks in numbers:
                sample = draw_masks(models[masks], batch, detected[boxes])
                for by_masks in (False, True):
                    evaluators[boxes, masks, by_masks].process(
                        [score_by_masks(sample) if by_masks else sample], batch
                    )
    return {key: evaluator.evaluate(len(dataset)) for key, evaluator in evaluators.items()}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Each model's masks on each model's detections.")
    for model in 'ab':
        parser.add_argument(f'config_{model}')
        parser.add_argument(f'checkpoint_{model}')
    parser.add_argument('--names', nargs=2, default=('baseline', 'PointRend'), metavar='NAME')
    return parser.parse_args()


def main() -> None:
    """Print the table, in percent.

    Raises:
        PointRendError: A config is not of instance segmentation, or the test set or a checkpoint
            cannot be used.
    """
    args = parse_args()
    paths, checkpoints = (args.config_a, args.config_b), (args.checkpoint_a, args.checkpoint_b)
    configs = [read_config(path) for path in paths]
    for path, cfg in zip(paths, configs, strict=True):
        if task_of(cfg) != 'instance':
            raise ConfigError(
                f'{path} is {task_of(cfg)}: give two configs of instance segmentation'
            )
    init_default_scope('mmdet')
    dataset = build_dataset(configs[0].test_dataloader.dataset)
    models = []
    for cfg, checkpoint in zip(configs, checkpoints, strict=True):
        model = MODELS.build(cfg.model)
        loaded = load_checkpoint(model, checkpoint, map_location='cpu', strict=True)
        check_checkpoint_classes(loaded, dataset, checkpoint, 'test_dataloader', trains_anew=False)
        models.append(model.eval())
    table = Table()
    for title in ('detections of', 'masks of', 'scores', *_FIGURES):
        table.add_column(title)
    for (boxes, masks, by_masks), figures in compare(configs[0], models, dataset).items():
        values = [figures.get(f'coco/{name}') for name in _FIGURES]
        table.add_row(
            args.names[boxes],
            args.names[masks],
            'mask IoU' if by_masks else 'own',
            *('-' if value is None else f'{100 * value:.1f}' for value in values),
        )
    Console().print(table)


if __name__ == '__main__':
    run_cli(main)
