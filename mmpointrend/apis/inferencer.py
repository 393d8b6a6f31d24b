# Copyright (c) The mmpointrend authors.
"""OpenMMLab's inferencers for models of this package."""

import copy
import os
from typing import Any

from mmdet.apis import DetInferencer
from mmengine.config import Config
from mmengine.model import BaseModel
from mmseg.apis import MMSegInferencer

from mmpointrend.apis.models import load_model
from mmpointrend.engine.config_files import task_of

__all__ = ['PointRendInferencer']


class _Loaded:
    """Lets an inferencer work with a model that is loaded."""

    def __init__(self, loaded: BaseModel, **kwargs: Any) -> None:
        self._loaded = loaded
        cfg = copy.deepcopy(loaded.cfg)
        if cfg.get('visualizer') is None:
            kind = {'instance': 'DetLocalVisualizer', 'semantic': 'SegLocalVisualizer'}
            cfg.visualizer = dict(type=kind[task_of(cfg)])
        # Of the inferencer that this class stands before.
        super().__init__(model=cfg, scope=cfg.default_scope, **kwargs)  # type: ignore[call-arg]

    def _init_model(self, cfg: Config, weights: str | None, device: str) -> BaseModel:
        return self._loaded


class _Instances(_Loaded, DetInferencer):
    """mmdet's inferencer with a loaded model."""


class _LabelMaps(_Loaded, MMSegInferencer):
    """mmseg's inferencer with a loaded model."""


class PointRendInferencer:
    """mmdet's ``DetInferencer`` or mmseg's ``MMSegInferencer``, by the task of the config.

    Args:
        config: As in :func:`~mmpointrend.apis.load_model`.
        weights: As in :func:`~mmpointrend.apis.load_model`.
        device: As in :func:`~mmpointrend.apis.load_model`.
        trust_config: As in :func:`~mmpointrend.apis.load_model`.
        **kwargs: Further arguments of the inferencer that it is: ``palette`` and ``show_progress`` of mmdet's,
            ``classes``, ``palette`` and ``dataset_name`` of mmseg's.

    Attributes:
        inferencer: The one that does the work.

    Raises:
        PointRendError: As in :func:`~mmpointrend.apis.load_model`.
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | Config,
        weights: str | os.PathLike[str] | None = None,
        *,
        device: str | None = None,
        trust_config: bool = False,
        **kwargs: Any,
    ) -> None:
        model = load_model(config, weights, device=device, trust_config=trust_config)
        kind = _Instances if task_of(model.cfg) == 'instance' else _LabelMaps
        self.inferencer: DetInferencer | MMSegInferencer = kind(model, **kwargs)

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """Predict, draw and write as the inferencer does.

        Args:
            inputs: Path of an image or folder, an array in BGR, or a list of these.
            **kwargs: As in the inferencer: ``batch_size``, ``out_dir``, ``return_datasamples``,
                ``return_vis``; mmdet's ``pred_score_thr``, ``no_save_pred``; mmseg's ``img_out_dir``,
                ``pred_out_dir``.

        Returns:
            What it returns: a dict of predictions and visualizations; mmseg's returns samples alone for
            ``return_datasamples=True``.
        """
        return self.inferencer(inputs, **kwargs)
