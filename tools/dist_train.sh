#!/usr/bin/env bash
# Train on several processes: tools/dist_train.sh CONFIG GPUS [arguments of train.py]
# Several machines: the same on each, with NNODES, NODE_RANK, MASTER_ADDR and PORT set. Without a GPU: gloo, on CPUs.
set -euo pipefail

if (($# < 2)); then
    echo "usage: $0 CONFIG GPUS [arguments of train.py]" >&2
    exit 2
fi
TOOLS=$(cd "$(dirname "$0")" && pwd)
CONFIG=$1
GPUS=$2

PYTHONPATH="${TOOLS}/..:${PYTHONPATH:-}" exec python -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="${GPUS}" \
    "${TOOLS}/train.py" "${CONFIG}" --launcher pytorch "${@:3}"
