#!/usr/bin/env bash
# Train on several machines of a Slurm cluster, each process on a GPU of its own:
#
#   sbatch --nodes=2 --gpus-per-node=4 docs/slurm/train.sh --dataset_dir data/lgg --output_dir runs/cluster
#
# Further arguments go to `monai.bundle run training`. BUNDLE, PROCESSES (processes on each machine, if not one for each
# GPU) and PORT are read from the environment. Every machine must see data, output and this repository at the same path;
# the environment in which sbatch was called must be active there. The batch is that of all processes together.
# If a process dies, the whole group restarts, up to three times. If Slurm stops the job and queues it again, it continues
# too. Both continue from last.pt after the last whole epoch; without last.pt the training starts from the beginning.
#SBATCH --job-name=brainseg
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
bundle=${BUNDLE:-bundles/brainseg_unet}
names=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
first=${names%%$'\n'*}
# One agent a machine, which starts a process for each GPU, or PROCESSES of them on CPUs.
# - Ignite takes SLURM_LOCALID, the agent's, for the rank of each process if it sees SLURM_JOB_ID.
# - With a store that agents share, a restarted group waits for ever: agents that saw a process die, and those that
#   only saw the group change, count restarts differently, and the processes meet under that number.
srun --kill-on-bad-exit=0 env -u SLURM_JOB_ID TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 python -m torch.distributed.run \
  --nnodes="$SLURM_JOB_NUM_NODES" --nproc_per_node="${PROCESSES:-gpu}" --max_restarts=3 \
  --rdzv_backend=c10d --rdzv_id="$SLURM_JOB_ID" --rdzv_endpoint="$first:${PORT:-29500}" \
  -m monai.bundle run training \
  --config_file "['$bundle/configs/train.yaml','$bundle/configs/multi_gpu_train.yaml']" --resume True "$@"
