# Copyright (c) The mmpointrend authors.
"""Cityscapes' own AP of instance segmentation."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.evaluation import CityScapesMetric
from mmdet.evaluation.functional import cityscapes_utils
from mmdet.evaluation.metrics import cityscapes_metric as mmdet_metric
from mmengine.logging import MMLogger
from prettytable import PrettyTable

from mmpointrend.data_files import inside
from mmpointrend.engine.checks.names import some_names
from mmpointrend.errors import ConfigError, InputError
from mmpointrend.evaluation.no_figures import no_figures
from mmpointrend.registry import METRICS

_IMAGE, _TRUTH = '_leftImg8bit', '_gtFine_instanceIds.png'


@METRICS.register_module()
class CityscapesMetric(CityScapesMetric):
    """AP over IoU 0.5 to 0.95 as cityscapesscripts computes it, with mmdet's config keys.

    mmdet's ``CityScapesMetric`` hands the masks over as files on a common disk, to a function of
    cityscapesscripts (2.3.0) that numpy 2.4 breaks, takes no heed of ``seg_prefix``, and fails if
    all predictions of a class are ignored. Here the pixels are counted in memory, by each rank for
    its own images; cityscapesscripts does the rest: which instances and predictions are ignored
    (groups, void, fewer than 100 pixels), the matching, the AP.

    Figures in [0, 1]: ``cityscapes/mAP``, ``cityscapes/AP@50`` and ``cityscapes/{class}_mAP``; nan
    for a class without ground truth.

    Args:
        seg_prefix: Folder of the ground truth of the split, ``gtFine/val``, with a folder of
            ``*_gtFine_instanceIds.png`` for each city.
        format_only: Write the predictions as the test server wants them, and compute nothing.
        outfile_prefix: Where to write them.
        backend_args: How mmengine reads the ground truth.
        **kwargs: ``collect_device`` and ``prefix``.

    Raises:
        ConfigError: If cityscapesscripts is not installed, or the folder that is to be read or
            written is not given.
    """

    tmp_dir = None  # mmdet's __del__ looks for it, even if the checks below fail.

    def __init__(
        self,
        *,
        seg_prefix: str | None = None,
        format_only: bool = False,
        outfile_prefix: str | None = None,
        backend_args: dict | None = None,
        **kwargs: Any,
    ) -> None:
        if not mmdet_metric.HAS_CITYSCAPESAPI:
            raise ConfigError(
                'mmpointrend.CityscapesMetric needs cityscapesscripts: '
                'pip install "mmpointrend[cityscapes]".'
            )
        key, given = (
            ('outfile_prefix', outfile_prefix) if format_only else ('seg_prefix', seg_prefix)
        )
        if given is None:
            raise ConfigError(f'CityscapesMetric needs {key} where format_only={format_only}.')
        super().__init__(
            # Else a folder on disk is made, which nothing is written to.
            outfile_prefix=outfile_prefix if format_only else None,
            seg_prefix=seg_prefix,
            format_only=format_only,
            backend_args=backend_args,
            **kwargs,
        )
        args = copy.copy(mmdet_metric.CSEval.args)
        mmdet_metric.CSEval.setInstanceLabels(args)
        args.quiet = True
        self._args = args

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Counts the pixels of each image's predictions on its ground truth.

        Args:
            data_batch: Not used.
            data_samples: Data samples as dicts, with ``img_path`` and ``pred_instances`` (masks
                (n, H, W) of the original size).

        Raises:
            InputError: If the ground truth of an image is missing or damaged; it is named.
            ConfigError: If masks and ground truth differ in size, or a class is not Cityscapes'.
        """
        unknown = [n for n in self.dataset_meta['classes'] if n not in self._args.instLabels]
        if unknown:
            raise ConfigError(
                f"Cityscapes' AP is of {', '.join(self._args.instLabels)}, but the dataset has the "
                f'classes {some_names(unknown)}: take CityscapesDataset, or mmpointrend.'
                'CocoBoundaryMetric for other classes.'
            )
        if self.format_only:
            super().process(data_batch, data_samples)
            return
        for sample in data_samples:
            self.results.append(self._match(sample))

    def _match(self, sample: dict) -> dict[str, dict[str, list]]:
        """Instances and predictions of an image in cityscapesscripts' own terms."""
        path = self._truth_of(Path(sample['img_path']))
        try:
            instances = cityscapes_utils.instances2dict([path], self._args, self.backend_args)[path]
            truth = cityscapes_utils.readGTImage(path, self.backend_args)
        except OSError as error:
            raise InputError(
                f'the ground truth {path} cannot be read ({error}); copy it anew.'
            ) from error
        labels = mmdet_metric.CSLabels
        void = np.isin(truth, [label.id for label in labels.labels if label.ignoreInEval])
        instances = {
            name: [dict(instance, matchedPred=[]) for instance in instances[name]]
            for name in self._args.instLabels
        }
        predictions: dict[str, list] = {name: [] for name in self._args.instLabels}
        found = sample['pred_instances']
        masks = found['masks'].cpu().numpy().astype(bool)
        if masks.shape[1:] != truth.shape and len(masks):
            raise ConfigError(
                f'The masks of {sample["img_path"]} are {masks.shape[1:]}, its ground truth '
                f'{truth.shape}: test on the images of seg_prefix, at their original size.'
            )
        scores = found.get('mask_scores', found['scores']).cpu().tolist()
        for label, mask, score in zip(found['labels'].tolist(), masks, scores, strict=True):
            if not mask.any():
                continue
            name = self.dataset_meta['classes'][label]
            pixels = dict(zip(*np.unique(truth[mask], return_counts=True), strict=True))
            prediction = dict(
                pixelCount=int(mask.sum()),
                confidence=score,
                voidIntersection=int(np.count_nonzero(void & mask)),
            )
            touched = []
            for instance in instances[name]:
                common = int(pixels.get(instance['instID'], 0))
                if common:
                    touched.append(dict(instance, intersection=common, matchedPred=None))
                    instance['matchedPred'].append(dict(prediction, intersection=common))
            predictions[name].append(dict(prediction, matchedGt=touched))
        return dict(groundTruth=instances, prediction=predictions)

    def _truth_of(self, image: Path) -> str:
        """Path of the instance ids of an image."""
        # Folders of cities are often links.
        path = inside(
            str(self.seg_prefix),
            f'{image.parent.name}/{image.stem.removesuffix(_IMAGE)}{_TRUTH}'.lstrip('/'),
            follow_links=True,
        )
        if self.backend_args is None and not path.is_file():
            raise InputError(
                f'the ground truth {path} of {image} does not exist; set seg_prefix to the folder '
                'of the cities, as gtFine/val.'
            )
        return str(path)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Computes the AP of each class and IoU.

        Args:
            results: Instances and predictions of every image.

        Returns:
            The figures; nan if there is no result.
        """
        if self.format_only:
            return super().compute_metrics(results)
        if not results:
            names = ['mAP', 'AP@50', *(f'{name}_mAP' for name in self._args.instLabels)]
            return no_figures(names, self.prefix)
        matches = dict(enumerate(results))
        ap = np.array(
            [
                [self._average_precision(matches, name, overlap) for overlap in self._args.overlaps]
                for name in self._args.instLabels
            ]
        )
        figures = {'mAP': _mean(ap), 'AP@50': _mean(ap[:, 0])}
        table = PrettyTable(['Class', 'AP', 'AP@50'])
        for name, row in zip(self._args.instLabels, ap, strict=True):
            figures[f'{name}_mAP'] = _mean(row)
            table.add_row([name, f'{_mean(row):.4f}', f'{row[0]:.4f}'])
        MMLogger.get_current_instance().info(f'Cityscapes AP:\n{table.get_string()}')
        return figures

    def _average_precision(self, matches: dict, name: str, overlap: float) -> float:
        """AP of one class at one IoU, nan where it has no ground truth."""
        args = copy.copy(self._args)
        args.instLabels, args.overlaps = [name], np.array([overlap])
        try:
            return float(mmdet_metric.CSEval.evaluateMatches(matches, args)[0, 0, 0])
        except IndexError:
            # It takes the last of no entry where all predictions of the class are ignored.
            return 0.0


def _mean(values: np.ndarray) -> float:
    return float('nan') if np.isnan(values).all() else float(np.nanmean(values))
