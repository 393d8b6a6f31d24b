# Copyright (c) The mmpointrend authors.
"""Inputs chosen by coverage: atheris (libFuzzer) instead of chance, where it is installed (``pip install atheris``).

Changes are made by the format all the same, and by libFuzzer; what covers new code of the product and of the Python
that reads for it is kept and changed further. Not deterministic: a finding replays, a round does not.
"""

import random
import sys
import types
from collections.abc import Iterator
from pathlib import Path

from fuzzing.cases import LARGEST, Case
from fuzzing.format import Format
from fuzzing.workers import Feed, Finish, Handle

__all__ = ['guided_feed']

# What is read in Python; readers in C show nothing.
_WATCHED = (
    *(
        'mmpointrend.',
        'zipfile',
        'torch.serialization',
        'torch._weights_only_unpickler',
        'torch._utils',
    ),
    *(
        'mmdet.datasets.coco',
        'mmdet.datasets.transforms.loading',
        'mmcv.transforms.loading',
        'mmengine.dataset.base',
    ),
    *(
        'pycocotools',
        'coco_panoptic_to_stuff',
        'cityscapes_to_coco',
        'yaml.',
        'numpy.lib._npyio',
        'numpy.lib._format',
    ),
)
# Deaths, hangs and memory are watched by the worker's parent, as without libFuzzer.
_OPTIONS = (
    *('-timeout=0', '-rss_limit_mb=0', '-detect_leaks=0', '-len_control=0', f'-max_len={LARGEST}'),
    *(
        f'-handle_{signal}=0'
        for signal in ('abrt', 'bus', 'fpe', 'ill', 'int', 'segv', 'term', 'xfsz')
    ),
)
_SHARE_OF_OURS = 0.7


def _watched_functions() -> Iterator[types.FunctionType]:
    for name, module in list(sys.modules.items()):
        if not f'{name}.'.startswith(_WATCHED) and not name.startswith(_WATCHED):
            continue
        for value in list(vars(module).values()):
            members = vars(value).values() if isinstance(value, type) else [value]
            for member in members:
                function = getattr(member, '__func__', member)
                if isinstance(function, types.FunctionType) and function.__module__ == name:
                    yield function


def guided_feed(
    format_: Format, pool: list[Case], corpus: Path, start: int, count: int, seed: int
) -> Feed:
    """Inputs that libFuzzer asks for.

    Args:
        format_: Their format.
        pool: Inputs to begin with.
        corpus: Folder of what covers new code; it is made.
        start: Number of the first input.
        count: How many.
        seed: libFuzzer's.

    Returns:
        What hands them to a worker.
    """
    kinds = sorted({case.kind for case in pool})

    def packed(case: Case) -> bytes:
        return bytes([kinds.index(case.kind)]) + case.content

    def unpacked(data: bytes) -> Case:
        return Case(kinds[(data[0] if data else 0) % len(kinds)], data[1:])

    def feed(handle: Handle, finish: Finish) -> None:
        import atheris

        numbers = iter(range(start, start + count))

        def run(data: bytes) -> None:
            number = next(numbers, None)
            if number is None:
                finish()
            else:
                handle(number, unpacked(data))

        def change(data: bytes, largest: int, chance: int) -> bytes:
            rng = random.Random(chance)
            if rng.random() > _SHARE_OF_OURS:
                return atheris.Mutate(data, largest)
            return packed(format_.mutate(rng, unpacked(data), pool))[:largest]

        corpus.mkdir(parents=True, exist_ok=True)
        for case in pool:
            (corpus / case.digest).write_bytes(packed(case))
        for function in _watched_functions():
            atheris.instrument_func(function)
        atheris.Setup(
            ['fuzzing', *_OPTIONS, f'-seed={seed % 2**32 or 1}', str(corpus)],
            run,
            custom_mutator=change,
        )
        atheris.Fuzz()

    return feed
