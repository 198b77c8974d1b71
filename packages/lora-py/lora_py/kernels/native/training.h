// What a training step does beside the base's products, forward and backward: its elementwise pieces and the adapters of
// one fused linear. Everything is float32. A row's result depends on that row alone, and a sum over rows is taken in
// their order, so neither the number of threads nor the rows of other jobs change a bit of it.
#pragma once
#include "lora.h"
#include "pool.h"
#include "rows.h"

#include <type_traits>

namespace grove {

constexpr int kRowsApart = 1 << 16;  // numbers for which a second thread is worth waking

// As many as the first call asks for: a process does not change its mind, and no result depends on it.
inline Pool& training_pool(int threads) {
  static Pool pool(threads);
  return pool;
}

template <class F>
void each_row_of(int rows, int width, int threads, F&& f) {
  Pool& pool = training_pool(threads);
  const int together = std::max(1, kRowsApart / width), items = (rows + together - 1) / together;
  pool.run(items, [&](int item) {
    for (int row = item * together; row < std::min(rows, (item + 1) * together); row++) f(size_t(row));
  });
}

inline void rms_norm_back(const float* dy, const float* x, const float* weight, float rstd, float* dx, int width) {
  f32x16 sum{};
  float rest = 0;
  int i = 0;
  for (; i + 16 <= width; i += 16) sum += load16(dy + i) * load16(weight + i) * load16(x + i);
  for (; i < width; i++) rest += dy[i] * weight[i] * x[i];
  const float along = (sum16(sum) + rest) * rstd * rstd / width;
  for (i = 0; i < width; i++) dx[i] = (dy[i] * weight[i] - x[i] * along) * rstd;
}

inline f32x16 sigmoid16(f32x16 x) { return 1.0f / (exp16(-x) + 1.0f); }
inline float sigmoid(float x) { return 1.0f / (std::exp(-x) + 1.0f); }

inline void swiglu_back(const float* dy, const float* both, float* out, int width) {
  const float* up = both + width;
  int i = 0;
  for (; i + 16 <= width; i += 16) {
    const f32x16 gate = load16(both + i), s = sigmoid16(gate), d = load16(dy + i);
    store16(out + i, d * load16(up + i) * s * (1.0f + gate * (1.0f - s)));
    store16(out + width + i, d * gate * s);
  }
  for (; i < width; i++) {
    const float gate = both[i], s = sigmoid(gate);
    out[i] = dy[i] * up[i] * s * (1.0f + gate * (1.0f - s));
    out[width + i] = dy[i] * gate * s;
  }
}

// Turns the two halves of each head by the angles of its position; `sign` -1 turns them back.
inline void rotate(const float* x, const float* cos, const float* sin, float sign, float* out, int heads, int half) {
  for (int h = 0; h < heads; h++, x += 2 * half, out += 2 * half)
    for (int i = 0; i < half; i++) {
      const float low = x[i], high = x[half + i], s = sign * sin[i];
      out[i] = low * cos[i] - high * s;
      out[half + i] = high * cos[i] + low * s;
    }
}

// A row of logits: its loss against the target, and in its place, where asked, the slope of weight * loss.
inline float cross_entropy(float* logits, int vocab, int64_t target, float weight, bool slope) {
  constexpr int kTogether = 1024;  // numbers whose sum is taken by itself: a long sum loses digits
  f32x16 largest = set16(-INFINITY);
  float most = -INFINITY;
  int i = 0;
  for (; i + 16 <= vocab; i += 16) largest = larger16(largest, load16(logits + i));
  for (; i < vocab; i++) most = std::max(most, logits[i]);
  most = std::max(most, max16(largest));
  const float at_target = logits[target];
  f32x16 sum{};
  float rest = 0;
  for (i = 0; i + 16 <= vocab;) {
    f32x16 part{};
    for (const int end = i + kTogether; i < end && i + 16 <= vocab; i += 16) {
      const f32x16 value = exp16(load16(logits + i) - most);
      part += value;
      if (slope) store16(logits + i, value);
    }
    sum += part;
  }
  for (; i < vocab; i++) {
    const float value = std::exp(logits[i] - most);
    rest += value;
    if (slope) logits[i] = value;
  }
  const float total = sum16(sum) + rest;
  if (slope) {
    const float scale = weight / total;
    for (i = 0; i + 16 <= vocab; i += 16) store16(logits + i, load16(logits + i) * scale);
    for (; i < vocab; i++) logits[i] *= scale;
    logits[target] -= weight;
  }
  return weight * (std::log(total) + (most - at_target));
}

// The adapters of one job on one fused linear: A [rank, in] and B [out, rank] of each module, whose outputs begin at
// column `begins` of the linear's. `da` and `db` are what gradients are added to.
struct LoraParts {
  int32_t count, rank, in;
  float scaling;
  const float* const* a;
  const float* const* b;
  float* const* da;
  float* const* db;
  const int32_t* begins;
  const int32_t* outs;
};

constexpr int kMany = kRegisters == 32 ? 8 : 4;  // rows of A, or columns, whose sums are taken at one time

// h[r][j] = scale * sum_i x[r][i] w[j][i], for R rows and J rows of w.
template <int R, int J>
void dots(const float* x, size_t x_stride, const float* w, int width, float scale, float* h, size_t h_stride) {
  Wide sums[R][J] = {};
  int i = 0;
  for (; i + kWide <= width; i += kWide) {
    Wide own[R];
    for (int r = 0; r < R; r++) own[r] = load_wide(x + r * x_stride + i);
    for (int j = 0; j < J; j++) {
      const Wide other = load_wide(w + size_t(j) * width + i);
      for (int r = 0; r < R; r++) sums[r][j] += own[r] * other;
    }
  }
  for (int r = 0; r < R; r++)
    for (int j = 0; j < J; j++) {
      float sum = sum_wide(sums[r][j]);
      for (int k = i; k < width; k++) sum += x[r * x_stride + k] * w[size_t(j) * width + k];
      h[r * h_stride + j] = scale * sum;
    }
}

// y[r][i] += scale * sum_j h[r][j] w[j][i], for R rows and J rows of w.
template <int R, int J>
void add_products(const float* h, size_t h_stride, const float* w, int width, float scale, float* y, size_t y_stride) {
  float factor[R][J];
  for (int r = 0; r < R; r++)
    for (int j = 0; j < J; j++) factor[r][j] = scale * h[r * h_stride + j];
  int i = 0;
  for (; i + kWide <= width; i += kWide) {
    Wide out[R];
    for (int r = 0; r < R; r++) out[r] = load_wide(y + r * y_stride + i);
    for (int j = 0; j < J; j++) {
      const Wide other = load_wide(w + size_t(j) * width + i);
      for (int r = 0; r < R; r++) out[r] += factor[r][j] * other;
    }
    for (int r = 0; r < R; r++) store_wide(y + r * y_stride + i, out[r]);
  }
  for (; i < width; i++)
    for (int r = 0; r < R; r++)
      for (int j = 0; j < J; j++) y[r * y_stride + i] += factor[r][j] * w[size_t(j) * width + i];
}

// g[j][i] = sum_r h[r][j] x[r][i], for J columns of h and V registers of x.
template <int J, int V>
void sum_products(const float* h, size_t h_stride, const float* x, size_t x_stride, int rows, float* g, size_t g_stride) {
  Wide sums[J][V] = {};
  for (int r = 0; r < rows; r++) {
    Wide own[V];
    for (int v = 0; v < V; v++) own[v] = load_wide(x + r * x_stride + v * kWide);
    for (int j = 0; j < J; j++)
      for (int v = 0; v < V; v++) sums[j][v] += h[r * h_stride + j] * own[v];
  }
  for (int j = 0; j < J; j++)
    for (int v = 0; v < V; v++) store_wide(g + j * g_stride + v * kWide, sums[j][v]);
}

// Calls f with how many of `count` come next as a constant: kMany, then one by one.
template <class F>
void by_many(int count, F&& f) {
  int at = 0;
  for (; at + kMany <= count; at += kMany) f(std::integral_constant<int, kMany>{}, at);
  for (; at < count; at++) f(std::integral_constant<int, 1>{}, at);
}

template <class F>
void by_pairs(int count, F&& f) {
  int at = 0;
  for (; at + 2 <= count; at += 2) f(std::integral_constant<int, 2>{}, at);
  if (at < count) f(std::integral_constant<int, 1>{}, at);
}

inline void shrink_rows(const float* x, size_t x_stride, int rows, const float* w, int width, int rank, float scale, float* h, size_t h_stride) {
  by_pairs(rows, [&](auto pair, int r) {
    by_many(rank, [&](auto many, int j) {
      dots<pair.value, many.value>(x + r * x_stride, x_stride, w + size_t(j) * width, width, scale, h + r * h_stride + j, h_stride);
    });
  });
}

inline void expand_rows(const float* h, size_t h_stride, int rows, const float* w, int width, int rank, float scale, float* y, size_t y_stride) {
  by_pairs(rows, [&](auto pair, int r) {
    by_many(rank, [&](auto many, int j) {
      add_products<pair.value, many.value>(h + r * h_stride + j, h_stride, w + size_t(j) * width, width, scale, y + r * y_stride, y_stride);
    });
  });
}

// g[j][0 … width) = sum over rows of h[r][j] x[r][…]; width is at most two registers.
inline void outer_rows(const float* h, size_t h_stride, const float* x, size_t x_stride, int rows, int rank, int width, float* g, size_t g_stride) {
  by_many(rank, [&](auto many, int j) {
    if (width == 2 * kWide)
      sum_products<many.value, 2>(h + j, h_stride, x, x_stride, rows, g + j * g_stride, g_stride);
    else if (width == kWide)
      sum_products<many.value, 1>(h + j, h_stride, x, x_stride, rows, g + j * g_stride, g_stride);
    else
      for (int k = j; k < j + many.value; k++)
        for (int i = 0; i < width; i++) {
          float sum = 0;
          for (int r = 0; r < rows; r++) sum += h[r * h_stride + k] * x[r * x_stride + i];
          g[k * g_stride + i] = sum;
        }
  });
}

// B of every module, [rank, out] one after another.
inline const float* transposed(const LoraParts& parts) {
  thread_local std::vector<float> kept;
  size_t size = 0;
  for (int p = 0; p < parts.count; p++) size += size_t(parts.outs[p]) * parts.rank;
  kept.resize(std::max(kept.size(), size));
  float* to = kept.data();
  for (int p = 0; p < parts.count; to += size_t(parts.outs[p++]) * parts.rank)
    for (int o = 0; o < parts.outs[p]; o++)
      for (int j = 0; j < parts.rank; j++) to[size_t(j) * parts.outs[p] + o] = parts.b[p][size_t(o) * parts.rank + j];
  return kept.data();
}

constexpr int kRowsTogether = 32;

// h [rows, count * rank] = x A^T; y [rows, stride] += scaling * h B^T.
inline void lora_forward(const LoraParts& parts, const float* x, int rows, float* y, int stride, float* h, int threads) {
  const float* turned = transposed(parts);
  const size_t in = parts.in, wide = size_t(parts.count) * parts.rank;
  training_pool(threads).run((rows + kRowsTogether - 1) / kRowsTogether, [&](int item) {
    const size_t first = size_t(item) * kRowsTogether;
    const int own = std::min(kRowsTogether, rows - int(first));
    const float* b = turned;
    for (int p = 0; p < parts.count; b += size_t(parts.outs[p++]) * parts.rank) {
      float* low = h + first * wide + size_t(p) * parts.rank;
      shrink_rows(x + first * in, in, own, parts.a[p], parts.in, parts.rank, 1.0f, low, wide);
      expand_rows(low, wide, own, b, parts.outs[p], parts.rank, parts.scaling, y + first * stride + parts.begins[p], stride);
    }
  });
}

// Adds to the gradients of A and B and, unless it is null, to dx [rows, in].
inline void lora_backward(const LoraParts& parts, const float* dy, int stride, const float* x, const float* h, int rows, float* dx, int threads) {
  const float* turned = transposed(parts);
  const size_t in = parts.in, wide = size_t(parts.count) * parts.rank;
  thread_local std::vector<float> kept;
  kept.resize(std::max(kept.size(), rows * wide));
  float* dh = kept.data();
  Pool& pool = training_pool(threads);
  pool.run((rows + kRowsTogether - 1) / kRowsTogether, [&](int item) {
    const size_t first = size_t(item) * kRowsTogether;
    const int own = std::min(kRowsTogether, rows - int(first));
    const float* b = turned;
    for (int p = 0; p < parts.count; b += size_t(parts.outs[p++]) * parts.rank) {
      float* low = dh + first * wide + size_t(p) * parts.rank;
      shrink_rows(dy + first * stride + parts.begins[p], stride, own, b, parts.outs[p], parts.rank, parts.scaling, low, wide);
      if (dx) expand_rows(low, wide, own, parts.a[p], parts.in, parts.rank, 1.0f, dx + first * in, in);
    }
  });
  // columns of x, for dA, then the columns of each module's outputs, for dB
  const int span = 2 * kWide, of_x = (parts.in + span - 1) / span;
  int items = of_x;
  for (int p = 0; p < parts.count; p++) items += (parts.outs[p] + span - 1) / span;
  const int together = 8;
  pool.run((items + together - 1) / together, [&](int group) {
    for (int item = group * together; item < std::min(items, (group + 1) * together); item++) {
      float sums[kMaxRank * 2 * kWide];
      if (item < of_x) {
        const int begin = item * span, width = std::min(span, parts.in - begin);
        for (int p = 0; p < parts.count; p++) {
          outer_rows(dh + size_t(p) * parts.rank, wide, x + begin, in, rows, parts.rank, width, sums, span);
          for (int j = 0; j < parts.rank; j++)
            for (int i = 0; i < width; i++) parts.da[p][j * in + begin + i] += sums[j * span + i];
        }
        continue;
      }
      int p = 0, at = item - of_x;
      for (; at >= (parts.outs[p] + span - 1) / span; p++) at -= (parts.outs[p] + span - 1) / span;
      const int begin = at * span, width = std::min(span, parts.outs[p] - begin);
      outer_rows(h + size_t(p) * parts.rank, wide, dy + parts.begins[p] + begin, stride, rows, parts.rank, width, sums, span);
      for (int i = 0; i < width; i++)
        for (int j = 0; j < parts.rank; j++) parts.db[p][size_t(begin + i) * parts.rank + j] += parts.scaling * sums[j * span + i];
    }
  });
}

}  // namespace grove
