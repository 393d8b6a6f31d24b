# Copyright (c) The mmpointrend authors.
"""Fetch a checkpoint from the web into torch's cache."""

import hashlib
import re
import shutil
import time
import urllib.request
import uuid
from collections.abc import Callable
from http.client import HTTPResponse
from pathlib import Path

import torch
from filelock import FileLock
from mmengine.logging import print_log

from mmpointrend.errors import CheckpointError, PointRendError

__all__ = ['cached_file', 'download']

_MOST_BYTES = 20 * 2**30
_SPARE_BYTES = 2**29
_CHUNK = 2**18
# Seconds without a byte, and bytes a second on average after the first minute.
_PATIENCE = 60
_SLOWEST = 1000
_LONGEST_WAIT = 6 * 3600


def cached_file(url: str) -> Path:
    """Where the file of an address is kept.

    A name that ends in a hash stands for one content, and lies where torch and torchvision keep it.
    Any other name may stand for different files of different addresses.

    Args:
        url: The address.

    Returns:
        Path of the file, which exists if it was downloaded before.
    """
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    name = _name_of(url)
    if _hash_in(name) is not None:
        return folder / name
    return folder / hashlib.sha256(url.encode()).hexdigest()[:16] / name


def _name_of(url: str) -> str:
    name = re.split('[?#]', url, maxsplit=1)[0].rpartition('/')[2]
    name = re.sub(r'[^\w.+-]', '_', name)[-120:]
    return name if name.strip('._') else 'checkpoint'


def _hash_in(name: str) -> str | None:
    """The start of the content's SHA-256 in a name such as ``resnet50-0676ba61.pth``.

    Eight digits without a letter are a date.
    """
    match = re.search(r'-([0-9a-f]{8,64})\.\w+$', name)
    return match[1] if match and not match[1].isdigit() else None


def download(url: str, check: Callable[[Path], object]) -> Path:
    """Fetch a file, unless it was fetched before.

    Of several processes one downloads, the others wait.

    Args:
        url: Address, ``http://`` or ``https://``.
        check: Called with the new file before it is kept; it raises if the content is not what the
            address promised.

    Returns:
        Path of the file in the cache.

    Raises:
        CheckpointError: It cannot be fetched, is too large, or does not match the hash in its name.
    """
    target = cached_file(url)
    if target.is_file():
        print_log(f'{url} was downloaded before; delete {target} to do it again.', 'current')
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f'{target}.lock', timeout=_LONGEST_WAIT):
            if not target.is_file():
                _fetch(url, target, check)
    except PointRendError:
        raise
    except Exception as error:
        older = Path(torch.hub.get_dir()) / 'checkpoints' / _name_of(url)
        if older.is_file():
            print_log(
                f'{url} cannot be downloaded ({_why(error)}); {older} is used.', 'current', 30
            )
            return older
        raise CheckpointError(
            f'the checkpoint {url} cannot be downloaded ({_why(error)}); download it by other means '
            f'and give the path of the file, or put it at {target}.'
        ) from error
    return target


def _why(error: Exception) -> str:
    # urllib wraps what the system says.
    reason = getattr(error, 'reason', None)
    text = str(error if reason is None or hasattr(error, 'code') else reason).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def _fetch(url: str, target: Path, check: Callable[[Path], object]) -> None:
    request = urllib.request.Request(url, headers={'User-Agent': 'mmpointrend'})
    unfinished = target.with_name(f'{target.name}.{uuid.uuid4().hex[:8]}.part')
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE) as response:
            print_log(f'Downloading {url} to {target}.', 'current')
            digest = _receive(response, unfinished)
        promised = _hash_in(target.name)
        if promised is not None and not digest.startswith(promised):
            raise CheckpointError(
                f'the checkpoint {url} is not what its name promises (SHA-256 {digest[:8]}... instead '
                f'of {promised}), so it was altered or cut on its way; download it by other means and '
                'give the path of the file.'
            )
        check(unfinished)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _receive(response: HTTPResponse, path: Path) -> str:
    """Write a response to a file.

    Returns:
        SHA-256 of the content.
    """
    length = response.headers.get('Content-Length', '')
    announced = int(length) if length.isdecimal() else None
    most = min(_MOST_BYTES, shutil.disk_usage(path.parent).free - _SPARE_BYTES)
    if (announced or 0) > most:
        raise OSError(f'it has {announced:,} bytes, and there is place for {max(most, 0):,}')
    digest, received, start = hashlib.sha256(), 0, time.monotonic()
    with path.open('xb') as file:
        while chunk := response.read1(_CHUNK):
            received += len(chunk)
            seconds = time.monotonic() - start
            if received > most:
                raise OSError(f'it does not end after {most:,} bytes')
            if seconds > _PATIENCE and received < _SLOWEST * seconds:
                raise OSError(f'only {received:,} bytes came in {seconds:.0f} seconds')
            digest.update(chunk)
            file.write(chunk)
    if announced is not None and received != announced:
        raise OSError(f'the connection broke off after {received:,} of {announced:,} bytes')
    return digest.hexdigest()
