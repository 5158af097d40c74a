#include "llm/doctor.h"

#include <algorithm>
#include <vector>

#include <dlfcn.h>

#include "base/cpu_features.h"
#include "llm/self_test.h"
#include "models/memory_plan.h"
#include "ops/bench/machine_peak.h"

namespace miniinfer {
namespace {

constexpr double kGiga = 1e9;
// Memory speed can swing twofold within fractions of a second: the best of some 40 slices is the
// machine's.
constexpr int kSlices = 40;

double best_of(int slices, const std::function<double()>& measure) {
  double best = 0;
  for (int i = 0; i < slices; ++i) best = std::max(best, measure());
  return best;
}

Json cpu_json(int threads) {
  Json json;
  json["features"] = Json::array();
  for (const std::string_view name : cpu_feature_names())
    json["features"].push_back(std::string(name));
  json["supported"] = true;
  try {
    require_supported_cpu();
  } catch (const Error& error) {
    json["supported"] = false;
    json["reason"] = error.message();
  }
  json["threads"] = threads;
  return json;
}

// This build has no device code; what can be told is whether the machine has a driver.
Json gpu_json() {
  Json json;
  json["usable"] = false;
  void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  if (driver == nullptr) {
    json["driver"] = false;
    json["reason"] = "no NVIDIA driver (libcuda.so.1) was found";
    return json;
  }
  using Init = int (*)(unsigned);
  using Count = int (*)(int*);
  const auto init = reinterpret_cast<Init>(dlsym(driver, "cuInit"));
  const auto device_count = reinterpret_cast<Count>(dlsym(driver, "cuDeviceGetCount"));
  int count = 0;
  const bool found =
      init != nullptr && device_count != nullptr && init(0) == 0 && device_count(&count) == 0;
  json["driver"] = true;
  json["devices"] = found ? count : 0;
  json["reason"] = count > 0 ? "this build has no CUDA code: models run on the CPU"
                             : "the NVIDIA driver is there but finds no device";
  dlclose(driver);
  return json;
}

Json self_test_json(ExecContext& context, uint64_t seed, bool& passed) {
  Json json = Json::array();
  for (const SelfTestResult& result : run_self_test(context, seed)) {
    Json item;
    item["op"] = result.op;
    item["dtype"] = result.dtype;
    item["error"] = result.error;
    item["bound"] = result.bound;
    item["passed"] = result.passed();
    if (!result.failure.empty()) item["failure"] = result.failure;
    passed = passed && result.passed();
    json.push_back(std::move(item));
  }
  return json;
}

}  // namespace

Json doctor_report(int threads, uint64_t seed,
                   const std::function<void(const std::string&)>& progress) {
  ExecContext context = ExecContext::cpu(threads);
  Json report;
  report["cpu"] = cpu_json(context.num_threads());
  report["memory"]["available_bytes"] = available_memory_bytes();
  bool healthy = report["cpu"]["supported"].get<bool>();
  if (healthy) {
    PeakMeter meter(context);
    progress("memory bandwidth");
    report["memory"]["read_gbytes_per_s"] =
        best_of(kSlices, [&] { return meter.read_bytes_per_s(); }) / kGiga;
    report["memory"]["copy_gbytes_per_s"] =
        best_of(kSlices, [&] { return meter.copy_bytes_per_s(); }) / kGiga;
    progress("compute peak");
    report["peak"]["float32_gflops_per_s"] =
        best_of(kSlices, [&] { return meter.flops_per_s(ComputePeak::kFloat32); }) / kGiga;
    report["peak"]["bfloat16_gflops_per_s"] =
        best_of(kSlices, [&] { return meter.flops_per_s(ComputePeak::kBFloat16); }) / kGiga;
  }
  report["gpu"] = gpu_json();
  report["self_test"] = Json::array();
  if (healthy) {
    progress("operators against the reference");
    report["self_test"] = self_test_json(context, seed, healthy);
  }
  report["healthy"] = healthy;
  return report;
}

}  // namespace miniinfer
