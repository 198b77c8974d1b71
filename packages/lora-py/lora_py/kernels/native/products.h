// The products of a training step with a frozen weight W [out, in] where it lies in memory, in float32 or bf16:
// y = x W^T on the way forward and dx = dy W on the way back, for x and dy in float32. bf16 weights are multiplied in
// matrix tiles (Intel AMX), to which x and dy are rounded.
//
// Every number is summed up the inner side in one fixed order that depends neither on how many rows there are nor on how
// the work is split, so a row's result is the same to the bit whatever shares its product.
#pragma once
#include "amx.h"
#include "training.h"

namespace grove {

// Turns 16 rows of 16 into columns: at each distance, halves of rows that far apart change places.
template <int Distance>
inline __attribute__((always_inline)) void swap_halves(f32x16* v) {
#define GROVE_LOW(l) ((l) & Distance ? 16 + (l) - Distance : (l))
#define GROVE_HIGH(l) ((l) & Distance ? 16 + (l) : (l) + Distance)
#define GROVE_ALL(at) at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7), at(8), at(9), at(10), at(11), at(12), at(13), at(14), at(15)
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++) {
    if (i & Distance) continue;
    const f32x16 a = v[i], b = v[i + Distance];
    v[i] = __builtin_shufflevector(a, b, GROVE_ALL(GROVE_LOW));
    v[i + Distance] = __builtin_shufflevector(a, b, GROVE_ALL(GROVE_HIGH));
  }
#undef GROVE_LOW
#undef GROVE_HIGH
#undef GROVE_ALL
}
inline __attribute__((always_inline)) void transpose16(f32x16* v) {
  swap_halves<8>(v);
  swap_halves<4>(v);
  swap_halves<2>(v);
  swap_halves<1>(v);
}

enum class Way { kForward, kBack };

// W as the right side of a product: `inner` numbers are summed for each of `outer` columns.
template <class T>
struct RightSide {
  const T* w;
  int inner, outer;
};

// Parts that `count` strips of columns are cut into: about `together` in a part, as many parts for every thread.
inline int parts_of(int count, int together, const Pool& pool) {
  return pool.threads() * std::max(1, count / (together * pool.threads()));
}

// ---- float32

constexpr int kStripRows = kRegisters == 32 ? 12 : 6;  // rows at one time: as many as there are registers for sums
constexpr int kLanes = 2, kStrip = kLanes * kWide;  // columns of a strip
constexpr int kDepth = 256;                         // of the inner side at one time: that much of a strip stays in the nearest cache

// W's columns [first, first + kStrip) of inner rows [k, k + depth), as [depth][kStrip]; zeros past the end.
template <Way way>
void pack_strip(const RightSide<float>& w, int first, int k, int depth, float* to) {
  const int columns = std::min(kStrip, w.outer - first);
  if (columns < kStrip) std::memset(to, 0, sizeof(float) * depth * kStrip);
  if constexpr (way == Way::kBack) {
    const float* from = w.w + size_t(k) * w.outer + first;
    for (int i = 0; i < depth; i++, from += w.outer) {
      for (int j = 0; j < kStrip; j += 16) __builtin_prefetch(from + 16 * size_t(w.outer) + j);  // no hardware sees such steps
      std::memcpy(to + i * kStrip, from, sizeof(float) * columns);
    }
    return;
  }
  const float* from = w.w + size_t(first) * w.inner + k;
  int i = 0;
#if defined(__AVX512F__)
  for (; columns == kStrip && i + 16 <= depth; i += 16)
    for (int lane = 0; lane < kStrip; lane += 16) {
      f32x16 v[16];
      for (int j = 0; j < 16; j++) v[j] = load16(from + size_t(lane + j) * w.inner + i);
      transpose16(v);
      for (int j = 0; j < 16; j++) store16(to + (i + j) * kStrip + lane, v[j]);
    }
#endif
  for (; i < depth; i++)
    for (int j = 0; j < columns; j++) to[i * kStrip + j] = from[size_t(j) * w.inner + i];
}

