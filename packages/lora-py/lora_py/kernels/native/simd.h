// Sixteen floats at a time, in GCC's vector types: one source for AVX-512, AVX2 and machines with neither.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace grove {

typedef float f32x16 __attribute__((vector_size(64)));
typedef int32_t i32x16 __attribute__((vector_size(64)));
typedef uint16_t half;  // IEEE binary16 bits

inline f32x16 load16(const float* p) {
  f32x16 v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void store16(float* p, f32x16 v) { std::memcpy(p, &v, sizeof v); }
inline f32x16 set16(float x) { return f32x16{} + x; }

// One register of floats, for loops that fill the registers with sums: a compiler without registers of 64 bytes would put
// an array of f32x16 into memory.
#if defined(__AVX512F__)
constexpr int kWide = 16, kRegisters = 32;
#elif defined(__AVX__)
constexpr int kWide = 8, kRegisters = 16;
#else
constexpr int kWide = 4, kRegisters = 16;
#endif
typedef float Wide __attribute__((vector_size(kWide * 4)));

inline Wide load_wide(const float* p) {
  Wide v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void store_wide(float* p, Wide v) { std::memcpy(p, &v, sizeof v); }
inline float sum_wide(Wide v) {
  float part[kWide];
  store_wide(part, v);
  for (int half = kWide / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) part[i] += part[i + half];
  return part[0];
}

inline float half_to_float(half h) {
#if defined(__F16C__)
  return _cvtsh_ss(h);
#else
  const uint32_t sign = uint32_t(h & 0x8000) << 16, rest = h & 0x7fff;
  float value;
  if (rest >= 0x7c00) {
    const uint32_t bits = sign | 0x7f800000 | (rest & 0x3ff) << 13;
    std::memcpy(&value, &bits, 4);
  } else {
    uint32_t bits = rest << 13;
    std::memcpy(&value, &bits, 4);
    value *= 0x1p112f;  // moves the exponent's bias, and makes subnormals normal
    std::memcpy(&bits, &value, 4);
    bits |= sign;
    std::memcpy(&value, &bits, 4);
  }
  return value;
#endif
}

inline f32x16 load16(const half* p) {
#if defined(__AVX512F__)
  return (f32x16)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p));
#elif defined(__F16C__)
  union {
    f32x16 whole;
    __m256 part[2];
  } v;
  v.part[0] = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p));
  v.part[1] = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(p + 8)));
  return v.whole;
#else
  f32x16 v;
  for (int i = 0; i < 16; i++) v[i] = half_to_float(p[i]);
  return v;
#endif
}

inline float bf16_to_float(uint16_t x) {
  const uint32_t bits = uint32_t(x) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
// The nearest bf16, to even.
inline uint16_t to_bf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline f32x16 load_bf16(const uint16_t* p) {
#if defined(__AVX512F__)  // GCC widens the two halves and joins them
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return (f32x16)_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16);
#else
  typedef uint16_t u16x16 __attribute__((vector_size(32)));
  typedef uint32_t u32x16 __attribute__((vector_size(64)));
  u16x16 v;
  std::memcpy(&v, p, sizeof v);
  return (f32x16)(__builtin_convertvector(v, u32x16) << 16);
#endif
}

// Lane i meets lane i + 8, then i + 4, i + 2, i + 1: one fixed order of additions on every machine.
#define GROVE_FOLD(v, combine)                                                                                   \
  v = combine(v, __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));           \
  v = combine(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));           \
  v = combine(v, __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));           \
  v = combine(v, __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14))

inline f32x16 add16(f32x16 a, f32x16 b) { return a + b; }
inline f32x16 larger16(f32x16 a, f32x16 b) {
  const i32x16 first = a > b;
  return (f32x16)(((i32x16)a & first) | ((i32x16)b & ~first));
}
inline f32x16 abs16(f32x16 v) { return (f32x16)((i32x16)v & 0x7fffffff); }
inline float sum16(f32x16 v) {
  GROVE_FOLD(v, add16);
  return v[0];
}
inline float max16(f32x16 v) {
  GROVE_FOLD(v, larger16);
  return v[0];
}

// e^x for x <= 88, by range reduction and a polynomial (Cephes); below -87 it is 0.
inline f32x16 exp16(f32x16 x) {
  const f32x16 low = set16(-87.0f), high = set16(88.0f);
  const i32x16 keep = x > low, fits = x < high;
  x = (f32x16)(((i32x16)x & keep) | ((i32x16)low & ~keep));
  x = (f32x16)(((i32x16)x & fits) | ((i32x16)high & ~fits));
  const f32x16 big = set16(12582912.0f);  // adding it rounds to a whole number
  const f32x16 n = (x * 1.44269504088896341f + big) - big;
  x = x - n * 0.693359375f + n * 2.12194440e-4f;
  f32x16 p = set16(1.9875691500e-4f);
  p = p * x + 1.3981999507e-3f;
  p = p * x + 8.3334519073e-3f;
  p = p * x + 4.1665795894e-2f;
  p = p * x + 1.6666665459e-1f;
  p = p * x + 5.0000001201e-1f;
  p = p * x * x + x + 1.0f;
  const i32x16 shift = (__builtin_convertvector(n, i32x16) + 127) << 23;
  const f32x16 value = p * (f32x16)shift;
  return (f32x16)((i32x16)value & keep);
}

}  // namespace grove
