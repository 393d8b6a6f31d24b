# Copyright (c) The mmpointrend authors.
"""Checkpoints by address: every scheme of mmengine's ends at the same safe loading."""

import functools
import hashlib
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmengine.runner import CheckpointLoader, load_checkpoint
from mmengine.runner import checkpoint as theirs
from mmengine.runner.checkpoint import _load_checkpoint_with_prefix
from torch import nn

from mmpointrend.checkpoints.download import cached_file
from mmpointrend.errors import CheckpointError


class Server:
    """A web server of a folder on this machine, which counts what it sends."""

    def __init__(self, folder: Path) -> None:
        outer = self
        outer.folder, outer.sent = folder, []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.sent.append(self.path)
                if self.path.startswith('/cut'):
                    self.send_response(200)
                    self.send_header('Content-Length', '1000')
                    self.end_headers()
                    self.wfile.write(b'x' * 10)
                elif self.path.startswith('/moved'):
                    self.send_response(302)
                    self.send_header('Location', 'file:///etc/passwd')
                    self.end_headers()
                else:
                    super().do_GET()

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        handler = functools.partial(Handler, directory=str(folder))
        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
        self.address = f'http://127.0.0.1:{self.server.server_address[1]}'
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('MMENGINE_HOME', str(tmp_path / 'mmengine'))
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    (tmp_path / 'served').mkdir()
    server = Server(tmp_path / 'served')
    yield server
    server.close()


@pytest.fixture
def weights(server) -> dict[str, torch.Tensor]:
    """Weights of a linear layer, served as ``good.pth``."""
    model = nn.Linear(2, 3)
    torch.save(dict(state_dict=model.state_dict(), meta={}), server.folder / 'good.pth')
    return model.state_dict()