// Calls f(count, first row) for tiles of kStripRows, then fewer, rows.
template <class F>
void by_tiles(int rows, F&& f) {
  int row = 0;
  const auto all = [&](auto count) {
    for (; row + count.value <= rows; row += count.value) f(count, row);
  };
  all(std::integral_constant<int, kStripRows>{});
  all(std::integral_constant<int, kStripRows / 3>{});
  all(std::integral_constant<int, 1>{});
}

// A tile's rows of x as [inner][rows]: rows a power of two apart would fall on the same lines of the cache.
template <int Rows>
void turn_rows(const float* x, int inner, float* to) {
  int k = 0;
#if defined(__AVX512F__)
  for (; Rows > 1 && (k + 15) * Rows + 16 <= inner * Rows; k += 16) {
    f32x16 v[16] = {};
    for (int r = 0; r < Rows; r++) v[r] = load16(x + size_t(r) * inner + k);
    transpose16(v);
    for (int i = 0; i < 16; i++) store16(to + (k + i) * Rows, v[i]);  // what is past a row's own is written later
  }
#endif
  for (; k < inner; k++)
    for (int r = 0; r < Rows; r++) to[k * Rows + r] = x[size_t(r) * inner + k];
}

template <int Rows>
void add_strip(const float* x, const float* strip, int depth, bool first, float* y, size_t y_stride) {
  Wide sums[Rows][kLanes] = {};
  for (int k = 0; k < depth; k++, x += Rows, strip += kStrip) {
    Wide w[kLanes];
    for (int l = 0; l < kLanes; l++) w[l] = load_wide(strip + l * kWide);
#pragma GCC unroll 12
    for (int r = 0; r < Rows; r++)
      for (int l = 0; l < kLanes; l++) sums[r][l] += x[r] * w[l];
  }
  for (int r = 0; r < Rows; r++)
    for (int l = 0; l < kLanes; l++) {
      float* to = y + r * y_stride + l * kWide;
      store_wide(to, first ? sums[r][l] : load_wide(to) + sums[r][l]);
    }
}

template <Way way>
void product(const RightSide<float>& w, const float* x, int rows, float* y, Pool& pool) {
  thread_local Buffer<float> kept;
  thread_local size_t room = 0;
  if (room < size_t(rows) * w.inner) kept = allocate<float>(room = size_t(rows) * w.inner);
  float* turned = kept.get();
  pool.run((rows + kStripRows - 1) / kStripRows, [&](int item) {
    const int first = item * kStripRows;
    by_tiles(std::min(kStripRows, rows - first), [&](auto count, int row) {
      const size_t at = size_t(first + row) * w.inner;
      turn_rows<count.value>(x + at, w.inner, turned + at);
    });
  });
  const int strips = (w.outer + kStrip - 1) / kStrip, items = parts_of(strips, 3, pool);  // they share what they read of x
  pool.run(items, [&](int item) {
    alignas(64) float packed[kDepth * kStrip];
    thread_local std::vector<float> narrow;  // of a last strip that is not whole
    const int begin = strips * item / items, end = strips * (item + 1) / items;
    if (begin == end) return;
    const bool whole = end * kStrip <= w.outer;
    if (!whole) narrow.resize(size_t(rows) * kStrip);
    for (int k = 0; k < w.inner; k += kDepth) {
      const int depth = std::min(kDepth, w.inner - k);
      for (int strip = begin; strip < end; strip++) {
        const bool own = strip < end - 1 || whole;
        float* out = own ? y + size_t(strip) * kStrip : narrow.data();
        const size_t stride = own ? w.outer : kStrip;
        pack_strip<way>(w, strip * kStrip, k, depth, packed);
        by_tiles(rows, [&](auto count, int row) {
          add_strip<count.value>(turned + size_t(row) * w.inner + k * count.value, packed, depth, k == 0, out + row * stride, stride);
        });
      }
    }
    const int last = (end - 1) * kStrip;
    for (int r = 0; !whole && r < rows; r++)
      std::memcpy(y + size_t(r) * w.outer + last, &narrow[size_t(r) * kStrip], sizeof(float) * (w.outer - last));
  });
}

