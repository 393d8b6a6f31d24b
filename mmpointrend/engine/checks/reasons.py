# Copyright (c) The mmpointrend authors.
"""Why annotations are not used, and how many for each reason."""

from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ['Findings', 'Reason']


@dataclass(frozen=True)
class Reason:
    """Why annotations are not used.

    Args:
        subject: What of an annotation is meant, such as ``the boxes``.
        predicate: What is wrong with it.
        fix: What to do about it.
        usual: Share of a file's annotations, in [0, 1], up to which it is a convention of good
            datasets and not worth a warning.
    """

    subject: str
    predicate: str
    fix: str
    usual: float = 0.0


_IN_PIXELS = 'write bbox=[x, y, width, height] in pixels'

CROWD = Reason(
    'the annotations',
    'are crowds (iscrowd=1), which training ignores',
    'set iscrowd=0 for single objects',
    usual=0.25,
)
IGNORED = Reason(
    'the annotations',
    'are marked ignore, which mmdet leaves out',
    'take "ignore" out of those that count',
    usual=0.25,
)
NUMBERS = Reason(
    'the fields bbox, area or iscrowd',
    'hold something other than finite numbers',
    'write bbox=[x, y, width, height], area and iscrowd as numbers without quotes',
)
UNIT_BOX = Reason(
    'the boxes',
    'are in [0, 1]',
    'multiply bbox and segmentation by the width and height of the image, in pixels',
    usual=0.01,
)
OUTSIDE = Reason(
    'the boxes',
    'lie outside of their image',
    f'{_IN_PIXELS} of the image, and its right width and height',
    usual=0.01,
)
SMALL = Reason('the boxes', 'are less than a pixel wide or high', _IN_PIXELS, usual=0.01)
AREA = Reason(
    'the areas', 'are 0 or less', 'write the area of each object in square pixels', usual=0.01
)
CATEGORY = Reason(
    'the category ids',
    'are of no category',
    'write ids of the list of categories, in the same type',
)
IMAGE = Reason(
    'the image ids', 'are of no image', 'write ids of the list of images, in the same type'
)
NO_MASK = Reason(
    'the segmentations',
    'are missing or empty',
    'write polygons or run lengths, or train a model without masks (with_mask=False)',
)
FLAT = Reason(
    'the segmentations',
    'are flat lists of numbers',
    'write a list of polygons, [[x1, y1, x2, y2, ...]]',
)
POLYGON = Reason(
    'the polygons',
    'have fewer than three points or an odd number of coordinates',
    'write polygons as [x1, y1, x2, y2, x3, y3, ...]',
)
POLYGON_NUMBERS = Reason(
    'the polygons',
    'hold something other than finite numbers',
    'write their coordinates as numbers without quotes',
)
FAR = Reason(
    'the polygons',
    'lie far outside of their image',
    'write their coordinates in pixels of the image',
)
LONG = Reason(
    'the polygons',
    'are longer than two million pixels',
    'simplify them or write run lengths',
)
UNIT_POLYGON = Reason(
    'the polygons',
    'are in [0, 1] while their boxes are not',
    'multiply segmentation by the width and height of the image, in pixels',
    usual=0.01,
)
RUN_LENGTHS = Reason(
    'the masks',
    'are run lengths, which poly2mask=False in the pipeline drops',
    'set poly2mask=True, or write polygons (for Cityscapes: '
    'tools/dataset_converters/cityscapes_to_coco.py)',
)
DAMAGED_RUNS = Reason(
    'the masks',
    'are run lengths that cannot be decoded',
    'write segmentation=dict(size=[height, width], counts=...) as pycocotools does',
)
SIZE_OF_RUNS = Reason(
    'the masks',
    'are run lengths of another size than their image',
    'make [height, width] of segmentation.size those of the image',
)


@dataclass
class Findings:
    """Counts over the annotations of a file.

    Args:
        total: Number of annotations.
        usable: Number of those that training sees.
        counts: Number by reason; every unused annotation has one reason.
        first: Id of the first one by reason, and what it holds.
        hidden: Further reasons of annotations that are already unused: what would be next.
    """

    total: int = 0
    usable: int = 0
    counts: dict[Reason, int] = field(default_factory=dict)
    first: dict[Reason, str] = field(default_factory=dict)
    hidden: dict[Reason, None] = field(default_factory=dict)

    def refusal(self, file: str) -> str | None:
        """Say why nothing is left to train on.

        Args:
            file: Name of the annotation file.

        Returns:
            The sentence; None if something is left or nothing was lost.
        """
        if self.usable or not self.counts:
            return None
        where = f' of the annotation file {file}'
        return (
            f'none of {self.total} annotations can be used: '
            f'{self._clauses(self.counts, where)}; {self._fixes([*self.counts, *self.hidden])}.'
        )

    def warning(self, file: str) -> str | None:
        """Say what is lost.

        Args:
            file: Name of the annotation file.

        Returns:
            The sentence; None if nothing is lost that good datasets do not lose as well.
        """
        told = [
            reason for reason, count in self.counts.items() if count > reason.usual * self.total
        ]
        if not told:
            return None
        lost = sum(self.counts[reason] for reason in told)
        return (
            f'{lost} of {self.total} annotations of {file} are not used: '
            f'{self._clauses(told)}; {self._fixes(told)}.'
        )

    def _clauses(self, reasons: Iterable[Reason], where: str = '') -> str:
        clauses = []
        for reason in sorted(reasons, key=self.counts.__getitem__, reverse=True):
            count = f'{self.counts[reason]}, first {self.first[reason]}'
            clauses.append(f'{reason.subject}{where} {reason.predicate} ({count})')
            where = ''
        return ', '.join(clauses)

    @staticmethod
    def _fixes(reasons: list[Reason]) -> str:
        return ', and '.join(dict.fromkeys(reason.fix for reason in reasons))
