#!/usr/bin/env bash
# fuzz.sh BUILD_DIR SECONDS: runs each libFuzzer target for that long; new inputs that crash land in tests/fuzz/corpus.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:?usage: fuzz.sh BUILD_DIR SECONDS}
seconds=${2:?usage: fuzz.sh BUILD_DIR SECONDS}
for target in "$build"/tests/fuzz/fuzz_*; do
  [ -f "$target" ] && [ -x "$target" ] || continue
  name=$(basename "$target"); name=${name#fuzz_}
  work=$(mktemp -d)
  echo "fuzzing $name for $seconds s"
  "$target" "$work" "tests/fuzz/corpus/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
    -artifact_prefix="tests/fuzz/corpus/$name/" -print_final_stats=1 2>&1 | tee "$work.log" | tail -n 12
  if grep -q "instrumented for coverage" "$work.log"; then
    echo "fuzz_$name sees no coverage: its mutations are blind" >&2
    exit 1
  fi
  rm -rf "$work" "$work.log"
done
