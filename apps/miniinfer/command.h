#pragma once

#include <atomic>
#include <functional>
#include <string>

#include <CLI/CLI.hpp>

namespace miniinfer {

// A verb: declares its flags on `app` and leaves what runs it in `action`, which returns the exit
// code.
using Action = std::function<int()>;
void add_run(CLI::App& app, Action& action);
void add_chat(CLI::App& app, Action& action);
void add_serve(CLI::App& app, Action& action);
void add_tokenize(CLI::App& app, Action& action);
void add_bench(CLI::App& app, Action& action);
void add_bench_engine(CLI::App& app, Action& action);
void add_bench_serve(CLI::App& app, Action& action);
void add_bench_gemm(CLI::App& app, Action& action);
void add_eval(CLI::App& app, Action& action);
void add_inspect(CLI::App& app, Action& action);
void add_doctor(CLI::App& app, Action& action);

}  // namespace miniinfer
