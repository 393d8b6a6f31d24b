# Copyright (c) The mmpointrend authors.
"""From an image, a folder or a video to sharp masks."""
