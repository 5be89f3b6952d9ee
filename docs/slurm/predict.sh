#!/usr/bin/env bash
# Segment an archive with many tasks of a Slurm cluster, which do not communicate:
#
#   sbatch --array=0-15 docs/slurm/predict.sh archive/ --output masks
#
# Further arguments go to `brainseg predict`. Task n of N takes every N-th study. Each study is segmented by one task, and
# its mask is written completely or not at all. A study that is done is skipped: submit the same line again, with the whole
# array, to segment what is missing.
#SBATCH --job-name=brainseg-predict
#SBATCH --array=0-7
#SBATCH --gpus-per-task=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
if ((SLURM_ARRAY_TASK_MAX - SLURM_ARRAY_TASK_MIN + 1 != SLURM_ARRAY_TASK_COUNT)); then
  echo "--array: $SLURM_ARRAY_TASK_COUNT tasks of $SLURM_ARRAY_TASK_MIN to $SLURM_ARRAY_TASK_MAX would leave studies out;" \
    "submit the whole array again, without gaps or a step: what is done is skipped" >&2
  exit 1
fi
export RANK=$((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN)) WORLD_SIZE=$SLURM_ARRAY_TASK_COUNT
exec python -m monai_brainseg predict "$@"
