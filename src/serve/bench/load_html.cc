#include <cmath>
#include <iterator>

#include <fmt/format.h>

#include "serve/bench/load_report.h"
#include "serve/bench/svg_plot.h"

namespace miniinfer {
namespace {

constexpr const char* kStyle = R"(
:root{color-scheme:light dark;--text:light-dark(#1b1d1f,#e6e7e8);--soft:light-dark(#5b6167,#a0a7ae);
--line:light-dark(#d9d9d4,#363b40);--a:light-dark(#0b6e6e,#4cc2c0);--b:light-dark(#b3541e,#f0a35e)}
body{font:15px/1.5 system-ui,sans-serif;color:var(--text);max-width:66rem;margin:1.5rem auto;padding:0 1rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:.15rem .8rem;border-bottom:1px solid var(--line);text-align:right}
th[scope=row]{text-align:left;font-weight:normal}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(26rem,100%),1fr));gap:1rem}
figure{margin:0}figcaption{color:var(--soft)}svg{width:100%}
svg text{font-size:11px;fill:var(--soft)}.grid{stroke:var(--line)}
polyline{fill:none;stroke-width:2}.series-0{stroke:var(--a)}.series-1{stroke:var(--b)}
.key-0{color:var(--a)}.key-1{color:var(--b)})";

struct Row {
  const char* key;
  const char* label;
};

constexpr Row kRows[] = {
    {"completed", "requests completed"},
    {"failed", "requests failed"},
    {"rejected", "of them rejected (429, 503)"},
    {"duration_s", "duration, s"},
    {"max_in_flight", "most in flight"},
    {"requests_per_s", "requests /s"},
    {"output_tokens_per_s", "output tokens /s"},
    {"total_tokens_per_s", "input and output tokens /s"},
    {"goodput_requests_per_s", "goodput, requests /s"},
    {"goodput_percent", "goodput, % of requests"},
    {"ttft_mean_ms", "time to first token, mean, ms"},
    {"ttft_p50_ms", "time to first token, p50, ms"},
    {"ttft_p90_ms", "time to first token, p90, ms"},
    {"ttft_p99_ms", "time to first token, p99, ms"},
    {"tpot_mean_ms", "time per output token, mean, ms"},
    {"tpot_p50_ms", "time per output token, p50, ms"},
    {"tpot_p90_ms", "time per output token, p90, ms"},
    {"tpot_p99_ms", "time per output token, p99, ms"},
    {"itl_mean_ms", "between tokens, mean, ms"},
    {"itl_p50_ms", "between tokens, p50, ms"},
    {"itl_p90_ms", "between tokens, p90, ms"},
    {"itl_p99_ms", "between tokens, p99, ms"},
    {"e2el_mean_ms", "end to end, mean, ms"},
    {"e2el_p50_ms", "end to end, p50, ms"},
    {"e2el_p90_ms", "end to end, p90, ms"},
    {"e2el_p99_ms", "end to end, p99, ms"},
    {"reject_first_byte_p99_ms", "rejection's first byte, p99, ms"},
    {"launch_delay_p99_ms", "sent after it was due, p99, ms"},
};

std::optional<double> figure(const Json& report, const std::string& key) {
  const auto found = report.find(key);
  if (found == report.end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

std::string cell(const std::optional<double>& value) {
  if (!value) return "<td></td>";
  if (*value == std::floor(*value) && std::abs(*value) < 1e15)
    return fmt::format("<td>{:.0f}</td>", *value);
  return fmt::format("<td>{:.{}f}</td>", *value, std::abs(*value) >= 1000 ? 0 : 2);
}

std::string table(const std::vector<const Json*>& reports, const std::vector<std::string>& names) {
  std::string html = "<table><thead><tr><th scope=\"col\"></th>";
  auto out = std::back_inserter(html);
  for (size_t i = 0; i < names.size(); ++i)
    fmt::format_to(out, "<th scope=\"col\" class=\"key-{}\">{}</th>", i, html_escape(names[i]));
  if (reports.size() > 1) html += "<th scope=\"col\">first against second</th>";
  html += "</tr></thead><tbody>\n";
  for (const Row& row : kRows) {
    std::vector<std::optional<double>> values;
    for (const Json* report : reports) values.push_back(figure(*report, row.key));
    if (!values.front() && !values.back()) continue;
    fmt::format_to(out, "<tr><th scope=\"row\">{}</th>", row.label);
    for (const auto& value : values) html += cell(value);
    if (reports.size() > 1) {
      if (values[0] && values[1] && *values[1] != 0)
        fmt::format_to(out, "<td>{:+.1f} %</td>", 100 * (*values[0] / *values[1] - 1));
      else
        html += "<td></td>";
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table>\n";
}

// The numbers of an array below the report; none when it is something else.
std::vector<double> numbers(const Json& report, const char* object, const char* key) {
  std::vector<double> values;
  if (!report.contains(object) || !report[object].is_object()) return values;
  const auto found = report[object].find(key);
  if (found == report[object].end() || !found->is_array()) return values;
  for (const Json& value : *found)
    if (value.is_number()) values.push_back(value.get<double>());
  return values;
}

std::string curves(const std::vector<const Json*>& reports, const std::vector<std::string>& names,
                   const char* key, const std::string& title) {
  std::vector<PlotSeries> series;
  for (size_t i = 0; i < reports.size(); ++i) {
    PlotSeries one{names[i], {}};
    const std::vector<double> values = numbers(*reports[i], "curves_ms", key);
    for (size_t p = 0; p < values.size(); ++p)
      one.points.emplace_back(values[p], static_cast<double>(p));
    series.push_back(std::move(one));
  }
  return svg_plot(title, "ms", "% of them at most", series);
}

std::string over_time(const std::vector<const Json*>& reports,
                      const std::vector<std::string>& names, const char* key,
                      const std::string& title, const std::string& y_label) {
  std::vector<PlotSeries> series;
  for (size_t i = 0; i < reports.size(); ++i) {
    PlotSeries one{names[i], {}};
    const Json& report = *reports[i];
    double bucket_s = 0;
    if (report.contains("timeline") && report["timeline"].is_object())
      bucket_s = figure(report["timeline"], "bucket_s").value_or(0);
    const std::vector<double> values = numbers(report, "timeline", key);
    for (size_t t = 0; t < values.size(); ++t)
      one.points.emplace_back((static_cast<double>(t) + 0.5) * bucket_s, values[t]);
    series.push_back(std::move(one));
  }
  return svg_plot(title, "s", y_label, series);
}

std::string name_of(const Json& report, const char* otherwise) {
  const auto found = report.find("label");
  if (found == report.end() || !found->is_string() || found->get<std::string>().empty())
    return otherwise;
  return found->get<std::string>();
}

}  // namespace

std::string report_html(const Json& run, const Json& other) {
  std::vector<const Json*> reports{&run};
  std::vector<std::string> names{name_of(run, "this run")};
  if (!other.is_null()) {
    if (!other.is_object() || !figure(other, "output_tokens_per_s"))
      throw Error(ErrorCode::kDataCorrupt, "compare: is no report of bench serve", "compare");
    reports.push_back(&other);
    names.push_back(name_of(other, "other run"));
  }
  std::string html = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width\">"
      "<title>Load: {0}</title><style>{1}</style></head>\n<body><h1>Load: {0}</h1>\n",
      html_escape(names[0]), kStyle);
  html += table(reports, names) + "<h2>Curves</h2><div class=\"plots\">\n";
  html += over_time(reports, names, "output_tokens_per_s", "Output over time", "tokens /s");
  html += over_time(reports, names, "in_flight", "Requests in flight over time", "requests");
  html += curves(reports, names, "ttft", "Time to first token");
  html += curves(reports, names, "tpot", "Time per output token after the first");
  html += curves(reports, names, "itl", "Time between pieces of text");
  html += curves(reports, names, "e2el", "End to end");
  return html + "</div></body></html>\n";
}

}  // namespace miniinfer
