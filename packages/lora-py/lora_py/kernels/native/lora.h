// Each row's own low-rank product, read from its adapter's tensors where they lie: nothing is gathered or padded. Rows of
// one adapter go together, so its weights are read and widened once for them; a row's sums don't depend on the others.
#pragma once
#include "simd.h"

namespace grove {

// One adapted module; a == null where there is none. In half precision, which this file multiplies, A is [rank, in] and B
// [rank, out], already scaled; byte_lora.h has the other form.
struct LoraModule {
  const void* a;
  const void* b;
  int64_t rank;

  const half* half_a() const { return static_cast<const half*>(a); }
  const half* half_b() const { return static_cast<const half*>(b); }
};

constexpr int kMaxRank = 256;
constexpr int kLoraRows = 8;  // rows that are computed together at most

// h[n][r] = A[r] . x[n] for N rows and R ranks
template <int N, int R>
inline void shrink_tile(const half* a, const float* const* x, int width, float* const* h) {
  f32x16 s[N][R][2] = {};
  int i = 0;
  for (; i + 32 <= width; i += 32)
    for (int r = 0; r < R; r++) {
      __builtin_prefetch(a + size_t(R) * width + size_t(r) * width + i);
      const f32x16 a0 = load16(a + size_t(r) * width + i), a1 = load16(a + size_t(r) * width + i + 16);
      for (int n = 0; n < N; n++) {
        s[n][r][0] += a0 * load16(x[n] + i);
        s[n][r][1] += a1 * load16(x[n] + i + 16);
      }
    }
  for (int n = 0; n < N; n++)
    for (int r = 0; r < R; r++) {
      float rest = 0;
      for (int k = i; k < width; k++) rest += half_to_float(a[size_t(r) * width + k]) * x[n][k];
      h[n][r] = sum16(s[n][r][0] + s[n][r][1]) + rest;
    }
}

template <int N, int R>
inline void shrink_ranks(const LoraModule& module, const float* const* x, int width, float* const* h) {
  float* low[N];
  int r = 0;
  for (; r + R <= int(module.rank); r += R) {
    for (int n = 0; n < N; n++) low[n] = h[n] + r;
    shrink_tile<N, R>(module.half_a() + size_t(r) * width, x, width, low);
  }
  for (; r < int(module.rank); r++) {
    for (int n = 0; n < N; n++) low[n] = h[n] + r;
    shrink_tile<N, 1>(module.half_a() + size_t(r) * width, x, width, low);
  }
}

inline void lora_shrink(const LoraModule& module, const float* const* x, int rows, int width, float* const* h) {
  int n = 0;
  for (; n + 4 <= rows; n += 4) shrink_ranks<4, 2>(module, x + n, width, h + n);
  for (; n + 2 <= rows; n += 2) shrink_ranks<2, 4>(module, x + n, width, h + n);
  for (; n < rows; n++) shrink_ranks<1, 4>(module, x + n, width, h + n);
}

// y[n][o] += sum over R ranks of h[n][r] B[r, o]
template <int N, int R>
inline void expand_tile(const half* b, const float* const* h, int out, float* const* y) {
  int o = 0;
  for (; o + 16 <= out; o += 16) {
    f32x16 v[N];
    for (int n = 0; n < N; n++) v[n] = load16(y[n] + o);
    for (int r = 0; r < R; r++) {
      const f32x16 w = load16(b + size_t(r) * out + o);
      for (int n = 0; n < N; n++) v[n] += w * h[n][r];
    }
    for (int n = 0; n < N; n++) store16(y[n] + o, v[n]);
  }
  for (; o < out; o++)
    for (int n = 0; n < N; n++)
      for (int r = 0; r < R; r++) y[n][o] += half_to_float(b[size_t(r) * out + o]) * h[n][r];
}

template <int N>
inline void expand_ranks(const LoraModule& module, const float* const* h, int out, float* const* y) {
  const float* low[N];
  int r = 0;
  for (; r + 8 <= int(module.rank); r += 8) {
    for (int n = 0; n < N; n++) low[n] = h[n] + r;
    expand_tile<N, 8>(module.half_b() + size_t(r) * out, low, out, y);
  }
  for (; r < int(module.rank); r++) {
    for (int n = 0; n < N; n++) low[n] = h[n] + r;
    expand_tile<N, 1>(module.half_b() + size_t(r) * out, low, out, y);
  }
}

inline void lora_expand(const LoraModule& module, const float* const* h, int rows, int out, float* const* y) {
  int n = 0;
  for (; n + 8 <= rows; n += 8) expand_ranks<8>(module, h + n, out, y + n);
  for (; n + 4 <= rows; n += 4) expand_ranks<4>(module, h + n, out, y + n);
  for (; n + 2 <= rows; n += 2) expand_ranks<2>(module, h + n, out, y + n);
  for (; n < rows; n++) expand_ranks<1>(module, h + n, out, y + n);
}

}  // namespace grove
