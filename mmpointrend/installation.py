# Copyright (c) The mmpointrend authors.
"""What is installed, and whether it works together: ``mmpointrend doctor``.

Nothing but the standard library is imported here, and the file also runs without the package around
it: where the doctor is needed most, importing the package fails. What may be broken is imported in
a process of its own, which may crash.
"""

import importlib.metadata as metadata
import json
import os
import platform
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

__all__ = ['Finding', 'examine_installation', 'print_findings', 'print_installation']

Kind = Literal['ok', 'note', 'warning', 'FAILED']


class Finding(NamedTuple):
    """One line of a report.

    Attributes:
        kind: ``'FAILED'`` makes the exit status 1.
        text: What was found, and the cure of what is wrong.
    """

    kind: Kind
    text: str


_FACTS = runpy.run_path(str(Path(__file__).with_name('version.py')))
_OLDEST_PYTHON = (3, 10)
# Distributions that hold the same modules.
_SAME = {
    'opencv-python': (
        'opencv-python-headless',
        'opencv-contrib-python',
        'opencv-contrib-python-headless',
    )
}
# In the order in which each needs those before it.
_MODULES = (
    'torch',
    'cv2',
    'pkg_resources',
    'mmengine',
    'mmcv',
    'mmcv._ext',
    'mmdet',
    'mmseg',
    'mmpointrend',
)
_COMPILE = (
    'compile it against the torch that is installed: pip install "setuptools>=77.0.3,<82" wheel ninja, then '
    f'MMCV_WITH_OPS=1 pip install --no-cache-dir --no-build-isolation --no-binary mmcv --force-reinstall --no-deps '
    f'"mmcv{_FACTS["NEIGHBOURS"]["mmcv"]}"'
)
_CURES = {
    'torch': f'pip install "torch{_FACTS["NEIGHBOURS"]["torch"]}"',
    'cv2': 'pip install opencv-python-headless, which needs no libGL of the system',
    'pkg_resources': 'pip install "setuptools>=77.0.3,<82" (mmengine needs it for configs of packages)',
    'mmcv._ext': f'the operators of mmcv are missing or of another torch; {_COMPILE}',
}
# Batches travel between the processes of a data loader through it.
_LEAST_SHARED_MEMORY = 2**30
_MARK = 'mmpointrend-doctor '
# Run by an interpreter of its own. A module that writes to stdout, or crashes, does not confuse the answer.
_PROBE = """
import importlib, json, sys
mark, folder, *names = sys.argv[1:]
# Known to an interpreter that was started beside it alone.
sys.path.append(folder)
def tell(**facts):
    print('\\n' + mark + json.dumps(facts), flush=True)
for name in names:
    tell(begins=name)
    try:
        importlib.import_module(name)
    except BaseException as error:
        tell(module=name, error=f'{type(error).__name__}: {error}'.strip().splitlines()[0])
    else:
        tell(module=name, error=None)
try:
    import torch
    gpus = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        gpu = torch.cuda.get_device_properties(index)
        gpus.append(dict(name=gpu.name, major=gpu.major, minor=gpu.minor, bytes=gpu.total_memory))
    tell(cuda=torch.version.cuda, hip=torch.version.hip, gpus=gpus, archs=torch.cuda.get_arch_list())
    from mmcv.ops import get_compiling_cuda_version
    tell(mmcv_cuda=get_compiling_cuda_version())
except Exception:
    pass
"""


def examine_installation() -> Iterator[Finding]:
    """Look at versions, imports, GPU and optional parts.

    Yields:
        What was found, as it is found; the imports take some seconds.
    """
    yield _python()
    yield Finding('ok', f'mmpointrend {_FACTS["__version__"]} in {Path(__file__).parent}')
    required, extras = _requirements()
    yield from _versions(required)
    answers = _probe()
    yield from _imports(answers)
    yield from _gpu(answers)
    yield from _shared_memory()
    yield from _optional(extras)


def print_findings(findings: Iterator[Finding]) -> int:
    """Print a report line by line.

    Args:
        findings: What was found.

    Returns:
        Exit status: 1 if something failed.
    """
    failures = warnings = 0
    for kind, text in findings:
        failures += kind == 'FAILED'
        warnings += kind == 'warning'
        # What strangers named may hold commands to a terminal.
        text = ''.join(letter if letter.isprintable() else ' ' for letter in text)
        print(f'{kind:<8}{text}', flush=True)
    print(f'{failures} failed, {warnings} {"warning" if warnings == 1 else "warnings"}')
    return min(failures, 1)


