// y = x W^T in matrix tiles (Intel AMX) of bf16, for weights kept in 4 or 8 bits.
//
// A tile of 32 inputs x 32 outputs is unpacked in cache once and serves every row of x; x is the sum of two bf16 numbers,
// so that its rounding is far below the weights' own. A row's sums go up the inputs in one order whatever its neighbours.
#pragma once
#include <cstdint>

#include "ahead.h"
#include "bytes.h"

#if defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__linux__)
#define GROVE_AMX 1
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace grove {

#if GROVE_AMX
// The system grants tile registers to processes that ask. GROVE_AMX=0 in the environment does without them.
inline bool tiles_ready() {
  static const bool ready = [] {
    const char* wanted = std::getenv("GROVE_AMX");
    return !(wanted && wanted[0] == '0') && syscall(SYS_arch_prctl, 0x1023, 18) == 0;
  }();
  return ready;
}

// GCC's intrinsics don't say that tile loads and the configuration read memory; without this it may leave out the stores
// before them.
inline void before_tiles() { __asm__ volatile("" ::: "memory"); }

constexpr int kTileRows = 16, kTile = kTileRows * kGroup;  // rows of x in a tile; values in a tile

// 32 floats as sums of two bf16 each, which leaves 16 bits of them.
inline void split_bf16(f32x16 a, f32x16 b, uint16_t* high, uint16_t* low) {
  const auto widen = [](__m256i v) { return (f32x16)_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16); };
  const __m512i rounded = (__m512i)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a);
  a -= widen(_mm512_castsi512_si256(rounded));
  b -= widen(_mm512_extracti64x4_epi64(rounded, 1));
  _mm512_store_si512(high, rounded);
  _mm512_store_si512(low, (__m512i)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a));
}

// Rows of x as tiles lie: [row / 16][group of inputs][high, low][row % 16][32].
struct TileInputs {
  Buffer<uint16_t> values;

  void reserve(size_t rows, size_t width) {
    const size_t count = (rows + kTileRows - 1) / kTileRows * kTileRows * width * 2;
    values = allocate<uint16_t>(count);
    std::memset(values.get(), 0, count * sizeof(uint16_t));
  }
  const uint16_t* tiles(int row, int groups) const { return &values[size_t(row / kTileRows) * groups * 2 * kTile]; }

  void set_row(const float* x, int row, int width) {
    const int groups = width / kGroup;
    uint16_t* out = &values[size_t(row / kTileRows) * groups * 2 * kTile + size_t(row % kTileRows) * kGroup];
    for (int g = 0; g < groups; g++, x += kGroup, out += 2 * kTile)
      split_bf16(load16(x), load16(x + 16), out, out + kTile);
  }
};

// Tile registers are set up for the life of this object, on its thread: 0-3 sums, 4-5 x, 6-7 weights.
class TileSession {
 public:
  explicit TileSession(int rows) {
    struct alignas(64) {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t columns[16] = {};
      uint8_t rows[16] = {};
    } config;
    for (int t = 0; t < 8; t++) {
      config.rows[t] = uint8_t(t < 6 ? std::min(rows, kTileRows) : kTileRows);
      config.columns[t] = 64;
    }
    __asm__ volatile("" ::"r"(&config) : "memory");
    _tile_loadconfig(&config);
  }
  ~TileSession() { _tile_release(); }
};

class TiledLinear {
 public:
  static constexpr int kOut = 32;  // outputs of a block: two panels of 16

  // Blocks of [group] { two panels' weights, then scale and least of either }; `bits` is 4 or 8.
  void prepare(Arena& arena, int out, int in, int bits) {
    out_ = out;
    groups_ = in / kGroup;
    bits_ = bits;
    data_ = arena.take<uint8_t>(size_t(blocks()) * groups_ * piece() + 4096);
  }
  bool ready() const { return data_ != nullptr; }
  int blocks() const { return (out_ + kOut - 1) / kOut; }

  void pack(const float* w, int block) {
    const int steps = (1 << bits_) - 1, width = groups_ * kGroup;
    for (int g = 0; g < groups_; g++) {
      uint8_t* piece_at = data_ + (size_t(block) * groups_ + g) * piece();
      float* scales = reinterpret_cast<float*>(piece_at + 2 * panel_bytes());
      std::memset(piece_at, 0, piece());
      for (int j = 0; j < kOut && block * kOut + j < out_; j++) {
        const float* x = w + size_t(block * kOut + j) * width + g * kGroup;
        const float least = *std::min_element(x, x + kGroup), most = *std::max_element(x, x + kGroup);
        const float scale = (most - least) / steps * kByteUnit, inverse = scale > 0 ? kByteUnit / scale : 0.0f;
        scales[j / 16 * 32 + j % 16] = scale;
        scales[j / 16 * 32 + 16 + j % 16] = float(double(least) - double(scale));
        for (int i = 0; i < kGroup; i++)
          put(piece_at + j / 16 * panel_bytes(), j % 16, i, std::min(int(std::nearbyint((x[i] - least) * inverse)), steps));
      }
    }
  }

