// Attention over paged KV in matrix tiles: keys and values lie in bf16 as tiles are read, queries and weights are sums of
// two bf16. Keys are taken 64 at a time at fixed positions with a running maximum, and what a query may not see counts
// as nothing to the bit, so its result depends on its own sequence alone.
#pragma once
#include "amx.h"
#include "attention.h"

namespace grove {

#if GROVE_AMX
// Tile `sum` += (tiles 4 + 5) times the tile at `from`, which is read into tile `w`. Tiles are named by literals.
#define GROVE_ADD(sum, w, from, stride) \
  _tile_loadd(w, from, stride);         \
  _tile_dpbf16ps(sum, 4, w);            \
  _tile_dpbf16ps(sum, 5, w)

class TiledAttention {
 public:
  TiledAttention(int head_dim, int window) : dim_(head_dim), window_(window), scale_(1.44269504f / std::sqrt(float(head_dim))) {}

  static bool supports(int head_dim) { return tiles_ready() && head_dim % kGroup == 0; }

  // A block's keys are [dim / 32][16 pairs of dims][16 tokens][2], its values [8 pairs of tokens][dim][2].
  static void put(uint16_t* keys, uint16_t* values, const float* k, const float* v, int dim, int offset) {
    for (int i = 0; i < dim; i++) keys[i / 2 * 2 * kBlock + offset * 2 + i % 2] = narrow(k[i]);
    for (int i = 0; i < dim; i++) values[(offset / 2 * dim + i) * 2 + offset % 2] = narrow(v[i]);
  }
  // A weight of zero does not undo what was left in memory: values that no token has written yet must be numbers.
  static void clear_values(uint16_t* values, int dim, int first) {
    for (int offset = first; offset < kBlock; offset++)
      for (int i = 0; i < dim; i++) values[(offset / 2 * dim + i) * 2 + offset % 2] = 0;
  }

  void run(const Queries& t, const int32_t* blocks, const uint16_t* keys, const uint16_t* values, size_t block_stride) {
    const int rows = t.tokens * t.heads, tiles = (rows + kTileRows - 1) / kTileRows;
    load(t, rows, tiles);
    const int last = t.position + t.tokens - 1;
    const int first = window_ > 0 ? std::max(0, t.position - window_ + 1) / kStep * kStep : 0;
    const TileSession session(rows);
    for (int start = first; start <= last; start += kStep) {
      const int32_t* step = blocks + start / kBlock;
      const int count = std::min(kBlocks, last / kBlock - start / kBlock + 1);
      const int ahead = std::min(kBlocks, last / kBlock - start / kBlock + 1 - count);
      for (int b = 0; b < ahead; b++) prefetch(keys, values, size_t(step[kBlocks + b]) * block_stride);
      for (int b = 0; b < kBlocks; b++) {
        uint16_t* target = &values_[size_t(b) * kBlock * dim_];
        if (b < count)
          std::memcpy(target, values + size_t(step[b]) * block_stride, kBlock * dim_ * sizeof(uint16_t));
        else
          std::memset(target, 0, kBlock * dim_ * sizeof(uint16_t));
      }
      for (int tile = 0; tile < tiles; tile++) {
        const int row = tile * kTileRows, end = std::min(rows, row + kTileRows);
        const int seen = t.position + (end - 1) / t.heads;
        if (seen < start) continue;
        const int used = std::min(count, (seen - start) / kBlock + 1);
        score(tile, step, keys, block_stride, used);
        const bool cut = window_ > 0 || t.position + row / t.heads < start + used * kBlock - 1;
        for (int r = row; r < end; r++) weigh(r, start, used, cut ? t.position + r / t.heads : -1);
        add_values(tile, (used + 1) / 2);
      }
    }
    for (int r = 0; r < rows; r++) {
      float* out = t.out + size_t(r / t.heads) * t.out_stride + size_t(r % t.heads) * dim_;
      const float total = sum16(total_[r]);
      for (int d = 0; d < dim_; d++) out[d] = sums_[size_t(r) * dim_ + d] / total;
    }
  }

