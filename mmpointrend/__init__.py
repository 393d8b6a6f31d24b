# Copyright (c) The mmpointrend authors.
"""PointRend for MMDetection 3.x and MMSegmentation 1.x, with one renderer for both.

Importing the package checks the versions of its neighbours, makes ``_base_ = 'mmpointrend::...'``
known to mmengine and lets mmengine read YAML as plain values. It imports none of the neighbours but mmengine,
and builds nothing; the types of this package are found through :mod:`mmpointrend.registry` when a
config names ``mmpointrend.<Type>``.
"""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

from mmengine.config.utils import MODULE2PACKAGE
from packaging.specifiers import SpecifierSet

from mmpointrend.data_files import register_handlers
from mmpointrend.version import NEIGHBOURS, __version__

__all__ = ['__version__']


def _check_neighbours() -> None:
    """Refuse neighbours outside the ranges that we were tried with.

    A neighbour that is missing is left to its own ``import``, whose message says enough.

    Raises:
        ImportError: A neighbour is installed in a version outside its range in
            ``mmpointrend/version.py``.
    """
    for name, accepted in NEIGHBOURS.items():
        try:
            installed = installed_version(name)
        except PackageNotFoundError:
            continue
        if not SpecifierSet(accepted).contains(installed, prereleases=True):
            raise ImportError(
                f'mmpointrend {__version__} needs {name}{accepted}, but {name} {installed} is '
                f'installed: pip install "{name}{accepted}"'
            )


_check_neighbours()

# mmengine takes `package::config` only for packages in this table, and looks the value up first as
# a distribution, then as a module. A module name that is no distribution's makes it find the folder
# that is really imported, be we installed, installed as editable, or only on PYTHONPATH.
MODULE2PACKAGE['mmpointrend'] = 'mmpointrend.registry'

register_handlers()
