# Sourced by dist_train.sh and dist_test.sh: start one process for each GPU.

# launch PROCESSES TOOL [arguments of the tool]
launch() {
  local processes=$1 tool tools
  tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
  tool=$tools/$2
  shift 2
  if ! [[ $processes =~ ^[1-9][0-9]*$ ]]; then
    echo "error: the number of GPUs is an integer of at least 1, not $processes." >&2
    exit 2
  fi
  local where=(--standalone)  # one machine, any free port
  if [ "${NNODES:-1}" != 1 ] || [ -n "${PORT:-}" ]; then
    where=(
      --nnodes "${NNODES:-1}" --node-rank "${NODE_RANK:-0}"
      --master-addr "${MASTER_ADDR:-127.0.0.1}" --master-port "${PORT:-29500}"
    )
  fi
  export PYTHONPATH="${tools%/*}${PYTHONPATH:+:$PYTHONPATH}"
  exec "${PYTHON:-python}" -m torch.distributed.run "${where[@]}" --nproc-per-node "$processes" "$tool" "$@"
}
