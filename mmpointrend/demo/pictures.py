# Copyright (c) The mmpointrend authors.
"""Pictures of the demo: what both heads predict, and the points of every subdivision step.

Drawn are the validation pictures that objects cover most of, whatever the heads make of them. Masks are those of the
ground-truth boxes, so that both heads draw the same objects.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.model import BaseModel
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import load_checkpoint
from PIL import Image

from mmpointrend.datasets.shapes.writer import PALETTE
from mmpointrend.demo.stages import HEADS, Options, stage_config
from mmpointrend.engine.checks import build_dataset
from mmpointrend.evaluation import predict_on_gt_boxes
from mmpointrend.visualization import compare_panels, draw_subdivision, record_subdivision

COUNT = 4
"""Pictures drawn of each task."""


def draw_all(options: Options) -> list[Path]:
    """Draws both tasks into the demo's folder.

    Args:
        options: The demo's; its runs have to be finished.

    Returns:
        The pictures, for each task and example a comparison and the steps.
    """
    written = []
    for task, draw in (('mask', _draw_instances), ('semantic', _draw_semantic)):
        stages = [stage for stage in HEADS if stage.name.startswith(task)]
        configs = [stage_config(stage, options) for stage in stages]
        init_default_scope(configs[0].default_scope)
        folders = [options.out / stage.name for stage in stages]
        models = [_load(cfg, folder) for cfg, folder in zip(configs, folders, strict=True)]
        dataset = build_dataset(configs[0].test_dataloader.dataset)
        for rank, index in enumerate(_fullest(options)[:COUNT], start=1):
            for kind, picture in zip(('', '_steps'), draw(models, dataset, index), strict=True):
                written.append(options.out / f'{task}_{rank}{kind}.png')
                _write(written[-1], picture)
    return written


def _write(path: Path, picture: np.ndarray) -> None:
    """Writes an RGB picture (H, W, 3)."""
    if not cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9]):
        raise OSError(f'{path} cannot be written.')


def _load(cfg: Config, folder: Path) -> BaseModel:
    """The trained model of a stage, ready to predict."""
    model = MODELS.build(cfg.model)
    load_checkpoint(model, str(folder / 'last.pth'), map_location='cpu')
    return model.eval()


def _fullest(options: Options) -> list[int]:
    """Indices of the validation pictures, those that objects cover most of first."""
    maps = sorted((options.data / 'semantic_val').glob('*.png'))
    covered = [int(np.count_nonzero(np.asarray(Image.open(path)))) for path in maps]
    return [int(index) for index in np.argsort(covered, kind='stable')[::-1]]


def _image(item: dict) -> np.ndarray:
    """The picture of a data sample, (H, W, 3) RGB."""
    return np.ascontiguousarray(item['inputs'].permute(1, 2, 0).numpy()[..., ::-1])


def _draw_instances(
    models: Sequence[BaseModel], dataset: BaseDataset, index: int
) -> tuple[np.ndarray, np.ndarray]:
    """Masks of both heads on the ground-truth boxes, and the steps of the largest object."""
    item = dataset[index]
    instances = item['data_samples'].gt_instances
    truth = instances.masks.to_ndarray().astype(bool)
    order = np.argsort(-truth.sum((1, 2)), kind='stable')  # small masks over large ones
    masks = {'ground truth': truth[order]}
    names = ('standard head, 28 x 28', 'PointRend, 224 x 224')
    with record_subdivision(models[1]) as renderings:
        for name, model in zip(names, models, strict=True):
            sample = predict_on_gt_boxes(model, pseudo_collate([item]))[0]
            masks[name] = sample.pred_instances.masks.numpy().astype(bool)[order]
    largest = int(order[0])
    box = tuple(instances.bboxes.tensor[largest].tolist())
    return (
        compare_panels(_image(item), masks, truth='ground truth'),
        draw_subdivision(_image(item), renderings[0], box, region=largest),
    )


@torch.no_grad()
def _draw_semantic(
    models: Sequence[BaseModel], dataset: BaseDataset, index: int
) -> tuple[np.ndarray, np.ndarray]:
    """Label maps of both heads, and the steps of the second."""
    item = dataset[index]
    labels = {'ground truth': item['data_samples'].gt_sem_seg.data[0].numpy()}
    names = ('SemanticFPN', 'SemanticFPN + PointRend')
    with record_subdivision(models[1]) as renderings:
        for name, model in zip(names, models, strict=True):
            sample = model.test_step(pseudo_collate([item]))[0]
            labels[name] = sample.pred_sem_seg.data[0].numpy()
    return (
        compare_panels(_image(item), labels, truth='ground truth', palette=PALETTE),
        draw_subdivision(_image(item), renderings[0], palette=PALETTE),
    )
