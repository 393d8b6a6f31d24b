# Copyright (c) The mmpointrend authors.
"""Instance cases of ``benchmark_rendering.py``: R RoIs, K classes, N points of a step, against mmdet."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks, encode_mask_results
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask
from rendering_inputs import (
    CONV,
    LOSSLESS,
    MODEL_CONFIGS,
    PEER,
    POINTREND,
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
from torch import Tensor

from mmpointrend.errors import ConfigError


@dataclass(frozen=True)
class Instances:
    """Sizes of an instance case.

    Attributes:
        rois: R.
        classes: K.
        image: Height and width in pixels, of the network's input and of the original image.
        num_points: N.
        steps: Doublings from a coarse mask of 7x7.
        encoded: Whether masks end as COCO's run lengths.
    """

    rois: int
    classes: int
    image: tuple[int, int]
    num_points: int = 28 * 28
    steps: int = 5
    encoded: bool = False

    def shrunk(self, by: int) -> 'Instances':
        """The same with ``by`` times fewer RoIs, classes, points and pixels a side."""
        if by == 1:
            return self
        return Instances(
            max(self.rois // by, 4),
            max(self.classes // by, 2),
            shrunk_image(self.image, by),
            max(self.num_points // by, 49),
            max(self.steps - int(math.log2(by)), 2),
            self.encoded,
        )


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


def _weights_by_name(head: Any) -> dict[str, Tensor]:
    """Weights that depend on a tensor's name and shape, and keep activations at their size."""
    state = {}
    for name, value in head.state_dict().items():
        scale = (2 / value[0].numel()) ** 0.5 if value.ndim > 1 else 0.0
        state[name] = scale * torch.randn(value.shape, generator=generator_of(name))
    return state


def load_blobs(head: Any) -> None:
    """Give an RoI head weights, by name, that draw a disc with an uneven border.

    At their initial values all logits are about 0, and masks are noise that no resolution resembles.
    """
    state = _weights_by_name(head)
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


def _conv_model(side: int) -> ConfigDict:
    """Config of Mask R-CNN with its own mask head and masks of that side."""
    config = Config.fromfile(MODEL_CONFIGS / 'mask-rcnn_r50-caffe_fpn.py').model
    config.roi_head.mask_roi_extractor.roi_layer.output_size = side // 2
    config.roi_head.mask_head.roi_feat_size = side // 2
    return config


def _instance_model(implementation: str, classes: int) -> ConfigDict:
    """Config of PointRend's Mask R-CNN, ours or mmdet's own."""
    config = Config.fromfile(MODEL_CONFIGS / 'pointrend_mask-rcnn_r50-caffe_fpn.py').model
    for head in ('bbox_head', 'mask_head', 'point_head'):
        config.roi_head[head].num_classes = classes
    # mmdet has no such option, and asks for what ours take from other parts.
    config.train_cfg.rcnn.update(train_on_pred_boxes=False, mask_size=7)
    config.roi_head.mask_roi_extractor.out_channels = 256
    if implementation.startswith('adaptive'):
        config.test_cfg.rcnn.adaptive_resolution = True
    return ConfigDict(to_peer(config)) if implementation == PEER else config


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
    if sizes.encoded and implementation != PEER:
        test_cfg.mask_output = 'rle'
    # Boxes are given: the box head is built, but never run.
    model.roi_head.bbox_head.fc_out_channels = 8
    config = ConfigDict(model.roi_head, train_cfg=model.train_cfg.rcnn, test_cfg=test_cfg)
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = MMDET_MODELS.build(config)
    if implementation.startswith('adaptive') and not getattr(head, 'adaptive_resolution', False):
        raise ConfigError('test_cfg.rcnn.adaptive_resolution has no effect in this version')
    load_blobs(head)
    return head.eval().to(device)


def _as_bitmaps(masks: Any) -> Tensor:
    """Masks (R, H, W), of run lengths as well."""
    if isinstance(masks, Tensor):
        return masks
    return torch.from_numpy(coco_mask.decode([dict(mask) for mask in masks])).permute(2, 0, 1) > 0


