#include "model.h"
#include "products.h"

#include <numeric>

namespace grove {

// Rows a power of two apart fall on the same lines of the cache; a little more sets them apart.
static size_t apart(int64_t width) { return size_t(width) + 16; }

int64_t Model::module_in(int module) const {
  return module == kO ? q_dim() : module == kDown ? s_.intermediate : s_.hidden;
}

int64_t Model::module_out(int module) const {
  switch (module) {
    case kQ: return q_dim();
    case kK:
    case kV: return kv_dim();
    case kGate:
    case kUp: return s_.intermediate;
    default: return s_.hidden;
  }
}

// Where a block's keys of one head start, in numbers; values start at the same place of theirs.
size_t Model::kv_at(const Step& step, int layer, int block, int kv_head) const {
  return ((size_t(layer) * step.kv_blocks + block) * s_.kv_heads + kv_head) * kBlock * s_.head_dim;
}

// Tokens whose queries walk the keys together: the more, the less often keys are read.
int Model::query_tile() const {
  return kv_bytes() == 2 ? std::max(1, int(96 / (s_.heads / s_.kv_heads))) : 8;
}

void Model::reserve(int tokens) {
  if (tokens <= capacity_) return;
  capacity_ = (std::max(tokens, capacity_ * 2) + 15) / 16 * 16;  // kernels read whole tiles of rows
  const int64_t in = std::max({s_.hidden, q_dim(), s_.intermediate});
  const int64_t out = std::max({q_dim() + 2 * kv_dim(), 2 * s_.intermediate, s_.hidden});
  x_ = allocate<float>(capacity_ * s_.hidden);
  norm_ = allocate<float>(capacity_ * in);
  wide_ = allocate<float>(capacity_ * in);
  y_ = allocate<float>(capacity_ * apart(out));
  low_ = allocate<float>(size_t(capacity_) * 3 * kMaxRank);
  inputs_.reserve(capacity_, in);
}

void Model::lay_out(const Step& step) {
  reserve(std::max(step.tokens, step.rows));
  table_.assign(step.tokens, nullptr);
  position_.resize(step.tokens);
  chunk_of_.resize(step.tokens);
  tiles_.clear();
  for (int c = 0; c < step.chunks; c++) {
    for (int i = 0; i < step.count[c]; i++) {
      const int token = step.start[c] + i;
      table_[token] = reinterpret_cast<const LoraModule*>(step.adapters[c]);
      position_[token] = step.position[c] + i;
      chunk_of_[token] = c;
    }
    for (int first = 0; first < step.count[c]; first += query_tile())
      tiles_.push_back({c, first, std::min(query_tile(), step.count[c] - first)});
  }
  group_rows(step.tokens);
}

// Rows of one adapter side by side, in groups small enough to keep every thread busy.
void Model::group_rows(int tokens) {
  const int threads = pool_.threads(), most = std::max(1, std::min(tokens / (2 * threads), kLoraRows));
  order_.resize(tokens);
  std::iota(order_.begin(), order_.end(), 0);
  std::stable_sort(order_.begin(), order_.end(), [&](int a, int b) { return table_[a] < table_[b]; });
  groups_.clear();
  for (int t = 0; t < tokens; t++) {
    const LoraModule* table = table_[order_[t]];
    if (t == 0 || groups_.back().table != table || groups_.back().count == most) groups_.push_back({table, t, 0});
    groups_.back().count++;
  }
  int group = 0;
  for (int i = 0; i < threads; i++) {
    while (group < int(groups_.size()) && groups_[group].first < int64_t(tokens) * (i + 1) / threads) group++;
    shares_[i].end = group;
  }
}

// Calls f(thread, group) for every group, those of a thread's own share on that thread unless it comes late; `before` is
// what each thread does first.
template <class Before, class F>
void Model::each_group(Before&& before, F&& f) {
  const int threads = pool_.threads();
  for (int i = 0, first = 0; i < threads; first = shares_[i++].end) shares_[i].next = first;
  pool_.run_each([&](int thread) {
    before(thread);
    for (int i = 0; i < threads; i++) {
      Share& share = shares_[(thread + i) % threads];
      for (int group; (group = share.next++) < share.end;) f(groups_[group]);
    }
  });
}

// What a thread's own groups will read of their adapters for these modules, to be fetched during a product of `pieces`.
void Model::look_ahead(int thread, int pieces, int layer, int first, int modules) {
  Ahead& ahead = shares_[thread].ahead;
  ahead.clear();
  const LoraModule* table = nullptr;
  for (int group = thread ? shares_[thread - 1].end : 0; group < shares_[thread].end; group++) {
    if (groups_[group].table == table) continue;
    table = groups_[group].table;
    for (int m = first; m < first + modules; m++) {
      const LoraModule& module = table[layer * kModules + m];
      if (!module.a) continue;
      const size_t rank = size_t(module.rank), in = size_t(module_in(m)), out = size_t(module_out(m));
      ahead.add(module.a, s_.int8 ? ByteLora::a_bytes(rank, in) : rank * in * sizeof(half));
      ahead.add(module.b, s_.int8 ? ByteLora::b_bytes(rank, out) : rank * out * sizeof(half));
    }
  }
  ahead.spread(size_t(pieces) / pool_.threads());
}

void Model::norm_row(const float* x, const float* weight, float* out) const {
  float rstd;
  rms_norm(x, weight, eps_, out, &rstd, int(s_.hidden));
}

// What the next linear wants to read of this row of its input.
void Model::prepare(const Linear& next, const float* input, int row) {
  if (!next.grouped()) return;
  inputs_.set_row(input + size_t(row) * next.width, row, next.width);
}

// y = input W^T for all tokens, then the A side of their adapters' modules, which is fetched meanwhile.
void Model::linear(const Linear& w, const float* input, const Step& step, int layer, int first, int modules) {
  const int units = w.units(), each = std::max(1, std::min(units / (pool_.threads() * 4), 64));
  next_item_ = 0;
  each_group(
      [&](int thread) {
        look_ahead(thread, w.pieces(), layer, first, modules);
        for (int begin; (begin = each * next_item_++) < units;)
          w.multiply(begin, std::min(units, begin + each), input, inputs_, step.tokens, y_.get(), int(apart(w.rows)),
                     shares_[thread].ahead);
      },
      [&](const Group& group) { shrink(group, input, w.width, layer, first, modules); });
}

void Model::shrink(const Group& group, const float* input, int width, int layer, int first, int modules) {
  if (!group.table) return;
  const LoraModule* module = group.table + layer * kModules + first;
  if (std::none_of(module, module + modules, [](const LoraModule& m) { return m.a; })) return;
  const float* x[kLoraRows];
  float* h[kLoraRows];
  for (int n = 0; n < group.count; n++) x[n] = input + size_t(order_[group.first + n]) * width;
  thread_local WordRows words;
  if (s_.int8) words.set(x, group.count, width);
  for (int m = 0; m < modules; m++, module++) {
    if (!module->a) continue;
    for (int n = 0; n < group.count; n++) h[n] = &low_[(size_t(order_[group.first + n]) * 3 + m) * kMaxRank];
    if (s_.int8)
      byte_shrink(*module, words, group.count, h);
    else
      lora_shrink(*module, x, group.count, width, h);
  }
}

// Adds the B side to rows of `y_`, which are `stride` apart.
void Model::expand(const Group& group, int layer, int first, int modules, size_t stride) {
  if (!group.table) return;
  const float* h[kLoraRows];
  float* y[kLoraRows];
  size_t column = 0;
  for (int m = 0; m < modules; column += module_out(first + m++)) {
    const LoraModule& module = group.table[layer * kModules + first + m];
    if (!module.a) continue;
    for (int n = 0; n < group.count; n++) {
      const size_t token = order_[group.first + n];
      h[n] = &low_[(token * 3 + m) * kMaxRank];
      y[n] = &y_[token * stride + column];
    }
    (s_.int8 ? byte_expand : lora_expand)(module, h, group.count, int(module_out(first + m)), y);
  }
}

void Model::finish_qkv(const Layer& layer, const Step& step, int index, int token) {
  const int dim = int(s_.head_dim), half_dim = dim / 2;
  float* y = &y_[token * apart(layer.qkv.rows)];
  if (layer.qkv_bias)
    for (int i = 0; i < layer.qkv.rows; i++) y[i] += layer.qkv_bias[i];
  const float* cos = cos_ + size_t(position_[token]) * half_dim;
  const float* sin = sin_ + size_t(position_[token]) * half_dim;
  for (int h = 0; h < s_.heads + s_.kv_heads; h++) {
    float* v = y + h * dim;
    const float* weight = h < s_.heads ? layer.q_norm : layer.k_norm;
    if (weight) {
      float sum = 0;
      for (int i = 0; i < dim; i++) sum += v[i] * v[i];
      const float scale = 1.0f / std::sqrt(sum / dim + eps_);
      for (int i = 0; i < dim; i++) v[i] *= scale * weight[i];
    }
    for (int i = 0; i < half_dim; i++) {
      const float a = v[i], b = v[i + half_dim];
      v[i] = a * cos[i] - b * sin[i];
      v[i + half_dim] = b * cos[i] + a * sin[i];
    }
  }
  store_kv(step, index, token, y + q_dim(), y + q_dim() + kv_dim());
}

void Model::store_kv(const Step& step, int layer, int token, const float* k, const float* v) {
  const int dim = int(s_.head_dim), chunk = chunk_of_[token], position = position_[token], offset = position % kBlock;
  const int block = step.blocks[step.block_start[chunk] + position / kBlock];
  const int left = step.position[chunk] + step.count[chunk] - position;  // tokens of this chunk from here on
  for (int h = 0; h < s_.kv_heads; h++, k += dim, v += dim) {
    const size_t at = kv_at(step, layer, block, h);
#if GROVE_AMX
    if (kv_bytes() == 2) {
      uint16_t *keys = reinterpret_cast<uint16_t*>(step.keys) + at, *values = reinterpret_cast<uint16_t*>(step.values) + at;
      TiledAttention::put(keys, values, k, v, dim, offset);
      if (offset == 0) TiledAttention::clear_values(values, dim, left);
      continue;
    }
#endif
    float *keys = reinterpret_cast<float*>(step.keys) + at, *values = reinterpret_cast<float*>(step.values) + at;
    for (int i = 0; i < dim; i++) keys[i * kBlock + offset] = k[i];
    std::memcpy(values + offset * dim, v, dim * sizeof(float));
  }
}

void Model::attend(const Step& step, int index, const Tile& tile, int kv_head, int worker) {
  const int dim = int(s_.head_dim), group = int(s_.heads / s_.kv_heads), stride = int(apart(q_dim() + 2 * kv_dim()));
  const int token = step.start[tile.chunk] + tile.first;
  Queries t;
  t.q = &y_[size_t(token) * stride + size_t(kv_head) * group * dim];
  t.out = &norm_[size_t(token) * q_dim() + size_t(kv_head) * group * dim];
  t.tokens = tile.count;
  t.heads = group;
  t.stride = stride;
  t.out_stride = int(q_dim());
  t.position = step.position[tile.chunk] + tile.first;
  const int32_t* blocks = step.blocks + step.block_start[tile.chunk];
  const size_t first = kv_at(step, index, 0, kv_head), block_stride = size_t(s_.kv_heads) * kBlock * dim;
#if GROVE_AMX
  if (kv_bytes() == 2)
    return tiled_attention_[worker].run(t, blocks, reinterpret_cast<uint16_t*>(step.keys) + first,
                                        reinterpret_cast<uint16_t*>(step.values) + first, block_stride);
#endif
  attention_[worker].run(t, blocks, reinterpret_cast<float*>(step.keys) + first,
                         reinterpret_cast<float*>(step.values) + first, block_stride);
}

void Model::logits(const Step& step) {
  const int hidden = int(s_.hidden), vocab = int(s_.vocab);
  pool_.run(step.rows, [&](int r) {
    norm_row(&x_[size_t(step.logit_rows[r]) * hidden], norm, &norm_[size_t(r) * hidden]);
    prepare(head, norm_.get(), r);
  });
  const int each = 32, items = (head.units() + each - 1) / each;
  pool_.run(items, [&](int item) {
    Ahead nothing;
    head.multiply(item * each, std::min(head.units(), (item + 1) * each), norm_.get(), inputs_, step.rows, step.logits,
                  vocab, nothing);
  });
  pool_.run(step.rows, [&](int r) {
    const float* row = step.logits + size_t(r) * vocab;
    f32x16 most = set16(-INFINITY), sum{};
    int i = 0;
    for (; i + 16 <= vocab; i += 16) most = larger16(most, load16(row + i));
    float top = max16(most);
    for (; i < vocab; i++) top = std::max(top, row[i]);
    const int best = std::min(int(std::find(row, row + vocab, top) - row), vocab - 1);
    double rest = 0;
    for (i = 0; i + 16 <= vocab; i += 16) sum += exp16(load16(row + i) - top);
    for (; i < vocab; i++) rest += std::exp(row[i] - top);
    step.best[r] = best;
    step.norms[r] = top + float(std::log(sum16(sum) + rest));
  });
}

// Adds the adapters' B side of the layer's modules (none where `layer` < 0) and then calls f for each row.
template <class F>
void Model::each_row(int layer, int first, int modules, size_t stride, F&& f) {
  each_group([](int) {}, [&](const Group& group) {
    if (layer >= 0) expand(group, layer, first, modules, stride);
    for (int n = 0; n < group.count; n++) f(order_[group.first + n]);
  });
}

void Model::forward(const Step& step) {
  lay_out(step);
  const int hidden = int(s_.hidden), inner = int(s_.intermediate);
  for (int index = 0; index <= s_.layers; index++) {
    const Layer* before = index ? &layers_[index - 1] : nullptr;
    const Layer* layer = index < s_.layers ? &layers_[index] : nullptr;
    each_row(before ? index - 1 : -1, kDown, 1, apart(hidden), [&](int t) {
      float* x = &x_[size_t(t) * hidden];
      if (before) {
        const float* y = &y_[t * apart(hidden)];
        for (int i = 0; i < hidden; i++) x[i] += y[i];
      } else {
        std::memcpy(x, embed_ + size_t(step.ids[t]) * hidden, hidden * sizeof(float));
      }
      if (!layer) return;
      norm_row(x, layer->input_norm, &norm_[size_t(t) * hidden]);
      prepare(layer->qkv, norm_.get(), t);
    });
    if (!layer) break;
    linear(layer->qkv, norm_.get(), step, index, kQ, 3);
    each_row(index, kQ, 3, apart(layer->qkv.rows), [&](int t) { finish_qkv(*layer, step, index, t); });
    next_item_ = 0;
    const int kv_heads = int(s_.kv_heads), items = int(tiles_.size()) * kv_heads;
    pool_.run(std::min(items, pool_.threads()), [&](int worker) {
      for (int item; (item = next_item_++) < items;)
        attend(step, index, tiles_[item / kv_heads], item % kv_heads, worker);
    });
    pool_.run(step.tokens, [&](int t) { prepare(layer->o, norm_.get(), t); });
    linear(layer->o, norm_.get(), step, index, kO, 1);
    each_row(index, kO, 1, apart(hidden), [&](int t) {
      float *x = &x_[size_t(t) * hidden], *y = &y_[t * apart(hidden)];
      for (int i = 0; i < hidden; i++) x[i] += y[i];
      norm_row(x, layer->post_norm, &norm_[size_t(t) * hidden]);
      prepare(layer->gate_up, norm_.get(), t);
    });
    linear(layer->gate_up, norm_.get(), step, index, kGate, 2);
    each_row(index, kGate, 2, apart(2 * inner), [&](int t) {
      float *y = &y_[t * apart(2 * inner)], *out = &wide_[size_t(t) * inner];
      swiglu(y, out, inner);
      prepare(layer->down, wide_.get(), t);
    });
    linear(layer->down, wide_.get(), step, index, kDown, 1);
  }
  if (step.rows) logits(step);
}

}  // namespace grove

