#!/usr/bin/env bash
# Train on several GPUs (processes on CPUs, if there is no GPU):
#
#   tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]
#
# On several machines, on each of them with its own NODE_RANK:
#
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=FIRST_MACHINE [PORT=29500] tools/dist_train.sh CONFIG GPUS_PER_MACHINE
set -euo pipefail
if [ $# -lt 2 ]; then
  echo 'usage: tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]' >&2
  exit 2
fi
source "$(dirname "$0")/launch.sh"
launch "$2" train.py "$1" "${@:3}"
