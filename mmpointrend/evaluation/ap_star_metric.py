# Copyright (c) The mmpointrend authors.
"""AP*: COCO models on LVIS's annotations of the same images."""

from collections.abc import Sequence
from typing import Any

from faster_coco_eval.core.faster_eval_api import COCOeval_faster
from mmengine.logging import MMLogger

from mmpointrend.data_files import read_json
from mmpointrend.errors import ConfigError, InputError
from mmpointrend.evaluation.coco_boundary_metric import CocoBoundaryMetric
from mmpointrend.evaluation.coco_truth import number_annotations
from mmpointrend.evaluation.cocofy import COCO_CATEGORIES, cocofy
from mmpointrend.evaluation.federated import evaluate_federated
from mmpointrend.evaluation.no_figures import no_figures
from mmpointrend.registry import METRICS

_ITEMS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')


@METRICS.register_module()
class APStarMetric(CocoBoundaryMetric):
    """Mask AP of a COCO model on LVIS's annotations, which are better than COCO's: the paper's AP*.

    LVIS's categories become COCO's by their synsets (78 of 80 in v0.5), and labels become COCO's
    own ids. Evaluation follows LVIS's federated rules: the 300 most confident detections of an
    image; those whose category is neither annotated nor negative in their image are dropped;
    unmatched ones of categories that are not exhaustively annotated there are ignored. There are
    no crowds, and sizes are those of the masks.

    Figures in [0, 1], not rounded: ``ap_star/segm_mAP``, ``_50``, ``_75``, ``_s``, ``_m``, ``_l``.
    On LVIS v1 they are ``ap_star_v1/...``: of its validation set only COCO's val2017 images are
    taken, so that they do not compare with the paper's, which are of v0.5.

    Images that were not tested do not count; the log warns of them. Test on COCO val2017.

    Source: PointRend (1912.08193), section 4.

    Args:
        ann_file: LVIS v0.5 or v1 annotations of the validation set, cocofied by
            ``tools/dataset_converters/cocofy_lvis.py`` or not.
        metric: ``segm``, ``boundary`` or both.
        metric_items: Some of ``mAP``, ``mAP_50``, ``mAP_75``, ``mAP_s``, ``mAP_m``, ``mAP_l``;
            all where None.
        prefix: Put before the figures' names; ``ap_star`` or ``ap_star_v1`` where None.
        backend_args: How mmengine reads ``ann_file``.
        **kwargs: ``dilation_ratio``, ``classwise``, ``iou_thrs``, ``collect_device``.

    Raises:
        ConfigError: If ``metric`` or ``metric_items`` are others.
        InputError: If the annotations are missing or not LVIS's.
    """

    def __init__(
        self,
        *,
        ann_file: str,
        metric: str | Sequence[str] = 'segm',
        metric_items: Sequence[str] | None = None,
        prefix: str | None = None,
        backend_args: dict | None = None,
        **kwargs: Any,
    ) -> None:
        for key, given, known in (
            ('metric', [metric] if isinstance(metric, str) else metric, ('segm', 'boundary')),
            ('metric_items', metric_items or (), _ITEMS),
        ):
            unknown = [name for name in given if name not in known]
            if unknown:
                raise ConfigError(f'{key} of AP* are some of {known}, but got {unknown}.')
        super().__init__(
            metric=metric,
            metric_items=metric_items,
            backend='faster-coco-eval',
            prefix=prefix,
            backend_args=backend_args,
            **kwargs,
        )
        self.ann_file = ann_file
        try:
            truth = cocofy(read_json(ann_file, 'the file', backend_args))
        except InputError as error:
            raise InputError(f'the annotations {ann_file} of AP*: {error}') from error
        self._take_truth(number_annotations(truth, ann_file))
        if prefix is None:
            self.prefix = 'ap_star' if truth['cocofied_from'] == 'v0.5' else 'ap_star_v1'

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Computes AP* of the images that LVIS annotates.

        Args:
            results: What ``process`` collected, pairs of ground truth and prediction.

        Raises:
            ConfigError: If the model's classes are not COCO's, its predictions hold no masks, or no
                tested image is annotated.
        """
        if not results:
            return no_figures(self._names_of_figures(), self.prefix)
        annotated = set(self._coco_api.imgs)
        seen = [pair for pair in results if pair[1]['img_id'] in annotated]
        self.img_ids = sorted({prediction['img_id'] for _, prediction in seen})
        if not seen:
            raise ConfigError(
                "none of the tested images is annotated in AP*'s ann_file: test on COCO val2017, "
                'whose image ids LVIS shares.'
            )
        if len(self.img_ids) < len(annotated):
            MMLogger.get_current_instance().warning(
                f'AP* is of {len(self.img_ids)} of the {len(annotated)} images that LVIS '
                'annotates: the others were not tested.'
            )
        return super().compute_metrics(seen)

    def _check_image(self, number: Any, size: tuple[int, ...]) -> None:
        """LVIS annotates some of COCO's images."""
        if number in self._coco_api.imgs:
            super()._check_image(number, size)

    def _ids_of_classes(self, classes: Sequence[str]) -> list[int]:
        unknown = [name for name in classes if name not in COCO_CATEGORIES]
        if unknown:
            raise ConfigError(
                f"AP* is for models of COCO's classes, but the dataset has {', '.join(unknown)}."
            )
        return [COCO_CATEGORIES[name][0] for name in classes]

    def _evaluate(self, metric: str, records: list[dict]) -> COCOeval_faster:
        return evaluate_federated(
            self._truth_for(metric),
            records,
            metric,
            dilation_ratio=self.dilation_ratio,
            cat_ids=[number for number in self.cat_ids if number in self._coco_api.cats],
            img_ids=self.img_ids,
            iou_thrs=self.iou_thrs,
        )
