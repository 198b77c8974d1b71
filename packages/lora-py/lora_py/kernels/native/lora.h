// Each row's own low-rank product, read from its adapter's tensors where they lie: nothing is gathered or padded.
#pragma once
#include "simd.h"

namespace grove {

// One adapted module: A [rank, in] and B [rank, out], already scaled, in half precision; a == null where there is none.
struct LoraModule {
  const half* a;
  const half* b;
  int64_t rank;
};

constexpr int kMaxRank = 256;

// h[r] = A[r] . x
inline void lora_shrink(const LoraModule& module, const float* x, int width, float* h) {
  for (int r = 0; r < int(module.rank); r++) {
    const half* a = module.a + size_t(r) * width;
    f32x16 s0{}, s1{};
    int i = 0;
    for (; i + 32 <= width; i += 32) {
      s0 += load16(a + i) * load16(x + i);
      s1 += load16(a + i + 16) * load16(x + i + 16);
    }
    float rest = 0;
    for (; i < width; i++) rest += half_to_float(a[i]) * x[i];
    h[r] = sum16(s0 + s1) + rest;
  }
}

// y[o] += sum over r of h[r] B[r, o], four ranks a pass over y
inline void lora_expand(const LoraModule& module, const float* h, int out, float* y) {
  int r = 0;
  for (; r + 4 <= int(module.rank); r += 4) {
    const half* b = module.b + size_t(r) * out;
    int o = 0;
    for (; o + 16 <= out; o += 16) {
      f32x16 v = load16(y + o);
      for (int k = 0; k < 4; k++) v += load16(b + size_t(k) * out + o) * h[r + k];
      store16(y + o, v);
    }
    for (; o < out; o++)
      for (int k = 0; k < 4; k++) y[o] += half_to_float(b[size_t(k) * out + o]) * h[r + k];
  }
  for (; r < int(module.rank); r++) {
    const half* b = module.b + size_t(r) * out;
    int o = 0;
    for (; o + 16 <= out; o += 16) store16(y + o, load16(y + o) + load16(b + o) * h[r]);
    for (; o < out; o++) y[o] += half_to_float(b[o]) * h[r];
  }
}

}  // namespace grove
