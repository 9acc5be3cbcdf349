// SPDX-License-Identifier: Apache-2.0
#include "infer/weight_state.h"

#include <bit>

namespace vpref {

namespace {

class WeightState {
 public:
  explicit WeightState(const Weights& w) {
    add(w.embed_tokens);
    for (const DecoderLayer& l : w.layers) {
      add(l.input_layernorm), add(l.post_attention_layernorm), add(l.q_norm), add(l.k_norm);
      for (const Linear& linear : l.linears) add(linear);
    }
    add(w.norm);
    add(w.lm_head);
  }
  uint64_t value() const { return value_; }

 private:
  void add(uint64_t word) {
    value_ = (value_ ^ word) * 0x9E3779B97F4A7C15u;
    value_ ^= value_ >> 29;
  }
  void add(const Tensor& t) {
    add(uint64_t(reinterpret_cast<uintptr_t>(t.data))), add(uint64_t(t.rank > 0 ? t.dim(0) : 0));
  }
  void add(const Linear& l) {
    add(l.weight), add(l.bias), add(l.packed.codes);
    for (const LoraPair& p : l.adapters)
      add(p.a), add(p.b), add(uint64_t(std::bit_cast<uint32_t>(p.scale))), add(uint64_t(p.enabled));
  }
  uint64_t value_ = 1;
};

}  // namespace

uint64_t weight_state(const Weights& weights) { return WeightState(weights).value(); }

}  // namespace vpref
