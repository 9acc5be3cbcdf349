// SPDX-License-Identifier: Apache-2.0
#include "train/trainable.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/memory.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "ops/elementwise.h"

namespace vpref {

namespace {

std::string target_names() {
  std::string names;
  for (size_t i = 0; i < kNumLinears; ++i)
    names += cat(i == 0 ? "" : i + 1 == kNumLinears ? " or " : ", ", kLinears[i].name);
  return names;
}

bool is_projector(const Weights& w, const Tensor* slot) {
  if (!w.vision || !slot) return false;
  const std::vector<ConnectorPart> parts = w.vision->connector();
  return std::any_of(parts.begin(), parts.end(), [slot](const ConnectorPart& p) { return p.value == slot; });
}

bool has_lora(const LoadedAdapter& adapter, const Linear& linear) {
  return std::any_of(adapter.loras.begin(), adapter.loras.end(),
                     [&](const LoadedAdapter::Lora& l) { return l.linear == &linear; });
}

bool saves_projector(const Weights& w, const LoadedAdapter* start) {
  return start && std::any_of(start->others.begin(), start->others.end(),
                              [&](const LoadedAdapter::Other& o) { return is_projector(w, o.slot); });
}

// Checks an adapter to continue from: the result must again be one adapter.
void check_start(const Weights& weights, const LoadedAdapter& start, bool projector) {
  const bool decoder = std::any_of(weights.layers.begin(), weights.layers.end(), [&](const DecoderLayer& layer) {
    return std::any_of(layer.linears.begin(), layer.linears.end(), [&](const Linear& l) { return has_lora(start, l); });
  });
  check(decoder || projector, "checkpoint", start.dir,
        ": expected LoRA on the language model's linears or a saved projector to go on from, got neither");
  if (!projector) return;
  for (const LoadedAdapter::Lora& l : start.loras) {
    check(!is_projector(weights, &l.linear->weight), "checkpoint", start.dir, ": ", l.key_a,
          ": expected no LoRA on a projector that is trained itself (leave out --train-projector, and it stays fixed)");
  }
  const auto saved = std::count_if(start.others.begin(), start.others.end(),
                                   [&](const LoadedAdapter::Other& o) { return is_projector(weights, o.slot); });
  const int64_t all = int64_t(weights.vision->connector().size());
  check(saved == 0 || saved == all, "checkpoint", start.dir, ": expected all ", all,
        " tensors of the projector or none, got ", saved);
}

void check_options(const ModelConfig& config, const TrainableOptions& o) {
  check(!o.start || !o.language_model, "config",
        "an adapter to go on from and full fine-tuning of the language model exclude each other");
  check(!o.projector || config.has_vision, "config", "the model has no projector to train");
  check(o.lora_dropout >= 0 && o.lora_dropout < 1, "config", "lora_dropout: expected a share in [0, 1), got ",
        o.lora_dropout);
  check(o.lora_dropout == 0 || o.lora_r > 0 || o.start, "config", "lora_dropout: needs an adapter to train");
  if (o.start) return;
  check(o.lora_r >= 0 && o.lora_r <= 8192, "config", "lora_r: expected a rank in 0..8192, got ", o.lora_r);
  check(o.lora_r > 0 || o.projector || o.language_model, "config",
        "nothing to train: give a LoRA rank, the projector or the language model");
  check(o.lora_r == 0 || !o.language_model, "config",
        "LoRA and full fine-tuning of the language model exclude each other");
  check(o.lora_r == 0 || !o.lora_targets.empty(), "config", "lora_targets: expected at least one linear");
  const size_t num_linears = size_t(config.text.num_hidden_layers) * kNumLinears;
  check(o.lora_shapes.empty() || o.lora_shapes.size() == num_linears, "config", "lora_shapes: expected ", num_linears,
        ", got ", o.lora_shapes.size());
  for (const LoraShape& shape : o.lora_shapes)
    check(shape.r >= 0 && shape.r <= 8192, "config", "lora_shapes: expected ranks in 0..8192, got ", shape.r);
  for (const std::string& target : o.lora_targets) {
    const bool known =
        std::any_of(kLinears.begin(), kLinears.end(), [&](const LinearInfo& l) { return target == l.name; });
    check(known, "config", "lora_targets: expected ", target_names(), ", got ", target);
  }
}

// Packed weights have no gradient.
void check_packed(const Weights& weights, bool language_model, bool projector) {
  const auto check_linear = [&](const Linear& l) {
    check(!language_model || !l.packed, "config",
          "full fine-tuning of the language model: expected weights that are not packed, got ",
          packing_name(l.packed.packing), " (LoRA trains on packed ones)");
  };
  for (const DecoderLayer& layer : weights.layers)
    for (const Linear& l : layer.linears) check_linear(l);
  check_linear(weights.lm_head);
  if (!projector) return;
  for (const ConnectorPart& part : weights.vision->connector())
    check(bool(*part.value), "config", "training of the projector: expected weights that are not packed, got a packed ",
          part.name);
}

LoraShape shape_of(const TrainableOptions& o, size_t layer, size_t linear) {
  if (!o.lora_shapes.empty()) return o.lora_shapes[layer * kNumLinears + linear];
  const auto& targets = o.lora_targets;
  const bool is_target = std::find(targets.begin(), targets.end(), kLinears[linear].name) != targets.end();
  return is_target ? LoraShape{o.lora_r, o.lora_alpha} : LoraShape{};
}

// Elements [first, first + n) of parameter `index` from U(-bound, bound): element i is word i % 4 of block i / 4.
// `first` is a multiple of 4.
void fill_uniform(float* out, int64_t first, int64_t n, double bound, uint64_t seed, uint32_t index, int threads) {
  parallel_ranges(threads, n, 4, [&](int, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += 4) {
      const uint64_t block = uint64_t(first + i) / 4;
      const auto words = philox4x32(seed, {uint32_t(block), uint32_t(block >> 32), index, 0x4c6f5241u /* "LoRA" */});
      for (int64_t k = 0; k < std::min<int64_t>(4, end - i); ++k) {
        out[i + k] = float((2 * ((double(words[k]) + 0.5) * 0x1p-32) - 1) * bound);
      }
    }
  });
}

}  // namespace