using grove::Layer;
using grove::LoraModule;
using grove::Model;

extern "C" {

Model* grove_model_new(const grove::Shape* shape, float eps, const float* cos, const float* sin, const float* embed) {
  return new Model(*shape, eps, cos, sin, embed);
}

void grove_model_free(Model* model) { delete model; }

void grove_model_layer(Model* model, int index, const float* const* tensors, const grove::Shape* s) {
  Layer& layer = model->layer(index);
  layer.input_norm = tensors[0];
  layer.post_norm = tensors[1];
  layer.qkv_bias = tensors[2];
  layer.q_norm = tensors[3];
  layer.k_norm = tensors[4];
  model->pack(layer.qkv, tensors[5], model->q_dim() + 2 * model->kv_dim(), s->hidden);
  model->pack(layer.o, tensors[6], s->hidden, model->q_dim());
  model->pack(layer.gate_up, tensors[7], 2 * s->intermediate, s->hidden);
  model->pack(layer.down, tensors[8], s->hidden, s->intermediate);
}

void grove_model_head(Model* model, const float* norm, const float* head, const grove::Shape* s) {
  model->norm = norm;
  model->pack(model->head, head, s->vocab, s->hidden);
}

int grove_model_kv_bytes(const Model* model) { return model->kv_bytes(); }

void grove_model_forward(Model* model, const grove::Step* step) { model->forward(*step); }

// The grouped LoRA layer alone: y[t] += B(t) A(t) x[t] for `modules` modules whose outputs lie end to end in y.
void grove_lora_add(float* y, const float* x, int tokens, int width, int total_out, const uint64_t* tables,
                    int modules, const int32_t* outs, int bytes) {
  float low[grove::kMaxRank], *h = low;
  grove::WordRows words;
  for (int t = 0; t < tokens; t++) {
    const LoraModule* table = reinterpret_cast<const LoraModule*>(tables[t]);
    const float* row = x + size_t(t) * width;
    float* target = y + size_t(t) * total_out;
    if (bytes) words.set(&row, 1, width);
    for (int m = 0; m < modules; target += outs[m++]) {
      if (!table || !table[m].a) continue;
      if (bytes)
        grove::byte_shrink(table[m], words, 1, &h);
      else
        grove::lora_shrink(table[m], &row, 1, width, &h);
      (bytes ? grove::byte_expand : grove::lora_expand)(table[m], &h, 1, outs[m], &target);
    }
  }
}

// Packs `count` modules in 8 bits; `starts` has where A and B of each begin in `block`. Returns the first module with a
// number that is not finite, or -1.
int grove_lora_pack(int count, const float* const* a, const float* const* b, const int32_t* ranks, const int32_t* ins,
                    const int32_t* outs, const float* scalings, char* block, const int64_t* starts) {
  for (int i = 0; i < count; i++)
    if (!grove::byte_pack(a[i], b[i], ranks[i], ins[i], outs[i], scalings[i], block + starts[2 * i], block + starts[2 * i + 1]))
      return i;
  return -1;
}

void grove_rms_norm(const float* x, const float* weight, float eps, float* out, float* rstd, int rows, int width, int threads) {
  grove::each_row_of(rows, width, threads, [&](size_t r) { grove::rms_norm(x + r * width, weight, eps, out + r * width, rstd + r, width); });
}

void grove_rms_norm_back(const float* dy, const float* x, const float* weight, const float* rstd, float* dx, int rows, int width,
                         int threads) {
  grove::each_row_of(rows, width, threads, [&](size_t r) {
    grove::rms_norm_back(dy + r * width, x + r * width, weight, rstd[r], dx + r * width, width);
  });
}

void grove_swiglu(const float* both, float* out, int rows, int width, int threads) {
  grove::each_row_of(rows, 2 * width, threads, [&](size_t r) { grove::swiglu(both + 2 * r * width, out + r * width, width); });
}

void grove_swiglu_back(const float* dy, const float* both, float* out, int rows, int width, int threads) {
  grove::each_row_of(rows, 2 * width, threads,
                     [&](size_t r) { grove::swiglu_back(dy + r * width, both + 2 * r * width, out + 2 * r * width, width); });
}

// heads: [rows, q + 2 * kv, 2 * half] -> q: [rows, q, …], k and v: [rows, kv, …], q and k turned.
void grove_rotary(const float* heads, const float* cos, const float* sin, float* q, float* k, float* v, int rows, int q_heads,
                  int kv_heads, int half, int threads) {
  const size_t of_q = size_t(q_heads) * 2 * half, of_kv = size_t(kv_heads) * 2 * half, all = of_q + 2 * of_kv;
  grove::each_row_of(rows, int(all), threads, [&](size_t r) {
    const float *x = heads + r * all, *c = cos + r * half, *s = sin + r * half;
    grove::rotate(x, c, s, 1, q + r * of_q, q_heads, half);
    grove::rotate(x + of_q, c, s, 1, k + r * of_kv, kv_heads, half);
    std::memcpy(v + r * of_kv, x + of_q + of_kv, sizeof(float) * of_kv);
  });
}

void grove_rotary_back(const float* dq, const float* dk, const float* dv, const float* cos, const float* sin, float* heads, int rows,
                       int q_heads, int kv_heads, int half, int threads) {
  const size_t of_q = size_t(q_heads) * 2 * half, of_kv = size_t(kv_heads) * 2 * half, all = of_q + 2 * of_kv;
  grove::each_row_of(rows, int(all), threads, [&](size_t r) {
    const float *c = cos + r * half, *s = sin + r * half;
    float* x = heads + r * all;
    grove::rotate(dq + r * of_q, c, s, -1, x, q_heads, half);
    grove::rotate(dk + r * of_kv, c, s, -1, x + of_q, kv_heads, half);
    std::memcpy(x + of_q + of_kv, dv + r * of_kv, sizeof(float) * of_kv);
  });
}

// Each row's loss times its weight; where asked, logits [rows, vocab] become the slopes of those.
void grove_cross_entropy(float* logits, const int64_t* targets, const float* weights, int slope, float* losses, int rows, int vocab,
                         int threads) {
  grove::each_row_of(rows, vocab, threads, [&](size_t r) {
    losses[r] = grove::cross_entropy(logits + r * vocab, vocab, targets[r], weights[r], slope);
  });
}

void grove_lora_forward(const grove::LoraParts* parts, const float* x, int rows, float* y, int stride, float* h, int threads) {
  grove::lora_forward(*parts, x, rows, y, stride, h, threads);
}

void grove_lora_backward(const grove::LoraParts* parts, const float* dy, int stride, const float* x, const float* h, int rows, float* dx,
                         int threads) {
  grove::lora_backward(*parts, dy, stride, x, h, rows, dx, threads);
}

// Whether bf16 weights [out, in] can go through `grove_product` and `grove_product_back`; float32 ones always can.
int grove_product_fits(int out, int in) {
#if GROVE_AMX
  return grove::tiles_fit({nullptr, in, out});
#else
  return 0;
#endif
}

// y [rows, out] = x [rows, in] W^T
void grove_product(const void* w, int bf16, int out, int in, const float* x, int rows, float* y, int threads) {
  grove::product<grove::Way::kForward>(w, bf16, in, out, x, rows, y, threads);
}

// dx [rows, in] = dy [rows, out] W
void grove_product_back(const void* w, int bf16, int out, int in, const float* dy, int rows, float* dx, int threads) {
  grove::product<grove::Way::kBack>(w, bf16, out, in, dy, rows, dx, threads);
}
}
