#!/usr/bin/env bash
# Submit a training to Slurm, one process for each GPU. At the end of its time it saves, is queued again and goes on:
#
#   [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [GRES=gpu:8] [SAVE_SECONDS=120] [PYTHON=python] \
#     [SBATCH_ARGS='--time=04:00:00'] tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [arguments of tools/train.py]
#
# SAVE_SECONDS before the end, Slurm signals this script, which signals the training. GRES= (empty) asks for no GPU.
set -euo pipefail
if [ $# -lt 4 ]; then
  echo 'usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [arguments of tools/train.py]' >&2
  exit 2
fi

# Outside of the job: submit this script itself. Slurm runs a copy of it, so the folder of the tools is passed on.
if [ -z "${MMUNIQRNET_TOOLS:-}" ]; then
  MMUNIQRNET_TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
  export MMUNIQRNET_TOOLS
  gpus=${GPUS:-8}
  per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
  gres=${GRES-gpu:$per_node}
  mkdir -p "$4"
  # shellcheck disable=SC2086 # SBATCH_ARGS are several arguments
  exec sbatch --partition="$1" --job-name="$2" --ntasks="$gpus" --ntasks-per-node="$per_node" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" ${gres:+--gres="$gres"} --signal="B:USR1@${SAVE_SECONDS:-120}" \
    --requeue --open-mode=append --output="$4/slurm-%j.log" --export=ALL ${SBATCH_ARGS:-} \
    "$MMUNIQRNET_TOOLS/slurm_train.sh" "$@"
fi

export PYTHONPATH="${MMUNIQRNET_TOOLS%/*}${PYTHONPATH:+:$PYTHONPATH}"
# Ranks end one after the other: the first must not end the others, which would change the status.
srun --kill-on-bad-exit=0 --wait=60 "${PYTHON:-python}" -u "$MMUNIQRNET_TOOLS/train.py" "$3" --work-dir "$4" \
  --launcher slurm --resume "${@:5}" &
step=$!
signalled=
trap 'signalled=yes; kill -USR1 "$step"' USR1 # srun passes it on to all processes

status=0
wait "$step" || status=$?
while kill -0 "$step" 2> /dev/null; do # the signal has ended `wait`, not the training
  status=0
  wait "$step" || status=$?
done
# 75: saved and stopped. 138: signalled before the first step, when there was nothing to save.
if [ "$status" = 75 ] || { [ -n "$signalled" ] && [ "$status" = 138 ]; }; then
  echo "job $SLURM_JOB_ID is queued again after status $status"
  scontrol requeue "$SLURM_JOB_ID"
  exit 0
fi
exit "$status"
