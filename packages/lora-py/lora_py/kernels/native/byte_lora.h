// The low-rank product of adapters kept in 8 bits, which halves what a step of many adapters reads: A has a scale for each
// rank, B one for each output. Inputs are rounded to 16 bits with a scale for each row, so sums of products are whole
// numbers and exact in any order, and a row's result does not depend on its neighbours.
//
// A: fp32 scales [rank], each a bf16 number, then rows [rank][in]; rows are padded to kStep and the whole to 64 bytes.
// B, already scaled by alpha / rank: for each panel of 16 outputs their bf16 scales, then [rank / 2][16 outputs][2 ranks].
#pragma once
#include <algorithm>

#include "lora.h"
#include "memory.h"

namespace grove {

typedef int16_t i16x32 __attribute__((vector_size(64)));
typedef int8_t i8x32 __attribute__((vector_size(32)));

constexpr int kStep = 32;       // inputs, or 16 outputs of two ranks, in one vector
constexpr int kByteMost = 127;  // the largest byte

struct ByteLora {
  static size_t padded(size_t width) { return (width + kStep - 1) / kStep * kStep; }
  static size_t lines(size_t bytes) { return (bytes + 63) / 64 * 64; }
  static size_t pairs(size_t rank) { return (rank + 1) / 2; }
  static size_t panel_bytes(size_t rank) { return 32 + pairs(rank) * kStep; }
  static size_t a_bytes(size_t rank, size_t in) { return lines(rank * sizeof(float)) + lines(rank * padded(in)); }
  static size_t b_bytes(size_t rank, size_t out) { return lines((out + 15) / 16 * panel_bytes(rank)); }
};

inline i16x32 load_bytes(const int8_t* p) {
#if defined(__AVX512BW__)
  return (i16x32)_mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#else
  i8x32 v;
  std::memcpy(&v, p, sizeof v);
  return __builtin_convertvector(v, i16x32);
#endif
}
inline void store_words(int16_t* p, i32x16 v) {
#if defined(__AVX512F__)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16((__m512i)v));
#else
  typedef int16_t i16x16 __attribute__((vector_size(32)));
  const i16x16 words = __builtin_convertvector(v, i16x16);
  std::memcpy(p, &words, sizeof words);
#endif
}
// 16 whole numbers of -128 to 127, or of 16 bits
inline void store_bytes(int8_t* p, i32x16 v) {
#if defined(__AVX512F__)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8((__m512i)v));
#else
  for (int i = 0; i < 16; i++) p[i] = int8_t(v[i]);
#endif
}
inline i16x32 load_words(const int16_t* p) {
  i16x32 v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// sum + the products of neighbours, added in pairs
inline i32x16 add_pairs(i32x16 sum, i16x32 a, i16x32 b) {
#if defined(__AVX512VNNI__)
  return (i32x16)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  union Halves {
    i16x32 words;
    i32x16 sums;
    __m256i part[2];
  } x, y, out;
  x.words = a;
  y.words = b;
  out.sums = sum;
  for (int i = 0; i < 2; i++) out.part[i] = _mm256_add_epi32(out.part[i], _mm256_madd_epi16(x.part[i], y.part[i]));
  return out.sums;
#else
  for (int i = 0; i < 16; i++) sum[i] += int(a[2 * i]) * b[2 * i] + int(a[2 * i + 1]) * b[2 * i + 1];
  return sum;
#endif
}

inline float largest(const float* x, int count) {
  f32x16 most{};
  int i = 0;
  for (; i + 16 <= count; i += 16) most = larger16(most, abs16(load16(x + i)));
  float rest = 0;
  for (; i < count; i++) rest = std::max(rest, std::fabs(x[i]));
  return std::max(max16(most), rest);
}

// A row in 16 bits, padded with zeros to whole vectors; returns its scale.
inline float to_words(const float* x, int count, int most, int16_t* out) {
  const float peak = largest(x, count);
  if (!(peak > 0)) {
    std::memset(out, 0, ByteLora::padded(count) * sizeof(int16_t));
    return 0;
  }
  const float inverse = most / peak;
  const f32x16 round = set16(12582912.0f);  // adding it rounds to a whole number
  int i = 0;
  for (; i + 16 <= count; i += 16)
    store_words(out + i, __builtin_convertvector((load16(x + i) * inverse + round) - round, i32x16));
  for (; i < count; i++) out[i] = int16_t(std::nearbyint(x[i] * inverse));
  for (; i < int(ByteLora::padded(count)); i++) out[i] = 0;
  return peak / most;
}

// Rows of one group in 16 bits, for all modules that read them.
class WordRows {
 public:
  void set(const float* const* x, int rows, int width) {
    stride_ = int(ByteLora::padded(width));
    if (room_ < stride_) words_ = allocate<int16_t>(size_t(kLoraRows) * (room_ = stride_));
    // Sums of a lane stay below 2^31: two of them share a row's vectors.
    const int most = int(std::min<int64_t>(32767, int64_t(32767) * 16384 / stride_));
    for (int n = 0; n < rows; n++) scales[n] = to_words(x[n], width, most, &words_[size_t(n) * stride_]);
  }
  const int16_t* row(int n) const { return &words_[size_t(n) * stride_]; }
  int stride() const { return stride_; }
  float scales[kLoraRows];

 private:
  Buffer<int16_t> words_;
  int stride_ = 0, room_ = 0;
};

// h[n][r] = A[r] . x[n] for N rows and R ranks
template <int N, int R>
inline void byte_shrink_tile(const int8_t* a, const float* scales, const WordRows& x, int first, float* const* h) {
  i32x16 s[N][R][2] = {};
  const int width = x.stride();
  for (int i = 0; i < width; i += 2 * kStep)
    for (int half = 0; half < 2 && i + half * kStep < width; half++) {
      const int at = i + half * kStep;
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        const i16x32 w = load_bytes(a + size_t(r) * width + at);
#pragma GCC unroll 8
        for (int n = 0; n < N; n++) s[n][r][half] = add_pairs(s[n][r][half], w, load_words(x.row(first + n) + at));
      }
    }
  for (int n = 0; n < N; n++)
    for (int r = 0; r < R; r++) {
      const f32x16 sum = __builtin_convertvector(s[n][r][0], f32x16) + __builtin_convertvector(s[n][r][1], f32x16);
      h[n][r] = sum16(sum) * (scales[r] * x.scales[first + n]);
    }
}

template <int N, int R>
inline void byte_shrink_ranks(const LoraModule& module, const WordRows& x, int first, float* const* h) {
  const float* scales = static_cast<const float*>(module.a);
  const int8_t* a = static_cast<const int8_t*>(module.a) + ByteLora::lines(size_t(module.rank) * sizeof(float));
  float* low[N];
  int r = 0;
  for (; r + R <= int(module.rank); r += R) {
    for (int n = 0; n < N; n++) low[n] = h[n] + r;
    byte_shrink_tile<N, R>(a + size_t(r) * x.stride(), scales + r, x, first, low);
  }
  for (; r < int(module.rank); r++) {
    for (int n = 0; n < N; n++) low[n] = h[n] + r;
    byte_shrink_tile<N, 1>(a + size_t(r) * x.stride(), scales + r, x, first, low);
  }
}

inline void byte_shrink(const LoraModule& module, const WordRows& x, int rows, float* const* h) {
  int n = 0;
  for (; n + 4 <= rows; n += 4) byte_shrink_ranks<4, 2>(module, x, n, h + n);
  for (; n + 2 <= rows; n += 2) byte_shrink_ranks<2, 4>(module, x, n, h + n);
  for (; n < rows; n++) byte_shrink_ranks<1, 8>(module, x, n, h + n);
}

// y[n][o] += sum over ranks of h[n][r] B[r, o] for N rows
template <int N>
inline void byte_expand_rows(const LoraModule& module, const float* const* h, int out, float* const* y) {
  const int pairs = int(ByteLora::pairs(module.rank));
  alignas(64) int16_t words[N][kMaxRank + kStep];
  float scales[N];
  for (int n = 0; n < N; n++) scales[n] = to_words(h[n], int(module.rank), 32767, words[n]);
  const char* panel = static_cast<const char*>(module.b);
  for (int o = 0; o < out; o += 16, panel += ByteLora::panel_bytes(module.rank)) {
    const int8_t* b = reinterpret_cast<const int8_t*>(panel + 32);
    i32x16 s[N] = {};
    for (int p = 0; p < pairs; p++) {
      const i16x32 w = load_bytes(b + size_t(p) * kStep);
#pragma GCC unroll 8
      for (int n = 0; n < N; n++) {
        int32_t pair;
        std::memcpy(&pair, &words[n][2 * p], sizeof pair);
        s[n] = add_pairs(s[n], w, (i16x32)(i32x16{} + pair));
      }
    }
    const f32x16 scale = load_bf16(reinterpret_cast<const uint16_t*>(panel));
    for (int n = 0; n < N; n++) {
      const f32x16 add = __builtin_convertvector(s[n], f32x16) * (scale * scales[n]);
      if (o + 16 <= out) {
        store16(y[n] + o, load16(y[n] + o) + add);
      } else {
        for (int j = 0; o + j < out; j++) y[n][o + j] += add[j];
      }
    }
  }
}

inline void byte_expand(const LoraModule& module, const float* const* h, int rows, int out, float* const* y) {
  int n = 0;
  for (; n + 8 <= rows; n += 8) byte_expand_rows<8>(module, h + n, out, y + n);
  for (; n + 4 <= rows; n += 4) byte_expand_rows<4>(module, h + n, out, y + n);
  for (; n + 2 <= rows; n += 2) byte_expand_rows<2>(module, h + n, out, y + n);
  for (; n < rows; n++) byte_expand_rows<1>(module, h + n, out, y + n);
}

inline bool all_finite(const float* x, size_t count) {
  f32x16 sum{};
  float rest = 0;
  for (; count >= 16; count -= 16, x += 16) sum += load16(x) * 0.0f;
  for (; count; count--) rest += *x++ * 0.0f;
  return sum16(sum) + rest == 0;
}

// The step between bytes, so that the largest of `x` is 127 of them (or a little more, which 127 then stands for). A bf16,
// so that packing what was unpacked gives the same bytes and the same step.
inline float byte_step(const float* x, int count) { return bf16_to_float(to_bf16(largest(x, count) / kByteMost)); }

// 16 numbers in whole steps, at most 127 either way.
inline i32x16 to_bytes(f32x16 x, f32x16 inverse) {
  const f32x16 round = set16(12582912.0f), most = set16(kByteMost);  // adding `round` rounds to a whole number
  const f32x16 steps = (x * inverse + round) - round;
  return __builtin_convertvector(-larger16(-larger16(steps, -most), -most), i32x16);
}

inline void byte_pack_a(const float* a, int rank, int in, char* to) {
  float* steps = reinterpret_cast<float*>(to);
  int8_t* row = reinterpret_cast<int8_t*>(to) + ByteLora::lines(size_t(rank) * sizeof(float));
  for (int r = 0; r < rank; r++, a += in, row += ByteLora::padded(in)) {
    steps[r] = byte_step(a, in);
    const f32x16 inverse = set16(steps[r] > 0 ? 1 / steps[r] : 0);
    for (int i = 0; i < in; i += 16) {
      float x[16] = {};
      std::memcpy(x, a + i, std::min(16, in - i) * sizeof(float));
      store_bytes(row + i, to_bytes(load16(x), inverse));
    }
  }
}

// b: [out, rank]; false where a number is not finite.
inline bool byte_pack_b(const float* b, int rank, int out, float scaling, char* to) {
  const int pairs = int(ByteLora::pairs(rank));
  f32x16 x[kMaxRank + 1];
  for (int o = 0; o < out; o += 16, to += ByteLora::panel_bytes(rank)) {
    f32x16 most{};
    const int outs = std::min(16, out - o);
    x[2 * pairs - 1] = f32x16{};
    for (int r = 0; r < rank; r++) {
      x[r] = f32x16{};
      for (int j = 0; j < outs; j++) x[r][j] = b[size_t(o + j) * rank + r] * scaling;
      most = larger16(most, abs16(x[r]));
    }
    if (!all_finite(reinterpret_cast<const float*>(x), size_t(16) * rank)) return false;
    f32x16 inverse;
    uint16_t* steps = reinterpret_cast<uint16_t*>(to);
    for (int j = 0; j < 16; j++) {
      steps[j] = to_bf16(most[j] / kByteMost);
      inverse[j] = steps[j] ? 1 / bf16_to_float(steps[j]) : 0;
    }
    int16_t* two = reinterpret_cast<int16_t*>(to + 32);
    for (int p = 0; p < pairs; p++)
      store_words(two + 16 * p, (to_bytes(x[2 * p], inverse) & 255) | to_bytes(x[2 * p + 1], inverse) << 8);
  }
  return true;
}

// Packs one module from PEFT's tensors, a [rank, in] and b [out, rank]; false where a number is not finite.
inline bool byte_pack(const float* a, const float* b, int rank, int in, int out, float scaling, char* to_a, char* to_b) {
  if (!all_finite(a, size_t(rank) * in)) return false;
  std::memset(to_a, 0, ByteLora::a_bytes(rank, in));
  byte_pack_a(a, rank, in, to_a);
  const size_t used = (size_t(out) + 15) / 16 * ByteLora::panel_bytes(rank);
  std::memset(to_b + used, 0, ByteLora::b_bytes(rank, out) - used);
  return byte_pack_b(b, rank, out, scaling, to_b);
}

}  // namespace grove
