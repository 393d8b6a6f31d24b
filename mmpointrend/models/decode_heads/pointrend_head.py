# Copyright (c) The mmpointrend authors.
"""PointRend as a decode head of mmseg: what is particular to images, round the core's renderer.

B images, K channels of the logits, P points; ``inputs`` is the list of feature levels (B, C, H, W) from neck or
backbone.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS as MMSEG_MODELS
from mmseg.utils import add_prefix
from torch import Tensor

from mmpointrend.errors import ConfigError
from mmpointrend.models.built_once import BuiltOnce
from mmpointrend.models.decode_heads.coarse_heads import (
    CascadedHeads,
    build_coarse_head,
    coarse_losses,
    coarse_map,
    facts_of,
)
from mmpointrend.models.decode_heads.placement import Placement
from mmpointrend.models.decode_heads.semantic_point_head import SemanticPointHead
from mmpointrend.models.rendering import Rendering, check_points, rendering_precision
from mmpointrend.models.scope import build_part, scoped
from mmpointrend.models.selection import build_selection
from mmpointrend.models.taps import level_of, original
from mmpointrend.points import (
    UNCERTAINTIES,
    PointSelection,
    SubdivisionObserver,
    Uncertainty,
    point_predictor,
    sample_features,
    sample_labels,
    subdivide,
)
from mmpointrend.points.bands import (
    Bands,
    DenseBands,
    ResizedBands,
    most_uncertain,
    overwritten,
    subdivide_bands,
)
from mmpointrend.registry import MODELS
from mmpointrend.rules import INIT, PART, Rule, configured, one_or_more

__all__ = ['PointRendHead']


def _read_rendering(asked: Mapping) -> Rendering:
    return Rendering.from_config(asked, 'model.test_cfg')


def _build_selection(train_cfg: Mapping) -> PointSelection:
    return build_selection(train_cfg, 'model.train_cfg')


@MODELS.register_module()
class PointRendHead(BaseModule):
    """Coarse head and point head as one decode head (paper, section 5), in a plain ``EncoderDecoder``.

    ``num_classes``, ``out_channels``, ``align_corners``, ``threshold`` and ``ignore_index`` are the coarse head's.
    Training takes ``model.train_cfg``: ``num_points`` and the keys of :mod:`mmpointrend.models.selection`. Testing
    takes ``model.test_cfg``: ``subdivision_steps``, ``subdivision_num_points``, ``scale_factor``, each with the default
    given here. mmseg's own PointRend checkpoints load as they are, and those of the model without PointRend into the
    coarse head.

    Attributes:
        observer: Called by the renderer after each step, see :class:`mmpointrend.points.SubdivisionStep`.

    Args:
        coarse_head: Config of any mmseg decode head that gives one map of class logits, or of the heads of a cascade,
            such as OCRNet's: the last one's map is refined, the others train with their own losses.
        point_head: Config of the point head, with mmseg ``PointHead``'s keys; ``type`` may be left out.
        uncertainty: 'logits', as mmseg and detectron2, or 'probabilities', as the paper (App. B).
        subdivision_steps: Default number of steps, also of ``mode='tensor'`` where mmseg passes no test_cfg.
        subdivision_num_points: Default number of points of a step.
        scale_factor: Default of what each step multiplies the sides by.
        init_cfg: mmengine's.

    Raises:
        ConfigError: A part cannot work: the message names the key and the mend.
    """

    @configured(
        'decode_head',
        coarse_head=one_or_more(PART),
        point_head=Rule(
            "a dict of the point head's keys", lambda value: isinstance(value, Mapping)
        ),
        uncertainty=Rule(
            f'one of {", ".join(UNCERTAINTIES)}',
            lambda value: isinstance(value, str) and value in UNCERTAINTIES,
        ),
        init_cfg=INIT,
    )
    def __init__(
        self,
        coarse_head: dict,
        point_head: dict,
        uncertainty: str = 'logits',
        subdivision_steps: int = 2,
        subdivision_num_points: int = 8192,
        scale_factor: int = 2,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.coarse_head = build_coarse_head(coarse_head)
        self.point_head = self._build_point_head(point_head)
        self.uncertainty: Uncertainty = UNCERTAINTIES[uncertainty]
        self.rendering_defaults = {
            'subdivision_steps': subdivision_steps,
            'subdivision_num_points': subdivision_num_points,
            'scale_factor': scale_factor,
        }
        Rendering.from_config(self.rendering_defaults, 'decode_head')
        self._rendering_of = BuiltOnce(_read_rendering)
        self._selection_of = BuiltOnce(_build_selection)
        self._tested: dict[str, int] | None = None
        self._has_warned = False
        self.observer: SubdivisionObserver | None = None

    def _build_point_head(self, config: dict) -> SemanticPointHead:
        """Build the point head for the coarse head, whose facts the config may repeat but not contradict."""
        cfg = scoped(config, 'mmseg')
        expected = {
            'num_classes': self.num_classes,
            'out_channels': self.out_channels,
            'threshold': self.threshold,
            'align_corners': self.align_corners,
            'ignore_index': self.ignore_index,
        }
        for key, value in expected.items():
            given = cfg.pop(key, value)
            if given != value:
                raise ConfigError(
                    f'decode_head.point_head.{key} is {given}, but decode_head.coarse_head has {value}: leave it out, '
                    'the point head takes it from there'
                )
        if cfg.get('type', 'PointHead') in ('PointHead', 'mmseg.PointHead'):
            cfg.type = 'mmpointrend.SemanticPointHead'
        cfg.update(num_classes=self.out_channels, ignore_index=self.ignore_index)
        return build_part(cfg, MMSEG_MODELS, 'mmseg', 'decode_head.point_head')

    @property
    def align_corners(self) -> bool:
        """The coarse head's convention, which holds for grids, points and samples alike."""
        return facts_of(self.coarse_head).align_corners

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return facts_of(self.coarse_head).num_classes

    @property
    def out_channels(self) -> int:
        """K: the number of classes, or 1 for two classes by a sigmoid."""
        return facts_of(self.coarse_head).out_channels

    @property
    def threshold(self) -> float | None:
        """Probability from which a pixel is class 1, where ``out_channels`` is 1."""
        return facts_of(self.coarse_head).threshold

    @property
    def ignore_index(self) -> int:
        """Label that takes no part in the loss."""
        return facts_of(self.coarse_head).ignore_index

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Rendered logits with the head's own defaults (``mode='tensor'``, FLOPs counting).

        Args:
            inputs: Feature levels, each (B, C, H, W).

        Returns:
            Logits, shape (B, K, h * scale_factor**steps, w * scale_factor**steps) for coarse logits of (h, w).
        """
        if self._tested not in (None, self.rendering_defaults) and not self._has_warned:
            self._has_warned = True
            print_log(
                f"mode='tensor' renders with decode_head's {self.rendering_defaults}, predict with model.test_cfg's "
                f'{self._tested}: mmseg hands no test_cfg over, so set these keys in decode_head too',
                'current',
                logging.WARNING,
            )
        return self._render(inputs, {})

    def share_test_cfg(self, test_cfg: Mapping | None) -> None:
        """Let ``mode='tensor'`` render as ``predict`` does, to which mmseg hands the model's ``test_cfg``.

        :class:`mmpointrend.engine.CheckedRunner` does this for the models that it builds.

        Args:
            test_cfg: The model's; keys that it lacks stay the head's defaults.
        """
        self.rendering_defaults = self._asked(test_cfg)

    def _asked(self, test_cfg: Mapping | None) -> dict[str, int]:
        """Arguments of rendering by key; those that a test_cfg lacks are the head's defaults."""
        return {
            key: (test_cfg or {}).get(key, value) for key, value in self.rendering_defaults.items()
        }

    def predict(
        self, inputs: list[Tensor], batch_img_metas: list[dict], test_cfg: Mapping
    ) -> Tensor:
        """Rendered logits of the size of the network's input.

        Args:
            inputs: Feature levels, each (B, C, H, W).
            batch_img_metas: Meta information of each image.
            test_cfg: The model's.

        Returns:
            Logits, shape (B, K, height, width).
        """
        self._tested = self._asked(test_cfg)
        with rendering_precision(inputs) as inputs:
            logits = self._render(inputs, test_cfg or {})
        # Rendered to the very size, logits stay as they are: mmseg's resizing changes nothing and takes a pass over all
        # of them and a second copy.
        if self._size_of(batch_img_metas) == logits.shape[2:]:
            return logits
        return facts_of(self.coarse_head).predict_by_feat(logits, batch_img_metas)

    def predict_bands(
        self, inputs: list[Tensor], batch_img_metas: list[dict], test_cfg: Mapping
    ) -> list[Bands] | None:
        """What :meth:`predict` returns, without a map of all classes at full resolution.

        Args:
            inputs: Feature levels, each (B, C, H, W).
            batch_img_metas: Meta information of each image.
            test_cfg: The model's.

        Returns:
            Logits of each image, (K, height, width); None if they need a whole map: an observer is shown one, and a
            coarse head may resize in a way of its own.
        """
        size = self._size_of(batch_img_metas)
        if size is None or self.observer is not None:
            return None
        self._tested = self._asked(test_cfg)
        rendering = self._rendering(test_cfg or {})
        with rendering_precision(inputs) as inputs:
            coarse, predict = self._start_rendering(inputs, rendering)
            bands = subdivide_bands(coarse, predict, **self._options(rendering))
        return [ResizedBands(one, *size, self.align_corners) for one in bands]

    def predict_onto(
        self,
        inputs: list[Tensor],
        batch_img_metas: list[dict],
        test_cfg: Mapping,
        placements: Sequence[Placement],
    ) -> list[Bands] | None:
        """Logits rendered on the pixels of the original images: the last step is taken there.

        Args:
            inputs: Feature levels, each (B, C, H, W).
            batch_img_metas: Meta information of each image.
            test_cfg: The model's.
            placements: Where each original image lies in the network's input.

        Returns:
            Logits of each image, (K, height, width); None as for :meth:`predict_bands`.
        """
        size = self._size_of(batch_img_metas)
        if size is None or self.observer is not None:
            return None
        self._tested = self._asked(test_cfg)
        rendering = self._rendering(test_cfg or {})
        options = self._options(rendering)
        steps = options.pop('steps')
        bands: list[Bands] = []
        with rendering_precision(inputs) as inputs:
            coarse, predict = self._start_rendering(inputs, rendering)
            logits = subdivide(coarse, predict, steps=max(steps - 1, 0), **options)
            for number, placement in enumerate(placements):
                source = ResizedBands(DenseBands(logits[number]), *size, self.align_corners)
                onto = placement.original(source, self.align_corners)
                if steps > 0:
                    indices = most_uncertain([onto], rendering.num_points, self.uncertainty)
                    points = placement.points(indices, size, self.align_corners)
                    values = predict(points, slice(number, number + 1))
                    (onto,) = overwritten([onto], indices, values)
                bands.append(onto)
        return bands

    def _size_of(self, batch_img_metas: list[dict]) -> tuple[int, int] | None:
        """Size that :meth:`predict` gives its logits; None if the coarse head resizes in a way of its own."""
        coarse_head = facts_of(self.coarse_head)
        if type(coarse_head).predict_by_feat is not BaseDecodeHead.predict_by_feat:
            return None
        asked = coarse_head.predict_by_feat(torch.empty(1, 1, 1, 1, device='meta'), batch_img_metas)
        height, width = asked.shape[2:]
        return height, width

    def predict_points(self, inputs: list[Tensor], points: Tensor) -> Tensor:
        """Predict logits at any real-valued points of images (paper, section 3.1).

        Args:
            inputs: Feature levels, each (B, C, H, W).
            points: Points (x, y) in ``[0, 1]^2`` of the network's input, in the convention of ``align_corners`` (see
                :mod:`mmpointrend.points.coordinates`), shape (B, P, 2).

        Returns:
            Logits, shape (B, K, P); differentiable if gradients are enabled.

        Raises:
            ValueError: If a point lies outside ``[0, 1]^2``.
        """
        num_points = check_points(points)
        return self._point_predictor(inputs, self._coarse_logits(inputs), num_points)(points)

    def loss(self, inputs: list[Tensor], batch_data_samples: list, train_cfg: Mapping) -> dict:
        """Losses of the coarse head and of the point head; the coarse head runs once.

        Args:
            inputs: Feature levels, each (B, C, H, W).
            batch_data_samples: Data samples with ``gt_sem_seg``.
            train_cfg: The model's.

        Returns:
            Losses and accuracies, 'coarse.*' and 'point.*'.
        """
        maps = self.coarse_head(original(inputs))
        coarse = coarse_map(self.coarse_head, maps)
        losses = coarse_losses(self.coarse_head, maps, batch_data_samples)
        points = self._select_training_points(coarse, train_cfg)
        labels = torch.stack([sample.gt_sem_seg.data.squeeze(0) for sample in batch_data_samples])
        targets = sample_labels(labels, points, self.align_corners)
        logits = self._point_predictor(inputs, coarse)(points)
        losses.update(add_prefix(self.point_head.loss(logits, targets), 'point'))
        return losses

    def _coarse_logits(self, inputs: list[Tensor]) -> Tensor:
        """Logits (B, K, h, w) of the coarse head."""
        return coarse_map(self.coarse_head, self.coarse_head(original(inputs)))

    @torch.no_grad()
    def _select_training_points(self, coarse: Tensor, train_cfg: Mapping) -> Tensor:
        """Points (B, P, 2) of a training step."""
        selection = self._selection_of(train_cfg or {})

        def uncertainty_at(points: Tensor) -> Tensor:
            logits = sample_features(coarse, points, align_corners=self.align_corners)
            return self.uncertainty(logits.transpose(1, 2))

        return selection(len(coarse), train_cfg['num_points'], uncertainty_at, coarse.device)

    def _point_predictor(
        self, inputs: list[Tensor], coarse: Tensor, num_points: int | None = None
    ) -> Callable[..., Tensor]:
        """What maps points (B, P, 2) of all images, or those of a slice, to logits (B, K, P)."""
        levels = self._fine_levels(inputs)
        predictor = point_predictor(
            self.point_head,
            levels,
            coarse,
            None,
            align_corners=self.align_corners,
            num_points=num_points,
        )

        def predict(points: Tensor, regions: slice = slice(None)) -> Tensor:
            return predictor(points, [points] * len(levels), regions)

        return predict

    def _fine_levels(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The point head's levels, which no config tells before the first features arrive."""
        indices, expected = self.point_head.in_index, self.point_head.in_channels
        where = 'decode_head.point_head.in_index'
        levels = [level_of(inputs, index, where, indices) for index in indices]
        channels = [level.shape[1] for level in levels]
        if channels != expected:
            raise ConfigError(
                f'decode_head.point_head.in_channels is {expected}, but the feature levels of in_index {indices} have '
                f'{channels} channels: set in_channels to {channels}'
            )
        return levels

    def _render(self, inputs: list[Tensor], test_cfg: Mapping) -> Tensor:
        """Rendered logits."""
        rendering = self._rendering(test_cfg)
        coarse, predict = self._start_rendering(inputs, rendering)
        return subdivide(coarse, predict, observer=self.observer, **self._options(rendering))

    def _start_rendering(
        self, inputs: list[Tensor], rendering: Rendering
    ) -> tuple[Tensor, Callable[..., Tensor]]:
        """Coarse logits, and what predicts points."""
        coarse = self._coarse_logits(inputs)
        total = len(coarse) * rendering.num_points * rendering.steps
        return coarse, self._point_predictor(inputs, coarse, total)

    def _options(self, rendering: Rendering) -> dict[str, Any]:
        """Arguments of the renderer."""
        return {
            'num_points': rendering.num_points,
            'steps': rendering.steps,
            'scale_factor': rendering.scale_factor,
            'uncertainty': self.uncertainty,
            'align_corners': self.align_corners,
        }

    def _rendering(self, test_cfg: Mapping) -> Rendering:
        """What ``test_cfg`` asks for; keys that it lacks are the head's defaults."""
        return self._rendering_of(self._asked(test_cfg))

    def check_train_cfg(self, train_cfg: Mapping | None) -> None:
        """Refuse a model's ``train_cfg`` that the first step would fail on.

        Args:
            train_cfg: The model's.

        Raises:
            ConfigError: A key is missing or out of range.
        """
        self._selection_of(train_cfg or {})

    def check_test_cfg(self, test_cfg: Mapping | None) -> None:
        """Refuse a model's ``test_cfg`` that the first prediction would fail on.

        Args:
            test_cfg: The model's.

        Raises:
            ConfigError: A key is out of range.
        """
        self._rendering(test_cfg or {})

    def check_features(self, inputs: Sequence[Tensor]) -> None:
        """Refuse feature levels that the point head was not made for.

        Args:
            inputs: Feature levels, each (B, C, H, W).

        Raises:
            ConfigError: Levels are missing or have other channels; the message names the key.
        """
        self._fine_levels(inputs)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: object) -> None:
        """Also take mmseg's lists of heads, the last of them a point head, and the coarse head's model without ours."""
        stages = len(self.coarse_head) if isinstance(self.coarse_head, CascadedHeads) else 1
        renamed = {
            f'{prefix}{stages}.fc_seg.': f'{prefix}point_head.fc_logits.',
            f'{prefix}{stages}.': f'{prefix}point_head.',
        }
        for stage in range(stages):
            number = f'{stage}.' if stages > 1 else ''
            renamed[f'{prefix}{stage}.'] = f'{prefix}coarse_head.{number}'
        own = (f'{prefix}coarse_head.', f'{prefix}point_head.')
        if stages == 1:
            renamed[prefix] = own[0]
        for key in list(state_dict):
            for old, new in renamed.items():
                if key.startswith(old) and not key.startswith(own):
                    state_dict[new + key[len(old) :]] = state_dict.pop(key)
                    break
        super()._load_from_state_dict(state_dict, prefix, *args)
