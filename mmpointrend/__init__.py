# Copyright (c) The mmpointrend authors.
"""PointRend for MMDetection 3.x and MMSegmentation 1.x, with one renderer for both.

Importing the package checks the versions of its neighbours. With mmengine installed it also makes
``_base_ = 'mmpointrend::...'`` known to it, every checkpoint that mmengine loads in this process goes
through :mod:`mmpointrend.checkpoints`, and YAML is read as plain values. It imports no other neighbour
and builds nothing; the types of this package are found through :mod:`mmpointrend.registry` when a config
names ``mmpointrend.<Type>``. :mod:`mmpointrend.points` works with torch alone.
"""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

from mmpointrend.version import NEIGHBOURS, REASONS, __version__

__all__ = ['__version__']


def _check_neighbours() -> None:
    """Refuse neighbours outside the ranges that we were tried with.

    A neighbour that is missing is left to its own ``import``, whose message says enough.

    Raises:
        ImportError: A neighbour is installed in a version outside its range in
            ``mmpointrend/version.py``.
    """
    try:
        from packaging.specifiers import SpecifierSet
    except ImportError:
        # pip installs it with this package; a copy of `points` beside torch may do without.
        return

    for name, accepted in NEIGHBOURS.items():
        try:
            installed = installed_version(name)
        except PackageNotFoundError:
            continue
        if not SpecifierSet(accepted).contains(installed, prereleases=True):
            reason = f' ({REASONS[name]})' if name in REASONS else ''
            raise ImportError(
                f'mmpointrend {__version__} needs {name}{accepted}{reason}, but {name} {installed} is '
                f'installed: pip install "{name}{accepted}"'
            )


def _set_up_mmengine() -> None:
    """Tell mmengine where our configs are, and how checkpoints and data files are read."""
    try:
        from mmengine.config.utils import MODULE2PACKAGE
        from mmengine.runner import CheckpointLoader  # noqa: F401
    except ImportError:
        return

    from mmpointrend.checkpoints.loading import allow_mmengine_checkpoints
    from mmpointrend.checkpoints.schemes import register_loaders
    from mmpointrend.data_files import register_handlers

    # mmengine takes `package::config` only for packages in this table, and looks the value up first
    # as a distribution, then as a module. A module name that is no distribution's makes it find the
    # folder that is really imported, be we installed, installed as editable, or only on PYTHONPATH.
    MODULE2PACKAGE['mmpointrend'] = 'mmpointrend.registry'
    allow_mmengine_checkpoints()
    register_loaders()
    register_handlers()


_check_neighbours()
_set_up_mmengine()