std::string layer_path(const ModelConfig& config, size_t layer) { return cat(config.modules.text, "layers.", layer); }

Trainable::Trainable(Context& ctx, const ModelConfig& config, Weights& weights, DType compute,
                     const TrainableOptions& options)
    : layers(weights.layers.size()),
      trains_projector(options.projector || saves_projector(weights, options.start)),
      trains_language_model(options.language_model) {
  check_options(config, options);
  if (options.start) check_start(weights, *options.start, trains_projector);
  check_packed(weights, options.language_model, trains_projector);
  const std::string& lm = config.modules.text;
  for (size_t i = 0; i < layers.size(); ++i) {
    const int64_t begin = store.numel();
    for (size_t l = 0; l < kNumLinears; ++l) {
      Linear& linear = weights.layers[i].linears[l];
      LinearGrads& grads = layers[i].linears[l];
      const std::string path = cat(layer_path(config, i), ".", kLinears[l].path);
      if (options.start) {
        if (has_lora(*options.start, linear)) add_started_lora(path, linear, grads);
      } else if (const LoraShape shape = shape_of(options, i, l); shape.r > 0) {
        add_lora(path, linear, grads, shape, options.use_rslora);
      }
      if (options.language_model) add_weight(path + ".weight", linear.weight, grads.weight, kMain);
    }
    layer_ranges_.emplace_back(begin, store.numel());
  }
  if (options.language_model) {
    add_weight(lm + "embed_tokens.weight", weights.embed_tokens, embed_grad, kMain);
    if (!config.text.tie_word_embeddings) add_weight("lm_head.weight", weights.lm_head.weight, lm_head_grad, kMain);
    for (size_t i = 0; i < layers.size(); ++i) {
      DecoderLayer& l = weights.layers[i];
      add_weight(layer_path(config, i) + ".input_layernorm.weight", l.input_layernorm, layers[i].input_layernorm,
                 kMainNoDecay);
      add_weight(layer_path(config, i) + ".post_attention_layernorm.weight", l.post_attention_layernorm,
                 layers[i].post_attention_layernorm, kMainNoDecay);
      if (l.q_norm) {
        add_weight(layer_path(config, i) + ".self_attn.q_norm.weight", l.q_norm, layers[i].q_norm, kMainNoDecay);
        add_weight(layer_path(config, i) + ".self_attn.k_norm.weight", l.k_norm, layers[i].k_norm, kMainNoDecay);
      }
      for (size_t k = 0; k < kNumLinears; ++k) {
        if (l.linears[k].bias)
          add_weight(cat(layer_path(config, i), ".", kLinears[k].path, ".bias"), l.linears[k].bias,
                     layers[i].linears[k].bias, kMainNoDecay);
      }
    }
    add_weight(lm + "norm.weight", weights.norm, norm_grad, kMainNoDecay);
  }
  if (trains_projector) add_connector(*weights.vision);
  set_dropout(options.lora_dropout, options.seed, weights);
  check_memory(ctx, compute, options);
  store.allocate(ctx, compute);
  initialise(ctx, options.seed);
  if (options.language_model && config.text.tie_word_embeddings) {
    weights.lm_head.weight = weights.embed_tokens;
    lm_head_grad = embed_grad;
  }
}

