# Copyright (c) The mmpointrend authors.
"""Build and install mmpointrend: ``pip install .`` or ``pip install -e .``.

Both leave ``mmpointrend/.mim`` where mim and mmengine look for it. In the repository ``.mim`` holds
links to ``configs``, ``tools`` and ``model-index.yml``; a wheel holds the files themselves.
"""

import runpy
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import _encode_pth, _StaticPth, editable_wheel

ROOT = Path(__file__).resolve().parent
FACTS = runpy.run_path(str(ROOT / 'mmpointrend' / 'version.py'))


class FirstOnPath(_StaticPth):
    """Puts the repository at the head of ``sys.path``.

    mim and mmengine ask pkg_resources where a package lies, and pkg_resources answers with the
    first folder of ``sys.path`` that describes it. That has to be the repository, whose
    ``egg-info`` stands beside the package; a plain path line in a ``.pth`` file comes too late, and
    the answer would be site-packages.
    """

    def __call__(self, wheel, files, mapping):
        """Write the ``.pth`` file into the editable wheel."""
        line = f'import sys; sys.path.insert(0, {str(ROOT)!r})\n'
        wheel.writestr(f'__editable__.{self.name}.pth', _encode_pth(line))


class FreshBuild(build_py):
    """A wheel without the files that a build of an earlier version left in ``build/``."""

    def run(self):
        """Empty the build folder, then fill it."""
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


class EditableWheel(editable_wheel):
    """An editable install that mim and ``mmpointrend::`` inheritance work with."""

    def run(self):
        """Describe the package in the repository itself, then build the editable wheel."""
        self.run_command('egg_info')
        super().run()

    def _select_strategy(self, name, tag, build_lib):
        return FirstOnPath(self.distribution, name, [ROOT])


def read_requirements(name: str) -> list[str]:
    """Requirements in ``requirements/<name>.txt``, without comments."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text(encoding='utf-8').splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith('#')]


neighbours = {name: name + accepted for name, accepted in FACTS['NEIGHBOURS'].items()}
# pip would build mmcv where it sees no torch, and so without the operators that mmdet needs. As in
# OpenMMLab's packages it is an extra, which `mim install` reads.
mmcv = neighbours.pop('mmcv')
# As there, torch is the user's: pip would put a newer one under an mmcv that is compiled against
# the old one. Importing the package refuses a torch below the floor.
del neighbours['torch']

setup(
    name='mmpointrend',
    version=FACTS['__version__'],
    description='PointRend for MMDetection 3.x and MMSegmentation 1.x, with one renderer for both',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author='The mmpointrend authors',
    license='Apache-2.0',
    license_files=['LICENSE'],
    keywords='computer vision, instance segmentation, semantic segmentation, PointRend, OpenMMLab',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.11',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
    python_requires='>=3.10',
    packages=find_packages(include=['mmpointrend', 'mmpointrend.*']),
    include_package_data=True,
    install_requires=[*neighbours.values(), *read_requirements('runtime')],
    py_modules=['mmpointrend_command'],
    entry_points={'console_scripts': ['mmpointrend = mmpointrend_command:main']},
    extras_require={
        'mim': [mmcv],
        'supervision': read_requirements('supervision'),
        'cityscapes': read_requirements('cityscapes'),
        'tests': read_requirements('tests'),
        'lint': read_requirements('lint'),
    },
    cmdclass={'build_py': FreshBuild, 'editable_wheel': EditableWheel},
    zip_safe=False,
)
