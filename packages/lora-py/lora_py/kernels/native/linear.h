// y = x W^T with W as fp32 or in groups of 32 inputs with a scale: bf16 tiles where the processor has them, integer
// products row by row where it has not.
//
// Every element of y is summed in one fixed order that depends neither on how many rows x has nor on how the work is
// split, so a row's result is the same to the bit whatever shares its batch.
#pragma once
#include "ahead.h"
#include "amx.h"

namespace grove {

// A linear's input in the form that its weights are multiplied with; only one of the two is in use on a machine.
struct Inputs {
  Quantized bytes;
#if GROVE_AMX
  TileInputs tiles;
#endif

  void reserve(size_t rows, size_t width) {
#if GROVE_AMX
    if (tiles_ready()) return tiles.reserve(rows, width);
#endif
    bytes.reserve(rows * width);
  }
  void set_row(const float* x, int row, int width) {
#if GROVE_AMX
    if (tiles_ready()) return tiles.set_row(x, row, width);
#endif
    bytes.set_row(x, row, width);
  }
};

// Whether all of `rows` rows' groups are 16 levels between their least and largest, as 4-bit files hold them.
inline bool sixteen_levels(const float* w, int rows, int width) {
  for (const float* end = w + size_t(rows) * width; w < end; w += kGroup) {
    const float least = *std::min_element(w, w + kGroup), range = *std::max_element(w, w + kGroup) - least;
    if (range == 0) continue;
    for (int i = 0; i < kGroup; i++) {
      const float level = (w[i] - least) * (15 / range);
      if (std::fabs(level - std::nearbyint(level)) > 1e-3f) return false;
    }
  }
  return true;
}

class Linear {
 public:
  int rows = 0, width = 0;  // out, in

  void pack_float(Arena& arena, const float* w, int out, int in) {
    shape(out, in);
    floats_ = arena.take<float>(size_t(panels()) * in * kPanel);
    for (int p = 0; p < panels(); p++)
      for (int k = 0; k < in; k++)
        for (int j = 0; j < kPanel; j++) {
          const int row = p * kPanel + j;
          floats_[(size_t(p) * in + k) * kPanel + j] = row < out ? w[size_t(row) * in + k] : 0.0f;
        }
  }

  // Room for the 8-bit form, or for 4 bits where tiles can read them; `pack` then fills one unit after another.
  void prepare(Arena& arena, int out, int in, bool four_bits) {
    shape(out, in);
#if GROVE_AMX
    if (tiles_ready()) return tiled_.prepare(arena, out, in, four_bits ? 4 : 8);
#endif
    bytes_ = arena.take<int8_t>(size_t(panels()) * in * kPanel);
    scales_ = arena.take<float>(size_t(panels()) * groups() * 2 * kPanel);
  }
  void pack(const float* w, int unit) {
#if GROVE_AMX
    if (tiled_.ready()) return tiled_.pack(w, unit);
#endif
    pack_panel(w, unit);
  }

  bool grouped() const { return !floats_; }  // reads `Inputs`, not plain floats
  int units() const {
#if GROVE_AMX
    if (tiled_.ready()) return tiled_.blocks();
#endif
    return panels();
  }

  // How often the whole product asks for some of `ahead`.
  int pieces() const {
#if GROVE_AMX
    if (tiled_.ready()) return tiled_.pieces();
#endif
    return panels();
  }

  // Units begin … end of the product for `count` rows of x; y has `stride` columns.
  void multiply(int begin, int end, const float* x, const Inputs& inputs, int count, float* y, int stride,
                Ahead& ahead) const {
#if GROVE_AMX
    if (tiled_.ready()) return tiled_.multiply(begin, end, inputs.tiles, count, y, stride, ahead);
#endif
    for (int p = begin; p < end; p++) {
      ahead.some();
      int done = 0;
      for (; done + 8 <= count; done += 8) tile<8>(p, x, inputs.bytes, done, y, stride);
      if (done + 4 <= count) tile<4>(p, x, inputs.bytes, done, y, stride), done += 4;
      if (done + 2 <= count) tile<2>(p, x, inputs.bytes, done, y, stride), done += 2;
      if (done + 1 <= count) tile<1>(p, x, inputs.bytes, done, y, stride);
    }
  }

 private:
  float* floats_ = nullptr;
  int8_t* bytes_ = nullptr;
  float* scales_ = nullptr;
#if GROVE_AMX
  TiledLinear tiled_;
#endif

  int panels() const { return (rows + kPanel - 1) / kPanel; }
  int groups() const { return width / kGroup; }

  // [panel][group][8][16 rows][4 inputs], weight = scale * byte + least + 128 scale. The range of a group is cut into 255
  // steps, so weights that came from 4 bits (15 steps between the same ends) are kept exactly.
  void pack_panel(const float* w, int p) {
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

  void shape(int out, int in) {
    rows = out;
    width = in;
  }

  template <int M>
  void tile(int p, const float* x, const Quantized& q, int first, float* y, int stride) const {
    f32x16 sum[M];
    if (floats_)
      tile_float<M>(p, x + size_t(first) * width, sum);
    else
      tile_int8<M>(p, q, first, sum);
    for (int m = 0; m < M; m++) put(p, sum[m], y + size_t(first + m) * stride);
  }

  void put(int p, f32x16 sum, float* y) const {
    const int columns = std::min(kPanel, rows - p * kPanel);
    if (columns == kPanel) return store16(y + p * kPanel, sum);
    for (int j = 0; j < columns; j++) y[p * kPanel + j] = sum[j];
  }

  template <int M>
  void tile_float(int p, const float* x, f32x16* sum) const {
    const float* w = floats_ + size_t(p) * width * kPanel;
    f32x16 s[M] = {};
    for (int k = 0; k < width; k++) {
      const f32x16 v = load16(w + size_t(k) * kPanel);
#pragma GCC unroll 8
      for (int m = 0; m < M; m++) s[m] += v * x[size_t(m) * width + k];
    }
    for (int m = 0; m < M; m++) sum[m] = s[m];
  }

  const int8_t* panel_bytes(int p) const { return bytes_ + size_t(p) * width * kPanel; }
  const float* panel_scales(int p) const { return scales_ + size_t(p) * groups() * 2 * kPanel; }

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
};

}  // namespace grove
