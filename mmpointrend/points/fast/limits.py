# Copyright (c) The mmpointrend authors.
"""Every tuning constant of the core: where one way becomes quicker than another, and how much is done together.

None of them changes a result, but for rounding. What each was measured to give stands in ``docs/performance.md``,
"Tuning constants". Read them as ``limits.NAME`` when they are needed, so that a change is seen everywhere.
"""

# Sampling. Reading rows wants the whole map channels-last, `grid_sample` reads four corners in each channel's own
# place: one point of `grid_sample` takes as long as so many cells of the copy, forward alone and in both directions.
SAMPLE_CELLS_A_POINT = 3
SAMPLE_CELLS_A_POINT_WITH_GRADIENT = 8
# With few channels there is little to read, and the time goes into indices and weights, of which `grid_sample` makes
# none.
SAMPLE_FEW_CHANNELS = 16
# `grid_sample` is parallel over its batch alone, so that it gets the channels of one map as so many maps.
SAMPLE_PARTS = 16

# Selection. Pixels that share one entry in the first of two rounds, and the least number of pixels for each selected
# one at which two rounds are quicker than one.
TOP_GROUP = 8
TOP_SPARSE = 32

# Uncertainty. Pixels whose best and second best stay in a CPU's cache while the classes pass by.
MARGIN_PIXELS = 65536

# Linear maps. Projecting a cell costs as much as projecting a sample, but saves the copies that samples are read from.
PROJECT_CELLS_A_POINT = 3
# Of so few channels the samples are projected as quickly as the rows of a projection are read, and take less memory.
PROJECT_FEW_CHANNELS = 32
# Cells that are kept or left out together. Their values are neighbours in each channel's memory, so that keeping them
# copies runs of 64 bytes.
PROJECT_TILE = 16
# Share of cells that regions have to leave untouched for leaving them out to pay.
PROJECT_UNTOUCHED = 0.1
# Cells that are copied and projected together: their copies stay in the cache.
PROJECT_CELLS = 4096

# Point heads. Points that go through the layers together on a CPU: what is passed from layer to layer stays in the
# cache. Smaller parts cost more in calls than they gain.
MLP_POINTS = 8192
RENDER_POINTS = 8192
# Where every region has an MLP of its own: features and hidden layers are what memory is needed for.
IMPLICIT_POINTS = 16384

# Output grid. Values of all regions of a batch, for each of the few maps that a step has at a time. Boxes of a kind
# fill their part of the canvas better, too.
BATCH_VALUES = 1 << 22

# Memory. Bytes below which writing zeros is quicker than asking the system for memory.
MAPPED_BYTES = 1 << 22

# Precision. Products of small square matrices tell whether half precision is computed by instructions of its own: it
# takes less time than single precision then, or somewhat more, and tens of times as long otherwise.
PROBE_SIDE = 192
PROBE_TIMES = 3
SLOW_HALF = 4.0

# Bands. Values of the rows of a map that are looked at together on a CPU: they stay in the cache while the classes pass
# by.
BAND_VALUES = 1 << 20
