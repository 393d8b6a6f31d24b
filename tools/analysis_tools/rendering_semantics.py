# Copyright (c) The mmpointrend authors.
"""Semantic cases of ``benchmark_rendering.py``: K classes, N points of a step, against mmseg."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config, ConfigDict
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS as MMSEG_MODELS
from mmseg.structures import SegDataSample
from rendering_inputs import (
    LOSSLESS,
    MODEL_CONFIGS,
    PEER,
    Case,
    compare_training,
    drop_gradients,
    gemms,
    generator_of,
    gradients,
    leaf,
    precision,
    predicted_points,
    random_weights,
    shrunk_image,
    smooth_features,
    to_peer,
)
from torch import Tensor, nn

from mmpointrend.models import PointRendHead
from mmpointrend.models.decode_heads.placement import Placement
from mmpointrend.points.bands import labels_of


@dataclass(frozen=True)
class Semantics:
    """Sizes of a semantic case.

    Attributes:
        image: Height and width in pixels.
        stride: Of the coarse logits.
        steps: Doublings.
        num_points: N.
        logits: 'smooth' or 'random'.
        classes: K.
        labels: Whether the end is a label map of the original image instead of logits.
    """

    image: tuple[int, int]
    stride: int
    steps: int
    num_points: int
    logits: str
    classes: int = 19
    labels: bool = False

    def shrunk(self, by: int) -> 'Semantics':
        """The same with ``by`` times fewer pixels a side and ``by**2`` times fewer points."""
        points = max(self.num_points // by**2, 16)
        image = shrunk_image(self.image, by)
        return replace(self, image=image, num_points=points)


def class_logits(sizes: Semantics, device: str) -> Tensor:
    """Coarse logits (1, K, h, w): 'smooth' has regions of one class and a little noise, 'random' is noise alone."""
    generator = generator_of('logits')
    shape = tuple(side // sizes.stride for side in sizes.image)
    noise = torch.randn(1, sizes.classes, *shape, generator=generator)
    if sizes.logits == 'random':
        return noise.to(device)
    blobs = [max(side // 128, 2) for side in sizes.image]
    regions = torch.randn(1, sizes.classes, *blobs, generator=generator)
    return (4 * F.interpolate(regions, size=shape, mode='bicubic') + 0.1 * noise).to(device)


class GivenLogits(BaseDecodeHead):
    """Coarse head that returns one of its inputs: both sides start from the same logits, at no cost."""

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """The level ``in_index`` of ``inputs``, as it is."""
        return inputs[self.in_index]


def _point_head(classes: int, peer: bool) -> Any:
    config = {
        'in_channels': [256],
        'in_index': [0],
        'channels': 256,
        'num_fcs': 3,
        'coarse_pred_each_layer': True,
        'dropout_ratio': -1,
        'loss_decode': {'type': 'CrossEntropyLoss', 'use_sigmoid': False},
    }
    if not peer:
        return config
    config.update(type='mmseg.PointHead', num_classes=classes, align_corners=False)
    with DefaultScope.overwrite_default_scope('mmseg'):
        return MMSEG_MODELS.build(config)


def _our_decode_head(coarse: dict, point: Any, classes: int) -> Any:
    """Our decode head with the weights of mmseg's point head."""
    config = {
        'type': 'mmpointrend.PointRendHead',
        'coarse_head': coarse,
        'point_head': _point_head(classes, peer=False),
    }
    with DefaultScope.overwrite_default_scope('mmseg'):
        head = MMSEG_MODELS.build(ConfigDict(config))
    names = {key: key.replace('fc_seg', 'fc_logits') for key in point.state_dict()}
    state = {names[key]: value for key, value in point.state_dict().items()}
    head.point_head.load_state_dict(state, strict=True)
    return head


