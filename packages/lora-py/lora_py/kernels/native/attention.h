// Attention over paged KV. Keys lie in a block as [dim][16 tokens], values as [16 tokens][dim]. A query walks the blocks
// in the order of their positions with a running maximum, so its result depends on its own sequence alone: not on
// batch-mates, nor on how the prompt was cut into chunks.
#pragma once
#include <algorithm>
#include <vector>

#include "simd.h"

namespace grove {

constexpr int kBlock = 16;

struct Queries {
  const float* q;  // row 0, [head_dim]; rows of one token are `head_dim` apart, tokens `stride` apart
  float* out;      // the same layout with `out_stride`
  int tokens, heads, stride, out_stride;
  int position;  // of the first token
};

class Attention {
 public:
  Attention(int head_dim, int window) : dim_(head_dim), window_(window), scale_(1.0f / std::sqrt(float(head_dim))) {}

  // One KV head's queries over `blocks`; keys and values point to this head in block 0, blocks are `block_stride` apart.
  void run(const Queries& t, const int32_t* blocks, const float* keys, const float* values, size_t block_stride) {
    const int rows = t.tokens * t.heads;
    top_.assign(rows, -INFINITY);
    total_.assign(rows, 0.0f);
    sum_.assign(size_t(rows) * dim_, 0.0f);
    scores_.resize(size_t(rows) * kBlock);
    const int last = t.position + t.tokens - 1;
    const int first = window_ > 0 ? std::max(0, t.position - window_ + 1) / kBlock : 0;
    for (int b = first; b <= last / kBlock; b++) {
      const float* k = keys + size_t(blocks[b]) * block_stride;
      const float* v = values + size_t(blocks[b]) * block_stride;
      int r = 0;
      for (; r + 4 <= rows; r += 4) score<4>(t, k, r);
      for (; r < rows; r++) score<1>(t, k, r);
      for (r = 0; r < rows; r++) weigh(t, v, r, b * kBlock);
    }
    for (int r = 0; r < rows; r++) {
      float* out = t.out + size_t(r / t.heads) * t.out_stride + size_t(r % t.heads) * dim_;
      for (int d = 0; d < dim_; d++) out[d] = sum_[size_t(r) * dim_ + d] / total_[r];
    }
  }

 private:
  int dim_, window_;
  float scale_;
  std::vector<float> top_, total_, sum_, scores_;

  template <int N>
  void score(const Queries& t, const float* keys, int row) {
    const float* q[N];
    f32x16 s[N] = {};
    for (int n = 0; n < N; n++)
      q[n] = t.q + size_t((row + n) / t.heads) * t.stride + size_t((row + n) % t.heads) * dim_;
    for (int d = 0; d < dim_; d++) {
      const f32x16 k = load16(keys + d * kBlock);
      for (int n = 0; n < N; n++) s[n] += k * q[n][d];
    }
    for (int n = 0; n < N; n++) store16(&scores_[size_t(row + n) * kBlock], s[n] * scale_);
  }

  void weigh(const Queries& t, const float* values, int row, int start) {
    const int position = t.position + row / t.heads;
    const int end = std::min(kBlock, position - start + 1);
    const int begin = window_ > 0 ? std::max(0, position - window_ + 1 - start) : 0;
    if (begin >= end) return;
    float* s = &scores_[size_t(row) * kBlock];
    for (int i = 0; i < begin; i++) s[i] = -INFINITY;
    for (int i = end; i < kBlock; i++) s[i] = -INFINITY;
    f32x16 v = load16(s);
    const float top = std::max(top_[row], max16(v));
    const float shrink = top_[row] == top ? 1.0f : std::exp(top_[row] - top);
    v = exp16(v - top);
    store16(s, v);
    top_[row] = top;
    total_[row] = total_[row] * shrink + sum16(v);
    float* out = &sum_[size_t(row) * dim_];
    for (int d = 0; d < dim_; d += 16) {
      f32x16 o = load16(out + d) * shrink;
      for (int i = begin; i < end; i++) o += load16(values + i * dim_ + d) * s[i];
      store16(out + d, o);
    }
  }
};

}  // namespace grove
