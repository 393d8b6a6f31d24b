# Copyright (c) The mmpointrend authors.
"""Multiply-adds and activations of a model's mask branch, layer by layer (paper, Table 2).

Nothing is computed from a config: the model's own modules and the renderer run on tensors of the `meta` device, which
have a shape and no data, and what they multiply is counted. Conventions are the paper's: matrix products and
convolutions count; biases, normalisation, activation functions, interpolation and point sampling do not. Activations
are the features that the branch is given and the output of each layer. A point's layers are counted as they are
defined, all classes of the last one, whatever the renderer saves by taking them apart.

R regions (RoIs, or images in the semantic task), C feature channels, K channels of the coarse prediction, P points.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from mmpointrend.errors import ConfigError
from mmpointrend.models import PointRendHead, PointRendRoIHead
from mmpointrend.models.rendering import Rendering
from mmpointrend.models.roi_heads.checks import roi_feature_shape
from mmpointrend.models.roi_heads.frames import RoIFrames
from mmpointrend.models.roi_heads.region_logits import Regions, render
from mmpointrend.points import (
    OutputGrid,
    SubdivisionStep,
    batches_by_resolution,
    subdivide_onto,
)

__all__ = ['Layer', 'MaskBranch', 'Step', 'count_layers', 'count_mask_branch']


@dataclass(frozen=True)
class Layer:
    """A layer's cost.

    Attributes:
        name: Name of the module that owns the weight, or of the operation where two activations are multiplied.
        multiply_adds: Multiplications that are added up.
        activations: Numbers in its output.
    """

    name: str
    multiply_adds: int
    activations: int


@dataclass(frozen=True)
class Step:
    """A rendering step of one region.

    Attributes:
        height: Rows of the map after it.
        width: Columns of the map after it.
        points: Points that it predicts, or would predict if it were not skipped.
        skipped: Whether the renderer leaves them out, because the next step predicts all of the map anew.
    """

    height: int
    width: int
    points: int
    skipped: bool = False


@dataclass(frozen=True)
class MaskBranch:
    """What the masks of one region cost: of an RoI, or of an image in the semantic task.

    Attributes:
        input_activations: Numbers in the features that the branch is given.
        layers: Layers that run once: the mask head, or the coarse head.
        point_layers: Layers of the point head for one point; none without a point head.
        steps: Rendering steps.
        own_class: Multiply-adds of the point head for one point and the region's own class alone; None in the semantic
            task and without a point head.
    """

    input_activations: int
    layers: tuple[Layer, ...]
    point_layers: tuple[Layer, ...] = ()
    steps: tuple[Step, ...] = ()
    own_class: int | None = None

    def points(self, with_skipped: bool = False) -> int:
        """Points of all steps together, with those of skipped steps or without."""
        return sum(step.points for step in self.steps if with_skipped or not step.skipped)

    def multiply_adds(self, with_skipped: bool = False) -> int:
        """Multiply-adds of all layers and steps, with skipped steps or without."""
        a_point = sum(layer.multiply_adds for layer in self.point_layers)
        once = sum(layer.multiply_adds for layer in self.layers)
        return once + a_point * self.points(with_skipped)

    @property
    def activations(self) -> int:
        """Activations of all layers and predicted steps."""
        return self._activations(self.points())

    @property
    def peak_activations(self) -> int:
        """Activations at the largest step: a step's are free for the next one."""
        return self._activations(
            max((step.points for step in self.steps if not step.skipped), default=0)
        )

    def _activations(self, points: int) -> int:
        a_point = sum(layer.activations for layer in self.point_layers)
        once = self.input_activations + sum(layer.activations for layer in self.layers)
        return once + a_point * points


# Operations that add a product to their first operand, and those that torch has formulas for under another name.
_ADDING = (torch.ops.aten.addmm, torch.ops.aten.baddbmm)
_IN_PLACE = {
    torch.ops.aten.addmm_: torch.ops.aten.addmm,
    torch.ops.aten.baddbmm_: torch.ops.aten.baddbmm,
}


def _storage(value: Any) -> int | None:
    """What tells the memory of a tensor from that of others, also where it holds no data."""
    return value.untyped_storage()._cdata if isinstance(value, Tensor) else None


