# Copyright (c) The mmpointrend authors.
"""The core under the names of others: PointRend's point sampling, as copies of it in other projects call it.

:mod:`.detectron2` has detectron2's signatures, which Mask2Former and its followers use, :mod:`.mmdet` those of mmdet
and mmcv. Answers are theirs, random numbers included: at the same seed the same points.
"""
