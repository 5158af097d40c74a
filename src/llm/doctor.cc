#include "llm/doctor.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "base/cpu_features.h"
#include "llm/self_test.h"
#include "models/memory_plan.h"
#include "ops/bench/machine_peak.h"
#include "ops/cuda/kernels.h"
#include "tensor/cuda/device.h"

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

Json gpu_json() {
  const cuda::DeviceReport found = cuda::find_devices();
  Json json;
  json["usable"] = found.reason.empty();
  json["built"] = found.built;
  json["driver"] = found.driver_version;
  json["runtime"] = found.runtime_version;
  json["devices"] = Json::array();
  for (const cuda::DeviceInfo& info : found.devices) {
    Json device;
    device["index"] = info.index;
    device["name"] = info.name;
    device["compute_capability"] = fmt::format("{}.{}", info.major, info.minor);
    device["multiprocessors"] = info.multiprocessors;
    device["memory_bytes"] = info.memory_bytes;
    device["usable"] = info.usable;
    json["devices"].push_back(std::move(device));
  }
  if (!found.reason.empty()) json["reason"] = found.reason;
  if (found.reason.empty()) {
    try {
      json["cublaslt"] = cuda::matrix_library();
    } catch (const Error& error) {
      json["usable"] = false;
      json["reason"] = error.message();
    }
  }
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
