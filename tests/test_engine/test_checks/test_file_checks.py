# Copyright (c) The mmpointrend authors.
"""A bad image or label map is named when it is read."""

import numpy as np
import pytest
from PIL import Image
from tiny_loaders import build, loader_config
from tiny_runs import stop_workers

from mmpointrend.engine import CheckedRunner
from mmpointrend.errors import InputError, sentence_of


class TestFiles:
    @pytest.mark.parametrize(
        ('task', 'folder', 'kind'),
        [
            ('instance', 'images', 'image'),
            ('semantic', 'images', 'image'),
            ('semantic', 'labels', 'label map'),
        ],
    )
    @pytest.mark.parametrize('damage', ['missing', 'empty', 'text', 'cut'])
    def test_bad_file_is_named(self, damage, task, folder, kind, data, tmp_path):
        path = data / folder / '03.png'
        loader = build(task, data, tmp_path)
        if damage == 'missing':
            path.unlink()
        else:
            content = dict(empty=b'', text=b'no image', cut=path.read_bytes()[:40])[damage]
            path.write_bytes(content)
        with pytest.raises(InputError, match=rf'the {kind} {path} ') as caught:
            loader.dataset[3]
        assert '\n' not in sentence_of(caught.value)

    def test_image_that_the_decoder_does_not_take(self, data, tmp_path):
        path = data / 'images' / '03.png'
        Image.fromarray(np.zeros((64, 64), np.float32)).save(path, format='TIFF')
        with pytest.raises(
            InputError, match=rf"{path} is float32 of .* as color_type='color' asks"
        ):
            build('semantic', data, tmp_path).dataset[3]

    def test_sentence_survives_a_worker(self, data, tmp_path):
        (data / 'labels' / '03.png').write_bytes(b'')
        config = loader_config('semantic', data, tmp_path)
        config.update(num_workers=1, sampler=dict(type='DefaultSampler', shuffle=False))
        with pytest.raises(InputError) as caught:
            list(CheckedRunner.build_dataloader(config, seed=0))
        stop_workers()
        sentence = sentence_of(caught.value)
        assert sentence.startswith(f'the label map {data / "labels" / "03.png"} is empty; ')
        assert 'Traceback' in str(caught.value) and 'Traceback' not in sentence

    def test_fault_of_the_step_itself_is_passed_on(self, data, tmp_path):
        loader = build('semantic', data, tmp_path)
        with pytest.raises(KeyError, match='img_path'):
            loader.dataset.pipeline.transforms[0]({})
