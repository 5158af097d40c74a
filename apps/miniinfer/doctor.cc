#include "llm/doctor.h"

#include <cstdlib>
#include <random>

#include <fmt/format.h>

#include "command.h"
#include "terminal.h"

namespace miniinfer {
namespace {

constexpr const char* kExamples = R"(Examples:
  miniinfer doctor
  miniinfer doctor --json)";

struct DoctorFlags {
  bool json = false;
  int threads = 0;
};

// CUDA counts its versions in thousands and tens: 13000 is 13.0.
std::string cuda_version(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

void print_gpu(const Json& gpu) {
  for (const Json& device : gpu["devices"])
    print(fmt::format("{:<22}{}, {} multiprocessors, {:.1f} GiB, compute capability {}{}\n",
                      fmt::format("GPU {}", device["index"].dump()),
                      device["name"].get<std::string>(), device["multiprocessors"].dump(),
                      device["memory_bytes"].get<double>() / (1 << 30),
                      device["compute_capability"].get<std::string>(),
                      device["usable"].get<bool>() ? "" : ", not usable"));
  if (gpu.contains("reason"))
    print(fmt::format("{:<22}{}\n", "GPU", gpu["reason"].get<std::string>()));
  if (gpu.contains("cublaslt"))
    print(fmt::format("{:<22}{}\n", "cuBLASLt", gpu["cublaslt"].get<std::string>()));
  if (gpu["driver"].get<int>() > 0)
    print(fmt::format("{:<22}{}, built with {}\n", "CUDA driver serves",
                      cuda_version(gpu["driver"].get<int>()),
                      gpu["built"].get<bool>() ? cuda_version(gpu["runtime"].get<int>()) : "none"));
}

void print_report(const Json& report) {
  const Json& cpu = report["cpu"];
  std::string features;
  for (const Json& name : cpu["features"]) features += " " + name.get<std::string>();
  print(fmt::format("{:<22}{} threads;{}\n", "CPU", cpu["threads"].dump(), features));
  if (cpu.contains("reason"))
    print(fmt::format("{:<22}{}\n", "", cpu["reason"].get<std::string>()));
  const Json& memory = report["memory"];
  print(fmt::format("{:<22}{:.1f} GiB\n", "memory available",
                    memory["available_bytes"].get<double>() / (1 << 30)));
  if (report.contains("peak")) {
    print(fmt::format("{:<22}{:.1f} GB/s read, {:.1f} GB/s copy\n", "memory bandwidth",
                      memory["read_gbytes_per_s"].get<double>(),
                      memory["copy_gbytes_per_s"].get<double>()));
    print(fmt::format("{:<22}{:.0f} GFLOP/s float32, {:.0f} GFLOP/s bfloat16\n", "compute peak",
                      report["peak"]["float32_gflops_per_s"].get<double>(),
                      report["peak"]["bfloat16_gflops_per_s"].get<double>()));
  }
  print_gpu(report["gpu"]);
  print(fmt::format("\n{:<12} {:<10} {:>10} {:>10}\n", "self-test", "dtype", "error", "bound"));
  for (const Json& test : report["self_test"])
    print(fmt::format("{:<12} {:<10} {:>10.1e} {:>10.1e}  {}\n", test["op"].get<std::string>(),
                      test["dtype"].get<std::string>(), test["error"].get<double>(),
                      test["bound"].get<double>(), test["passed"].get<bool>() ? "ok" : "FAILED"));
}

}  // namespace

void add_doctor(CLI::App& app, Action& action) {
  auto flags = std::make_shared<DoctorFlags>();
  app.footer(kExamples);
  app.add_flag("--json", flags->json, "Print JSON");
  app.add_option("--threads", flags->threads, "CPU threads; default: every CPU")
      ->check(CLI::Range(1, 1024));
  app.callback([flags, &action] {
    action = [flags] {
      ProgressLine line;
      const Json report =
          doctor_report(flags->threads, std::random_device{}(), [&](const std::string& what) {
            if (interrupted()) std::exit(kInterruptedExit);
            line.show(-1, what);
          });
      line.clear();
      if (flags->json)
        print(to_line(report) + "\n");
      else
        print_report(report);
      flush();
      return report["healthy"].get<bool>() ? 0 : 1;
    };
  });
}

}  // namespace miniinfer
