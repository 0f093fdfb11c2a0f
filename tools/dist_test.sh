#!/usr/bin/env bash
# Test a checkpoint on several GPUs (processes on CPUs, if there is no GPU):
#
#   tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of tools/test.py]
#
# The variables NNODES, NODE_RANK, MASTER_ADDR and PORT are those of dist_train.sh.
set -euo pipefail
if [ $# -lt 3 ]; then
  echo 'usage: tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of tools/test.py]' >&2
  exit 2
fi
source "$(dirname "$0")/launch.sh"
launch "$3" test.py "$1" "$2" "${@:4}"
