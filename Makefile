# The README's two commands are `make run` and `make test`; the rest is for development.
SHELL := /bin/bash
JOBS ?= $(shell nproc)
# A cargo that setup just installed is not on the caller's path yet.
export PATH := $(HOME)/.cargo/bin:$(PATH)
PROMPT ?= What is the capital of France?

.PHONY: run build release test test-asan test-tsan test-aarch64 bench fuzz fuzz-server soak format lint clean

run: build
	./build/apps/miniinfer/miniinfer run "$(PROMPT)"

build:
	@tools/setup
	@[ -f build/build.ninja ] || cmake --preset release -DMINIINFER_TESTS=OFF
	cmake --build build -j $(JOBS) --target miniinfer miniinfer_archive

# The program as it is given away: every supported GPU in one file. It still runs on a machine without one.
release:
	@tools/setup --cuda
	cmake -G Ninja -B build-release -DCMAKE_BUILD_TYPE=Release -DMINIINFER_TESTS=OFF -DMINIINFER_CUDA=ON \
	  "-DCMAKE_CUDA_ARCHITECTURES=80-real;90a-real;100a-real;120-real;120-virtual"
	cmake --build build-release -j $(JOBS) --target miniinfer

test:
	@tools/setup --test
	cmake --preset release -DMINIINFER_TESTS=ON -DMINIINFER_CUDA=ON
	cmake --build build -j $(JOBS)
	python3 tools/check_layers.py
	ctest --test-dir build --output-on-failure
	.venv/bin/python -m pytest -q tests/cli tests/install tests/server
	.venv/bin/python -m pytest -q web/tests

# Host code under AddressSanitizer and UndefinedBehaviorSanitizer, the whole suite.
test-asan:
	@tools/setup --test
	cmake --preset asan
	cmake --build build-asan -j $(JOBS)
	ctest --test-dir build-asan --output-on-failure
	MINIINFER_BINARY=build-asan/apps/miniinfer/miniinfer .venv/bin/python -m pytest -q tests/cli tests/server

# The threaded floors under ThreadSanitizer. It sees of the Rust libraries their calls of memcpy alone, and a grammar's copies then
# look like thousands of races, suppressed one by one: 17 minutes of tests_llm, where 3 are enough without such calls.
test-tsan: export TSAN_OPTIONS = exitcode=66:suppressions=$(CURDIR)/tests/tsan.supp
test-tsan:
	@tools/setup --test
	cmake --preset tsan
	cmake --build build-tsan -j $(JOBS) --target tests_base tests_tensor tests_kvcache tests_engine tests_llm tests_serve miniinfer
	ctest --test-dir build-tsan --output-on-failure -R '^(base|tensor|kvcache|engine)$$'
	TSAN_OPTIONS=$$TSAN_OPTIONS:ignore_interceptors_accesses=1 ctest --test-dir build-tsan --output-on-failure -R '^(llm|serve)$$'
	TSAN_OPTIONS=$$TSAN_OPTIONS:ignore_interceptors_accesses=1 \
	  .venv/bin/python tests/server/soak.py build-tsan/apps/miniinfer/miniinfer 60

# Cross-built operators, run under user-mode emulation.
test-aarch64:
	@tools/setup --dev
	cmake --preset aarch64
	cmake --build build-aarch64 -j $(JOBS) --target tests_base tests_tensor tests_ops
	for floor in base tensor ops; do qemu-aarch64 -L /usr/aarch64-linux-gnu build-aarch64/tests/tests_$$floor || exit 1; done

bench: build
	./build/apps/miniinfer/miniinfer bench ops
	./build/apps/miniinfer/miniinfer bench latency --shape qwen3-0.6b --input-len 512 --output-len 32
	./build/apps/miniinfer/miniinfer bench throughput

FUZZ_SECONDS ?= 60
fuzz:
	@tools/setup --dev
	CC=clang-19 CXX=clang++-19 cmake -G Ninja -B build-fuzz -DCMAKE_BUILD_TYPE=RelWithDebInfo -DMINIINFER_FUZZ=ON \
	  -DMINIINFER_TESTS=OFF -DMINIINFER_SANITIZE=address,undefined
	cmake --build build-fuzz -j $(JOBS) --target fuzzers
	tools/fuzz.sh build-fuzz $(FUZZ_SECONDS)

# Mutated request bodies against the server, a canary between them.
fuzz-server: build
	@tools/setup --test
	.venv/bin/python tests/server/fuzz_bodies.py build/apps/miniinfer/miniinfer $(FUZZ_SECONDS)

SOAK_SECONDS ?= 600
soak: build
	@tools/setup --test
	.venv/bin/python tests/server/soak.py build/apps/miniinfer/miniinfer $(SOAK_SECONDS)

format:
	@tools/setup --dev
	git ls-files '*.h' '*.cc' '*.cu' '*.cuh' | xargs clang-format-19 -i

lint:
	@tools/setup --dev
	@[ -f build/build.ninja ] || cmake --preset release -DMINIINFER_TESTS=OFF
	cmake --build build --target miniinfer_version
	git ls-files '*.h' '*.cc' '*.cu' '*.cuh' | xargs clang-format-19 --dry-run -Werror
	tools/lint.py build $(JOBS)

clean:
	rm -rf build build-debug build-asan build-tsan build-fuzz build-aarch64 build-release
