# Copyright (c) The mmpointrend authors.
"""Our version, and which versions of our neighbours we work with.

This file is the only place that states them: ``setup.py`` executes it, and
``mmpointrend/__init__.py`` checks against it. It therefore imports nothing.
"""

__version__ = '0.1.0'

# Distribution name -> accepted versions. The floors of OpenMMLab's are what the tests run; each
# ceiling is the first release line that nobody has tried (mmdet itself refuses mmcv 2.2).
NEIGHBOURS = {
    'torch': '>=2.10',
    'mmengine': '>=0.10.7,<0.11',
    'mmcv': '>=2.1.0,<2.2.0',
    'mmdet': '>=3.3.0,<3.4',
    'mmsegmentation': '>=1.2.2,<1.3',
}

# Why a floor is where it is, for the message to whoever is below.
REASONS = {
    'torch': 'a crafted checkpoint can make older ones run code, CVE-2026-24747',
}
