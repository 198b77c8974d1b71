// What serving and training do to one row, float32.
#pragma once
#include "simd.h"

namespace grove {

// out = x * rstd * weight, with rstd = 1 / sqrt(mean(x^2) + eps) of each row.
inline void rms_norm(const float* x, const float* weight, float eps, float* out, float* rstd, int width) {
  f32x16 sum{};
  float rest = 0;
  int i = 0;
  for (; i + 16 <= width; i += 16) sum += load16(x + i) * load16(x + i);
  for (; i < width; i++) rest += x[i] * x[i];
  const float scale = *rstd = 1.0f / std::sqrt((sum16(sum) + rest) / width + eps);
  for (i = 0; i < width; i++) out[i] = x[i] * scale * weight[i];
}

// out = silu(gate) * up, from `width` gates and as many ups.
inline void swiglu(const float* both, float* out, int width) {
  const float* up = both + width;
  int i = 0;
  for (; i + 16 <= width; i += 16) {
    const f32x16 gate = load16(both + i);
    store16(out + i, gate / (exp16(-gate) + 1.0f) * load16(up + i));
  }
  for (; i < width; i++) out[i] = both[i] / (1.0f + std::exp(-both[i])) * up[i];
}

}  // namespace grove