// ---- bf16

#if GROVE_AMX
inline bool tiles_fit(const RightSide<uint16_t>& w) { return tiles_ready() && w.inner % kGroup == 0 && w.outer % kGroup == 0; }

inline __m512i rounded32(const float* x) { return (__m512i)_mm512_cvtne2ps_pbh((__m512)load16(x + 16), (__m512)load16(x)); }

// x as [row / 16][group of the inner side]{ tile }. On the way forward a tile is a right side, with pairs of inputs down
// and rows across; on the way back it is a left one, with rows down.
template <Way way>
void round_rows(const float* x, int rows, int inner, uint16_t* to, Pool& pool) {
  const int groups = inner / kGroup;
  pool.run((rows + kTileRows - 1) / kTileRows, [&](int item) {
    const int own = std::min(kTileRows, rows - item * kTileRows);
    for (int g = 0; g < groups; g++) {
      f32x16 v[kTileRows];
      for (int r = 0; r < kTileRows; r++)
        v[r] = r < own ? (f32x16)rounded32(x + size_t(item * kTileRows + r) * inner + g * kGroup) : f32x16{};
      if (way == Way::kForward) transpose16(v);
      uint16_t* tile = to + (size_t(item) * groups + g) * kTile;
      for (int r = 0; r < kTileRows; r++) _mm512_store_si512(tile + r * kGroup, (__m512i)v[r]);
    }
  });
}

// y's tiles of 32 columns and 16 or 32 rows: tile registers 0 and 1 are the first 16 rows.
template <Way way>
void store_sums(int first_row, int rows, float* y, int stride) {
  const int pairs = std::min(2, (rows - first_row + kTileRows - 1) / kTileRows);
  alignas(64) float sums[4][kTileRows * kTileRows];
  _tile_stored(0, sums[0], 64);
  _tile_stored(1, sums[1], 64);
  if (pairs == 2) {
    _tile_stored(2, sums[2], 64);
    _tile_stored(3, sums[3], 64);
  }
  before_tiles();
  for (int pair = 0; pair < pairs; pair++) {
    float* target = y + size_t(first_row + pair * kTileRows) * stride;
    const int own = std::min(kTileRows, rows - first_row - pair * kTileRows);
    for (int half = 0; half < 2; half++) {
      f32x16 v[kTileRows];
      for (int r = 0; r < kTileRows; r++) v[r] = load16(&sums[pair * 2 + half][r * 16]);
      if (way == Way::kForward) transpose16(v);
      for (int r = 0; r < own; r++) store16(target + size_t(r) * stride + half * 16, v[r]);
    }
  }
}

// W's columns of a block, as two right sides for each 32 of the inner side: pairs of rows woven together.
inline void weave_block(const RightSide<uint16_t>& w, int block, uint16_t* to) {
  alignas(64) uint16_t order[2][kGroup];
  for (int i = 0; i < kGroup; i++)
    for (int half = 0; half < 2; half++) order[half][i] = uint16_t(i / 2 + half * 16 + i % 2 * 32);
  const __m512i low = _mm512_load_si512(order[0]), high = _mm512_load_si512(order[1]);
  const uint16_t* from = w.w + size_t(block) * kGroup;
  for (int g = 0; g < w.inner / kGroup; g++, to += 2 * kTile)
    for (int r = 0; r < kTileRows; r++, from += 2 * size_t(w.outer)) {
      _mm_prefetch(reinterpret_cast<const char*>(from + 32 * size_t(w.outer)), _MM_HINT_T0);
      _mm_prefetch(reinterpret_cast<const char*>(from + 33 * size_t(w.outer)), _MM_HINT_T0);
      const __m512i a = _mm512_loadu_si512(from), b = _mm512_loadu_si512(from + w.outer);
      _mm512_store_si512(to + r * kGroup, _mm512_permutex2var_epi16(a, low, b));
      _mm512_store_si512(to + kTile + r * kGroup, _mm512_permutex2var_epi16(a, high, b));
    }
  before_tiles();
}

