# Copyright (c) The mmpointrend authors.
"""The core on a GPU: its answers against the CPU's, waits of the host, times. Needs torch and this repository alone.

Every function of the core gives on the device what it gives on the CPU, in fp32 and in bf16, also of no regions. Then
the renderer runs while torch counts where the host waits for the device. Then times: masks of 100 objects from P2 to
COCO's run lengths on the host in one transfer, lossless and adaptive, compiled and as a CUDA graph, beside the loop of
mmdet and detectron2 written plainly; an image's labels from coarse logits of 19 classes. Without a GPU the same runs on
the CPU, to try the tool.

Usage: python tools/analysis_tools/gpu_check.py [--device cuda] [--out gpu.json] [--shrink 8] [--seconds 300]
"""

import argparse
import contextlib
import copy
import functools
import importlib.util
import json
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# A checkout beside torch is enough.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmpointrend.points import (
    BoxSampler,
    OutputGrid,
    PointMLP,
    as_crops,
    batches_by_resolution,
    logit_uncertainty,
    point_predictor,
    predict_pixels,
    probability_uncertainty,
    roi_points_to_image,
    run_changes,
    sample_features,
    sample_labels,
    sample_masks,
    select_uncertain,
    subdivide,
    subdivide_onto,
)
from mmpointrend.points.bands import labels_of, subdivide_bands

STRIDE = 4


