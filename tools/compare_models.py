# Copyright (c) The mmpointrend authors.
"""Draw what two models of one task predict, side by side with the truth and details of the
boundary.

Instances are the masks of the ground-truth boxes, so that both models draw the same objects.

Usage: python tools/compare_models.py CONFIG_A CHECKPOINT_A CONFIG_B CHECKPOINT_B OUT
       [--count N | --images I J ...] [--names A B] [--blank]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import load_checkpoint

import mmpointrend  # noqa: F401  (checkpoints of mmengine load, and mmpointrend:: in configs)
from mmpointrend.engine.checks import build_dataset, check_checkpoint_classes
from mmpointrend.engine.launch import read_config, run_cli, task_of
from mmpointrend.errors import ConfigError
from mmpointrend.evaluation import predict_on_gt_boxes
from mmpointrend.visualization import compare_panels


def load_model(cfg: Config, checkpoint: str, dataset: Any = None) -> BaseModel:
    """Build a model for testing.

    Args:
        cfg: Its config.
        checkpoint: Its weights, all of them.
        dataset: The dataset that it is to see; None compares no classes.

    Returns:
        The model in evaluation mode, on the CPU.

    Raises:
        CheckpointError: It was trained on the classes of the dataset in another order.
    """
    model = MODELS.build(cfg.model)
    loaded = load_checkpoint(model, checkpoint, map_location='cpu', strict=True)
    check_checkpoint_classes(loaded, dataset, checkpoint, 'test_dataloader', trains_anew=False)
    return model.eval()


@torch.no_grad()
def predict(task: str, models: Sequence[BaseModel], item: dict[str, Any]) -> list[np.ndarray]:
    """The truth and the prediction of each model for one image.

    Args:
        task: 'instance' or 'semantic'.
        models: The models.
        item: What the test dataset gives for the image.

    Returns:
        Masks (n, H, W) bool of the ground-truth instances, large ones first, or label maps (H, W), of the
        original size; the truth first.
    """
    if task == 'semantic':
        samples = [model.test_step(pseudo_collate([item]))[0] for model in models]
        truth = samples[0].gt_sem_seg.data[0].cpu().numpy()
        return [truth, *(sample.pred_sem_seg.data[0].cpu().numpy() for sample in samples)]
    truth = item['data_samples'].gt_instances.masks.to_ndarray().astype(bool)
    order = np.argsort(-truth.sum((1, 2)), kind='stable')
    samples = [predict_on_gt_boxes(model, pseudo_collate([item]))[0] for model in models]
    masks = [truth, *(s.pred_instances.masks.cpu().numpy().astype(bool) for s in samples)]
    return [part[order] for part in masks]


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Two models side by side, with details.')
    for model in 'ab':
        parser.add_argument(f'config_{model}')
        parser.add_argument(f'checkpoint_{model}')
    parser.add_argument('out', type=Path, help='folder of the pictures')
    which = parser.add_mutually_exclusive_group()
    which.add_argument('--count', type=int, default=4, help='images, evenly spaced in the test set')
    which.add_argument('--images', type=int, nargs='+', help='positions in the test set')
    parser.add_argument('--names', nargs=2, default=('baseline', 'PointRend'), metavar='NAME')
    parser.add_argument(
        '--blank', action='store_true', help='draw on white, without the photograph'
    )
    return parser.parse_args()


def main() -> None:
    """Draw the chosen images.

    Raises:
        PointRendError: The configs are of two tasks, a position is outside of the test set, or the
            test set or a checkpoint cannot be used.
    """
    args = parse_args()
    configs = [read_config(path) for path in (args.config_a, args.config_b)]
    task, other = (task_of(cfg) for cfg in configs)
    if task != other:
        raise ConfigError(f'{args.config_a} is {task}, {args.config_b} {other}: give one task')
    init_default_scope(configs[0].default_scope)
    dataset = build_dataset(configs[0].test_dataloader.dataset)
    checkpoints = (args.checkpoint_a, args.checkpoint_b)
    models = [load_model(*pair, dataset) for pair in zip(configs, checkpoints, strict=True)]
    images = args.images or np.linspace(0, len(dataset) - 1, args.count, dtype=int).tolist()
    if not all(0 <= index < len(dataset) for index in images):
        raise ConfigError(f'--images takes 0 to {len(dataset) - 1}, but got {images}')
    args.out.mkdir(parents=True, exist_ok=True)
    for index in images:
        item = dataset[index]
        panels = predict(task, models, item)
        photograph = mmcv.imread(item['data_samples'].img_path, channel_order='rgb')
        image = np.full_like(photograph, 255) if args.blank else photograph
        picture = compare_panels(
            image,
            dict(zip(('ground truth', *args.names), panels, strict=True)),
            truth='ground truth',
            palette=dataset.metainfo['palette'] if task == 'semantic' else None,
        )
        path = args.out / f'{Path(item["data_samples"].img_path).stem}.png'
        if not cv2.imwrite(str(path), picture[..., ::-1]):
            raise OSError(f'{path} cannot be written')
        print(path)


if __name__ == '__main__':
    run_cli(main)