class _Counter(TorchDispatchMode):
    """Adds up what is multiplied while it is entered, by the module that owns the weight.

    Args:
        module: The modules that run are among its descendants.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        # Also views of a weight are known by its storage.
        self._owners = {
            _storage(weight): (name.rpartition('.')[0], weight[0].numel())
            for name, weight in module.named_parameters()
            if weight.ndim > 1
        }
        self._costs: dict[str, tuple[int, int]] = {}
        # The output before, which keeps its storage from being another's.
        self._last: Tensor | None = None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Run an operation, and count it if torch has a formula for it."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        operation = _IN_PLACE.get(func.overloadpacket, func.overloadpacket)
        formula = flop_registry.get(operation)
        if formula is not None:
            output = result if isinstance(result, Tensor) else result[0]
            name, begins = self._layer(operation, args)
            products, outputs = self._costs.get(name, (0, 0))
            # torch counts the multiplication and the addition.
            products += formula(*args, **kwargs, out_val=result) // 2
            self._costs[name] = products, outputs + (output.numel() if begins else 0)
            self._last = output
        return result

    def _layer(self, operation: Any, args: tuple) -> tuple[str, bool]:
        """Name of the layer, and whether its output counts: not for the further parts of an input that comes split.

        Such a part meets a slice of the weight's columns, which starts inside its first row, and is added to the rest;
        or it is added by the operation itself.
        """
        begins = not (operation in _ADDING and _storage(args[0]) == _storage(self._last))
        for operand in args:
            if _storage(operand) in self._owners:
                name, row = self._owners[_storage(operand)]
                return name, begins and not 0 < operand.storage_offset() < row
        return operation.__name__, begins

    @property
    def layers(self) -> tuple[Layer, ...]:
        """What was counted, in the order of the first use."""
        return tuple(Layer(name, *cost) for name, cost in self._costs.items())


@torch.no_grad()
def count_layers(
    parent: nn.Module, run: Callable[..., Any], *inputs: Any
) -> tuple[tuple[Layer, ...], Any]:
    """Count the layers of a module by running it on shapes.

    Args:
        parent: What names of layers start from, on the `meta` device, in evaluation mode.
        run: What runs: ``parent``, a module in it, or a function that uses them.
        *inputs: What it is given, tensors on the `meta` device.

    Returns:
        The layers in the order of their first use, and the output.

    Raises:
        ConfigError: An operation needs data.
    """
    counter = _Counter(parent)
    with _shapes_alone(parent), counter:
        output = run(*inputs)
    return counter.layers, output


@contextmanager
def _shapes_alone(module: nn.Module) -> Iterator[None]:
    """Name the module that does not run without data."""
    try:
        with torch.no_grad():
            yield
    except (NotImplementedError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(
            f'{type(module).__name__} cannot be counted, for it does not run on shapes alone: {reason}'
        ) from error


def count_mask_branch(
    model: BaseModel,
    image_size: tuple[int, int] | None = None,
    box_size: tuple[int, int] | None = None,
) -> MaskBranch:
    """Count what predicts masks in a model: the mask head with its point head, or the decode head with its.

    Args:
        model: A two-stage mmdet detector with one mask head, or an mmseg segmentor with one decode head. It is moved to
            the `meta` device, in evaluation mode: build it anew to use it.
        image_size: Height and width of the network's input; the semantic task needs it.
        box_size: Height and width of a box in pixels of the output, where masks are rendered at the resolution that
            they have there (``test_cfg.rcnn.adaptive_resolution``).

    Returns:
        The cost of an RoI, or of an image.

    Raises:
        ConfigError: The model has no such branch, or a size is missing.
    """
    model.to('meta').eval()
    head = getattr(model, 'roi_head', None)
    if isinstance(getattr(head, 'mask_head', None), nn.Module):
        return _count_instance(head, box_size)
    if isinstance(getattr(model, 'decode_head', None), nn.Module):
        if image_size is None:
            raise ConfigError('the cost of a label map depends on its size: give --shape')
        return _count_semantic(model, *image_size)
    raise ConfigError(
        f'{type(model).__name__} has neither roi_head.mask_head nor decode_head: it predicts no masks that could be '
        'counted'
    )


def _zeros(*shape: int) -> Tensor:
    return torch.zeros(*shape, device='meta')


def _count_instance(roi_head: Any, box_size: tuple[int, int] | None) -> MaskBranch:
    """Cost of an RoI."""
    if isinstance(roi_head.mask_head, nn.ModuleList):
        raise ConfigError(
            f'{type(roi_head).__name__} has {len(roi_head.mask_head)} mask heads: only one can be counted'
        )
    features = _zeros(1, *roi_feature_shape(roi_head.mask_roi_extractor))
    layers: tuple[Layer, ...] = ()
    size = features.numel()
    if roi_head.with_shared_head:
        layers, features = count_layers(roi_head, roi_head.shared_head, features)
    mask_layers, coarse = count_layers(roi_head, roi_head.mask_head, features)
    layers += mask_layers
    if not isinstance(roi_head, PointRendRoIHead):
        return MaskBranch(size, layers)
    number = len(roi_head.fine_levels.strides)
    # Of any size: they are only sampled.
    level = _zeros(1, roi_head.point_head.in_channels // number, 2, 2)
    frames = RoIFrames([level] * number, roi_head.fine_levels.strides, _zeros(1, 5))
    whole, own = (
        Regions(frames, roi_head._source(coarse, wanted)) for wanted in (None, _zeros(1).long())
    )
    all_classes, own_class = (
        count_layers(roi_head, regions.point_predictor(), _zeros(1, 1, 2))[0]
        for regions in (whole, own)
    )
    if not roi_head.adaptive_resolution:
        with _steps_of(roi_head, coarse) as steps:
            render(own, roi_head.rendering, roi_head.observer)
    elif box_size is not None:
        steps = _steps_onto(roi_head.rendering, coarse.shape[-1], *box_size)
    else:
        raise ConfigError(
            'with test_cfg.rcnn.adaptive_resolution the number of points depends on the box: give --box'
        )
    products = sum(layer.multiply_adds for layer in own_class)
    return MaskBranch(size, layers, all_classes, tuple(steps), products)


def _count_semantic(model: Any, height: int, width: int) -> MaskBranch:
    """Cost of an image."""
    decode_head = model.decode_head
    if isinstance(decode_head, nn.ModuleList):
        raise ConfigError(
            f'{type(model).__name__} has {len(decode_head)} decode heads: only one can be counted; FPNHead and '
            "PointHead are dict(type='mmpointrend.PointRendHead', coarse_head=..., point_head=...) here"
        )
    with _shapes_alone(model):
        inputs = model.extract_feat(_zeros(1, 3, height, width))
    refined = isinstance(decode_head, PointRendHead)
    coarse_head = decode_head.coarse_head if refined else decode_head
    layers, coarse = count_layers(decode_head, coarse_head, inputs)
    used = coarse_head.in_index
    levels = [inputs[index] for index in ([used] if isinstance(used, int) else used)]
    size = sum(level.numel() for level in levels)
    if not refined:
        return MaskBranch(size, layers)
    predict = decode_head._point_predictor(inputs, coarse)
    point_layers, _ = count_layers(decode_head, predict, _zeros(1, 1, 2))
    with _steps_of(decode_head, coarse) as steps:
        decode_head._render(inputs, model.test_cfg or {})
    return MaskBranch(size, layers, point_layers, tuple(steps))


@contextmanager
def _steps_of(head: Any, coarse: Tensor) -> Iterator[list[Step]]:
    """The steps that a head renders meanwhile from its coarse prediction; the list is filled at the end."""
    seen: list[SubdivisionStep] = []
    steps: list[Step] = []
    head.observer = seen.append
    with _shapes_alone(head):
        yield steps
    head.observer = None
    for step in seen:
        height, width = step.logits.shape[-2:]
        points = step.points.shape[1]
        if step.index == 0:
            # Without a coarse mask rendering starts from a grid of points (Implicit PointRend).
            if (height, width) != coarse.shape[-2:]:
                steps.append(Step(height, width, height * width))
        elif points > 0:
            steps.append(Step(height, width, points))
        else:
            # Only a step whose points are all of the map is skipped.
            steps.append(Step(height, width, height * width, skipped=True))


def _steps_onto(rendering: Rendering, coarse_side: int, height: int, width: int) -> list[Step]:
    """The renderer's steps onto the pixels of a box, without skipped ones."""
    scale_factor = rendering.scale_factor
    full_side = coarse_side * scale_factor**rendering.steps
    (batch,) = batches_by_resolution(
        [(width, height)], rendering.num_points, coarse_side, full_side, scale_factor
    )
    if batch.steps is None:
        return [Step(height, width, batch.num_pixels)]
    predicted: list[int] = []

    def predict_points(points: Tensor) -> Tensor:
        predicted.append(points.shape[1])
        return points.new_zeros(1, 1, points.shape[1])

    subdivide_onto(
        OutputGrid.of_boxes(torch.tensor([[0.0, 0.0, width, height]]), height, width),
        batch.rows,
        batch.columns,
        torch.zeros(1, 1, coarse_side, coarse_side),
        predict_points,
        num_points=rendering.num_points,
        last_num_points=batch.num_points,
        steps=batch.steps,
        scale_factor=scale_factor,
    )
    # Only early steps are skipped, and the last one is onto the box.
    sides = [coarse_side * scale_factor**step for step in range(1, batch.steps + 1)]
    sizes = [*((side, side) for side in sides), (height, width)]
    return [
        Step(*size, points)
        for size, points in zip(sizes[len(sizes) - len(predicted) :], predicted, strict=True)
    ]
