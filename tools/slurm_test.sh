#!/usr/bin/env bash
# Test under Slurm: tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of test.py]
# Environment: GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (5), PORT (29500), SRUN_ARGS.
set -euo pipefail

if (($# < 4)); then
    echo "usage: $0 PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of test.py]" >&2
    exit 2
fi
TOOLS=$(cd "$(dirname "$0")" && pwd)
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-8}
# Several words, split on purpose.
read -ra EXTRA <<<"${SRUN_ARGS:-}"

export MASTER_PORT=${PORT:-29500}
PYTHONPATH="${TOOLS}/..:${PYTHONPATH:-}" exec srun \
    --partition="$1" \
    --job-name="$2" \
    --gres="gpu:${GPUS_PER_NODE}" \
    --ntasks="${GPUS}" \
    --ntasks-per-node="${GPUS_PER_NODE}" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    "${EXTRA[@]}" \
    python -u "${TOOLS}/test.py" "$3" "$4" --launcher slurm "${@:5}"