def print_installation() -> int:
    """Print what is installed.

    Returns:
        Exit status: 1 if something failed.
    """
    return print_findings(examine_installation())


def _python() -> Finding:
    text = f'Python {platform.python_version()} on {platform.system()} {platform.machine()}'
    if sys.version_info < _OLDEST_PYTHON:
        return Finding('FAILED', f'{text}: 3.10 or later is needed; make an environment of it')
    return Finding('ok', text)


def _requirements() -> tuple[list[Any], dict[str, list[Any]]]:
    """What the package needs, and what its extras need by name of the extra; without ``packaging`` nothing."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return [], {}
    stated = {name: Requirement(name + accepted) for name, accepted in _FACTS['NEIGHBOURS'].items()}
    extras: dict[str, list[Any]] = {}
    try:
        lines = metadata.requires('mmpointrend') or []
    except metadata.PackageNotFoundError:
        lines = []  # Run from a folder; the neighbours are known all the same.
    for requirement in map(Requirement, lines):
        if requirement.marker is None or requirement.marker.evaluate({'extra': ''}):
            stated.setdefault(requirement.name, requirement)
            continue
        for extra in metadata.metadata('mmpointrend').get_all('Provides-Extra', []):
            if requirement.marker.evaluate({'extra': extra}):
                extras.setdefault(extra, []).append(requirement)
    return list(stated.values()), extras


def _installed(name: str) -> str | None:
    for distribution in (name, *_SAME.get(name, ())):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return None


def _versions(required: list[Any]) -> Iterator[Finding]:
    if not required:
        yield Finding('FAILED', 'packaging is not installed: pip install packaging')
        return
    good = 0
    for requirement in required:
        accepted = _FACTS['NEIGHBOURS'].get(requirement.name, requirement.specifier)
        wanted = f'{requirement.name}{accepted}'
        reason = _FACTS['REASONS'].get(requirement.name)
        why = f' ({reason})' if reason else ''
        cure = f'pip install "{wanted}"'
        if requirement.name == 'mmcv':
            cure = _COMPILE
        elif requirement.name == 'torch':
            cure += ', then compile mmcv against it'
        installed = _installed(requirement.name)
        if installed is None:
            yield Finding('FAILED', f'{requirement.name} is not installed: {cure}')
        elif not requirement.specifier.contains(installed, prereleases=True):
            yield Finding(
                'FAILED', f'{requirement.name} {installed}, but {wanted} is needed{why}: {cure}'
            )
        elif requirement.name in _FACTS['NEIGHBOURS']:
            yield Finding('ok', f'{requirement.name} {installed}')
        else:
            good += 1
    if good:
        yield Finding('ok', f'{good} other requirements are installed in their ranges')
    if _installed('mmcv-lite') and _installed('mmcv'):
        yield Finding(
            'FAILED',
            'mmcv-lite lies over mmcv and has no operators: pip uninstall mmcv-lite mmcv, then '
            f'{_COMPILE}',
        )


def _probe() -> list[dict[str, Any]]:
    """Answers of a process that imports everything; the last may be a beginning, if it crashed there."""
    done = subprocess.run(
        [
            sys.executable,
            '-W',
            'ignore',
            '-c',
            _PROBE,
            _MARK,
            str(Path(__file__).resolve().parents[1]),
            *_MODULES,
        ],
        # Not from where the user is: a folder named torch or mmcv there would be imported.
        cwd=os.path.dirname(os.path.abspath(sys.executable)),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    lines = done.stdout.splitlines()
    return [json.loads(line.removeprefix(_MARK)) for line in lines if line.startswith(_MARK)]


def _imports(answers: list[dict[str, Any]]) -> Iterator[Finding]:
    errors = {answer['module']: answer['error'] for answer in answers if 'module' in answer}
    crashed = [
        answer['begins'] for answer in answers if answer.get('begins') not in (None, *errors)
    ]
    good = [name for name in _MODULES if name in errors and errors[name] is None]
    if good:
        yield Finding('ok', f'import {", ".join(good)}')
    for name in _MODULES:
        cure = _CURES.get(name, 'see the failures above')
        if errors.get(name) is not None:
            yield Finding('FAILED', f'import {name}: {errors[name]}: {cure}')
        elif name in crashed:
            yield Finding('FAILED', f'import {name} crashes Python: {cure}')
        elif name not in errors:
            yield Finding('note', f'import {name} was not tried after that')


def _gpu(answers: list[dict[str, Any]]) -> Iterator[Finding]:
    torch = next((answer for answer in answers if 'gpus' in answer), None)
    if torch is None:
        return
    mmcv_cuda = next((a['mmcv_cuda'] for a in answers if 'mmcv_cuda' in a), None)
    if not torch['gpus']:
        yield _no_gpu(torch)
        return
    for index, gpu in enumerate(torch['gpus']):
        yield Finding('ok', f'GPU {index}: {gpu["name"]}, {gpu["bytes"] / 2**30:.0f} GiB')
        able = _has_code_for(torch['archs'], gpu['major'], gpu['minor'])
        if torch['hip'] is None and torch['archs'] and not able:
            yield Finding(
                'FAILED',
                f'this torch has no code for GPU {index} (compute capability {gpu["major"]}.{gpu["minor"]}; it has '
                f'{", ".join(torch["archs"])}): install a build for another CUDA from pytorch.org',
            )
    if torch['hip'] is not None or mmcv_cuda is None:
        return
    if mmcv_cuda == 'not available':
        yield Finding('FAILED', f'mmcv has no operators for GPUs: {_for_gpus()}')
    elif torch['cuda'] and mmcv_cuda.split('.')[0] != torch['cuda'].split('.')[0]:
        yield Finding(
            'FAILED',
            f'mmcv is compiled with CUDA {mmcv_cuda}, torch with {torch["cuda"]}: {_for_gpus()}',
        )
    else:
        yield Finding('ok', f'CUDA {torch["cuda"]} of torch, {mmcv_cuda} of mmcv')


def _has_code_for(archs: list[str], major: int, minor: int) -> bool:
    """Whether code for one of some architectures runs on a GPU of a compute capability."""
    for name in archs:
        kind, _, number = name.partition('_')
        arch = divmod(int(number.rstrip('af')), 10)
        # Binary code runs within its major number, PTX on all that is newer.
        if arch <= (major, minor) and (kind == 'compute' or arch[0] == major):
            return True
    return False


def _for_gpus() -> str:
    return f'with the CUDA toolkit of torch installed and FORCE_CUDA=1, {_COMPILE}'


def _no_gpu(torch: dict[str, Any]) -> Finding:
    built = torch['cuda'] or torch['hip']
    if shutil.which('nvidia-smi') is None:
        return Finding(
            'ok', f'no GPU: everything runs on the CPU (torch is built for {built or "CPUs"})'
        )
    if built is None:
        return Finding(
            'warning',
            'there is an NVIDIA driver, but torch is a build for CPUs: install one for CUDA from pytorch.org, then '
            f'{_for_gpus()}',
        )
    return Finding(
        'warning',
        f'torch is built for CUDA {built}, but sees no GPU: look at what nvidia-smi says; the driver may be too old '
        'for it, or a container is started without --gpus all',
    )


def _shared_memory() -> Iterator[Finding]:
    folder = '/dev/shm'
    if not os.path.isdir(folder):
        return
    size = shutil.disk_usage(folder).total
    if size < _LEAST_SHARED_MEMORY:
        yield Finding(
            'warning',
            f'{folder} has {size / 2**20:.0f} MiB, and workers of data loaders die by "Bus error" when it is full: '
            'docker run --shm-size=8g, or num_workers=0',
        )


def _optional(extras: dict[str, list[Any]]) -> Iterator[Finding]:
    for extra, needs in sorted(extras.items()):
        lacking = [need.name for need in needs if _installed(need.name) is None]
        if lacking:
            yield Finding(
                'note',
                f'optional {extra}: {", ".join(lacking)} not installed; pip install "mmpointrend[{extra}]"',
            )
        else:
            yield Finding('ok', f'optional {extra}')