  int pieces() const { return blocks() * groups_; }

  // Blocks begin … end of the product for `count` rows of x; y has `stride` columns. Each piece asks for some of `ahead`.
  void multiply(int begin, int end, const TileInputs& x, int count, float* y, int stride, Ahead& ahead) const {
    const TileSession session(count);
    for (int block = begin; block < end; block++) {
      if (bits_ == 4)
        multiply<4>(block, x, count, y, stride, ahead);
      else
        multiply<8>(block, x, count, y, stride, ahead);
    }
  }

 private:
  // A weight's byte is bits 8-15 of a float between 1 and 2, whose unit there is 2^-15.
  static constexpr float kByteUnit = 32768.0f;
  static constexpr int kAhead = 4096;  // bytes: the hardware's own prefetcher stays too near
  int out_ = 0, groups_ = 0, bits_ = 8;
  uint8_t* data_ = nullptr;

  size_t panel_bytes() const { return size_t(bits_) * 64; }
  size_t piece() const { return 2 * panel_bytes() + 256; }

  // In a tile, row i/2 has outputs' pairs of inputs. Unpacking takes a tile's half row (16 floats) from one byte of each
  // dword, four half rows from 64 bytes; with 4 bits the odd 64 bytes lie in the upper half of the even ones.
  void put(uint8_t* panel, int output, int input, int value) {
    const int half_row = input / 2 * 2 + output / 8, lane = output % 8 * 2 + input % 2;
    const int at = lane / 4 * 16 + half_row % 4 * 4 + lane % 4, line = half_row / 4;
    if (bits_ == 8)
      panel[line * 64 + at] = uint8_t(value);
    else
      panel[line / 2 * 64 + at] |= uint8_t(value << (line % 2 * 4));
  }

  template <int Bits>
  static inline __attribute__((always_inline)) void unpack(const uint8_t* w, const float* scales, uint16_t* tile) {
    const __m512i first = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
    const __m512 scale = _mm512_load_ps(scales), least = _mm512_load_ps(scales + 16);
    const __m512 scale0 = _mm512_permutexvar_ps(first, scale), scale1 = _mm512_permutexvar_ps(second, scale);
    const __m512 least0 = _mm512_permutexvar_ps(first, least), least1 = _mm512_permutexvar_ps(second, least);
    const __m512i one = _mm512_set1_epi32(0x3f800000);
    const __m512i start = _mm512_set4_epi32(0x80800380, 0x80800280, 0x80800180, 0x80800080);  // dword's byte 1 <- byte 0-3
    const __mmask64 byte1 = 0x2222222222222222ull;
#pragma GCC unroll 8
    for (int line = 0; line < 8; line++) {
      __m512i v;
      if constexpr (Bits == 8) {
        v = _mm512_load_si512(w + line * 64);
      } else {
        v = _mm512_load_si512(w + line / 2 * 64);
        if (line % 2) v = _mm512_srli_epi16(v, 4);
        v = _mm512_and_si512(v, _mm512_set1_epi8(15));
      }
      __m512 f[4];
#pragma GCC unroll 4
      for (int c = 0; c < 4; c++) {
        const __m512i from = _mm512_add_epi8(start, _mm512_set1_epi32(c * 4 << 8));
        const __m512 byte = (__m512)_mm512_mask_shuffle_epi8(one, byte1, v, from);
        f[c] = _mm512_fmadd_ps(byte, c % 2 ? scale1 : scale0, c % 2 ? least1 : least0);
      }
      _mm512_store_si512(tile + line * 64, (__m512i)_mm512_cvtne2ps_pbh(f[1], f[0]));
      _mm512_store_si512(tile + line * 64 + 32, (__m512i)_mm512_cvtne2ps_pbh(f[3], f[2]));
    }
  }

  template <int Bits>
  static inline __attribute__((always_inline)) void unpack_piece(const uint8_t* w, uint16_t* tiles, Ahead& ahead) {
    constexpr int bytes = Bits * 64;
    for (int line = 0; line < 2 * bytes + 256; line += 64) _mm_prefetch(w + kAhead + line, _MM_HINT_T0);
    ahead.some();
    const float* scales = reinterpret_cast<const float*>(w + 2 * bytes);
    unpack<Bits>(w, scales, tiles);
    unpack<Bits>(w + bytes, scales + 32, tiles + kTile);
    before_tiles();
  }

