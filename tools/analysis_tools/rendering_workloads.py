# Copyright (c) The mmpointrend authors.
"""What ``benchmark_rendering.py`` runs: each case is ours and the peer's, on the same weights and inputs.

R RoIs, K classes, N points of a step. ``shrink`` divides sizes, to try a case in a second.
"""

import copy
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config, ConfigDict
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData, PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS as MMSEG_MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

import mmpointrend
from mmpointrend.errors import ConfigError

PEER = 'peer'
LOSSLESS = 'lossless'
VARIANTS = (LOSSLESS, 'adaptive', 'lossless-bf16', 'adaptive-bf16')
_MODELS = Path(mmpointrend.__file__).parent / '.mim' / 'configs' / '_base_' / 'models'


@dataclass
class Case:
    """Ours and the peer's of one kind of work.

    Attributes:
        name: Its id.
        build: Maps 'peer' or a variant to a function that runs it once; raises :class:`ConfigError` with the reason
            where it cannot be built.
        variants: Ours, in the order of the table.
        compare: Measures of agreement of an output of ours with the peer's.
        floor: Given a dtype, makes what runs the GEMMs that cannot be avoided; None where that is not defined.
        peer_bytes: Estimate of the peer's peak memory in bytes, 0 where it is known to fit.
    """

    name: str
    build: Callable[[str], Callable[[], Any]]
    variants: Sequence[str]
    compare: Callable[[Any, Any], dict[str, float]]
    floor: Callable[[torch.dtype], Callable[[], None]] | None = None
    peer_bytes: float = 0


