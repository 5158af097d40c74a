#!/bin/bash
# Installs the peers and makes their models in DIR (10 GB; about ten minutes on two cores).
# usage: setup.sh DIR
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/models"
dir=$(cd "$1" && pwd)
cd "$dir"

python3 -m venv venv
venv/bin/pip install -q cmake ninja scikit-build-core gguf openvino-genai optimum-intel

# The llama-cpp-python source package carries llama.cpp whole; only its benchmarks are built.
if [ ! -x llama/bin/llama-bench ]; then
  venv/bin/pip download -q --no-deps --no-binary :all: --no-build-isolation llama-cpp-python
  mkdir -p llama-src && tar xzf llama_cpp_python-*.tar.gz -C llama-src --strip-components=1
  export PATH="$dir/venv/bin:$PATH"
  cmake -G Ninja -S llama-src/vendor/llama.cpp -B llama -DCMAKE_BUILD_TYPE=Release \
    -DGGML_NATIVE=ON -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_TESTS=OFF
  ninja -C llama llama-bench llama-batched-bench
fi
cc -O3 -march=native -pthread "$here/read_bandwidth.c" -o read_bandwidth

[ -f models/tiny-bf16.gguf ] || venv/bin/python "$here/make_gguf.py" models
[ -d models/tiny-hf ] || venv/bin/python "$here/make_hf.py" models
[ -d models/qwen3-0.6b-ov ] || venv/bin/optimum-cli export openvino -m models/qwen3-0.6b-hf \
  --task text-generation-with-past models/qwen3-0.6b-ov
echo "ready: python3 $here/compare.py --peers $dir --miniinfer PATH"