def semantic_case(name: str, sizes: Semantics, device: str) -> Case:
    """Logits of the image's size from given coarse logits: subdivision alone on both sides."""
    height, width = sizes.image
    level = smooth_features((1, 256, height // 4, width // 4), device)
    coarse = class_logits(sizes, device)
    metas = [{'img_shape': sizes.image, 'ori_shape': sizes.image, 'pad_shape': sizes.image}]
    test_cfg = ConfigDict(
        subdivision_steps=sizes.steps, subdivision_num_points=sizes.num_points, scale_factor=2
    )

    def build(implementation: str) -> Callable[[], Tensor]:
        point = _point_head(sizes.classes, peer=True)
        random_weights(point)
        call: Callable[[], Tensor]
        if implementation == PEER:
            point = point.eval().to(device)
            call = partial(point.predict, [level], coarse, metas, test_cfg)
            if sizes.labels:
                call = partial(_stock_labels, call, metas)
        else:
            given = {
                'type': GivenLogits,
                'in_channels': sizes.classes,
                'in_index': 1,
                'channels': 1,
                'num_classes': sizes.classes,
                'align_corners': False,
            }
            head = _our_decode_head(given, point, sizes.classes).eval().to(device)
            call = partial(head.predict, [level, coarse], metas, test_cfg)
            if sizes.labels:
                call = partial(_labels_by_bands, head, [level, coarse], metas, test_cfg)

        @torch.no_grad()
        def run() -> Tensor:
            with precision(implementation, device):
                return call()

        return run

    def compare(ours: Tensor, peer: Tensor) -> dict[str, float]:
        if not sizes.labels:
            ours, peer = ours.argmax(dim=1), peer.argmax(dim=1)
        different = (ours != peer).float().mean()
        return {'differing_pixels': float(different)}

    points = predicted_points(coarse.shape[2:], sizes.num_points, sizes.steps)
    return Case(
        name,
        build,
        (LOSSLESS, 'lossless-bf16'),
        compare,
        partial(gemms, [min(points, level[0, 0].numel()), points, points], device),
    )


def _stock_labels(predict: Callable[[], Tensor], metas: list[dict]) -> Tensor:
    """Labels (height, width) by mmseg's segmentor, from the logits that its head predicts."""
    segmentor: Any = SimpleNamespace(align_corners=False)
    samples = [SegDataSample(metainfo=metas[0])]
    (found,) = BaseSegmentor.postprocess_result(segmentor, predict(), samples)
    return found.pred_sem_seg.data[0]


def _labels_by_bands(
    head: PointRendHead, inputs: list[Tensor], metas: list[dict], test_cfg: ConfigDict
) -> Tensor:
    """Labels (height, width) as ``PointRendSegmentor`` makes them."""
    bands = head.predict_bands(inputs, metas, test_cfg)
    assert bands is not None
    return labels_of(Placement.of(metas[0]).original(bands[0], align_corners=False))


def _blocks_of_labels(height: int, width: int, classes: int, device: str) -> SegDataSample:
    """Ground truth of an image: blocks of 32x32 pixels of one class."""
    shape = (1, height // 32, width // 32)
    blocks = torch.randint(classes, shape, generator=generator_of('labels'))
    labels = blocks.repeat_interleave(32, 1).repeat_interleave(32, 2)
    sample = SegDataSample()
    sample.gt_sem_seg = PixelData(data=labels.to(device))
    return sample


def training_semantic_case(device: str, shrink: int) -> Case:
    """FPNHead and point head on two crops of 512x1024, forward and backward."""
    height, width = shrunk_image((512, 1024), shrink)
    classes = 19
    levels = [
        smooth_features((2, 256, height // stride, width // stride), device)
        for stride in (4, 8, 16, 32)
    ]
    train_cfg = ConfigDict(
        num_points=max(2048 // shrink**2, 16), oversample_ratio=3, importance_sample_ratio=0.75
    )
    samples = [_blocks_of_labels(height, width, classes, device) for _ in range(2)]
    path = MODEL_CONFIGS / 'pointrend_fpn_r50.py'
    fpn = Config.fromfile(path).model.decode_head.coarse_head
    fpn.norm_cfg.type = 'BN'

    def build(implementation: str, keep_gradients: bool = True) -> Callable[[], dict]:
        point = _point_head(classes, peer=True)
        with DefaultScope.overwrite_default_scope('mmseg'):
            coarse = MMSEG_MODELS.build(copy.deepcopy(fpn))
        heads = nn.ModuleList([coarse, point])
        random_weights(heads)
        x = [leaf(level) for level in levels]
        if implementation == PEER:
            heads = heads.train().to(device)

            def losses() -> dict:
                # As mmseg's CascadeEncoderDecoder: the second forward of the coarse head is its own.
                first = coarse.loss(x, samples, train_cfg)
                second = point.loss(x, coarse.forward(x), samples, train_cfg)
                return {**first, **second}

            module: Any = heads
        else:
            module = _our_decode_head(copy.deepcopy(fpn), point, classes)
            module.coarse_head.load_state_dict(coarse.state_dict(), strict=True)
            module = module.train().to(device)
            losses = partial(module.loss, x, samples, train_cfg)
        if not keep_gradients:
            drop_gradients(x, module)

        def run() -> dict:
            torch.manual_seed(0)
            with precision(implementation, device):
                values = losses()
            return gradients(values, x, module)

        return run

    return Case(
        'training-semantic',
        build,
        (LOSSLESS, 'lossless-bf16'),
        compare_training,
        build_for_memory=partial(build, keep_gradients=False),
    )


def model_semantic_case(device: str, shrink: int, as_labels: bool = False) -> Case:
    """SemanticFPN R50 with PointRend from image to labels, 19 classes.

    Args:
        device: Where it runs.
        shrink: What sizes are divided by.
        as_labels: Whether ours makes labels by rows, without logits of the original image.
    """
    image = shrunk_image((1024, 2048), shrink)
    inputs = smooth_features((1, 3, *image), device)
    meta = {'ori_shape': image, 'img_shape': image, 'pad_shape': image}
    path = MODEL_CONFIGS / 'pointrend_fpn_r50.py'

    def build(implementation: str) -> Callable[[], Any]:
        config = Config.fromfile(path).model
        config.test_cfg.subdivision_num_points = max(8196 // shrink**2, 16)
        if implementation == PEER:
            head = config.decode_head
            point = to_peer(head.point_head)
            # mmseg's own, which its class gives.
            del point['init_cfg']
            point.update(type='PointHead', num_classes=19, align_corners=False, dropout_ratio=-1)
            config.decode_head = [head.coarse_head, point]
            config.update(type='CascadeEncoderDecoder', num_stages=2)
        elif as_labels:
            config.type = 'mmpointrend.PointRendSegmentor'
        with DefaultScope.overwrite_default_scope('mmseg'):
            model = revert_sync_batchnorm(MMSEG_MODELS.build(config))
        head = model.decode_head
        pair = (head[0], head[1]) if implementation == PEER else (head.coarse_head, head.point_head)
        for part in (model.backbone, model.neck, *pair):
            random_weights(part)
        model = model.eval().to(device)

        @torch.no_grad()
        def run() -> Any:
            sample = SegDataSample(metainfo=meta)
            with precision(implementation, device):
                return model.predict(inputs, [sample])[0].pred_sem_seg.data

        return run

    def compare(ours: Tensor, peer: Tensor) -> dict[str, float]:
        return {'differing_pixels': float((ours != peer).float().mean())}

    name = 'model-semantic-labels' if as_labels else 'model-semantic'
    return Case(name, build, (LOSSLESS, 'lossless-bf16'), compare)