// Where two tiles of W lie for each 32 of the inner side: `step` numbers further for the next, rows `stride` bytes apart.
struct BlockTiles {
  const uint16_t *low, *high;
  int step, stride;
};

// A block of 32 columns of y. On the way forward W's own rows are the left sides, so y comes out turned.
template <Way way>
void sum_block(const BlockTiles& w, int groups, const uint16_t* x, int rows, float* y, int y_stride) {
  for (int row = 0; row < rows; row += 2 * kTileRows) {
    const uint16_t *first = x + size_t(row / kTileRows) * groups * kTile, *second = first + size_t(groups) * kTile;
    const bool two = rows - row > kTileRows;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int g = 0; g < groups; g++) {
      const uint16_t *low = w.low + size_t(g) * w.step, *high = w.high + size_t(g) * w.step;
      if (way == Way::kForward && row == 0)  // what the next block reads comes meanwhile: it lies behind this one
        for (int r = kGroup; r < 2 * kGroup; r++) _mm_prefetch(reinterpret_cast<const char*>(low) + size_t(r) * w.stride, _MM_HINT_T1);
      _tile_loadd(4, low, w.stride);
      _tile_loadd(5, high, w.stride);
      _tile_loadd(6, first + size_t(g) * kTile, 64);
      if (two) _tile_loadd(7, second + size_t(g) * kTile, 64);
      if constexpr (way == Way::kForward) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 5, 6);
        if (two) {
          _tile_dpbf16ps(2, 4, 7);
          _tile_dpbf16ps(3, 5, 7);
        }
      } else {
        _tile_dpbf16ps(0, 6, 4);
        _tile_dpbf16ps(1, 6, 5);
        if (two) {
          _tile_dpbf16ps(2, 7, 4);
          _tile_dpbf16ps(3, 7, 5);
        }
      }
    }
    store_sums<way>(row, rows, y, y_stride);
  }
}

template <Way way>
void product(const RightSide<uint16_t>& w, const float* x, int rows, float* y, Pool& pool) {
  thread_local Buffer<uint16_t> tiles;
  thread_local size_t room = 0;
  const size_t size = size_t((rows + kTileRows - 1) / kTileRows) * kTileRows * w.inner;
  if (room < size) tiles = allocate<uint16_t>(room = size);
  uint16_t* rounded = tiles.get();
  round_rows<way>(x, rows, w.inner, rounded, pool);
  const int blocks = w.outer / kGroup, items = parts_of(blocks, 2, pool);
  pool.run(items, [&](int item) {
    thread_local Buffer<uint16_t> woven;
    thread_local int woven_room = 0;
    if (way == Way::kBack && woven_room < w.inner) woven = allocate<uint16_t>(size_t(woven_room = w.inner) * kGroup);
    const TileSession session(kTileRows);
    for (int block = blocks * item / items; block < blocks * (item + 1) / items; block++) {
      BlockTiles at;
      if constexpr (way == Way::kForward) {
        const uint16_t* own = w.w + size_t(block) * kGroup * w.inner;
        at = {own, own + size_t(kTileRows) * w.inner, kGroup, w.inner * 2};
      } else {
        weave_block(w, block, woven.get());
        at = {woven.get(), woven.get() + kTile, 2 * kTile, 64};
      }
      sum_block<way>(at, w.inner / kGroup, rounded, rows, y + block * kGroup, w.outer);
    }
  });
}
#endif

// Of a W of either kind: bf16 where `tiles_fit` takes it.
template <Way way>
void product(const void* w, bool bf16, int inner, int outer, const float* x, int rows, float* y, int threads) {
  Pool& pool = training_pool(threads);
#if GROVE_AMX
  if (bf16) return product<way>(RightSide<uint16_t>{static_cast<const uint16_t*>(w), inner, outer}, x, rows, y, pool);
#endif
  product<way>(RightSide<float>{static_cast<const float*>(w), inner, outer}, x, rows, y, pool);
}

}  // namespace grove