@dataclass(frozen=True)
class Instances:
    """Sizes of an instance case.

    Attributes:
        rois: R.
        classes: K.
        image: Height and width in pixels, of the network's input and of the original image.
        num_points: N.
        steps: Doublings from a coarse mask of 7x7.
    """

    rois: int
    classes: int
    image: tuple[int, int]
    num_points: int = 28 * 28
    steps: int = 5

    def shrunk(self, by: int) -> 'Instances':
        """The same with ``by`` times fewer RoIs, classes, points and pixels a side."""
        if by == 1:
            return self
        return Instances(
            max(self.rois // by, 4),
            max(self.classes // by, 2),
            _shrunk_image(self.image, by),
            max(self.num_points // by, 49),
            max(self.steps - int(math.log2(by)), 2),
        )


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
    """

    image: tuple[int, int]
    stride: int
    steps: int
    num_points: int
    logits: str
    classes: int = 19

    def shrunk(self, by: int) -> 'Semantics':
        """The same with ``by`` times fewer pixels a side and ``by**2`` times fewer points."""
        points = max(self.num_points // by**2, 16)
        image = _shrunk_image(self.image, by)
        return Semantics(image, self.stride, self.steps, points, self.logits, self.classes)


INSTANCES = {
    'instance-coco': Instances(100, 80, (800, 1216)),
    'instance-cityscapes': Instances(30, 8, (1024, 2048)),
    'instance-lvis': Instances(300, 1203, (800, 1216)),
}
SEMANTICS = {
    'semantic-s4-smooth': Semantics((1024, 2048), 4, 2, 8192, 'smooth'),
    'semantic-s4-random': Semantics((1024, 2048), 4, 2, 8192, 'random'),
    'semantic-s16-smooth': Semantics((1024, 2048), 16, 4, 8096, 'smooth'),
    'semantic-s16-random': Semantics((1024, 2048), 16, 4, 8096, 'random'),
}
OTHERS = ('training-instance', 'training-semantic', 'model-instance', 'model-semantic')
CASES = (*INSTANCES, *SEMANTICS, *OTHERS)


def make_case(name: str, device: str = 'cpu', shrink: int = 1) -> Case:
    """A case by its id.

    Args:
        name: One of ``CASES``.
        device: Where it runs.
        shrink: What its sizes are divided by.

    Returns:
        The case; none of its implementations is built yet.
    """
    if name in INSTANCES:
        return instance_case(name, INSTANCES[name].shrunk(shrink), device)
    if name in SEMANTICS:
        sizes = SEMANTICS[name]
        return semantic_case(name, sizes.shrunk(shrink) if shrink > 1 else sizes, device)
    makers = {
        'training-instance': training_instance_case,
        'training-semantic': training_semantic_case,
        'model-instance': model_instance_case,
        'model-semantic': model_semantic_case,
    }
    return makers[name](device, shrink)


def _shrunk_image(image: tuple[int, int], by: int) -> tuple[int, int]:
    """Image sides divided by ``by``, still multiples of 32."""
    return (max(image[0] // by // 32, 2) * 32, max(image[1] // by // 32, 2) * 32)


def _generator(name: str) -> torch.Generator:
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))


def smooth_features(shape: tuple[int, int, int, int], device: str) -> Tensor:
    """Features (B, C, H, W) that vary slowly, with a little noise."""
    generator = _generator('features')
    size = (max(shape[2] // 8, 2), max(shape[3] // 8, 2))
    coarse = torch.randn(*shape[:2], *size, generator=generator)
    features = F.interpolate(coarse, size=shape[2:], mode='bilinear')
    return (features + 0.2 * torch.randn(shape, generator=generator)).to(device)


def class_logits(sizes: Semantics, device: str) -> Tensor:
    """Coarse logits (1, K, h, w): 'smooth' has regions of one class and a little noise, 'random' is noise alone."""
    generator = _generator('logits')
    shape = tuple(side // sizes.stride for side in sizes.image)
    noise = torch.randn(1, sizes.classes, *shape, generator=generator)
    if sizes.logits == 'random':
        return noise.to(device)
    blobs = [max(side // 128, 2) for side in sizes.image]
    regions = torch.randn(1, sizes.classes, *blobs, generator=generator)
    return (4 * F.interpolate(regions, size=shape, mode='bicubic') + 0.1 * noise).to(device)


def box_mix(count: int, image: tuple[int, int]) -> Tensor:
    """Boxes of COCO's mix of sizes.

    Args:
        count: Their number.
        image: Height and width in pixels.

    Returns:
        Boxes (count, 4) in pixels within the image: square root of the area 8 to 32 for 41 %, 32 to 96 for 34 %, 96 to
        500 for the others (less in small images), ratios of sides from 0.5 to 2.
    """
    rng = np.random.default_rng(0)
    height, width = image
    largest = min(500.0, 0.7 * min(image))
    bounds = np.minimum([(8.0, 32.0), (32.0, 96.0), (96.0, 500.0)], largest)
    kinds = np.searchsorted([0.41, 0.75], (np.arange(count) + 0.5) / count)
    low, high = bounds[kinds].T
    size = np.exp(rng.uniform(np.log(low), np.log(high)))
    ratio = np.exp(rng.uniform(np.log(0.5), np.log(2), count))
    extent = np.array([width, height])
    sides = np.minimum(np.stack([size * ratio**0.5, size / ratio**0.5], axis=1), extent)
    corner = rng.uniform(0, 1, (count, 2)) * (extent - sides)
    boxes = np.concatenate([corner, corner + sides], axis=1)
    return torch.from_numpy(rng.permutation(boxes)).float()


def load_blobs(head: Any) -> None:
    """Give an RoI head weights, by name, that draw a disc with an uneven border.

    At their initial values all logits are about 0, and masks are noise that no resolution resembles.
    """
    state = {}
    for name, value in head.state_dict().items():
        scale = (2 / value[0].numel()) ** 0.5 if value.ndim > 1 else 0.0
        state[name] = scale * torch.randn(value.shape, generator=_generator(name))
    bias = state['mask_head.fc_logits.bias']
    classes = head.mask_head.num_classes
    side = math.isqrt(bias.numel() // classes)
    centres = (torch.arange(side) + 0.5) / side * 2 - 1
    disc = 4 * (0.8 - (centres[:, None] ** 2 + centres**2).sqrt())
    state['mask_head.fc_logits.bias'] = disc.flatten().repeat(classes)
    last = state['point_head.fc_logits.weight']
    hidden = last.shape[1] - classes
    last[:, :hidden] *= 0.3
    last[:, hidden:] = torch.eye(classes)[..., None]
    head.load_state_dict(state, strict=True)


def _to_peer(config: Any) -> Any:
    """A config without the prefix of our types: the peer's have the same names."""
    if isinstance(config, dict):
        return {key: _to_peer(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return [_to_peer(value) for value in config]
    return config.removeprefix('mmpointrend.') if isinstance(config, str) else config


def _instance_model(implementation: str, classes: int) -> ConfigDict:
    """Config of PointRend's Mask R-CNN, ours or mmdet's own."""
    config = Config.fromfile(_MODELS / 'pointrend_mask-rcnn_r50-caffe_fpn.py').model
    for head in ('bbox_head', 'mask_head', 'point_head'):
        config.roi_head[head].num_classes = classes
    # mmdet has no such option.
    config.train_cfg.rcnn.train_on_pred_boxes = False
    if implementation.startswith('adaptive'):
        config.test_cfg.rcnn.adaptive_resolution = True
    return ConfigDict(_to_peer(config)) if implementation == PEER else config


def build_roi_head(implementation: str, sizes: Instances, device: str) -> Any:
    """RoI head with weights that draw blobs.

    Args:
        implementation: 'peer' or a variant.
        sizes: Sizes of the case.
        device: Where it goes.

    Returns:
        The head in evaluation mode.

    Raises:
        ConfigError: It cannot render as the variant asks.
    """
    model = _instance_model(implementation, sizes.classes)
    test_cfg = model.test_cfg.rcnn
    test_cfg.update(subdivision_num_points=sizes.num_points, subdivision_steps=sizes.steps)
    config = ConfigDict(model.roi_head, train_cfg=model.train_cfg.rcnn, test_cfg=test_cfg)
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = MMDET_MODELS.build(config)
    if implementation.startswith('adaptive') and not getattr(head, 'adaptive_resolution', False):
        raise ConfigError('test_cfg.rcnn.adaptive_resolution has no effect in this version')
    load_blobs(head)
    return head.eval().to(device)


def _precision(implementation: str, device: str) -> torch.autocast:
    """Autocast, on for the variants that ask for it."""
    enabled = implementation.endswith('bf16')
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=enabled)


def predicted_points(coarse: Sequence[int], num_points: int, steps: int) -> int:
    """Points of one region that have to be predicted: not those of a step that the next one predicts anew.

    Args:
        coarse: Height and width of the coarse prediction.
        num_points: N.
        steps: Number of doublings.

    Returns:
        Their number over all steps.
    """
    pixels = [coarse[0] * coarse[1] * 4**step for step in range(1, steps + 1)]
    after = [*pixels[1:], math.inf]
    return sum(min(p, num_points) for p, n in zip(pixels, after, strict=True) if n > num_points)


def gemms(rows: Sequence[int], device: str, dtype: torch.dtype) -> Callable[[], None]:
    """Multiplications of that many rows by a 256x256 weight, one product of the list after the other.

    Chunks of 4096 rows stay in a CPU's cache; on a GPU each product is one call.
    """
    chunk = max(rows) if device.startswith('cuda') else min(4096, max(rows))
    weight = torch.randn(256, 256, device=device, dtype=dtype)
    data = torch.randn(chunk, 256, device=device, dtype=dtype)
    out = torch.empty_like(data)

    @torch.no_grad()
    def run() -> None:
        for count in rows:
            for start in range(0, count, chunk):
                size = min(chunk, count - start)
                torch.mm(data[:size], weight, out=out[:size])

    return run


def _mask_agreement(ours: Tensor, peer: Tensor, boxes: Tensor) -> dict[str, float]:
    """Share of pixels that differ, of the output and of the boxes' pixels, and mean IoU of masks (R, H, W)."""
    different = int((ours != peer).sum())
    in_boxes = float((boxes[:, 2:] - boxes[:, :2]).prod(1).sum())
    both, either = (ours & peer).sum((1, 2)), (ours | peer).sum((1, 2))
    iou = torch.where(either > 0, both / either.clamp(min=1), 1.0)
    return {
        'differing_pixels': different / max(ours.numel(), 1),
        'differing_of_boxes': different / max(in_boxes, 1),
        'mean_iou': float(iou.mean()),
    }


def instance_case(name: str, sizes: Instances, device: str) -> Case:
    """Masks of given boxes, from the feature map to the original image.

    Args:
        name: Id of the case.
        sizes: Its sizes.
        device: Where it runs.

    Returns:
        The case.
    """
    height, width = sizes.image
    # PointRend reads P2 alone.
    level = smooth_features((1, 256, height // 4, width // 4), device)
    meta = {'ori_shape': sizes.image, 'img_shape': sizes.image, 'scale_factor': (1.0, 1.0)}
    boxes = box_mix(sizes.rois, sizes.image).to(device)
    labels = torch.randint(sizes.classes, (sizes.rois,), generator=_generator('labels')).to(device)

    def build(implementation: str) -> Callable[[], Tensor]:
        head = build_roi_head(implementation, sizes, device)

        @torch.no_grad()
        def run() -> Tensor:
            results = InstanceData(bboxes=boxes.clone(), labels=labels)
            with _precision(implementation, device):
                head.predict_mask((level,), [meta], [results], rescale=True)
            return results.masks

        return run

    points = sizes.rois * predicted_points((7, 7), sizes.num_points, sizes.steps)
    side = 7 * 2**sizes.steps
    return Case(
        name,
        build,
        VARIANTS,
        partial(_mask_agreement, boxes=boxes),
        # The first layer may be applied to the cells of the map instead of to the points.
        partial(gemms, [min(points, level[0, 0].numel()), points, points], device),
        # 2.6 times the map of all classes: seen at 100 RoIs of 80 classes, 4.1 GB.
        2.6 * 4 * sizes.rois * sizes.classes * side**2,
    )


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


def _random_weights(module: nn.Module) -> None:
    """Weights that keep activations at their size, by order and shape: the packages' names differ.

    Biases too: those of a plain convolution are random when it is built. Weights of norms stay 1.
    """
    with torch.no_grad():
        for index, parameter in enumerate(module.parameters()):
            noise = torch.randn(parameter.shape, generator=_generator(str(index)))
            if parameter.ndim > 1:
                parameter.copy_(noise * (2 / parameter[0].numel()) ** 0.5)
        for name, parameter in module.named_parameters():
            if name.endswith('bias'):
                parameter.zero_()


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
        _random_weights(point)
        call: Callable[[], Tensor]
        if implementation == PEER:
            point = point.eval().to(device)
            call = partial(point.predict, [level], coarse, metas, test_cfg)
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

        @torch.no_grad()
        def run() -> Tensor:
            with _precision(implementation, device):
                return call()

        return run

    def compare(ours: Tensor, peer: Tensor) -> dict[str, float]:
        different = (ours.argmax(dim=1) != peer.argmax(dim=1)).float().mean()
        return {'differing_pixels': float(different)}

    points = predicted_points(coarse.shape[2:], sizes.num_points, sizes.steps)
    return Case(
        name,
        build,
        (LOSSLESS, 'lossless-bf16'),
        compare,
        partial(gemms, [min(points, level[0, 0].numel()), points, points], device),
    )


def _leaf(level: Tensor) -> Tensor:
    return level.clone().requires_grad_()


def _gradients(losses: dict, inputs: Sequence[Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Backward of the sum of the losses; what :func:`_compare_training` looks at."""
    values = {name: value for name, value in losses.items() if 'loss' in name}
    for tensor in (*inputs, *module.parameters()):
        tensor.grad = None
    total = torch.stack(list(values.values())).sum()
    total.backward()
    gradient = inputs[0].grad
    assert gradient is not None
    return {'loss': total.detach(), 'gradient': gradient}


def _compare_training(ours: dict[str, Tensor], peer: dict[str, Tensor]) -> dict[str, float]:
    """Relative differences of the loss and of the gradient of the finest features."""
    return {
        f'relative_{key}': float((ours[key] - peer[key]).norm() / peer[key].norm())
        for key in ('loss', 'gradient')
    }


def training_instance_case(device: str, shrink: int) -> Case:
    """The mask branch of a training step: coarse loss, points, point loss, backward."""
    sizes = Instances(128, 80, (800, 1216))
    truths = 20
    if shrink > 1:
        sizes, truths = sizes.shrunk(shrink), 2
    height, width = sizes.image
    features = smooth_features((2, 256, height // 4, width // 4), device)
    rng = np.random.default_rng(1)
    samples, instances = [], []
    for _ in range(2):
        boxes = box_mix(truths, sizes.image)
        masks = np.zeros((truths, height, width), dtype=np.uint8)
        for mask, box in zip(masks, boxes.round().int().tolist(), strict=True):
            mask[box[1] : box[3], box[0] : box[2]] = 1
        labels = torch.from_numpy(rng.integers(0, sizes.classes, truths))
        # Positives are spread over the ground truths, each a little beside its own.
        index = torch.arange(sizes.rois // 2) % truths
        shift = torch.from_numpy(rng.normal(0, 0.05, (len(index), 4))).float()
        extent = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)[index]
        priors = boxes[index] + shift * extent
        # Inside the image: where the two read outside of it is a known difference.
        priors = priors.clamp(min=0).minimum(torch.tensor([width, height] * 2))
        samples.append(
            SimpleNamespace(
                pos_priors=priors.to(device),
                pos_bboxes=priors.to(device),
                pos_gt_labels=labels[index].to(device),
                pos_assigned_gt_inds=index.to(device),
            )
        )
        truth = InstanceData(bboxes=boxes.to(device), labels=labels.to(device))
        truth.masks = BitmapMasks(masks, height, width)
        instances.append(truth)

    def build(implementation: str) -> Callable[[], dict]:
        head = build_roi_head(implementation, sizes, device).train()
        x = (_leaf(features),)

        def run() -> dict:
            torch.manual_seed(0)
            with _precision(implementation, device):
                results = head.mask_loss(x, samples, None, instances)
            return _gradients(results['loss_mask'], x, head)

        return run

    return Case('training-instance', build, (LOSSLESS, 'lossless-bf16'), _compare_training)


def training_semantic_case(device: str, shrink: int) -> Case:
    """FPNHead and point head on two crops of 512x1024, forward and backward."""
    height, width = _shrunk_image((512, 1024), shrink)
    classes = 19
    levels = [
        smooth_features((2, 256, height // stride, width // stride), device)
        for stride in (4, 8, 16, 32)
    ]
    train_cfg = ConfigDict(
        num_points=max(2048 // shrink**2, 16), oversample_ratio=3, importance_sample_ratio=0.75
    )
    samples = []
    for _ in range(2):
        blocks = torch.randint(
            classes, (1, height // 32, width // 32), generator=_generator('labels')
        )
        sample = SegDataSample()
        labels = blocks.repeat_interleave(32, 1).repeat_interleave(32, 2)
        sample.gt_sem_seg = PixelData(data=labels.to(device))
        samples.append(sample)
    path = _MODELS / 'pointrend_fpn_r50.py'
    fpn = Config.fromfile(path).model.decode_head.coarse_head
    fpn.norm_cfg.type = 'BN'

    def build(implementation: str) -> Callable[[], dict]:
        point = _point_head(classes, peer=True)
        with DefaultScope.overwrite_default_scope('mmseg'):
            coarse = MMSEG_MODELS.build(copy.deepcopy(fpn))
        heads = nn.ModuleList([coarse, point])
        _random_weights(heads)
        x = [_leaf(level) for level in levels]
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

        def run() -> dict:
            torch.manual_seed(0)
            with _precision(implementation, device):
                values = losses()
            return _gradients(values, x, module)

        return run

    return Case('training-semantic', build, (LOSSLESS, 'lossless-bf16'), _compare_training)


def model_instance_case(device: str, shrink: int) -> Case:
    """Mask R-CNN R50-FPN with PointRend from image to masks, 80 classes, 100 detections."""
    image = _shrunk_image((800, 1216), shrink)
    inputs = smooth_features((1, 3, *image), device)
    meta = {'ori_shape': image, 'img_shape': image, 'scale_factor': (1.0, 1.0)}

    def build(implementation: str) -> Callable[[], Any]:
        config = _instance_model(implementation, 80)
        # Scores of random weights are about 1/81: without a threshold there are 100 detections.
        config.test_cfg.rcnn.update(score_thr=0.0, max_per_img=max(100 // shrink, 2))
        with DefaultScope.overwrite_default_scope('mmdet'):
            model = MMDET_MODELS.build(config)
        load_blobs(model.roi_head)
        model = model.eval().to(device)
        _random_weights(model.backbone)
        load_normal_boxes(model)

        @torch.no_grad()
        def run() -> Any:
            sample = DetDataSample(metainfo=meta)
            with DefaultScope.overwrite_default_scope('mmdet'), _precision(implementation, device):
                return model.predict(inputs, [sample])[0].pred_instances

        return run

    def compare(ours: Any, peer: Any) -> dict[str, float]:
        if len(ours.masks) != len(peer.masks):
            return {'differing_pixels': math.nan}
        return {'differing_pixels': float((ours.masks != peer.masks).float().mean())}

    return Case('model-instance', build, VARIANTS, compare)


def load_normal_boxes(model: Any) -> None:
    """Neck, RPN and box head of a detector: weights by name, box deltas small so that boxes stay within the image."""
    for part in (model.neck, model.rpn_head):
        _random_weights(part)
    with torch.no_grad():
        model.rpn_head.rpn_reg.weight.mul_(0.01)
        model.roi_head.bbox_head.fc_reg.weight.mul_(0.01)


def model_semantic_case(device: str, shrink: int) -> Case:
    """SemanticFPN R50 with PointRend from image to labels, 19 classes."""
    image = _shrunk_image((1024, 2048), shrink)
    inputs = smooth_features((1, 3, *image), device)
    meta = {'ori_shape': image, 'img_shape': image, 'pad_shape': image}
    path = _MODELS / 'pointrend_fpn_r50.py'

    def build(implementation: str) -> Callable[[], Any]:
        config = Config.fromfile(path).model
        config.test_cfg.subdivision_num_points = max(8196 // shrink**2, 16)
        if implementation == PEER:
            head = config.decode_head
            point = _to_peer(head.point_head)
            point.update(type='PointHead', num_classes=19, align_corners=False, dropout_ratio=-1)
            config.decode_head = [head.coarse_head, point]
            config.update(type='CascadeEncoderDecoder', num_stages=2)
        with DefaultScope.overwrite_default_scope('mmseg'):
            model = revert_sync_batchnorm(MMSEG_MODELS.build(config))
        head = model.decode_head
        pair = (head[0], head[1]) if implementation == PEER else (head.coarse_head, head.point_head)
        for part in (model.backbone, model.neck, *pair):
            _random_weights(part)
        model = model.eval().to(device)

        @torch.no_grad()
        def run() -> Any:
            sample = SegDataSample(metainfo=meta)
            with _precision(implementation, device):
                return model.predict(inputs, [sample])[0].pred_sem_seg.data

        return run

    def compare(ours: Tensor, peer: Tensor) -> dict[str, float]:
        return {'differing_pixels': float((ours != peer).float().mean())}

    return Case('model-semantic', build, (LOSSLESS, 'lossless-bf16'), compare)