 private:
  static constexpr int kBlocks = 4, kStep = kBlocks * kBlock;
  static constexpr float kNothing = -1e30f;  // below every score, yet a number
  int dim_, window_;
  float scale_;  // of scores, with which a weight is a power of two
  size_t room_ = 0;
  Buffer<uint16_t> queries_;  // [tile][dim / 32][high, low][16][32]
  Buffer<float> sums_;        // [row][dim]
  Buffer<float> top_;         // [row]
  Buffer<f32x16> total_;      // [row]
  Buffer<uint16_t> values_;   // [64 tokens / 2][dim][2]
  alignas(64) float scores_[kTileRows][kStep];
  alignas(64) uint16_t weights_[kBlocks / 2][2][kTile];  // [32 tokens][high, low][16][32]

  static uint16_t narrow(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  }

  // 2^x for x <= 0, to the 18 bits that a sum of two bf16 can use; 0 where it is nothing beside the largest weight, 1.
  static f32x16 exp2(f32x16 x) {
    const __m512 t = _mm512_max_ps((__m512)x, _mm512_set1_ps(-60.0f));
    const __m512 n = _mm512_roundscale_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const f32x16 f = (f32x16)t - (f32x16)n;
    f32x16 p = f * 0.00133335581f + 0.00961812911f;
    p = p * f + 0.0555041087f;
    p = p * f + 0.240226507f;
    p = p * f + 0.693147181f;
    p = p * f + 1.0f;
    return (f32x16)_mm512_maskz_scalef_ps(_mm512_cmp_ps_mask((__m512)x, t, _CMP_EQ_OQ), (__m512)p, n);
  }

  void prefetch(const uint16_t* keys, const uint16_t* values, size_t at) const {
    for (int i = 0; i < kBlock * dim_; i += 32) {
      _mm_prefetch(keys + at + i, _MM_HINT_T0);
      _mm_prefetch(values + at + i, _MM_HINT_T0);
    }
  }

  void load(const Queries& t, int rows, int tiles) {
    const size_t padded = size_t(tiles) * kTileRows;
    if (padded > room_) {
      room_ = padded;
      queries_ = allocate<uint16_t>(padded * dim_ * 2);
      std::memset(queries_.get(), 0, padded * dim_ * 2 * sizeof(uint16_t));
      sums_ = allocate<float>(padded * dim_);
      top_ = allocate<float>(padded);
      total_ = allocate<f32x16>(padded);
      values_ = allocate<uint16_t>(size_t(kStep) * dim_);
      std::memset(weights_, 0, sizeof weights_);
    }
    std::memset(sums_.get(), 0, padded * dim_ * sizeof(float));
    for (int r = 0; r < rows; r++) {
      top_[r] = kNothing;
      total_[r] = f32x16{};
      const float* q = t.q + size_t(r / t.heads) * t.stride + size_t(r % t.heads) * dim_;
      uint16_t* out = &queries_[size_t(r / kTileRows) * kTileRows * dim_ * 2 + size_t(r % kTileRows) * kGroup];
      for (int d = 0; d < dim_; d += kGroup, out += 2 * kTile)
        split_bf16(load16(q + d) * scale_, load16(q + d + 16) * scale_, out, out + kTile);
    }
  }

