#!/usr/bin/env bash
# Segment an archive by many tasks of a Slurm cluster that know nothing of each other:
#
#   sbatch --array=0-15 docs/slurm/predict.sh archive/ --output masks
#
# Further words go to `brainseg predict`. Task n of N takes every N-th study. Each study is done by one task, is written
# whole or not at all, and is left alone once it is done: call the same line again, with its whole array, for what is missing.
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
