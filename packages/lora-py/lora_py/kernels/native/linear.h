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

  // The 8-bit form: [panel][group][8][16 rows][4 inputs], weight = scale * byte + least + 128 scale. The range of a group
  // is cut into 255 steps, so weights that came from 4 bits (15 steps between the same ends) are kept exactly.
  void prepare_int8(int out, int in) {
    shape(out, in);
    bytes_ = allocate<int8_t>(size_t(panels()) * in * kPanel);
    scales_ = allocate<float>(size_t(panels()) * groups() * 2 * kPanel);
  }
  void pack_int8_panel(const float* w, int p) {
    for (int g = 0; g < groups(); g++)
      for (int j = 0; j < kPanel; j++) {
        const int row = p * kPanel + j;
        const float* x = w + size_t(row) * width + g * kGroup;
        const bool real = row < rows;
        const float least = real ? *std::min_element(x, x + kGroup) : 0.0f;
        const float most = real ? *std::max_element(x, x + kGroup) : 0.0f;
        const float scale = (most - least) / 255.0f, inverse = scale > 0 ? 1.0f / scale : 0.0f;
        float* scales = &scales_[(size_t(p) * groups() + g) * 2 * kPanel];
        scales[j] = scale;
        scales[kPanel + j] = least + 128.0f * scale;
        for (int i = 0; i < kGroup; i++) {
          const int value = real ? int(std::nearbyint((x[i] - least) * inverse)) : 0;
          bytes_[(((size_t(p) * groups() + g) * 8 + i / 4) * kPanel + j) * 4 + i % 4] = int8_t(std::min(value, 255) - 128);
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
    const size_t at = size_t(first) * width, group = size_t(first) * groups();
    AmxSession::panel(panel_bytes(p), panel_scales(p), &q.high[at], &q.low[at], &q.scales[group], &q.sums[group], groups(),
                      sum);
    for (int m = 0; m < count; m++) put(p, sum[m], y + size_t(first + m) * stride);
  }
#endif

  template <int M>
  void tile_float(int p, const float* x, f32x16* sum) const {
    const float* w = floats_.get() + size_t(p) * width * kPanel;
    f32x16 s[M] = {};
    for (int k = 0; k < width; k++) {
      const f32x16 v = load16(w + size_t(k) * kPanel);
#pragma GCC unroll 8
      for (int m = 0; m < M; m++) s[m] += v * x[size_t(m) * width + k];
    }
    for (int m = 0; m < M; m++) sum[m] = s[m];
  }

  const int8_t* panel_bytes(int p) const { return bytes_.get() + size_t(p) * width * kPanel; }
  const float* panel_scales(int p) const { return scales_.get() + size_t(p) * groups() * 2 * kPanel; }

  template <int M>
  void tile_int8(int p, const Quantized& q, int first, f32x16* sum) const {
    const int8_t* w = panel_bytes(p);
    const float* scales = panel_scales(p);
    f32x16 s[M] = {};
    for (int g = 0; g < groups(); g++, w += kGroup * kPanel, scales += 2 * kPanel) {
      const f32x16 scale = load16(scales), least = load16(scales + kPanel);
#pragma GCC unroll 8
      for (int m = 0; m < M; m++) {
        const size_t at = size_t(first + m) * width + g * kGroup, group = size_t(first + m) * groups() + g;
        const i32x16 high = dot_group(w, &q.high[at]), low = dot_group(w, &q.low[at]);
        const i32x16 dot = (high << 7) + low + unsigned_offset(q.offsets[group]);
        s[m] += least * q.sums[group];
        s[m] += __builtin_convertvector(dot, f32x16) * (scale * q.scales[group]);
      }
    }
    for (int m = 0; m < M; m++) sum[m] = s[m];
  }

  // What `dot_group` leaves to be added where it reads the weights as unsigned.
  static inline int32_t unsigned_offset(int32_t offset) {
#if defined(__AVX512VNNI__)
    return offset;
#else
    return 0 * offset;
#endif
  }

  // Sixteen exact dot products of 32 bytes. VNNI wants one side unsigned: weights + 128.
  static inline __attribute__((always_inline)) i32x16 dot_group(const int8_t* w, const int8_t* x) {
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
};

}  // namespace grove
