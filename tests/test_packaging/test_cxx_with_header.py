# Copyright (c) The mmpointrend authors.
"""requirements/cxx_with_header.sh: the objects are those of the compiler itself, whatever happens."""

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

WRAPPER = Path(__file__).resolve().parents[2] / 'requirements' / 'cxx_with_header.sh'
FLAGS = ('-O1', '-g', '-Wall', '-fPIC')

needs_gxx = pytest.mark.skipif(shutil.which('g++') is None, reason='g++ is not installed')


class Build:
    """A folder with C++ files, a header that they begin with, and a compiler that notes its calls."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.headers = folder, folder / 'headers'
        self.headers.mkdir()
        (folder / 'include').mkdir()
        self.include = f'-I{folder}/include'
        (folder / 'include' / 'large.h').write_text(
            '#pragma once\n#include <cstddef>\ninline int one() { return 1; }\n'
        )
        for number in range(4):
            source = f'#include <large.h>\nint f{number}() {{ return one() + {number}; }}\n'
            (folder / f'{number}.cpp').write_text(source)
        self.write_compiler('exec g++ "$@"')

    def write_compiler(self, last_line: str) -> None:
        """Write the compiler: it notes its arguments in ``calls``, then does ``last_line``."""
        compiler = self.folder / 'compiler'
        compiler.write_text(f'#!/bin/sh\necho "$@" >> {self.folder}/calls\n{last_line}\n')
        compiler.chmod(0o755)

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        """Call the wrapper; its header is large.h, and its compiler that of this folder."""
        given = dict(HEADER='large.h', HEADER_FOLDER=self.headers, HEADER_CXX='./compiler')
        return subprocess.run(
            [WRAPPER, *arguments],
            cwd=self.folder,
            env={'PATH': os.environ['PATH'], **given, **variables},
            text=True,
            capture_output=True,
        )

    def compile(self, number: int, *flags: str, **variables: str) -> bytes:
        """Object of a file, compiled by the wrapper; it has to be the compiler's own."""
        source, target = f'{number}.cpp', f'{number}.o'
        words = [
            '-MMD',
            '-MF',
            f'{number}.d',
            *FLAGS,
            *flags,
            self.include,
            '-c',
            source,
            '-o',
            target,
        ]
        done = self.run(*words, **variables)
        assert done.returncode == 0, done.stderr
        (self.folder / target).rename(self.folder / f'wrapped-{target}')
        subprocess.run(['g++', *words], cwd=self.folder, check=True)
        ours = (self.folder / f'wrapped-{target}').read_bytes()
        assert ours == (self.folder / target).read_bytes()
        return ours

    def calls(self) -> list[str]:
        """Arguments of every call of the compiler."""
        return (self.folder / 'calls').read_text().splitlines()


@pytest.fixture
def build(tmp_path: Path) -> Build:
    return Build(tmp_path)


@needs_gxx
def test_objects_are_the_same_and_the_header_is_parsed_once(build: Build) -> None:
    objects = {build.compile(number) for number in range(4)}
    assert len(objects) == 4
    assert sum('c++-header' in call for call in build.calls()) == 1
    compilations = [call for call in build.calls() if ' -c ' in call]
    assert len(compilations) == 4
    assert all(call.startswith(f'-include {build.headers}/header.h ') for call in compilations)
    # By -H, GCC marks a precompiled header that it takes.
    header = build.headers / 'header.h'
    words = ['g++', '-H', '-include', header, *FLAGS, build.include, '-c', '0.cpp']
    shown = subprocess.run(words, cwd=build.folder, text=True, capture_output=True)
    assert f'! {header}.gch' in shown.stderr


@needs_gxx
def test_parallel_calls_make_one_header(build: Build) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(build.compile, range(4)))) == 4
    assert sum('c++-header' in call for call in build.calls()) == 1
    assert (build.headers / 'flags').exists()


@needs_gxx
def test_other_flags_are_compiled_without_the_header(build: Build) -> None:
    build.compile(0)
    build.compile(1, '-O2')
    build.compile(1, '-DNAME="a b"')
    assert sum('-include' in call for call in build.calls()) == 1
    build.compile(2)
    assert sum('-include' in call for call in build.calls()) == 2


@needs_gxx
@pytest.mark.parametrize(
    'broken',
    [
        # clang: its own precompiled headers are another matter.
        'case "$*" in *-dM*) echo "#define __clang__ 1"; echo "#define __GNUC__ 4" ;; *) exec g++ "$@" ;; esac',
        # No header can be made, because the disk is full for example.
        'case "$*" in *c++-header*) exit 1 ;; *) exec g++ "$@" ;; esac',
        # The header is made and then refused.
        'case "$*" in *-include*) echo refused >&2; exit 1 ;; *) exec g++ "$@" ;; esac',
    ],
)
def test_compiles_without_a_header_where_none_works(build: Build, broken: str) -> None:
    build.write_compiler(broken)
    build.compile(0)
    build.compile(1)
    assert sum('c++-header' in call for call in build.calls()) <= 1
    assert not any(
        ' -c ' in call and 'clang' in broken and '-include' in call for call in build.calls()
    )


@needs_gxx
def test_no_folder_is_the_compiler_alone(build: Build) -> None:
    build.compile(0, HEADER_FOLDER='')
    build.compile(1, HEADER_FOLDER='nowhere')
    assert not any('header' in call for call in build.calls())


@needs_gxx
@pytest.mark.parametrize(
    'words',
    [('-E', '0.cpp'), ('-v',), ('-c', '0.cpp', '1.cpp'), ('-shared', '0.o', '-o', 'lib.so')],
)
def test_what_is_no_compilation_of_one_file_goes_through(
    build: Build, words: tuple[str, ...]
) -> None:
    build.compile(0, '-fPIC')
    before = len(build.calls())
    ours, own = (
        build.run(*words),
        subprocess.run(['g++', *words], cwd=build.folder, text=True, capture_output=True),
    )
    assert (ours.returncode, ours.stdout) == (own.returncode, own.stdout)
    assert build.calls()[before:] == [' '.join(words)]


@needs_gxx
def test_an_error_is_told_once_and_warnings_stay(build: Build) -> None:
    build.compile(0)
    (build.folder / '1.cpp').write_text('#include <large.h>\nint f() { return nothing; }\n')
    done = build.run(*FLAGS, build.include, '-c', '1.cpp', '-o', '1.o')
    assert done.returncode == 1
    assert done.stderr.count(': error: ') == 1
    (build.folder / '2.cpp').write_text('#include <large.h>\nstatic int f() { return 1; }\n')
    done = build.run('-MMD', '-MF', 'x', *FLAGS, build.include, '-c', '2.cpp', '-o', '2.o')
    assert done.returncode == 0 and 'unused-function' in done.stderr


def test_compiler_may_have_arguments_and_its_status_is_kept(build: Build) -> None:
    build.write_compiler('exit 7')
    done = build.run('a', 'b c', HEADER_CXX='./compiler first')
    assert done.returncode == 7
    assert build.calls() == ['first a b c']
