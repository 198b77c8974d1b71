// Integer products of rows with 8-bit weights, for processors without matrix tiles.
#pragma once
#include <algorithm>
#include <cmath>

#include "memory.h"
#include "simd.h"

namespace grove {

constexpr int kPanel = 16, kGroup = 32;  // outputs side by side; inputs that share a scale

// Activations in 15 bits, as two bytes (128 high + low), with a scale for each group of 32: no row knows of another.
struct Quantized {
  Buffer<int8_t> high, low;  // [rows, width]
  Buffer<float> scales;      // [rows, groups]
  Buffer<float> sums;        // [rows, groups]: the group's sum, which carries the weights' least value
  Buffer<int32_t> offsets;   // [rows, groups]: -128 times the whole numbers' sum, for kernels that read unsigned weights

  void reserve(size_t values) {
    high = allocate<int8_t>(values);
    low = allocate<int8_t>(values);
    scales = allocate<float>(values / kGroup + 1);
    sums = allocate<float>(values / kGroup + 1);
    offsets = allocate<int32_t>(values / kGroup + 1);
  }

  void set_row(const float* x, int row, int width) {
    constexpr float kTop = 127 * 128;
    int8_t *h = &high[size_t(row) * width], *l = &low[size_t(row) * width];
    for (int g = 0; g < width / kGroup; g++, x += kGroup, h += kGroup, l += kGroup) {
      float top = 0;
      for (int i = 0; i < kGroup; i++) top = std::max(top, std::fabs(x[i]));
      const float inverse = top > 0 ? kTop / top : 0.0f;
      int32_t sum = 0;
      for (int i = 0; i < kGroup; i++) {
        const int32_t q = int32_t(std::nearbyint(x[i] * inverse)), up = (q + 64) >> 7;
        h[i] = int8_t(up);
        l[i] = int8_t(q - up * 128);
        sum += q;
      }
      const size_t at = size_t(row) * (width / kGroup) + g;
      scales[at] = top / kTop;
      sums[at] = float(sum) * scales[at];
      offsets[at] = -128 * sum;
    }
  }
};

// What `dot_group` leaves to be added where it reads the weights as unsigned.
inline int32_t unsigned_offset(int32_t offset) {
#if defined(__AVX512VNNI__)
  return offset;
#else
  return 0 * offset;
#endif
}

// Sixteen exact dot products of 32 bytes. VNNI wants one side unsigned: weights + 128.
inline __attribute__((always_inline)) i32x16 dot_group(const int8_t* w, const int8_t* x) {
#if defined(__AVX512VNNI__)
  __m512i acc = _mm512_setzero_si512();
  for (int i = 0; i < 8; i++) {
    int32_t four;
    std::memcpy(&four, x + i * 4, 4);
    const __m512i u = _mm512_xor_si512(_mm512_load_si512(w + i * 64), _mm512_set1_epi8(char(0x80)));
    acc = _mm512_dpbusd_epi32(acc, u, _mm512_set1_epi32(four));
  }
  return (i32x16)acc;
#elif defined(__AVX2__)
  __m256i acc[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
  for (int i = 0; i < 8; i++) {
    int32_t four;
    std::memcpy(&four, x + i * 4, 4);
    const __m256i v = _mm256_set1_epi32(four);
    for (int h = 0; h < 2; h++) {
      // |w| times sign(w) x: two products of at most 128 * 127 fit a 16-bit sum.
      const __m256i s = _mm256_load_si256((const __m256i*)(w + i * 64 + h * 32));
      const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(s), _mm256_sign_epi8(v, s));
      acc[h] = _mm256_add_epi32(acc[h], _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
  }
  i32x16 out;
  std::memcpy(&out, acc, sizeof out);
  return out;
#else
  i32x16 acc{};
  for (int i = 0; i < 8; i++)
    for (int j = 0; j < kPanel; j++)
      for (int b = 0; b < 4; b++) acc[j] += int32_t(w[(i * kPanel + j) * 4 + b]) * x[i * 4 + b];
  return acc;
#endif
}

}  // namespace grove
