# Copyright (c) The mmpointrend authors.
"""Downloads from servers that do not play by the rules."""

import socket
import threading
import time

import pytest

from mmpointrend.checkpoints import download
from mmpointrend.errors import CheckpointError

CHUNKED = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n'
# What is sent first, and then without end.
ENDLESS = {
    'continue': (b'', b'HTTP/1.1 100 Continue\r\n\r\n'),
    'header': (b'HTTP/1.1 200 OK\r\n', b'A'),
    'trailers': (CHUNKED, b'A: b\r\n'),
}


@pytest.fixture
def serve(monkeypatch, tmp_path):
    """A server that answers once as it is told, and its address."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    with socket.create_server(('127.0.0.1', 0)) as listener:

        def answer(first: bytes, repeated: bytes) -> None:
            try:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(first)
                    end = time.monotonic() + 5
                    while repeated and time.monotonic() < end:
                        connection.sendall(repeated)
                        time.sleep(0.01)
            except OSError:
                pass

        def start(first: bytes, repeated: bytes = b'') -> str:
            threading.Thread(target=answer, args=(first, repeated), daemon=True).start()
            return f'http://127.0.0.1:{listener.getsockname()[1]}/model.pth'

        yield start


@pytest.mark.parametrize('kind', ENDLESS)
def test_a_server_that_sends_all_but_content_without_end_is_given_up(kind, serve, monkeypatch):
    monkeypatch.setattr(download, '_PATIENCE', 0.3)
    url = serve(*ENDLESS[kind])
    start = time.monotonic()
    with pytest.raises(
        CheckpointError, match=r'cannot be downloaded \(nothing came for 0\.6 seconds\)'
    ):
        download.download(url, lambda path: None)
    assert time.monotonic() - start < 4
    assert not download.cached_file(url).exists()


@pytest.mark.parametrize(
    ('answer', 'reason'),
    [
        (
            b'HTTP/1.1 500 \x1b[2J\r\nContent-Length: 0\r\n\r\n',
            r'\(HTTP Error 500: Internal Server Error\)',
        ),
        (b'\x1b[2J\xff\r\n', r'\(BadStatusLine\)'),
    ],
)
def test_words_of_a_server_are_not_passed_on(answer, reason, serve):
    with pytest.raises(CheckpointError, match=reason):
        download.download(serve(answer), lambda path: None)
