// Matrix tiles (Intel AMX) for 16 rows at once. The integer sums are exact and the float additions come in the same
// order as in the row-wise code, so both give the same bits and may be mixed freely.
#pragma once
#include "simd.h"

#if defined(__AMX_INT8__) && defined(__AVX512F__) && defined(__linux__)
#define GROVE_AMX 1
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace grove {

constexpr int kAmxRows = 16;

#if GROVE_AMX
// The kernel grants tile registers to processes that ask.
inline bool amx_ready() {
  static const bool ready = syscall(SYS_arch_prctl, 0x1023, 18) == 0;
  return ready;
}

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t columns[16] = {};
  uint8_t rows[16] = {};
};

// Tile registers are set up for the life of this object, on its thread.
class AmxSession {
 public:
  AmxSession() {
    TileConfig config;
    for (int t = 0; t < 2; t++) {
      set(config, t, kAmxRows, 64);      // sums: 16 rows x 16 int32
      set(config, 2 + t, kAmxRows, 32);  // x: 16 rows x 32 bytes
    }
    set(config, 4, 8, 64);  // w: 8 fours of inputs x 16 outputs
    _tile_loadconfig(&config);
  }
  ~AmxSession() { _tile_release(); }

  // sums[m] = the panel's product with row m of 16; `w` is [group][8][16][4], `scales` [group][scale, least][16].
  static void panel(const int8_t* w, const float* scales, const int8_t* high, const int8_t* low, const float* x_scales,
                    const float* x_sums, int groups, f32x16* sums) {
    alignas(64) int32_t dots[2][kAmxRows][16];
    const int width = groups * 32;
    __m512 s[kAmxRows];
#pragma GCC unroll 16
    for (int m = 0; m < kAmxRows; m++) s[m] = _mm512_setzero_ps();
    for (int g = 0; g < groups; g++) {
      _tile_zero(0);
      _tile_zero(1);
      _tile_loadd(4, w + size_t(g) * 512, 64);
      _tile_loadd(2, high + g * 32, width);
      _tile_dpbssd(0, 2, 4);
      _tile_loadd(3, low + g * 32, width);
      _tile_dpbssd(1, 3, 4);
      // Tile loads alone don't set off the hardware's prefetcher: without this a panel arrives line by line.
      const int8_t* next = w + size_t(groups + g) * 512;
      for (int line = 0; line < 512; line += 64) _mm_prefetch(next + line, _MM_HINT_T0);
      _tile_stored(0, dots[0], 64);
      _tile_stored(1, dots[1], 64);
      const __m512 scale = _mm512_loadu_ps(scales + g * 32), least = _mm512_loadu_ps(scales + g * 32 + 16);
#pragma GCC unroll 16
      for (int m = 0; m < kAmxRows; m++) {
        const __m512i up = _mm512_slli_epi32(_mm512_load_si512(dots[0][m]), 7);
        const __m512 dot = _mm512_cvtepi32_ps(_mm512_add_epi32(up, _mm512_load_si512(dots[1][m])));
        s[m] = _mm512_fmadd_ps(least, _mm512_set1_ps(x_sums[m * groups + g]), s[m]);
        s[m] = _mm512_fmadd_ps(dot, _mm512_mul_ps(scale, _mm512_set1_ps(x_scales[m * groups + g])), s[m]);
      }
    }
#pragma GCC unroll 16
    for (int m = 0; m < kAmxRows; m++) sums[m] = (f32x16)s[m];
  }

 private:
  static void set(TileConfig& config, int tile, int rows, int columns) {
    config.rows[tile] = uint8_t(rows);
    config.columns[tile] = uint16_t(columns);
  }
};
#endif

}  // namespace grove
