# Copyright (c) The mmpointrend authors.
"""Checkpoints by address: for every scheme of mmengine's a loader that fetches the file and then reads
it as any local one.

mmengine's own loaders hand what came over the network to ``torch.load`` with safe loading off, or (in
forks) switch it off once it has refused a file.
"""

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmengine.fileio import get_file_backend
from mmengine.logging import print_log
from mmengine.runner import checkpoint as theirs

from mmpointrend.checkpoints.download import download
from mmpointrend.checkpoints.loading import load_from_local, read_checkpoint
from mmpointrend.errors import CheckpointError, PointRendError

__all__ = [
    'UNPUBLISHED',
    'load_from_ceph',
    'load_from_http',
    'load_from_mmcls',
    'load_from_openmmlab',
    'load_from_pavi',
    'load_from_torchvision',
    'load_from_unknown',
    'load_from_unpublished',
    'register_loaders',
]

UNPUBLISHED = 'unpublished://'
"""How metafiles address the weights of models whose weights nobody has published."""


def load_from_http(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load a checkpoint from the web, through torch's cache.

    Args:
        filename: Address, ``http://`` or ``https://``.
        map_location: As in ``torch.load``.

    Returns:
        The checkpoint.

    Raises:
        CheckpointError: It cannot be fetched or read.
    """
    path = download(filename, lambda new: read_checkpoint(new, 'cpu', filename))
    return read_checkpoint(path, map_location, f'{filename} (kept as {path})')


def load_from_torchvision(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load weights of torchvision's.

    Args:
        filename: ``torchvision://`` or ``modelzoo://`` and torchvision's name of the model.
        map_location: As in ``torch.load``.

    Returns:
        The checkpoint.

    Raises:
        CheckpointError: torchvision is missing, it has no such model, or that cannot be fetched.
    """
    with _needing(filename, 'torchvision'):
        addresses = theirs.get_torchvision_models()
    return load_from_http(_address_of(filename, addresses), map_location)


def load_from_openmmlab(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load weights from OpenMMLab's list.

    Args:
        filename: ``open-mmlab://`` or ``openmmlab://`` and the name of the model.
        map_location: As in ``torch.load``.

    Returns:
        The checkpoint.

    Raises:
        CheckpointError: The model is not in the list, or cannot be fetched.
    """
    with _needing(filename, 'mmengine'):
        addresses = theirs.get_external_models()
        successors = theirs.get_deprecated_model_names()
    scheme, _, model = filename.partition('://')
    if model in successors:
        print_log(f'{filename} is {scheme}://{successors[model]} now.', 'current', 30)
        filename = f'{scheme}://{successors[model]}'
    address = _address_of(filename, addresses)
    if address.startswith(('http://', 'https://')):
        return load_from_http(address, map_location)
    # A list of the user's own may name files beside it.
    return load_from_local(Path(theirs._get_mmengine_home()) / address, map_location)


def load_from_mmcls(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load the backbone of a classifier of OpenMMLab's.

    Args:
        filename: ``mmcls://`` and the name of the model.
        map_location: As in ``torch.load``.

    Returns:
        A checkpoint with the backbone alone.

    Raises:
        CheckpointError: The model is not in the list, or cannot be fetched.
    """
    with _needing(filename, 'mmengine'):
        addresses = theirs.get_mmcls_models()
    return theirs._process_mmcls_checkpoint(
        load_from_http(_address_of(filename, addresses), map_location)
    )


def load_from_ceph(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load a checkpoint from an object store.

    Args:
        filename: Address, ``s3://`` or ``petrel://``, behind the name of a cluster or not.
        map_location: As in ``torch.load``.

    Returns:
        The checkpoint.

    Raises:
        CheckpointError: The store's client is missing, or it cannot be fetched or read.
    """
    with _needing(filename, 'petrel_client'):
        backend = get_file_backend(filename, backend_args={'backend': 'petrel'})
        with backend.get_local_path(filename) as path:
            return read_checkpoint(path, map_location, filename)


def load_from_pavi(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load a checkpoint from pavi.

    Args:
        filename: Address, ``pavi://``.
        map_location: As in ``torch.load``.

    Returns:
        The checkpoint.

    Raises:
        CheckpointError: pavi is missing, or it cannot be fetched or read.
    """
    with _needing(filename, 'pavi'):
        model = import_module('pavi').modelcloud.get(filename.removeprefix('pavi://'))
        with TemporaryDirectory() as folder:
            path = Path(folder) / 'checkpoint'
            model.download(str(path))
            return read_checkpoint(path, map_location, filename)


def load_from_unknown(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Refuse an address whose scheme is unknown here, but not to mmengine.

    Args:
        filename: The address.
        map_location: Not used.

    Raises:
        CheckpointError: Always.
    """
    scheme = filename.partition('://')[0]
    raise CheckpointError(
        f'the checkpoint {filename} cannot be loaded safely, for mmpointrend has no loader of '
        f'{scheme}://; download it and give the path of the file.'
    )


def load_from_unpublished(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Refuse the address of a model whose weights nobody has published, and say what to do.

    Args:
        filename: ``unpublished://`` and the name of the model.
        map_location: Not used.

    Raises:
        CheckpointError: Always.
    """
    model = filename.removeprefix(UNPUBLISHED)
    raise CheckpointError(
        f'no weights of {model} are published: train it (`mmpointrend train {model}`), or convert '
        "detectron2's if docs/model_zoo.md names one (`mmpointrend convert-weights`), and give the path "
        'of the file as weights.'
    )


@contextmanager
def _needing(filename: str, package: str) -> Iterator[None]:
    """Turn what a missing or failing client raises into a sentence."""
    try:
        yield
    except PointRendError:
        raise
    except ImportError as error:
        raise CheckpointError(
            f'the checkpoint {filename} needs the package {package}, which is not installed; install '
            'it, or download the file by other means and give its path.'
        ) from error
    except Exception as error:
        reason = str(error).strip().partition('\n')[0] or type(error).__name__
        raise CheckpointError(
            f'the checkpoint {filename} cannot be fetched through {package} ({reason}); download the '
            'file by other means and give its path.'
        ) from error


def _address_of(filename: str, addresses: Mapping[str, str]) -> str:
    scheme, _, model = filename.partition('://')
    if model not in addresses:
        close = difflib.get_close_matches(model, addresses, n=3, cutoff=0.4)
        hint = f'similar ones are {", ".join(close)}' if close else 'none has a similar name'
        raise CheckpointError(
            f'the checkpoint {filename} is not in the list of {scheme}:// ({hint}); correct the name, or '
            'give a path or address.'
        )
    return addresses[model]


def register_loaders() -> None:
    """Make mmengine load every checkpoint of this process through this package.

    Calling it again changes nothing.
    """
    loaders = {
        '': load_from_local,
        'http://': load_from_http,
        'https://': load_from_http,
        'torchvision://': load_from_torchvision,
        'modelzoo://': load_from_torchvision,
        'open-mmlab://': load_from_openmmlab,
        'openmmlab://': load_from_openmmlab,
        'mmcls://': load_from_mmcls,
        UNPUBLISHED: load_from_unpublished,
        'pavi://': load_from_pavi,
        r'(\S+\:)?s3://': load_from_ceph,
        r'(\S+\:)?petrel://': load_from_ceph,
    }
    # Whatever else a version of mmengine registers by itself reads without safe loading.
    for scheme, loader in theirs.CheckpointLoader._schemes.items():
        if loader.__module__ == theirs.__name__:
            loaders.setdefault(scheme, load_from_unknown)
    for scheme, loader in loaders.items():
        theirs.CheckpointLoader.register_scheme(scheme, loader, force=True)
