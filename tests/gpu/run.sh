#!/usr/bin/env bash
# Everything that needs a GPU, in one command, as a table.
#   tests/gpu/run.sh [--sanitize] [--bench] [--filter GTEST_FILTER] [--build DIR]
# Runs DIR/tests/tests_gpu (build by default: `make test` compiles it); with --sanitize also under compute-sanitizer's four
# tools, without the tests of large cases; with --bench also the operators against the limits of the GPU.
set -uo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
build=$here/build
sanitize=0 bench=0 filter='*'
while [ $# -gt 0 ]; do
  case "$1" in
    --sanitize) sanitize=1 ;;
    --bench) bench=1 ;;
    --filter) filter=$2; shift ;;
    --build) build=$2; shift ;;
    *) sed -n 2,6p "$0" >&2; exit 2 ;;
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

"$tests" --gtest_filter="$filter" > "$log" 2>&1 || { status=1; grep -v '^\[ *\(OK\|RUN\) *\]' "$log" | head -60; }
if grep -m1 'no CUDA device' "$log"; then echo "nothing was run"; exit 2; fi
table tests
if [ $sanitize = 1 ]; then
  for tool in memcheck racecheck initcheck synccheck; do
    compute-sanitizer --tool $tool "$tests" \
      --gtest_filter="$filter:-*CaseTable*:*Search*:*TooLarge*:*AnException*" > "$log" 2>&1
    summary=$(grep -o 'ERROR SUMMARY.*\|RACECHECK SUMMARY.*' "$log" | tail -1)
    case "$summary" in
      *": 0 "*) printf '%-12s clean: %s\n' $tool "$(grep -o '[0-9]* tests from [0-9]* test suites ran.*' "$log" | tail -1)" ;;
      *) status=1; printf '%-12s FAILED: %s\n' $tool "${summary:-no summary}"; grep '=========' "$log" | head -40 ;;
    esac
  done
fi
if [ $bench = 1 ]; then "$build/apps/miniinfer/miniinfer" bench ops --device cuda || status=1; fi
[ $status = 0 ] && echo "all passed" || echo "FAILED"
exit $status
