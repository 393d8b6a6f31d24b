# Copyright (c) The mmpointrend authors.
"""A segmentor whose answer is a label map, not logits.

B images, K channels of the logits.
"""

from collections.abc import Sequence
from typing import Any

from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from torch import Tensor

from mmpointrend.errors import ConfigError
from mmpointrend.models.decode_heads.placement import Placement
from mmpointrend.models.decode_heads.pointrend_head import PointRendHead
from mmpointrend.points.bands import Bands, DenseBands, labels_of
from mmpointrend.registry import MODELS
from mmpointrend.rules import Rule, check

__all__ = ['PointRendSegmentor']

_RULES = {
    'label_rendering': Rule("'exact' or 'native'", lambda value: value in ('exact', 'native'))
}


@MODELS.register_module()
class PointRendSegmentor(EncoderDecoder):
    """mmseg's ``EncoderDecoder``, which predicts ``pred_sem_seg`` without ``seg_logits``.

    mmseg's makes logits of all classes at the size of the original image and takes the best of each pixel. Here they
    are made some rows at a time, by the same steps: resized to the network's input, cut, mirrored, resized to the
    original image. The labels are the same but where two classes are equal within rounding. Settings besides mmseg's:

    - ``test_cfg.label_rendering``: 'exact' (default), the labels of mmseg's steps; or 'native', where the last step of
      subdivision chooses and predicts pixels of the original image, so that nothing is resampled after it (with
      ``mode='whole'``).

    In ``mode='slide'`` windows overlap and their logits are averaged at the network's resolution, as in mmseg; only
    what follows is done by rows.

    Attributes:
        keeps_logits: Whether predictions hold ``seg_logits`` too, as mmseg's do: test-time augmentation averages them.

    Args:
        *args: As in mmseg's ``EncoderDecoder``.
        **kwargs: As in mmseg's ``EncoderDecoder``.

    Raises:
        ConfigError: ``test_cfg.label_rendering`` is something else, or does not go with ``mode``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.keeps_logits = False
        test_cfg = self.test_cfg or {}
        check(test_cfg, 'model.test_cfg', _RULES)
        native = test_cfg.get('label_rendering', 'exact') == 'native'
        if native and test_cfg.get('mode') == 'slide':
            raise ConfigError(
                "model.test_cfg.label_rendering is 'native', but mode is 'slide': windows overlap, and an average of "
                "logits has no last step; set mode to 'whole', or label_rendering to 'exact'"
            )
        if native and not isinstance(self.decode_head, PointRendHead):
            raise ConfigError(
                "model.test_cfg.label_rendering is 'native', but decode_head is a "
                f"{type(self.decode_head).__name__}, which renders nothing: take 'mmpointrend.PointRendHead'"
            )

    def predict(
        self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Predict label maps.

        Args:
            inputs: Images, shape (B, 3, H, W).
            data_samples: One for each image, with meta information; mmseg's own way is taken without.

        Returns:
            The samples, with ``pred_sem_seg`` (1, height, width): int64 labels for K > 1; 0 or 1 for K = 1.
        """
        if self.keeps_logits or data_samples is None:
            return super().predict(inputs, data_samples)
        metas = [sample.metainfo for sample in data_samples]
        placements = [Placement.of(meta) for meta in metas]
        for sample, bands in zip(data_samples, self._bands(inputs, metas, placements), strict=True):
            labels = labels_of(bands, getattr(self.decode_head, 'threshold', None))
            sample.set_data({'pred_sem_seg': PixelData(data=labels[None])})
        return list(data_samples)

    def _bands(self, inputs: Tensor, metas: list[dict], placements: list[Placement]) -> list[Bands]:
        """Logits of each original image."""
        bands: list[Bands] | None = None
        if self.test_cfg.get('mode', 'whole') == 'whole' and isinstance(
            self.decode_head, PointRendHead
        ):
            features = self.extract_feat(inputs)
            if self.test_cfg.get('label_rendering', 'exact') == 'native':
                native = self.decode_head.predict_onto(features, metas, self.test_cfg, placements)
                if native is not None:
                    return native
            bands = self.decode_head.predict_bands(features, metas, self.test_cfg)
        if bands is None:
            bands = [DenseBands(logits) for logits in self.inference(inputs, metas)]
        return [
            placement.original(one, self.align_corners)
            for placement, one in zip(placements, bands, strict=True)
        ]
