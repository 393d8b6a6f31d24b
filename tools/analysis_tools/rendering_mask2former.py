# Copyright (c) The mmpointrend authors.
"""Mask2Former's losses in ``benchmark_rendering.py``: ours against mmdet's at the same points."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from rendering_inputs import (
    LOSSLESS,
    PEER,
    Case,
    compare_training,
    drop_gradients,
    generator_of,
    gradients,
    leaf,
    shrunk_image,
)
from rendering_instances import box_mix

_CONFIG = 'mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py'


def training_mask2former_case(device: str, shrink: int) -> Case:
    """From the predictions of ten decoder layers to the losses and back: two images of 1024x1024 with 20 instances."""
    height, width = shrunk_image((1024, 1024), shrink)
    truths = 20 if shrink == 1 else 2
    model = Config.fromfile(Config._get_cfg_path(_CONFIG, '')[0]).model
    config = model.panoptic_head
    config.update(train_cfg=model.train_cfg, test_cfg=model.test_cfg)
    config.train_cfg.num_points //= shrink**2
    config.num_queries = max(config.num_queries // shrink, 4)
    generator = generator_of('mask2former')
    layers = config.transformer_decoder.num_layers + 1
    shape = (2, config.num_queries)
    scores = [
        torch.randn(*shape, config.num_things_classes + 1, generator=generator).to(device)
        for _ in range(layers)
    ]
    maps = [
        torch.randn(*shape, height // 4, width // 4, generator=generator).to(device)
        for _ in range(layers)
    ]
    instances, metas = [], [{'img_shape': (height, width)}] * 2
    for _ in range(2):
        masks = np.zeros((truths, height, width), dtype=np.uint8)
        boxes = box_mix(truths, (height, width)).round().int().tolist()
        for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
            mask[top:bottom, left:right] = 1
        labels = torch.randint(config.num_things_classes, (truths,), generator=generator)
        instances.append(
            InstanceData(labels=labels.to(device), masks=BitmapMasks(masks, height, width))
        )

    def build(implementation: str, keep_gradients: bool = True) -> Callable[[], dict]:
        kind = config.type if implementation == PEER else f'mmpointrend.{config.type}'
        with DefaultScope.overwrite_default_scope('mmdet'):
            head: Any = MMDET_MODELS.build({**config, 'type': kind}).train().to(device)
        predictions = [leaf(prediction) for prediction in (*maps, *scores)]
        if not keep_gradients:
            drop_gradients(predictions, head)

        def run() -> dict:
            torch.manual_seed(0)
            truth = head.preprocess_gt(instances, [None, None])
            masks, classes = predictions[:layers], predictions[layers:]
            losses = head.loss_by_feat(classes, masks, truth, metas)
            # mmdet's losses of masks are of shape (1,).
            return gradients({key: loss.sum() for key, loss in losses.items()}, predictions, head)

        return run

    return Case(
        'training-mask2former',
        build,
        (LOSSLESS,),
        compare_training,
        build_for_memory=partial(build, keep_gradients=False),
    )