// GPU memory cannot be paged out, so this check comes before the allocation.
void Trainable::check_memory(Context& ctx, DType compute, const TrainableOptions& o) const {
  if (ctx.device == Device::cpu || ctx.measuring()) return;
  const size_t bytes = ParameterStore::bytes(store.numel(), store.numel() / o.state_shares, compute);
  const MemorySize memory = memory_size(ctx.device);
  if (bytes <= memory.free) return;
  const int64_t rank = int64_t(double(o.lora_r) * 0.9 * double(memory.free) / double(bytes)) / 8 * 8;
  const auto gib = [](size_t n) { return double(n) / double(size_t(1) << 30); };
  throw Error("memory", cat(store.numel(), " trained parameters need ", gib(bytes),
                            " GiB with gradients and optimizer state, the GPU has ", gib(memory.free), " GiB free of ",
                            gib(memory.total), rank >= 8 ? cat("; --lora-r ", rank, " would fit") : std::string()));
}

void Trainable::add(const std::string& name, int64_t rows, int64_t cols, int group, Slot slot) {
  store.add(name, rows, cols, group);
  slots_.push_back(slot);
}

void Trainable::add_lora(const std::string& path, Linear& linear, LinearGrads& grads, LoraShape shape,
                         bool use_rslora) {
  const int64_t n = linear.outputs(), k = linear.inputs();
  const double scale = shape.alpha / (use_rslora ? std::sqrt(double(shape.r)) : double(shape.r));
  linear.adapters.push_back({.scale = float(scale)});
  grads.adapters.resize(linear.adapters.size());
  adapted_.push_back(&linear);
  add(path + ".lora_A.weight", shape.r, k, kMain, {&linear.adapters.back().a, &grads.adapters.back().a, Tensor(), k});
  add(path + ".lora_B.weight", n, shape.r, kMain, {&linear.adapters.back().b, &grads.adapters.back().b, Tensor(), 0});
}

// The pair exists already, as the linear's last one; TrainSession reads its values from the file.
void Trainable::add_started_lora(const std::string& path, Linear& linear, LinearGrads& grads) {
  LoraPair& pair = linear.adapters.back();
  const int64_t n = linear.outputs(), k = linear.inputs(), r = pair.a.dim(0);
  grads.adapters.resize(linear.adapters.size());
  adapted_.push_back(&linear);
  add(path + ".lora_A.weight", r, k, kMain, {&pair.a, &grads.adapters.back().a, Tensor(), 0});
  add(path + ".lora_B.weight", n, r, kMain, {&pair.b, &grads.adapters.back().b, Tensor(), 0});
}

// Matrices first, because the store's groups ascend.
void Trainable::add_connector(Vision& vision) {
  const std::vector<ConnectorPart> parts = vision.connector();
  connector.resize(parts.size());
  for (const auto& [rank, group] : {std::pair(2, kProjector), std::pair(1, kProjectorNoDecay)}) {
    for (size_t i = 0; i < parts.size(); ++i) {
      if (parts[i].value->rank == rank) add_weight(parts[i].name, *parts[i].value, connector[i], group);
    }
  }
}

void Trainable::add_weight(const std::string& name, Tensor& value, Tensor& grad, int group) {
  add(name, value.dim(0), value.rank == 2 ? value.dim(1) : 1, group, {&value, &grad, value, 0});
}

void Trainable::initialise(Context& ctx, uint64_t seed) {
  for (size_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    const Tensor master = store.master(int(i));
    if (slot.fan_in > 0) {
      const double bound = 1 / std::sqrt(double(slot.fan_in));
      write_to_device(ctx, master.data, master.bytes(), 4 * sizeof(float), [&](void* to, size_t begin, size_t bytes) {
        fill_uniform(static_cast<float*>(to), int64_t(begin / sizeof(float)), int64_t(bytes / sizeof(float)), bound,
                     seed, uint32_t(i), ctx.num_threads);
      });
    } else if (slot.start) {
      convert(ctx, slot.start.rank == 1 ? slot.start.reshaped({slot.start.dim(0), 1}) : slot.start, master);
    }
    const auto shaped = [&](const Tensor& t) {
      return slot.start && slot.start.rank == 1 ? t.reshaped({t.dim(0)}) : t;
    };
    *slot.value = shaped(store.value(int(i)));
    *slot.grad = shaped(store.grad(int(i)));
  }
  store.refresh_copy(ctx);
}

// The dropout mask of a pair depends on its linear.
void Trainable::set_dropout(double p, uint64_t seed, Weights& weights) {
  if (p == 0) return;
  dropout_.p = float(p);
  dropout_.seed = seed;
  for (size_t layer = 0; layer < weights.layers.size(); ++layer) {
    for (size_t l = 0; l < kNumLinears; ++l) {
      if (layers[layer].linears[l].adapters.empty()) continue;
      LoraPair& pair = weights.layers[layer].linears[l].adapters.back();
      pair.dropout = &dropout_;
      pair.place = uint32_t(layer * kNumLinears + l);
    }
  }
}

void Trainable::enable_adapter(bool on) {
  for (Linear* l : adapted_) l->adapters.back().enabled = on;
}

}  // namespace vpref
