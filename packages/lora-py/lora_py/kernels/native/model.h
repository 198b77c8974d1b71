// A decoder model's weights and its forward pass over a batch of chunks.
#pragma once
#include <deque>

#include "byte_lora.h"
#include "linear.h"
#include "pool.h"
#include "tiled_attention.h"

namespace grove {

struct Shape {
  int64_t hidden, layers, heads, kv_heads, head_dim, intermediate, vocab, window, positions, int8, threads;
};

struct Layer {
  const float *input_norm, *post_norm, *qkv_bias, *q_norm, *k_norm;
  Linear qkv, o, gate_up, down;
};

// What one step runs; all arrays belong to the caller. A module table holds seven modules a layer, in the order
// q k v o gate up down; 0 is the base model.
struct Step {
  int32_t tokens, chunks, rows;
  const int32_t* ids;
  const int32_t *start, *position, *count;  // of each chunk
  const uint64_t* adapters;                 // of each chunk: its module table
  const int32_t* block_start;               // of each chunk in `blocks`
  const int32_t* blocks;
  char *keys, *values;  // [layer][block][kv head][...] of `kv_bytes()` each
  int64_t kv_blocks;
  const int32_t* logit_rows;
  float* logits;  // [rows, vocab]
  float* norms;   // [rows]: log of the sum of exponentials
  int32_t* best;  // [rows]
};

enum { kQ, kK, kV, kO, kGate, kUp, kDown, kModules };

class Model {
 public:
  Model(const Shape& shape, float eps, const float* cos, const float* sin, const float* embed)
      : s_(shape), eps_(eps), cos_(cos), sin_(sin), embed_(embed), layers_(shape.layers), pool_(int(shape.threads)), shares_(pool_.threads()) {
    for (int i = 0; i < pool_.threads(); i++) {
#if GROVE_AMX
      if (kv_bytes() == 2) tiled_attention_.emplace_back(int(s_.head_dim), int(s_.window));
#endif
      attention_.emplace_back(int(s_.head_dim), int(s_.window));
    }
  }

  Layer& layer(int i) { return layers_[i]; }
  const float* norm = nullptr;
  Linear head;

  void pack(Linear& linear, const float* w, int64_t out, int64_t in) {
    if (!s_.int8 || in % kGroup) return linear.pack_float(arena_, w, int(out), int(in));
    linear.prepare(arena_, int(out), int(in), sixteen_levels(w, int(out), int(in)));
    pool_.run(linear.units(), [&](int unit) { linear.pack(w, unit); });
  }

  void forward(const Step& step);

  // Bytes of a number in the KV cache: bf16 where matrix tiles read it.
  int kv_bytes() const {
#if GROVE_AMX
    if (s_.int8 && TiledAttention::supports(int(s_.head_dim))) return 2;
#endif
    return 4;
  }
  int64_t q_dim() const { return s_.heads * s_.head_dim; }
  int64_t kv_dim() const { return s_.kv_heads * s_.head_dim; }

 private:
  Shape s_;
  float eps_;
  const float *cos_, *sin_, *embed_;
  std::vector<Layer> layers_;
  Pool pool_;
  Arena arena_;
  std::vector<Attention> attention_;
#if GROVE_AMX
  std::deque<TiledAttention> tiled_attention_;
#endif
  std::atomic<int> next_item_{0};

  int capacity_ = 0;
  Buffer<float> x_, norm_, y_, wide_, low_;  // residual, linear input, linear output, second input, LoRA's h
  Inputs inputs_;
  std::vector<const LoraModule*> table_;       // of each token: its layer's seven modules, or null
  std::vector<int> position_, chunk_of_;
  struct Tile {
    int chunk, first, count;
  };
  std::vector<Tile> tiles_;
  struct Group {
    const LoraModule* table;  // the adapter's, or null
    int first, count;         // in `order_`
  };
  std::vector<int> order_;  // tokens, those of one adapter side by side
  std::vector<Group> groups_;
  struct alignas(64) Share {
    int end;                // behind its last group
    std::atomic<int> next;  // its first group that nobody has taken
    Ahead ahead;            // its adapters' weights for the linear that is being computed
  };
  std::deque<Share> shares_;  // of `groups_`: one for each thread, which takes from the others' when it has done its own

  void reserve(int tokens);
  void lay_out(const Step& step);
  void norm_row(const float* x, const float* weight, float* out) const;
  void prepare(const Linear& next, const float* input, int row);
  void linear(const Linear& w, const float* input, const Step& step, int layer, int first, int modules);
  void group_rows(int tokens);
  void look_ahead(int thread, int pieces, int layer, int first, int modules);
  template <class Before, class F>
  void each_group(Before&& before, F&& f);
  void shrink(const Group& group, const float* input, int width, int layer, int first, int modules);
  void expand(const Group& group, int layer, int first, int modules, size_t stride);
  template <class F>
  void each_row(int layer, int first, int modules, size_t stride, F&& f);
  int64_t module_in(int module) const;
  int64_t module_out(int module) const;
  void finish_qkv(const Layer& layer, const Step& step, int index, int token);
  void attend(const Step& step, int index, const Tile& tile, int kv_head, int worker);
  void logits(const Step& step);
  void store_kv(const Step& step, int layer, int token, const float* k, const float* v);
  size_t kv_at(const Step& step, int layer, int block, int kv_head) const;
  int query_tile() const;
};

}  // namespace grove
