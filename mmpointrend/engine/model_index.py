# Copyright (c) The mmpointrend authors.
"""The models of this package, as the metafiles beside their configs describe them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmpointrend.checkpoints.schemes import UNPUBLISHED
from mmpointrend.data_files import read_yaml
from mmpointrend.engine.config_files import OUR_CONFIGS

__all__ = ['ModelEntry', 'entries_of', 'published_models']


@dataclass(frozen=True)
class ModelEntry:
    """A model in a metafile.

    Attributes:
        name: Name of its config.
        config: Path of its config.
        collection: What it belongs to.
        data: What it was or is to be trained on.
        weights: Address of its weights, which starts with ``unpublished://`` if nobody has published any.
        figures: Published figures by name, in percent.
    """

    name: str
    config: Path
    collection: str
    data: str
    weights: str
    figures: dict[str, float]

    @property
    def is_published(self) -> bool:
        """Whether there are weights to download."""
        return not self.weights.startswith(UNPUBLISHED)


def entries_of(path: Path) -> dict[str, dict[str, Any]]:
    """Read the entries of a metafile.

    Args:
        path: The metafile.

    Returns:
        Entries of ``Models`` by ``Name``; whatever lists and dicts in other places lead to is raised.
    """
    return {entry['Name']: entry for entry in (read_yaml(path) or {}).get('Models') or []}


def published_models() -> dict[str, ModelEntry]:
    """List the models of this package.

    Returns:
        Models by name, folder by folder.
    """
    models = {}
    for path in sorted(OUR_CONFIGS.glob('*/metafile.yml')):
        collections = {entry['Name']: entry for entry in read_yaml(path)['Collections']}
        for name, entry in entries_of(path).items():
            collection = collections.get(entry['In Collection'], {}).get('Metadata', {})
            data = entry.get('Metadata', {}).get('Training Data') or collection['Training Data']
            figures: dict[str, float] = {}
            for result in entry.get('Results') or []:
                figures.update(result['Metrics'])
            models[name] = ModelEntry(
                name=name,
                config=OUR_CONFIGS.parent / entry['Config'],
                collection=entry['In Collection'],
                data=data if isinstance(data, str) else ', '.join(data),
                weights=entry['Weights'],
                figures=figures,
            )
    return models