  // One group of inputs of one or two tiles of rows.
  template <int Tiles>
  static inline __attribute__((always_inline)) void add(const uint16_t* x, const uint16_t* next, const uint16_t* w) {
    _tile_loadd(6, w, 64);
    _tile_loadd(7, w + kTile, 64);
    _tile_loadd(4, x, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (Tiles == 2) {
      _tile_loadd(5, next, 64);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    _tile_loadd(4, x + kTile, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (Tiles == 2) {
      _tile_loadd(5, next + kTile, 64);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }

  template <int Tiles>
  static void clear() {
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (Tiles == 2) {
      _tile_zero(2);
      _tile_zero(3);
    }
  }

  template <int Tiles>
  void finish(int block, int row, int count, float* y, int stride) const {
    float* target = y + size_t(row) * stride + block * kOut;
    const int columns = std::min(kOut, out_ - block * kOut);
    const bool whole = count >= Tiles * kTileRows || (row == 0 && count < kTileRows);  // as the session's tiles are
    if (columns == kOut && whole) {
      _tile_stored(0, target, stride * 4);
      _tile_stored(1, target + 16, stride * 4);
      if constexpr (Tiles == 2) {
        _tile_stored(2, target + 16 * stride, stride * 4);
        _tile_stored(3, target + 16 * stride + 16, stride * 4);
      }
      return;
    }
    alignas(64) float sums[Tiles * kTileRows][kOut];
    _tile_stored(0, sums, kOut * 4);
    _tile_stored(1, &sums[0][16], kOut * 4);
    if constexpr (Tiles == 2) {
      _tile_stored(2, &sums[16], kOut * 4);
      _tile_stored(3, &sums[16][16], kOut * 4);
    }
    for (int m = 0; m < std::min(count, Tiles * kTileRows); m++)
      std::memcpy(target + size_t(m) * stride, sums[m], columns * sizeof(float));
  }

  // While one group's tiles are multiplied, the next one's weights are unpacked.
  template <int Bits, int Tiles>
  void multiply_once(int block, const TileInputs& x, int count, float* y, int stride, Ahead& ahead) const {
    alignas(64) uint16_t tiles[4][2 * kTile];
    const uint8_t* w = data_ + size_t(block) * groups_ * piece();
    const uint16_t *rows = x.tiles(0, groups_), *next = x.tiles(kTileRows, groups_);
    clear<Tiles>();
    unpack_piece<Bits>(w, tiles[0], ahead);
    for (int g = 1; g < groups_; g++) {
      unpack_piece<Bits>(w + g * piece(), tiles[g % 4], ahead);
      add<Tiles>(rows + (g - 1) * 2 * kTile, next + (g - 1) * 2 * kTile, tiles[(g - 1) % 4]);
    }
    const int last = groups_ - 1;
    add<Tiles>(rows + last * 2 * kTile, next + last * 2 * kTile, tiles[last % 4]);
    finish<Tiles>(block, 0, count, y, stride);
  }

  template <int Tiles>
  void multiply_rows(const uint16_t* w, int block, const TileInputs& x, int row, int count, float* y, int stride) const {
    const uint16_t *rows = x.tiles(row, groups_), *next = x.tiles(row + kTileRows, groups_);
    clear<Tiles>();
    for (int g = 0; g < groups_; g++) add<Tiles>(rows + g * 2 * kTile, next + g * 2 * kTile, w + g * 2 * kTile);
    finish<Tiles>(block, row, count, y, stride);
  }

  template <int Bits>
  void multiply(int block, const TileInputs& x, int count, float* y, int stride, Ahead& ahead) const {
    if (count <= kTileRows) return multiply_once<Bits, 1>(block, x, count, y, stride, ahead);
    if (count <= 2 * kTileRows) return multiply_once<Bits, 2>(block, x, count, y, stride, ahead);
    thread_local Buffer<uint16_t> unpacked;
    thread_local int room = 0;
    if (room < groups_) unpacked = allocate<uint16_t>(size_t(room = groups_) * 2 * kTile);
    for (int g = 0; g < groups_; g++)
      unpack_piece<Bits>(data_ + (size_t(block) * groups_ + g) * piece(), &unpacked[size_t(g) * 2 * kTile], ahead);
    int row = 0;
    for (; count - row > kTileRows; row += 2 * kTileRows)
      multiply_rows<2>(unpacked.get(), block, x, row, count - row, y, stride);
    if (row < count) multiply_rows<1>(unpacked.get(), block, x, row, count - row, y, stride);
  }
};
#endif

}  // namespace grove
