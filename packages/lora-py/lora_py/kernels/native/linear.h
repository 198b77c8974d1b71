// y = x W^T with W in panels of 16 output rows, as fp32 or as 8-bit groups of 32 inputs.
//
// Every element of y is summed in one fixed order that depends neither on how many rows x has nor on how the work is
// split, so a row's result is the same to the bit whatever shares its batch.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <memory>

#include "amx.h"
#include "simd.h"

namespace grove {

constexpr int kPanel = 16, kGroup = 32;
constexpr int kAmxLeast = 5;  // rows from which on a tile is faster than row by row

struct Free {
  void operator()(void* p) const { std::free(p); }
};
template <class T>
using Buffer = std::unique_ptr<T[], Free>;
template <class T>
Buffer<T> allocate(size_t count) {
  const size_t bytes = (count * sizeof(T) + 127) / 64 * 64;
  return Buffer<T>(static_cast<T*>(std::aligned_alloc(64, bytes)));
}

// Activations in 8 bits: each row has a scale for each group of 32, so no row knows of another.
struct Quantized {
  Buffer<int8_t> values;  // [rows, width]
  Buffer<float> scales;   // [rows, groups]
  Buffer<int32_t> sums;   // [rows, groups]: -128 times the group's sum, for kernels that read weights as unsigned
};

inline void quantize_row(const float* x, int width, int8_t* q, float* scales, int32_t* sums) {
  for (int g = 0; g < width / kGroup; g++, x += kGroup, q += kGroup) {
    float top = 0;
    for (int i = 0; i < kGroup; i++) top = std::max(top, std::fabs(x[i]));
    const float inverse = top > 0 ? 127.0f / top : 0.0f;
    int32_t sum = 0;
    for (int i = 0; i < kGroup; i++) {
      q[i] = int8_t(std::nearbyint(x[i] * inverse));
      sum += q[i];
    }
    scales[g] = top / 127.0f;
    sums[g] = -128 * sum;
  }
}

class Linear {
 public:
  int rows = 0, width = 0;  // out, in

  void pack_float(const float* w, int out, int in) {
    shape(out, in);
    floats_ = allocate<float>(size_t(panels()) * in * kPanel);
    for (int p = 0; p < panels(); p++)
      for (int k = 0; k < in; k++)
        for (int j = 0; j < kPanel; j++) {
          const int row = p * kPanel + j;
          floats_[(size_t(p) * in + k) * kPanel + j] = row < out ? w[size_t(row) * in + k] : 0.0f;
        }
  }

  // One panel of the 8-bit form: [group][8][16 rows][4 inputs].
  void prepare_int8(int out, int in) {
    shape(out, in);
    bytes_ = allocate<int8_t>(size_t(panels()) * in * kPanel);
    scales_ = allocate<float>(size_t(panels()) * groups() * kPanel);
  }
  void pack_int8_panel(const float* w, int p) {
    for (int g = 0; g < groups(); g++)
      for (int j = 0; j < kPanel; j++) {
        const int row = p * kPanel + j;
        const float* x = w + size_t(row) * width + g * kGroup;
        float top = 0;
        for (int i = 0; row < rows && i < kGroup; i++) top = std::max(top, std::fabs(x[i]));
        const float inverse = top > 0 ? 127.0f / top : 0.0f;
        scales_[(size_t(p) * groups() + g) * kPanel + j] = top / 127.0f;
        for (int i = 0; i < kGroup; i++) {
          const float value = row < rows ? std::nearbyint(x[i] * inverse) : 0.0f;
          bytes_[(((size_t(p) * groups() + g) * 8 + i / 4) * kPanel + j) * 4 + i % 4] = int8_t(value);
        }
      }
  }

  bool int8() const { return bool(bytes_); }
  int panels() const { return (rows + kPanel - 1) / kPanel; }
  int groups() const { return width / kGroup; }

  // Panels begin … end of the product for `count` rows of x; y has `stride` columns. `x` and `q` are readable up to a
  // multiple of 16 rows.
  void multiply(int begin, int end, const float* x, const Quantized& q, int count, float* y, int stride) const {
    int tiled = 0;
#if GROVE_AMX
    if (int8() && count >= kAmxLeast && amx_ready()) {
      const AmxSession session;
      for (int p = begin; p < end; p++)
        for (tiled = 0; count - tiled >= kAmxLeast; tiled = std::min(count, tiled + kAmxRows))
          tile_amx(p, q, tiled, std::min(kAmxRows, count - tiled), y, stride);
    }
#endif
    for (int p = begin; p < end; p++) {
      int done = tiled;
      for (; done + 8 <= count; done += 8) tile<8>(p, x, q, done, y, stride);
      if (done + 4 <= count) tile<4>(p, x, q, done, y, stride), done += 4;
      if (done + 2 <= count) tile<2>(p, x, q, done, y, stride), done += 2;
      if (done + 1 <= count) tile<1>(p, x, q, done, y, stride);
    }
  }