  // All four blocks at once, so that their sums don't wait for each other; what is past `used` is not read later.
  void score(int tile, const int32_t* blocks, const uint16_t* keys, size_t block_stride, int used) {
    const uint16_t* q = &queries_[size_t(tile) * kTileRows * dim_ * 2];
    const uint16_t* k[kBlocks];
    for (int b = 0; b < kBlocks; b++) k[b] = keys + size_t(blocks[b < used ? b : 0]) * block_stride;
    before_tiles();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int d = 0; d < dim_ / kGroup; d++, q += 2 * kTile) {
      _tile_loadd(4, q, 64);
      _tile_loadd(5, q + kTile, 64);
      GROVE_ADD(0, 6, k[0] + d * kTile, 64);
      GROVE_ADD(1, 7, k[1] + d * kTile, 64);
      GROVE_ADD(2, 6, k[2] + d * kTile, 64);
      GROVE_ADD(3, 7, k[3] + d * kTile, 64);
    }
    _tile_stored(0, &scores_[0][0], kStep * 4);
    _tile_stored(1, &scores_[0][kBlock], kStep * 4);
    _tile_stored(2, &scores_[0][2 * kBlock], kStep * 4);
    _tile_stored(3, &scores_[0][3 * kBlock], kStep * 4);
  }

  // Scores of `row` become weights; `position` is the row's own where some of the keys are not for it, else -1.
  void weigh(int row, int start, int used, int position) {
    const float* s = scores_[row % kTileRows];
    f32x16 v[kBlocks];
    for (int b = 0; b < kBlocks; b++) v[b] = b < used ? load16(s + b * kBlock) : set16(-INFINITY);
    if (position >= 0) {
      const i32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
      const int least = window_ > 0 ? position - window_ + 1 : 0;
      for (int b = 0; b < used; b++) {
        const i32x16 at = lane + (start + b * kBlock);
        const i32x16 keep = (at <= position) & (at >= least);
        v[b] = (f32x16)(((i32x16)v[b] & keep) | ((i32x16)set16(-INFINITY) & ~keep));
      }
    }
    const __m512 largest = _mm512_max_ps(_mm512_max_ps((__m512)v[0], (__m512)v[1]), _mm512_max_ps((__m512)v[2], (__m512)v[3]));
    const float top = std::max(top_[row], _mm512_reduce_max_ps(largest));
    if (top != top_[row]) {
      const float shrink = std::exp2(top_[row] - top);
      total_[row] *= shrink;
      float* sums = &sums_[size_t(row) * dim_];
      for (int d = 0; d < dim_; d += 16) store16(sums + d, load16(sums + d) * shrink);
      top_[row] = top;
    }
    for (int b = 0; b < kBlocks; b++) v[b] = exp2(v[b] - top);
    total_[row] += (v[0] + v[1]) + (v[2] + v[3]);
    const int at = row % kTileRows * kGroup;
    for (int pair = 0; pair < kBlocks / 2; pair++)
      split_bf16(v[pair * 2], v[pair * 2 + 1], &weights_[pair][0][at], &weights_[pair][1][at]);
  }

  // 32 dims at a time; the weights lie in tiles 4 and 5, or 2 and 3 for the second 32 tokens.
  void add_values(int tile, int pairs) {
    const int stride = dim_ * 4;  // bytes, of a row of sums and of a pair of tokens
    before_tiles();
    _tile_loadd(4, weights_[0][0], 64);
    _tile_loadd(5, weights_[0][1], 64);
    _tile_loadd(2, weights_[1][0], 64);
    _tile_loadd(3, weights_[1][1], 64);
    for (int d = 0; d < dim_; d += 32) {
      float* sums = &sums_[size_t(tile) * kTileRows * dim_ + d];
      const uint16_t* v = &values_[d * 2];
      _tile_loadd(0, sums, stride);
      _tile_loadd(1, sums + 16, stride);
      GROVE_ADD(0, 6, v, stride);
      GROVE_ADD(1, 7, v + 32, stride);
      if (pairs == 2) {
        v += kGroup * dim_;
        _tile_loadd(6, v, stride);
        _tile_dpbf16ps(0, 2, 6);
        _tile_loadd(7, v + 32, stride);
        _tile_dpbf16ps(1, 2, 7);
        _tile_dpbf16ps(0, 3, 6);
        _tile_dpbf16ps(1, 3, 7);
      }
      _tile_stored(0, sums, stride);
      _tile_stored(1, sums + 16, stride);
    }
  }
};
#endif

}  // namespace grove
