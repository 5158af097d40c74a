#include "serve/bench/load_report.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "base/statistics.h"

namespace miniinfer {
namespace {

constexpr double kMs = 1e3;
constexpr int kBuckets = 120;  // of the timeline
constexpr int kCurve = 100;    // percentiles of a curve, plus one

bool is_rejected(const LoadRecord& record) {
  return record.status == 429 || record.status == 503;
}

void add_percentiles(Json& json, const std::string& name, const std::vector<double>& values) {
  json[name + "_mean_ms"] = mean(values);
  json[name + "_p50_ms"] = percentile(values, 0.5);
  json[name + "_p90_ms"] = percentile(values, 0.9);
  json[name + "_p99_ms"] = percentile(values, 0.99);
}

// The values at the percentiles 0..100, of sorted values.
Json curve(std::vector<double> values) {
  Json points = Json::array();
  if (values.empty()) return points;
  std::sort(values.begin(), values.end());
  for (int i = 0; i <= kCurve; ++i) {
    const double at = static_cast<double>(i) / kCurve * static_cast<double>(values.size() - 1);
    const auto low = static_cast<size_t>(at);
    const size_t high = std::min(low + 1, values.size() - 1);
    points.push_back(values[low] + (at - std::floor(at)) * (values[high] - values[low]));
  }
  return points;
}

// Output tokens a second and requests in flight, over the time of the load.
Json timeline(const std::vector<LoadRecord>& records, double begin_s, double end_s) {
  const double bucket_s = std::max(1e-6, (end_s - begin_s) / kBuckets);
  std::vector<double> tokens(kBuckets, 0.0), in_flight(kBuckets, 0.0);
  const auto bucket = [&](double at) {
    return static_cast<size_t>(std::clamp<double>((at - begin_s) / bucket_s, 0, kBuckets - 1));
  };
  for (const LoadRecord& record : records) {
    for (const double at : record.text_s)
      tokens[bucket(at)] += static_cast<double>(record.output_tokens) /
                            static_cast<double>(record.text_s.size()) / bucket_s;
    for (size_t i = bucket(record.sent_s); i <= bucket(record.end_s); ++i) {
      const double from = begin_s + static_cast<double>(i) * bucket_s;
      in_flight[i] +=
          std::max(0.0, std::min(record.end_s, from + bucket_s) - std::max(record.sent_s, from)) /
          bucket_s;
    }
  }
  Json json;
  json["bucket_s"] = bucket_s;
  json["output_tokens_per_s"] = tokens;
  json["in_flight"] = in_flight;
  return json;
}

int64_t most_in_flight(const std::vector<LoadRecord>& records) {
  std::vector<std::pair<double, int>> events;
  for (const LoadRecord& record : records) {
    events.emplace_back(record.sent_s, 1);
    events.emplace_back(record.end_s, -1);
  }
  std::sort(events.begin(), events.end());
  int64_t now = 0, most = 0;
  for (const auto& [at, change] : events) most = std::max(most, now += change);
  return most;
}

Json request_json(const LoadRecord& record, const RequestTimes& times, bool detailed) {
  Json json;
  json["arrival_s"] = record.arrival_s;
  json["sent_s"] = record.sent_s;
  json["status"] = record.status;
  if (record.status != 0) json["first_byte_ms"] = kMs * (record.first_byte_s - record.sent_s);
  if (!record.ok()) {
    json["error"] = record.error;
    return json;
  }
  json["ttft_ms"] = times.ttft_ms;
  json["tpot_ms"] = times.tpot_ms;
  json["e2el_ms"] = times.e2el_ms;
  json["input_tokens"] = record.prompt_tokens;
  json["output_tokens"] = record.output_tokens;
  if (detailed) json["itl_ms"] = times.itl_ms;
  return json;
}

// What the records add up to.
struct Totals {
  int64_t completed = 0, rejected = 0, good = 0, input_tokens = 0, output_tokens = 0;
  double begin_s = 0, end_s = 0;
  std::vector<double> ttft, tpot, itl, e2el, launch_delay, reject;
  std::map<std::string, int64_t> errors;
  Json requests = Json::array();

