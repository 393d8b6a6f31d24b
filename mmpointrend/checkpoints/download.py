# Copyright (c) The mmpointrend authors.
"""Fetch a checkpoint from the web into torch's cache."""

import hashlib
import re
import shutil
import time
import urllib.request
import uuid
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse, responses
from pathlib import Path
from threading import Thread
from urllib.error import HTTPError

import torch
from filelock import FileLock
from mmengine.logging import print_log

from mmpointrend.errors import CheckpointError, PointRendError, printable

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
    if not text or isinstance(error, HTTPException):
        # A server that breaks the protocol is quoted by the error.
        return type(error).__name__
    # Only of a redirection is more to be said than the code, in the server's words.
    if isinstance(error, HTTPError) and not 300 <= error.code < 400:
        text = f'HTTP Error {error.code}: {responses.get(error.code) or "no known reason"}'
    return printable(text.splitlines()[0][:200])


def _fetch(url: str, target: Path, check: Callable[[Path], object]) -> None:
    unfinished = target.with_name(f'{target.name}.{uuid.uuid4().hex[:8]}.part')
    try:
        print_log(f'Downloading {url} to {target}.', 'current')
        digest = _Transfer(url, unfinished).run_to_the_end()
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


class _Transfer(Thread):
    """A download that is given up if nothing comes.

    The socket's own limit is one for each read, and http.client reads headers, answers of "continue" and
    what follows the last chunk for as long as a server sends them.
    """

    def __init__(self, url: str, path: Path) -> None:
        super().__init__(daemon=True)
        self._url, self._path = url, path
        self._received = 0
        self._is_given_up = False
        self._digest = ''
        self._error: Exception | None = None

    def run_to_the_end(self) -> str:
        """Download.

        Returns:
            SHA-256 of the content.
        """
        self.start()
        seen, since = -1, 0.0
        while self.is_alive():
            if self._received > seen:
                seen, since = self._received, time.monotonic()
            elif time.monotonic() - since > 2 * _PATIENCE:
                self._is_given_up = True
                raise OSError(f'nothing came for {2 * _PATIENCE} seconds')
            self.join(0.1)
        if self._error is not None:
            raise self._error
        return self._digest

    def run(self) -> None:
        """Receive the file, in the thread."""
        try:
            request = urllib.request.Request(self._url, headers={'User-Agent': 'mmpointrend'})
            with urllib.request.urlopen(request, timeout=_PATIENCE) as response:
                self._digest = self._receive(response)
        except Exception as error:
            self._error = error

    def _receive(self, response: HTTPResponse) -> str:
        """Write a response to the file."""
        length = response.headers.get('Content-Length', '')
        announced = int(length) if length.isdecimal() else None
        most = min(_MOST_BYTES, shutil.disk_usage(self._path.parent).free - _SPARE_BYTES)
        if (announced or 0) > most:
            raise OSError(f'it has {announced:,} bytes, and there is place for {max(most, 0):,}')
        digest, start = hashlib.sha256(), time.monotonic()
        with self._path.open('xb') as file:
            while (chunk := response.read1(_CHUNK)) and not self._is_given_up:
                self._received += len(chunk)
                received = self._received
                seconds = time.monotonic() - start
                if received > most:
                    raise OSError(f'it does not end after {most:,} bytes')
                if seconds > _PATIENCE and received < _SLOWEST * seconds:
                    raise OSError(f'only {received:,} bytes came in {seconds:.0f} seconds')
                digest.update(chunk)
                file.write(chunk)
        if announced is not None and self._received != announced:
            raise OSError(
                f'the connection broke off after {self._received:,} of {announced:,} bytes'
            )
        return digest.hexdigest()