 private:
  Buffer<float> floats_;
  Buffer<int8_t> bytes_;
  Buffer<float> scales_;

  void shape(int out, int in) {
    rows = out;
    width = in;
  }

  template <int M>
  void tile(int p, const float* x, const Quantized& q, int first, float* y, int stride) const {
    f32x16 sum[M];
    if (int8())
      tile_int8<M>(p, q, first, sum);
    else
      tile_float<M>(p, x + size_t(first) * width, sum);
    for (int m = 0; m < M; m++) put(p, sum[m], y + size_t(first + m) * stride);
  }

  void put(int p, f32x16 sum, float* y) const {
    const int columns = std::min(kPanel, rows - p * kPanel);
    if (columns == kPanel) return store16(y + p * kPanel, sum);
    for (int j = 0; j < columns; j++) y[p * kPanel + j] = sum[j];
  }

#if GROVE_AMX
  void tile_amx(int p, const Quantized& q, int first, int count, float* y, int stride) const {
    f32x16 sum[kAmxRows];
    AmxSession::panel(bytes_.get() + size_t(p) * width * kPanel, scales_.get() + size_t(p) * groups() * kPanel,
                      q.values.get() + size_t(first) * width, q.scales.get() + size_t(first) * groups(), groups(), sum);
    for (int m = 0; m < count; m++) put(p, sum[m], y + size_t(first + m) * stride);
  }
#endif

  template <int M>
  void tile_float(int p, const float* x, f32x16* sum) const {
    const float* w = floats_.get() + size_t(p) * width * kPanel;
    f32x16 s[M] = {};
    for (int k = 0; k < width; k++) {
      const f32x16 v = load16(w + size_t(k) * kPanel);
      for (int m = 0; m < M; m++) s[m] += v * x[size_t(m) * width + k];
    }
    for (int m = 0; m < M; m++) sum[m] = s[m];
  }

  template <int M>
  void tile_int8(int p, const Quantized& q, int first, f32x16* sum) const {
    const int8_t* w = bytes_.get() + size_t(p) * width * kPanel;
    const float* ws = scales_.get() + size_t(p) * groups() * kPanel;
    const int8_t* x = q.values.get() + size_t(first) * width;
    const float* xs = q.scales.get() + size_t(first) * groups();
    const int32_t* offsets = q.sums.get() + size_t(first) * groups();
    f32x16 s[M] = {};
    for (int g = 0; g < groups(); g++, w += kGroup * kPanel) {
      const f32x16 scale = load16(ws + g * kPanel);
      for (int m = 0; m < M; m++) {
        const i32x16 dot = dot_group(w, x + size_t(m) * width + g * kGroup, offsets[m * groups() + g]);
        s[m] += __builtin_convertvector(dot, f32x16) * (scale * xs[m * groups() + g]);
      }
    }
    for (int m = 0; m < M; m++) sum[m] = s[m];
  }

  // Sixteen exact dot products of 32 bytes. VNNI wants one side unsigned: weights + 128, which `offset` takes back.
  static inline __attribute__((always_inline)) i32x16 dot_group(const int8_t* w, const int8_t* x, int32_t offset) {
#if defined(__AVX512VNNI__)
    __m512i acc = _mm512_set1_epi32(offset);
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
        // |w| times sign(w) x: two products of at most 127 * 127 fit a 16-bit sum.
        const __m256i s = _mm256_load_si256((const __m256i*)(w + i * 64 + h * 32));
        const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(s), _mm256_sign_epi8(v, s));
        acc[h] = _mm256_add_epi32(acc[h], _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
      }
    }
    (void)offset;
    i32x16 out;
    std::memcpy(&out, acc, sizeof out);
    return out;
#else
    i32x16 acc{};
    (void)offset;
    for (int i = 0; i < 8; i++)
      for (int j = 0; j < kPanel; j++)
        for (int b = 0; b < 4; b++) acc[j] += int32_t(w[(i * kPanel + j) * 4 + b]) * x[i * 4 + b];
    return acc;
#endif
  }
};

}  // namespace grove