class Crafted:
    """Pickled, it is a command."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.system, (f'touch {self.target}',)


def refused(address: str) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(nn.Linear(2, 3), address)
    text = str(caught.value)
    assert text.endswith('.') and '\n' not in text and 'weights_only' not in text
    return text


def cached(server: Server) -> list[str]:
    """Names of whole files in the cache."""
    files = Path(os.environ['TORCH_HOME']).rglob('*')
    return [path.name for path in files if path.is_file() and path.suffix != '.lock']


def test_no_scheme_is_left_to_mmengine():
    modules = {loader.__module__ for loader in CheckpointLoader._schemes.values()}
    assert modules == {'mmpointrend.checkpoints.loading', 'mmpointrend.checkpoints.schemes'}
    assert {'', 'http://', 'https://', 'pavi://', 'mmcls://', r'(\S+\:)?s3://'} <= set(
        CheckpointLoader._schemes
    )


def test_good_one_is_fetched_once(server, weights):
    address = f'{server.address}/good.pth'
    for _ in range(2):
        model = nn.Linear(2, 3)
        load_checkpoint(model, address, map_location='cpu')
        assert torch.equal(model.weight, weights['weight'])
    assert server.sent == ['/good.pth'] and cached(server) == ['good.pth']


@pytest.mark.parametrize('old', [False, True])
def test_crafted_one_runs_nothing_and_is_not_kept(old, server, weights, tmp_path):
    torch.save(
        dict(state_dict=weights, extra=Crafted(tmp_path / 'ran')),
        server.folder / 'evil.pth',
        _use_new_zipfile_serialization=not old,
    )
    address = f'{server.address}/evil.pth'
    assert f'{address} holds objects that could run code and was refused' in refused(address)
    with pytest.raises(CheckpointError, match='could run code'):
        _load_checkpoint_with_prefix('backbone', address)
    assert not (tmp_path / 'ran').exists() and cached(server) == []


def test_same_names_at_other_addresses_are_other_files(server, weights):
    (server.folder / 'other').mkdir()
    torch.save(nn.Linear(2, 3).state_dict(), server.folder / 'other' / 'good.pth')
    load_checkpoint(nn.Linear(2, 3), f'{server.address}/good.pth')
    load_checkpoint(nn.Linear(2, 3), f'{server.address}/other/good.pth')
    assert server.sent == ['/good.pth', '/other/good.pth']


def test_hash_in_the_name(server, weights):
    content = (server.folder / 'good.pth').read_bytes()
    right = f'good-{hashlib.sha256(content).hexdigest()[:8]}.pth'
    for name in (right, 'good-0123abcd.pth', 'good-20200205.pth'):
        (server.folder / name).write_bytes(content)
    load_checkpoint(nn.Linear(2, 3), f'{server.address}/{right}')
    # Where torch.hub and torchvision look, too.
    assert (Path(torch.hub.get_dir()) / 'checkpoints' / right).is_file()
    assert 'is not what its name promises (SHA-256 ' in refused(
        f'{server.address}/good-0123abcd.pth'
    )
    load_checkpoint(nn.Linear(2, 3), f'{server.address}/good-20200205.pth')
    assert sorted(cached(server)) == sorted([right, 'good-20200205.pth'])


def test_what_cannot_be_fetched(server, weights, monkeypatch):
    (server.folder / 'page.pth').write_text('<html>log in</html>')
    for name, message in (
        ('none.pth', r'HTTP Error 404'),
        ('cut.pth', 'broke off after 10 of 1,000 bytes'),
        ('moved.pth', 'file:///etc/passwd'),
        ('page.pth', 'is a web page'),
        ('', 'is a web page'),
    ):
        assert message in refused(f'{server.address}/{name}')
    assert cached(server) == []
    monkeypatch.setattr('mmpointrend.checkpoints.download._MOST_BYTES', 100)
    assert 'there is place for 100' in refused(f'{server.address}/good.pth')
    for address in ('http://', 'http://[', 'http://127.0.0.1:99999/a.pth', 'http://a b/c.pth'):
        assert f'{address} cannot be downloaded' in refused(address)


def test_without_a_network(server, weights, tmp_path):
    address = f'{server.address}/good.pth'
    server.close()
    text = refused(address)
    place = Path(text.rpartition('put it at ')[2].removesuffix('.'))
    assert place == cached_file(address) and 'Connection refused' in text
    # The advice is followed.
    place.parent.mkdir(parents=True, exist_ok=True)
    (server.folder / 'good.pth').rename(place)
    model = nn.Linear(2, 3)
    load_checkpoint(model, address)
    assert torch.equal(model.weight, weights['weight'])


def test_damaged_file_in_the_cache_is_named(server, weights):
    address = f'{server.address}/good.pth'
    place = cached_file(address)
    place.parent.mkdir(parents=True)
    place.write_bytes(b'PK\x03\x04 damaged')
    assert f'{address} (kept as {place}) is damaged' in refused(address)


def test_lists_of_models(server, weights, monkeypatch, tmp_path):
    address = f'{server.address}/good.pth'
    monkeypatch.setattr(theirs, 'get_torchvision_models', lambda: {'resnet50': address})
    monkeypatch.setattr(theirs, 'get_external_models', lambda: {'a/b': address, 'mine': 'mine.pth'})
    monkeypatch.setattr(theirs, 'get_deprecated_model_names', lambda: {'old': 'a/b'})
    for name in (
        'torchvision://resnet50',
        'modelzoo://resnet50',
        'open-mmlab://a/b',
        'openmmlab://old',
    ):
        model = nn.Linear(2, 3)
        load_checkpoint(model, name)
        assert torch.equal(model.weight, weights['weight'])
    assert 'similar ones are resnet50' in refused('torchvision://resnet5')
    assert str(tmp_path / 'mmengine' / 'mine.pth') in refused('open-mmlab://mine')

    backbone = {f'backbone.{name}': value for name, value in weights.items()}
    torch.save(dict(state_dict={**backbone, 'head.a': torch.ones(1)}), server.folder / 'class.pth')
    monkeypatch.setattr(theirs, 'get_mmcls_models', lambda: {'r': f'{server.address}/class.pth'})
    assert list(CheckpointLoader.load_checkpoint('mmcls://r')['state_dict']) == ['weight', 'bias']


def test_object_stores(weights, server, monkeypatch, tmp_path):
    """A client that hands out files of the served folder, as petrel's does."""
    from contextlib import contextmanager

    torch.save(dict(a=Crafted(tmp_path / 'ran')), server.folder / 'evil.pth')

    class Backend:
        @contextmanager
        def get_local_path(self, filename: str):
            yield server.folder / Path(filename).name

    monkeypatch.setattr(
        'mmpointrend.checkpoints.schemes.get_file_backend', lambda *_, **__: Backend()
    )
    for prefix in ('s3://bucket', 'cluster:s3://bucket', 'petrel://x'):
        model = nn.Linear(2, 3)
        load_checkpoint(model, f'{prefix}/good.pth')
        assert torch.equal(model.weight, weights['weight'])
        assert f'{prefix}/evil.pth holds objects that could' in refused(f'{prefix}/evil.pth')
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize(
    ('address', 'message'),
    [
        ('s3://bucket/a.pth', 'needs the package petrel_client, which is not installed'),
        ('pavi://a/b', 'needs the package pavi, which is not installed'),
        ('ftp://host/a.pth', 'starts with ftp://, which nobody here can fetch; download it'),
        ('file:///a.pth', 'starts with file://'),
        ('HTTPS://host/a.pth', 'starts with HTTPS://'),
    ],
)
def test_clients_that_are_missing(address, message):
    assert message in refused(address)


def test_a_scheme_that_mmengine_adds_is_refused(monkeypatch):
    from mmpointrend.checkpoints.schemes import register_loaders

    def load_from_news(filename: str, map_location: object) -> None:
        raise AssertionError('mmengine loads it')

    load_from_news.__module__ = theirs.__name__
    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(CheckpointLoader._schemes))
    CheckpointLoader.register_scheme('news://', load_from_news)
    register_loaders()
    assert 'mmpointrend has no loader of news://' in refused('news://a')