  void add(const LoadRecord& record, const Objectives& objectives, bool detailed) {
    begin_s = requests.empty() ? record.sent_s : std::min(begin_s, record.sent_s);
    end_s = std::max(end_s, record.end_s);
    launch_delay.push_back(kMs * (record.sent_s - record.arrival_s));
    const RequestTimes times = times_of(record);
    requests.push_back(request_json(record, times, detailed));
    if (!record.ok()) {
      ++errors[record.error];
      if (is_rejected(record)) {
        ++rejected;
        reject.push_back(kMs * (record.first_byte_s - record.sent_s));
      }
      return;
    }
    ++completed;
    input_tokens += record.prompt_tokens;
    output_tokens += record.output_tokens;
    ttft.push_back(times.ttft_ms);
    if (record.output_tokens > 1) tpot.push_back(times.tpot_ms);
    itl.insert(itl.end(), times.itl_ms.begin(), times.itl_ms.end());
    e2el.push_back(times.e2el_ms);
    good += times.ttft_ms <= objectives.ttft_ms && times.tpot_ms <= objectives.tpot_ms &&
            times.e2el_ms <= objectives.e2el_ms;
  }
};

void add_goodput(Json& json, const Totals& totals, const Objectives& objectives, double duration_s,
                 size_t requests) {
  if (!objectives.given) return;
  for (const auto& [name, value] : {std::pair("ttft", objectives.ttft_ms),
                                    {"tpot", objectives.tpot_ms},
                                    {"e2el", objectives.e2el_ms}})
    if (std::isfinite(value)) json[std::string("goodput_") + name + "_ms"] = value;
  json["goodput_requests_per_s"] = static_cast<double>(totals.good) / duration_s;
  json["goodput_percent"] =
      100.0 * static_cast<double>(totals.good) / static_cast<double>(requests);
}

}  // namespace

Objectives Objectives::parse(const std::vector<std::string>& texts) {
  Objectives objectives;
  for (const std::string& text : texts) {
    const auto reject = [&] {
      throw Error(ErrorCode::kInvalidArgument,
                  "goodput: \"" + printable(text) + "\" is not ttft:MS, tpot:MS or e2el:MS",
                  "goodput");
    };
    const size_t colon = text.find(':');
    if (colon == std::string::npos) reject();
    const std::string name = text.substr(0, colon);
    double value = 0;
    const auto [end, error] =
        std::from_chars(text.data() + colon + 1, text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !(value > 0)) reject();
    if (name == "ttft")
      objectives.ttft_ms = value;
    else if (name == "tpot")
      objectives.tpot_ms = value;
    else if (name == "e2el")
      objectives.e2el_ms = value;
    else
      reject();
    objectives.given = true;
  }
  return objectives;
}

RequestTimes times_of(const LoadRecord& record) {
  RequestTimes times;
  const std::vector<double>& text = record.text_s;
  const double first = text.empty() ? record.end_s : text.front();
  times.ttft_ms = kMs * (first - record.sent_s);
  times.e2el_ms = kMs * (record.end_s - record.sent_s);
  if (record.output_tokens > 1 && !text.empty())
    times.tpot_ms = kMs * (record.end_s - first) / static_cast<double>(record.output_tokens - 1);
  for (size_t i = 1; i < text.size(); ++i) times.itl_ms.push_back(kMs * (text[i] - text[i - 1]));
  return times;
}

Json report_json(const std::vector<LoadRecord>& records, const Objectives& objectives,
                 bool detailed) {
  Totals totals;
  for (const LoadRecord& record : records) totals.add(record, objectives, detailed);
  const double duration_s = std::max(1e-9, totals.end_s - totals.begin_s);
  Json json;
  json["num_prompts"] = records.size();
  json["completed"] = totals.completed;
  json["failed"] = static_cast<int64_t>(records.size()) - totals.completed;
  json["rejected"] = totals.rejected;
  json["duration_s"] = duration_s;
  json["max_in_flight"] = most_in_flight(records);
  json["input_tokens"] = totals.input_tokens;
  json["output_tokens"] = totals.output_tokens;
  json["requests_per_s"] = static_cast<double>(totals.completed) / duration_s;
  json["output_tokens_per_s"] = static_cast<double>(totals.output_tokens) / duration_s;
  json["total_tokens_per_s"] =
      static_cast<double>(totals.input_tokens + totals.output_tokens) / duration_s;
  add_percentiles(json, "ttft", totals.ttft);
  add_percentiles(json, "tpot", totals.tpot);
  add_percentiles(json, "itl", totals.itl);
  add_percentiles(json, "e2el", totals.e2el);
  json["launch_delay_p99_ms"] = percentile(totals.launch_delay, 0.99);
  if (totals.rejected > 0) add_percentiles(json, "reject_first_byte", totals.reject);
  add_goodput(json, totals, objectives, duration_s, records.size());
  json["errors"] = totals.errors;
  for (const auto& [name, values] : {std::pair("ttft", totals.ttft),
                                     {"tpot", totals.tpot},
                                     {"itl", totals.itl},
                                     {"e2el", totals.e2el}})
    json["curves_ms"][name] = curve(values);
  json["timeline"] = timeline(records, totals.begin_s, totals.end_s);
  json["requests"] = std::move(totals.requests);
  return json;
}

}  // namespace miniinfer