def _mask_agreement(ours: Any, peer: Any, boxes: Tensor) -> dict[str, float]:
    """Share of pixels that differ, of the output and of the boxes' pixels, and mean IoU of masks (R, H, W)."""
    ours, peer = _as_bitmaps(ours), _as_bitmaps(peer)
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
    labels = torch.randint(sizes.classes, (sizes.rois,), generator=generator_of('labels')).to(
        device
    )

    def build(implementation: str) -> Callable[[], Any]:
        head = build_roi_head(implementation, sizes, device)

        @torch.no_grad()
        def run() -> Any:
            results = InstanceData(bboxes=boxes.clone(), labels=labels)
            with precision(implementation, device):
                head.predict_mask((level,), [meta], [results], rescale=True)
            if sizes.encoded and implementation == PEER:
                return encode_mask_results(results.masks.cpu().numpy())
            return results.masks

        return run

    points = sizes.rois * predicted_points((7, 7), sizes.num_points, sizes.steps)
    side = 7 * 2**sizes.steps
    return Case(
        name,
        build,
        POINTREND,
        partial(_mask_agreement, boxes=boxes),
        # The first layer may be applied to the cells of the map instead of to the points.
        partial(gemms, [min(points, level[0, 0].numel()), points, points], device),
        # 2.6 times the map of all classes: seen at 100 RoIs of 80 classes, 4.1 GB.
        2.6 * 4 * sizes.rois * sizes.classes * side**2,
    )


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

    def build(implementation: str, keep_gradients: bool = True) -> Callable[[], dict]:
        head = build_roi_head(implementation, sizes, device).train()
        x = (leaf(features),)
        if not keep_gradients:
            drop_gradients(x, head)

        def run() -> dict:
            torch.manual_seed(0)
            with precision(implementation, device):
                # As in a training step, nothing but the losses lives on.
                losses = head.mask_loss(x, samples, None, instances)['loss_mask']
            return gradients(losses, x, head)

        return run

    return Case(
        'training-instance',
        build,
        (LOSSLESS, 'lossless-bf16'),
        compare_training,
        build_for_memory=partial(build, keep_gradients=False),
    )


def model_instance_case(device: str, shrink: int, as_json: bool = False) -> Case:
    """Mask R-CNN R50-FPN from image to masks, 80 classes, 100 detections: PointRend, and its own head beside it.

    Args:
        device: Where it runs.
        shrink: What sizes are divided by.
        as_json: Whether the end is the text of COCO's results instead, by ours without bitmaps.
    """
    image = shrunk_image((800, 1216), shrink)
    inputs = smooth_features((1, 3, *image), device)
    meta = {'ori_shape': image, 'img_shape': image, 'scale_factor': (1.0, 1.0)}

    def build(implementation: str) -> Callable[[], Any]:
        conv = implementation in CONV
        config = _conv_model(CONV[implementation]) if conv else _instance_model(implementation, 80)
        # Scores of random weights are about 1/81: without a threshold there are 100 detections.
        config.test_cfg.rcnn.update(score_thr=0.0, max_per_img=max(100 // shrink, 2))
        if as_json and implementation != PEER:
            config.test_cfg.rcnn.mask_output = 'rle'
        with DefaultScope.overwrite_default_scope('mmdet'):
            model = MMDET_MODELS.build(config)
        if conv:
            model.roi_head.load_state_dict(_weights_by_name(model.roi_head), strict=True)
        else:
            load_blobs(model.roi_head)
        model = model.eval().to(device)
        random_weights(model.backbone)
        load_normal_boxes(model)

        @torch.no_grad()
        def run() -> Any:
            sample = DetDataSample(metainfo=meta)
            with DefaultScope.overwrite_default_scope('mmdet'), precision(implementation, device):
                found = model.predict(inputs, [sample])[0].pred_instances
            return _coco_json(found) if as_json else found

        return run

    def compare(ours: Any, peer: Any) -> dict[str, float]:
        if as_json:
            masks = [
                _as_bitmaps([row['segmentation'] for row in json.loads(text)])
                for text in (ours, peer)
            ]
            return {'differing_pixels': float((masks[0] != masks[1]).float().mean())}
        if len(ours.masks) != len(peer.masks):
            return {'differing_pixels': math.nan}
        return {'differing_pixels': float((ours.masks != peer.masks).float().mean())}

    # mmcv's non-maximum suppression takes no bfloat16 on a CPU.
    if as_json:
        return Case('model-instance-json', build, (LOSSLESS, 'adaptive'), compare)
    return Case('model-instance', build, (LOSSLESS, 'adaptive', *CONV), compare)


def _coco_json(found: InstanceData) -> str:
    """COCO's results of an image, as ``CocoMetric`` writes them."""
    masks = found.masks
    encoded = encode_mask_results(masks.cpu().numpy()) if isinstance(masks, Tensor) else masks
    return json.dumps(
        [
            {
                'image_id': 1,
                'category_id': label + 1,
                'score': score,
                'bbox': [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                'segmentation': {'size': mask['size'], 'counts': mask['counts'].decode()},
            }
            for label, score, box, mask in zip(
                found.labels.tolist(),
                found.scores.tolist(),
                found.bboxes.tolist(),
                encoded,
                strict=True,
            )
        ]
    )


def load_normal_boxes(model: Any) -> None:
    """Neck, RPN and box head of a detector: weights by name, box deltas small so that boxes stay within the image."""
    for part in (model.neck, model.rpn_head):
        random_weights(part)
    with torch.no_grad():
        model.rpn_head.rpn_reg.weight.mul_(0.01)
        model.roi_head.bbox_head.fc_reg.weight.mul_(0.01)
