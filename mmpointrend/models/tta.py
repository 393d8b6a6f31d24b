# Copyright (c) The mmpointrend authors.
"""Test-time augmentation for the semantic task.

Letters: B images, A augmentations of each, K classes (1 where one sigmoid tells two classes apart),
H x W pixels of the original image.
"""

from collections.abc import Sequence

import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmpointrend.registry import MODELS

__all__ = ['SegTTAModel']


@MODELS.register_module()
class SegTTAModel(BaseTTAModel):
    """Average the class probabilities of an image over flips and scales.

    It takes the place of mmseg's, which averages ``sigmoid(sigmoid(logit))`` where there is one
    class: a segmentor hands out probabilities there already. The sigmoid of a probability is at
    least 0.5, so that every pixel passes the usual thresholds.

    Args:
        module: The segmentor, or its config.
        data_preprocessor: Config of its preprocessor, where the segmentor's config has none.
    """

    def test_step(self, data: dict) -> list[SegDataSample]:
        """Predict each augmentation and merge them; a segmentor that keeps labels alone keeps logits meanwhile.

        Args:
            data: ``inputs`` and ``data_samples`` of each augmentation.

        Returns:
            As :meth:`merge_preds`.
        """
        # Of mmseg's own segmentors it says nothing.
        kept = getattr(self.module, 'keeps_logits', None)
        if kept is None:
            return super().test_step(data)
        self.module.keeps_logits = True
        try:
            return super().test_step(data)
        finally:
            self.module.keeps_logits = kept

    def merge_preds(
        self, data_samples_list: Sequence[Sequence[SegDataSample]]
    ) -> list[SegDataSample]:
        """Merge the predictions of each image.

        Args:
            data_samples_list: B sequences of A samples, whose ``seg_logits`` are (K, H, W), flipped
                back and at the original size: logits for K > 1, probabilities for K = 1.

        Returns:
            B samples with ``pred_sem_seg`` (1, H, W): int64 labels for K > 1; 0 or 1 for K = 1, by
            the decode head's ``threshold``. What else the first augmentation's sample holds
            (ground truth, meta information) is kept, its own ``seg_logits`` are not.
        """
        return [self._merge(samples) for samples in data_samples_list]

    def _merge(self, samples: Sequence[SegDataSample]) -> SegDataSample:
        maps = [sample.seg_logits.data for sample in samples]
        binary = self.module.out_channels == 1
        probabilities = torch.zeros_like(maps[0])
        for values in maps:
            probabilities += values if binary else values.softmax(dim=0)
        probabilities /= len(maps)
        if binary:
            labels = (probabilities > self.module.decode_head.threshold).to(probabilities)
        else:
            labels = probabilities.argmax(dim=0, keepdim=True)
        merged = samples[0].clone()
        del merged.seg_logits
        merged.set_data({'pred_sem_seg': PixelData(data=labels)})
        return merged
