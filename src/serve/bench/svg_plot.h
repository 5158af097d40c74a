#pragma once

#include <string>
#include <utility>
#include <vector>

namespace miniinfer {

struct PlotSeries {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x ascending
};

// A line plot as an SVG element with axes from zero; series i has the CSS class "series-i". Says
// so when there is nothing to draw.
std::string svg_plot(const std::string& title, const std::string& x_label,
                     const std::string& y_label, const std::vector<PlotSeries>& series);

// Text for HTML and attributes.
std::string html_escape(const std::string& text);

}  // namespace miniinfer