class Scene:
    """Objects of one image: features, boxes, coarse masks and a point head, the same on every device.

    Args:
        rois: Number of objects.
        classes: Number of classes.
        image: Height and width in pixels.
        num_points: Points of one step and object.
        device: Where it is.
    """

    def __init__(
        self, rois: int, classes: int, image: tuple[int, int], num_points: int, device: str
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        height, width = image
        self.image, self.num_points, self.device = image, num_points, torch.device(device)
        shape = (1, 256, height // STRIDE, width // STRIDE)
        small = torch.randn(1, 256, 12, 12, generator=generator)
        fine = F.interpolate(small, size=shape[2:], mode='bilinear')
        self.fine = fine.to(device)
        # COCO's mix: many small, a quarter large.
        share = torch.rand(rois, 1, generator=generator)
        side = (8 * (min(image) * 0.6 / 8) ** share).repeat(1, 2)
        side = side * torch.exp(0.6 * torch.rand(rois, 2, generator=generator) - 0.3)
        corner = torch.rand(rois, 2, generator=generator) * (torch.tensor([width, height]) - side)
        self.boxes = torch.cat([corner.clamp(min=0), corner.clamp(min=0) + side], dim=1).to(device)
        self.labels = torch.randint(classes, (rois,), generator=generator).to(device)
        places = (torch.arange(7) + 0.5) / 7 * 2 - 1
        disc = 4 * (0.8 - (places[:, None] ** 2 + places**2).sqrt())
        noise = 0.5 * torch.randn(rois, classes, 7, 7, generator=generator)
        self.coarse = (disc + noise).to(device)
        torch.manual_seed(0)
        self.head = PointMLP(256, classes, 256, classes).eval()
        with torch.no_grad():
            for parameter in self.head.parameters():
                if parameter.ndim > 1:
                    nn.init.normal_(parameter, std=(2 / parameter[0].numel()) ** 0.5)
                else:
                    parameter.zero_()
            last = self.head.fc_logits.weight
            last[:, :256] *= 0.3
            last[:, 256:] = torch.eye(classes)[..., None]
        self.head.to(device)

    def take(self, numbers: Tensor) -> 'Scene':
        """Some of the objects."""
        some = copy.copy(self)
        some.boxes, some.labels = self.boxes[numbers], self.labels[numbers]
        some.coarse = self.coarse[numbers]
        return some

    @property
    def own(self) -> Tensor:
        """Coarse logits (R, 1, 7, 7) of each object's class."""
        return self.coarse[torch.arange(len(self.labels), device=self.device), self.labels, None]

    def predictor(self, total: int) -> Callable[..., Tensor]:
        """What maps points (r, P, 2) of objects to logits (r, 1, P)."""
        height, width = self.image
        size = torch.tensor([width, height], device=self.device, dtype=torch.float32)
        predict = point_predictor(
            self.head,
            [self.fine],
            self.coarse,
            torch.zeros_like(self.labels),
            self.labels,
            num_points=total,
            extents=[self.boxes / size.repeat(2)],
        )

        def at(points: Tensor, regions: slice = slice(None)) -> Tensor:
            return predict(
                points, [roi_points_to_image(self.boxes[regions], points) / size], regions
            )

        return at

    def plain_predictor(self) -> Callable[..., Tensor]:
        """The same by a loop over images and a concatenation, as mmdet and detectron2 have it; all classes."""
        height, width = self.image
        size = torch.tensor([width, height], device=self.device, dtype=torch.float32)

        def at(points: Tensor) -> Tensor:
            places = roi_points_to_image(self.boxes, points) / size
            fine = F.grid_sample(self.fine, 2 * places.view(1, 1, -1, 2) - 1, align_corners=False)
            fine = fine.view(256, *points.shape[:2]).permute(1, 2, 0)
            coarse = F.grid_sample(self.coarse, 2 * points.unsqueeze(1) - 1, align_corners=False)
            return self.head(fine, coarse.squeeze(2).transpose(1, 2))

        return at


@torch.no_grad()
def lossless(scene: Scene, steps: int = 5) -> Tensor:
    """Logits (R, 1, H, W) of a fixed size."""
    total = len(scene.boxes) * scene.num_points * steps
    return subdivide(scene.own, scene.predictor(total), num_points=scene.num_points, steps=steps)


@torch.no_grad()
def plain(scene: Scene, steps: int = 5) -> Tensor:
    """Logits (R, K, H, W) of a fixed size, all classes carried along, as mmdet's loop does."""
    logits, predict = scene.coarse, scene.plain_predictor()
    index = torch.arange(len(scene.labels), device=scene.device)
    for step in range(steps):
        logits = F.interpolate(logits, scale_factor=2, mode='bilinear', align_corners=False)
        height, width = logits.shape[2:]
        if scene.num_points >= 4 * height * width and step < steps - 1:
            continue
        uncertainty = -logits[index, scene.labels].abs()
        chosen = uncertainty.flatten(1).topk(min(scene.num_points, height * width), dim=1).indices
        x = (chosen % width).float() / width + 0.5 / width
        y = (chosen // width).float() / height + 0.5 / height
        values = predict(torch.stack([x, y], dim=-1))
        chosen = chosen.unsqueeze(1).expand(-1, logits.shape[1], -1)
        logits = logits.flatten(2).scatter(2, chosen, values.to(logits.dtype)).view_as(logits)
    return logits


def paste(logits: Tensor, boxes: Tensor, image: tuple[int, int]) -> Tensor:
    """Masks (R, height, width), sampled at every pixel of the image as mmdet does on a GPU."""
    height, width = image
    x, y = (torch.arange(side, device=boxes.device) + 0.5 for side in (width, height))
    x = (x - boxes[:, :1]) / (boxes[:, 2:3] - boxes[:, :1]) * 2 - 1
    y = (y - boxes[:, 1:2]) / (boxes[:, 3:4] - boxes[:, 1:2]) * 2 - 1
    grid = torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), dim=-1)
    return F.grid_sample(logits.float().sigmoid(), grid, align_corners=False)[:, 0] >= 0.5


def run_lengths(changes: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Regions and changes (2, n) on the host, in one transfer."""
    if not changes:
        return torch.zeros(2, 0, dtype=torch.long)
    return torch.cat([torch.stack(one) for one in changes], dim=1).cpu()


@torch.no_grad()
def adaptive_runs(scene: Scene) -> Tensor:
    """Where adaptive masks of the image change, on the host; one transfer for the shapes of batches, one at the end."""
    height, width = scene.image
    grid = OutputGrid.of_boxes(scene.boxes, height, width)
    batches = batches_by_resolution(
        [(columns, rows) for columns, rows in grid.size.tolist()], scene.num_points, 7, 224
    )
    order = torch.tensor([n for batch in batches for n in batch.regions], device=scene.device)
    scene, grid = scene.take(order), grid[order]
    predict, start = scene.predictor(len(order) * scene.num_points * 5), scene.own
    begin, changes = 0, []
    for batch in batches:
        part = slice(begin, begin + len(batch.regions))
        begin, own = part.stop, grid[part]
        predict_part = functools.partial(predict, regions=part)
        if batch.steps is None:
            logits = predict_pixels(own, batch.num_pixels, predict_part)[:, 0]
            crops = as_crops(logits >= 0, own.size, batch.rows, batch.columns)
        else:
            logits = subdivide_onto(
                own,
                batch.rows,
                batch.columns,
                start[part],
                predict_part,
                num_points=scene.num_points,
                last_num_points=batch.num_points,
                steps=batch.steps,
            )
            crops = logits[:, 0] >= 0
        numbers = order[part]
        heights = torch.full_like(numbers, height)
        regions, places = run_changes(crops, own.start, own.size, heights)
        changes.append((numbers[regions], places))
    return run_lengths(changes)


@torch.no_grad()
def _small_masks(rois: int, device: str) -> Tensor:
    """Logits of a few small masks."""
    return lossless(Scene(rois, 5, (128, 192), 100, device), 4)


def lossless_runs(scene: Scene) -> Tensor:
    """Where lossless masks of the image change, on the host."""
    masks = paste(lossless(scene), scene.boxes, scene.image)
    return run_lengths([_whole_changes(masks)])


@torch.no_grad()
def plain_runs(scene: Scene) -> Tensor:
    """Dense masks on the host, which the peers encode there."""
    index = torch.arange(len(scene.labels), device=scene.device)
    own = plain(scene)[index, scene.labels, None]
    return paste(own, scene.boxes, scene.image).cpu()


def _whole_changes(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Where masks (R, height, width) change."""
    height, width = masks.shape[1:]
    corner = masks.new_zeros(len(masks), 2, dtype=torch.long)
    size = corner + torch.tensor([width, height], device=masks.device)
    return run_changes(masks, corner, size, torch.full_like(corner[:, 0], height))


def checks(device: str) -> Iterator[tuple[str, Callable[[str], Any], float]]:
    """What is compared with the CPU: name, function of a device, and the largest difference allowed."""
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    maps, points, index = (
        random(2, 40, 30, 44),
        torch.rand(5, 70, 2, generator=generator),
        [0, 1, 1, 0, 1],
    )
    few, none = points[:, :3], points[:0]
    boxes = torch.tensor([[0.1, 0.1, 0.5, 0.6], [0.2, 0.2, 0.9, 0.9]])
    logits = random(3, 6, 64, 64)
    masks = random(4, 33, 47) > 0
    corners, sizes = (
        torch.tensor([[0, 0], [3, 4], [1, 0], [0, 9]]),
        torch.tensor([[47, 33], [9, 33], [0, 5], [20, 1]]),
    )
    heights = torch.tensor([33, 60, 70, 50])
    on_boxes = boxes[:, None, :2] + points[:2] * (boxes[:, None, 2:] - boxes[:, None, :2])
    yield (
        'sample_features',
        lambda d: sample_features(maps.to(d), points.to(d), torch.tensor(index, device=d)),
        1e-5,
    )
    yield (
        'sample_features, few points',
        lambda d: sample_features(
            maps[:1].to(d), few.to(d), torch.zeros(5, dtype=torch.long, device=d)
        ),
        1e-5,
    )
    yield 'sample_features, no region', lambda d: sample_features(maps[:0].to(d), none.to(d)), 0.0
    yield (
        'sample_masks',
        lambda d: sample_masks(masks.to(d), points[:4].to(d), torch.arange(4, device=d)),
        1e-5,
    )
    yield 'sample_labels', lambda d: sample_labels(masks.long().to(d), points[:4].to(d)), 0.0
    yield (
        'BoxSampler',
        lambda d: BoxSampler(maps.to(d), boxes.to(d), torch.tensor([0, 1], device=d))(
            on_boxes.to(d)
        ),
        1e-5,
    )
    yield 'logit_uncertainty', lambda d: logit_uncertainty(logits.to(d)), 1e-6
    yield 'probability_uncertainty', lambda d: probability_uncertainty(logits.to(d)), 1e-6
    yield 'select_uncertain', lambda d: select_uncertain(logit_uncertainty(logits.to(d)), 50), 0.0
    yield (
        'select_uncertain, in two rounds',
        lambda d: select_uncertain(logit_uncertainty(logits.to(d)), 5),
        0.0,
    )
    yield (
        'run_changes',
        lambda d: torch.stack(run_changes(masks.to(d), corners.to(d), sizes.to(d), heights.to(d))),
        0.0,
    )
    yield (
        'run_changes, no region',
        lambda d: torch.stack(
            run_changes(masks[:0].to(d), corners[:0].to(d), sizes[:0].to(d), heights[:0].to(d))
        ),
        0.0,
    )
    for rois in (0, 6):
        yield (
            f'masks of {rois} objects',
            functools.partial(_small_masks, rois),
            2e-3,
        )
    yield (
        'adaptive masks',
        lambda d: _bitmap(adaptive_runs(Scene(12, 5, (128, 192), 100, d)), 12, (128, 192)),
        1.0,
    )
    yield 'labels', lambda d: semantic(1, (64, 96), 50, d)().long(), 1.0


def _bitmap(changes: Tensor, regions: int, image: tuple[int, int]) -> Tensor:
    """Masks (R, width * height), column by column, from where they change."""
    toggles = torch.zeros(regions, image[0] * image[1] + 1, dtype=torch.long)
    toggles.index_put_((changes[0], changes[1]), torch.ones_like(changes[0]), accumulate=True)
    return toggles.cumsum(1)[:, :-1] % 2


def semantic(
    images: int, size: tuple[int, int], num_points: int, device: str, classes: int = 19
) -> Callable[[], Tensor]:
    """Labels of images from coarse logits at stride 4 and P2."""
    generator = torch.Generator().manual_seed(2)
    height, width = size
    small = 4 * torch.randn(images, classes, 8, 12, generator=generator)
    shape = (height // STRIDE, width // STRIDE)
    coarse = F.interpolate(small, size=shape, mode='bicubic').to(device)
    fine = torch.randn(images, 256, *shape, generator=generator).to(device)
    torch.manual_seed(0)
    head = PointMLP(256, classes, 256, classes).eval().to(device)

    @torch.no_grad()
    def run() -> Tensor:
        predict = point_predictor(head, [fine], coarse, None, num_points=2 * images * num_points)
        bands = subdivide_bands(
            coarse, lambda points: predict(points, [points]), num_points=num_points, steps=2
        )
        return torch.stack([labels_of(one) for one in bands])

    return run


def differences(device: str) -> dict[str, dict[str, Any]]:
    """Largest difference of each function's answers on the device and on the CPU, and whether it is allowed.

    Of masks and labels, the share of pixels that differ, of which one in a thousand may.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, function, allowed in checks(device):
        expected, actual = function('cpu'), function(device).cpu()
        if expected.shape != actual.shape:
            found[name] = {'difference': None, 'ok': False}
        elif allowed == 1.0:
            share = float((expected != actual).double().mean()) if expected.numel() else 0.0
            found[name] = {'differing_share': share, 'ok': share < 1e-3}
        elif name.startswith('masks') and expected.numel() > 0:
            # Rounding may choose another point among equals: few logits differ then.
            gap = (expected - actual).abs()
            share = float((gap > allowed).double().mean())
            found[name] = {'differing_share': share, 'ok': share < 1e-3}
        else:
            gap = (
                (expected.double() - actual.double()).abs().max()
                if expected.numel()
                else torch.zeros(())
            )
            found[name] = {'difference': float(gap), 'ok': float(gap) <= allowed}
    for rois in (0, 12):
        scene = Scene(rois, 5, (128, 192), 100, device)
        expected = lossless(scene, 4) >= 0
        with torch.autocast(scene.device.type, torch.bfloat16), warnings.catch_warnings():
            # Of a CPU without instructions for it.
            warnings.simplefilter('ignore')
            actual = lossless(scene, 4) >= 0
        share = float((expected != actual).double().mean()) if expected.numel() else 0.0
        found[f'masks of {rois} objects, bf16'] = {'differing_share': share, 'ok': share < 0.02}
    return found


def waits(device: str) -> dict[str, int | None]:
    """How often the host waits for the device in each kind of rendering; None where there is none to wait for."""
    if not device.startswith('cuda'):
        return dict.fromkeys(('lossless', 'adaptive to run lengths', 'labels'))
    scene = Scene(20, 80, (256, 384), 784, device)
    label_map = semantic(1, (256, 384), 500, device)
    counted: dict[str, int | None] = {}
    for name, run in (
        ('lossless', lambda: lossless(scene)),
        ('adaptive to run lengths', lambda: adaptive_runs(scene)),
        ('labels', label_map),
    ):
        run()
        torch.cuda.synchronize()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter('always')
            torch.cuda.set_sync_debug_mode('warn')
            run()
            torch.cuda.set_sync_debug_mode('default')
        counted[name] = sum('synchroniz' in str(one.message) for one in said)
    return counted


def seconds(run: Callable[[], Any], device: str, rounds: int) -> float:
    """Median time of a call, to the end of the device's work."""
    times = []
    for _ in range(rounds):
        if device.startswith('cuda'):
            torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        if device.startswith('cuda'):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return median(times)


def graphed(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """A function as a CUDA graph, captured once."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = run()

    def replay() -> Tensor:
        graph.replay()
        return output

    return replay


def _made_in_bf16(make: Callable[[], Callable[[], Any]], device: str) -> Callable[[], Any]:
    """What a function makes, run under autocast."""
    return _in_bf16(make(), device)


def timings(device: str, shrink: int, rounds: int, deadline: float) -> list[dict[str, Any]]:
    """Times of each kind of rendering; those that do not run here, or not any more, with the reason."""
    image, labels_size = (800 // shrink, 1216 // shrink), (1024 // shrink, 2048 // shrink)
    scene = Scene(
        max(100 // shrink, 4), max(80 // shrink, 3), image, max(784 // shrink**2, 49), device
    )
    label_map = semantic(1, labels_size, max(8192 // shrink**2, 16), device)
    makers: dict[str, Callable[[], Callable[[], Any]]] = {
        'loop of all classes -> dense masks on the host (peers)': lambda: lambda: plain_runs(scene),
        'lossless logits': lambda: lambda: lossless(scene),
        'lossless -> run lengths on the host': lambda: lambda: lossless_runs(scene),
        'adaptive -> run lengths on the host': lambda: lambda: adaptive_runs(scene),
        'semantic labels': lambda: label_map,
    }
    cuda = device.startswith('cuda')
    every = dict(makers)
    for name, make in makers.items():
        every[f'{name}, bf16'] = functools.partial(_made_in_bf16, make, device)
    every['lossless logits, compiled'] = lambda: torch.compile(lambda: lossless(scene))
    if cuda:
        every['lossless logits, CUDA graph'] = lambda: graphed(lambda: lossless(scene))
        every['lossless logits, bf16, CUDA graph'] = lambda: graphed(
            _in_bf16(lambda: lossless(scene), device)
        )
        every['semantic labels, CUDA graph'] = lambda: graphed(label_map)
    rows = []
    for name, make in every.items():
        row: dict[str, Any] = {'name': name}
        if time.monotonic() > deadline:
            rows.append({**row, 'note': 'left out: the time is up'})
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                run = make()
                run()
                if cuda:
                    torch.cuda.synchronize()
                    torch.cuda.reset_peak_memory_stats()
                    before = torch.cuda.memory_allocated()
                row['seconds'] = seconds(run, device, rounds)
            if cuda:
                row['peak_bytes'] = torch.cuda.max_memory_allocated() - before
        except Exception as error:
            # A variant that a version of torch cannot run is a finding of its own; the others go on.
            row['note'] = f'{type(error).__name__}: {str(error).splitlines()[0][:200]}'
        rows.append(row)
    return rows


def _in_bf16(run: Callable[[], Any], device: str) -> Callable[[], Any]:
    """A function under autocast."""

    def half() -> Any:
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            return run()

    return half


def mmdets(device: str, shrink: int, rounds: int) -> dict[str, Any]:
    """Time of mmdet's own head on the same sizes, where mmdet is installed."""
    if importlib.util.find_spec('mmdet') is None:
        return {'note': 'mmdet is not installed: the plain loop above stands for it'}
    with contextlib.suppress(ImportError):
        sys.path.insert(0, str(Path(__file__).resolve().parent))
        from rendering_workloads import make_case

        run = make_case('instance-coco', device, shrink).build('peer')
        run()
        return {
            'name': 'mmdet, instance-coco -> dense masks',
            'seconds': seconds(run, device, rounds),
        }
    return {'note': 'mmdet cannot be imported'}


def main(arguments: Sequence[str] | None = None) -> int:
    """Check and measure.

    Args:
        arguments: Of the command line; those of the process if it is None.

    Returns:
        Exit status: 1 if an answer of the device is not the CPU's.
    """
    parser = argparse.ArgumentParser(description='The core on a GPU: answers, waits, times.')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--out', type=Path, help='JSON of all that is printed')
    parser.add_argument('--shrink', type=int, default=1, help='divide all sizes, to try the tool')
    parser.add_argument('--rounds', type=int, default=20, help='timed calls of each variant')
    parser.add_argument(
        '--seconds', type=float, default=300, help='variants begin within this time'
    )
    parser.add_argument('--peer', action='store_true', help="time mmdet's own head too")
    args = parser.parse_args(arguments)
    deadline = time.monotonic() + args.seconds
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    cuda = args.device.startswith('cuda')
    result: dict[str, Any] = {
        'torch': torch.__version__,
        'device': torch.cuda.get_device_name(args.device)
        if cuda
        else platform.processor() or 'cpu',
        'differences': differences(args.device),
        'waits': waits(args.device),
    }
    result['timings'] = timings(args.device, args.shrink, args.rounds, deadline)
    if args.peer:
        result['timings'].append(mmdets(args.device, args.shrink, args.rounds))
    text = json.dumps(result, indent=1)
    print(text)
    if args.out is not None:
        args.out.write_text(text + '\n', encoding='utf-8')
    wrong = [name for name, found in result['differences'].items() if not found['ok']]
    if wrong:
        print(f'not the same as on the CPU: {", ".join(wrong)}', file=sys.stderr)
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
