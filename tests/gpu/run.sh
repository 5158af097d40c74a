#!/usr/bin/env bash
# Everything that needs a GPU, in one command, as a table.
#   tests/gpu/run.sh [--sanitize] [--bench] [--memory] [--no-tests] [--filter GTEST_FILTER] [--build DIR]
# Runs DIR/tests/tests_gpu (build by default: `make test` compiles it), then the built-in model's questions on the GPU
# against the CPU; with --sanitize also compute-sanitizer's four tools over fewer and smaller cases of every kernel; with
# --bench also the operators against the limits of the GPU; with --memory also the memory in use against the plan;
# with --no-tests only those.
set -uo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
build=$here/build
sanitize=0 bench=0 memory=0 run_tests=1 filter='*'
while [ $# -gt 0 ]; do
  case "$1" in
    --sanitize) sanitize=1 ;;
    --bench) bench=1 ;;
    --memory) memory=1 ;;
    --no-tests) run_tests=0 ;;
    --filter) filter=$2; shift ;;
    --build) build=$2; shift ;;
    *) sed -n 2,7p "$0" >&2; exit 2 ;;
  esac
  shift
done
tests=$build/tests/tests_gpu
[ -x "$tests" ] || { echo "run.sh: $tests is not there: configure with -DMINIINFER_CUDA=ON and build tests_gpu" >&2; exit 2; }
command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version,clocks.sm,temperature.gpu --format=csv,noheader
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0

# One line a suite from the tests' own output: tests, failures, seconds.
table() {
  awk -v what="$1" '
    /^\[ +(OK|FAILED|SKIPPED) +\] [A-Za-z0-9_\/]+\.[A-Za-z0-9_\/]+ \([0-9]+ ms\)/ {
      match($0, /\] [A-Za-z0-9_\/]+\./); suite = substr($0, RSTART + 2, RLENGTH - 3)
      match($0, /\([0-9]+ ms/); ms = substr($0, RSTART + 1, RLENGTH - 4)
      if (!(suite in count)) order[++suites] = suite
      count[suite]++; time[suite] += ms
      if ($0 ~ /FAILED/) failed[suite]++
      if ($0 ~ /SKIPPED/) skipped[suite]++
    }
    END { for (i = 1; i <= suites; ++i) { s = order[i]
      printf "%-12s %-28s %4d tests %4d failed %4d skipped %8.1f s\n", what, s, count[s], failed[s], skipped[s], time[s] / 1000 } }
  ' "$log"
}

if [ $run_tests = 1 ]; then
  "$tests" --gtest_filter="$filter" > "$log" 2>&1 || { status=1; grep -v '^\[ *\(OK\|RUN\) *\]' "$log" | head -60; }
  if grep -m1 'no CUDA device' "$log"; then echo "nothing was run"; exit 2; fi
  table tests
  grep -E '^(parity|[0-9]+ (runs|of|allocations)) |; used ' "$log"
fi

# Right answers of 100, on the GPU and on the CPU: within 0.5.
miniinfer=$build/apps/miniinfer/miniinfer
if [ $run_tests = 1 ] && [ "$filter" = '*' ] && [ -x "$miniinfer" ]; then
  overall() { "$miniinfer" eval tiny-assistant --device "$1" | sed -n 's/^overall *\([0-9.]*\) % *[0-9]*\/[0-9]* *\([0-9.]*\) %.*/\1 \2/p'; }
  awk -v cpu="$(overall cpu)" -v cuda="$(overall cuda)" 'BEGIN {
    a = split(cpu, x, " "); b = split(cuda, y, " "); bad = a != 2 || b != 2
    for (i = 1; i <= 2; ++i) { d = x[i] - y[i]; if (d > 0.5 || d < -0.5) bad = 1 }
    printf "eval         tiny-assistant: CPU %s, GPU %s %% right: %s\n", cpu, cuda, bad ? "FAILED" : "within 0.5"
    exit bad }' || status=1
fi

# The four tools side by side, each a process of its own. What compares bits or checkpoints launches no kernel that the others
# do not, what times the device cannot under them, and operator new that fails fails in the tools too.
if [ $sanitize = 1 ]; then
  logs=$(mktemp -d)
  sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
  trap 'rm -rf "$log" "$logs"' EXIT
  skipped='*CaseTable*:*Search*:*TooLarge*:*AnException*:*LongContexts*:*BatchInvariance*:*ThatFails*:*FaultOnGpu*:*Golden/*'
  skipped+=':EngineMemory*:DeviceProfile*:OutOfMemory*'
  # Racecheck is the slowest by far: eight processes, each with an eighth of the tests, and no whole engine.
  jobs="memcheck initcheck synccheck $(echo racecheck/{0..7})"
  for job in $jobs; do
    shards=1 shard=0 more=
    [ "${job#*/}" != "$job" ] && shards=8 shard=${job#*/} more=:*OverlappedSteps*
    GTEST_TOTAL_SHARDS=$shards GTEST_SHARD_INDEX=$shard MINIINFER_FEW_CASES=1 \
      "$sanitizer" --tool ${job%/*} --print-limit 100000 "$tests" --gtest_filter="$filter:-$skipped$more" > "$logs/${job/\//}" 2>&1 &
  done
  wait
  for job in ${jobs//\//}; do
    summary=$(grep -o 'ERROR SUMMARY.*\|RACECHECK SUMMARY.*' "$logs/$job" | tail -1)
    ran=$(grep -o '[0-9]* tests\? from [0-9]* test suites\? ran.*' "$logs/$job" | tail -1)
    # Racecheck also looks into cuBLASLt's kernels (nvjet), which are not ours to mend.
    races=$(grep -c 'Race reported between' "$logs/$job")
    theirs=$(grep -A 1 'Race reported between' "$logs/$job" | grep -c nvjet)
    if [ "$races" -gt 0 ] && [ "$theirs" -eq $((2 * races)) ]; then
      summary="leaving out $races in cuBLASLt: 0 "
      ran+=", leaving out $races reports in cuBLASLt's kernels"
    fi
    case "$summary" in
      *": 0 "*) if [ -n "$ran" ] && ! grep -q '^\[  FAILED' "$logs/$job"; then printf '%-12s clean: %s\n' $job "$ran"; continue; fi ;;
    esac
    status=1
    printf '%-12s FAILED: %s\n' $job "${summary:-no summary} ${ran:-did not end}"
    grep '=========\|FAILED' "$logs/$job" | head -40
  done
fi
if [ $bench = 1 ]; then "$miniinfer" bench ops --device cuda || status=1; fi
if [ $memory = 1 ]; then python3 "$here/tests/gpu/memory.py" "$build/apps/miniinfer/miniinfer" || status=1; fi
[ $status = 0 ] && echo "all passed" || echo "FAILED"
exit $status
