#include "serve/bench/svg_plot.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include <fmt/format.h>

namespace miniinfer {
namespace {

constexpr double kWidth = 480, kHeight = 280;
constexpr double kLeft = 62, kRight = 14, kTop = 14, kBottom = 44;
constexpr int kTicks = 5;

// The next of 1, 2 or 5 times a power of ten.
double round_up_step(double step) {
  const double power = std::pow(10.0, std::floor(std::log10(step)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= step * (1 - 1e-9)) return factor * power;
  return 10 * power;
}

struct Axis {
  double end = 1, step = 0.2;
  static Axis up_to(double highest) {
    if (!(highest > 0) || !std::isfinite(highest)) return {};
    const double step = round_up_step(highest / kTicks);
    return {step * std::ceil(highest / step * (1 - 1e-9)), step};
  }
};

double x_at(double x, const Axis& axis) {
  return kLeft + x / axis.end * (kWidth - kLeft - kRight);
}
double y_at(double y, const Axis& axis) {
  return kHeight - kBottom - y / axis.end * (kHeight - kTop - kBottom);
}

std::string grid(const Axis& x_axis, const Axis& y_axis) {
  std::string svg;
  auto out = std::back_inserter(svg);
  const double bottom = y_at(0, y_axis);
  for (double x = 0; x <= x_axis.end * (1 + 1e-9); x += x_axis.step)
    fmt::format_to(out,
                   "<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2:.1f}\"/>"
                   "<text x=\"{0:.1f}\" y=\"{3:.1f}\" text-anchor=\"middle\">{4:g}</text>\n",
                   x_at(x, x_axis), kTop, bottom, bottom + 16, x);
  for (double y = 0; y <= y_axis.end * (1 + 1e-9); y += y_axis.step)
    fmt::format_to(out,
                   "<line class=\"grid\" x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\"/>"
                   "<text x=\"{3}\" y=\"{4:.1f}\" text-anchor=\"end\">{5:g}</text>\n",
                   kLeft, kWidth - kRight, y_at(y, y_axis), kLeft - 6, y_at(y, y_axis) + 4, y);
  return svg;
}

}  // namespace

std::string html_escape(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '&' || c == '<' || c == '>' || c == '"' || c == '\'')
      escaped += fmt::format("&#{};", static_cast<int>(c));
    else
      escaped += c;
  }
  return escaped;
}

std::string svg_plot(const std::string& title, const std::string& x_label,
                     const std::string& y_label, const std::vector<PlotSeries>& series) {
  double highest_x = 0, highest_y = 0;
  for (const PlotSeries& one : series)
    for (const auto& [x, y] : one.points) {
      highest_x = std::max(highest_x, x);
      highest_y = std::max(highest_y, y);
    }
  const Axis x_axis = Axis::up_to(highest_x), y_axis = Axis::up_to(highest_y);
  std::string svg;
  auto out = std::back_inserter(svg);
  fmt::format_to(out, "<figure><figcaption>{}</figcaption>\n", html_escape(title));
  if (highest_x <= 0) return svg + "<p>Nothing was measured.</p></figure>\n";
  fmt::format_to(out, "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n", kWidth,
                 kHeight, html_escape(title));
  svg += grid(x_axis, y_axis);
  for (size_t i = 0; i < series.size(); ++i) {
    fmt::format_to(out, "<polyline class=\"series-{}\" points=\"", i);
    for (const auto& [x, y] : series[i].points)
      fmt::format_to(out, "{:.1f},{:.1f} ", x_at(x, x_axis), y_at(y, y_axis));
    fmt::format_to(out, "\"><title>{}</title></polyline>\n", html_escape(series[i].name));
  }
  fmt::format_to(out,
                 "<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n"
                 "<text transform=\"translate(14 {:.1f}) rotate(-90)\" text-anchor=\"middle\">{}"
                 "</text>\n</svg></figure>\n",
                 (kLeft + kWidth - kRight) / 2, kHeight - 8, html_escape(x_label),
                 (kTop + kHeight - kBottom) / 2, html_escape(y_label));
  return svg;
}

}  // namespace miniinfer
