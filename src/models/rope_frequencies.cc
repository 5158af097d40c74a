#include "models/rope_frequencies.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace miniinfer {
namespace {

constexpr double kTwoPi = 2 * std::numbers::pi;

// Long wavelengths are divided by the factor, short ones kept, and those between blended.
void apply_llama3(const RopeConfig& config, std::vector<float>& inv_freq) {
  const float old_length = static_cast<float>(config.original_max_position);
  const float low = static_cast<float>(config.low_freq_factor),
              high = static_cast<float>(config.high_freq_factor);
  const float factor = static_cast<float>(config.factor);
  for (float& frequency : inv_freq) {
    const float wavelength = static_cast<float>(kTwoPi) / frequency;
    if (wavelength > old_length / low) {
      frequency /= factor;
    } else if (wavelength >= old_length / high) {
      const float smooth = (old_length / wavelength - low) / (high - low);
      frequency = (1 - smooth) * frequency / factor + smooth * frequency;
    }
  }
}

// The dimension whose wave turns `rotations` times over the original length.
double yarn_dimension(const RopeConfig& config, double rotations, double rotated) {
  return rotated *
         std::log(static_cast<double>(config.original_max_position) / (rotations * kTwoPi)) /
         (2 * std::log(config.theta));
}

void apply_yarn(const RopeConfig& config, std::vector<float>& inv_freq) {
  const double rotated = 2.0 * static_cast<double>(inv_freq.size());
  double low = yarn_dimension(config, config.beta_fast, rotated);
  double high = yarn_dimension(config, config.beta_slow, rotated);
  if (config.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, rotated - 1);
  if (low == high) high += 0.001;
  for (size_t i = 0; i < inv_freq.size(); ++i) {
    const float ramp = std::clamp(
        (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low), 0.0F,
        1.0F);
    const float extrapolated = 1 - ramp;
    const float frequency = inv_freq[i];
    const float interpolated = 1.0F / (static_cast<float>(config.factor) * (1.0F / frequency));
    inv_freq[i] = interpolated * (1 - extrapolated) + frequency * extrapolated;
  }
}

double yarn_mscale(double factor, double mscale) {
  return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

double yarn_attention_factor(const RopeConfig& config) {
  if (config.attention_factor) return *config.attention_factor;
  if (config.mscale && config.mscale_all_dim)
    return yarn_mscale(config.factor, *config.mscale) /
           yarn_mscale(config.factor, *config.mscale_all_dim);
  return yarn_mscale(config.factor, 1.0);
}

}  // namespace

RotaryEmbedding make_rotary_embedding(const RopeConfig& config, int head_dim) {
  RotaryEmbedding result;
  result.inv_freq = inverse_frequencies(config.theta, head_dim / 2);
  switch (config.type) {
    case RopeType::kDefault:
      break;
    case RopeType::kLinear:
      for (float& frequency : result.inv_freq) frequency /= static_cast<float>(config.factor);
      break;
    case RopeType::kDynamic:
      result.dynamic = {config.theta, config.factor, config.original_max_position};
      break;
    case RopeType::kLlama3:
      apply_llama3(config, result.inv_freq);
      break;
    case RopeType::kYarn:
      apply_yarn(config, result.inv_freq);
      result.scale = static_cast<float>(yarn_attention_factor(config));
      break;
  }
  return result;
}

}  // namespace miniinfer
