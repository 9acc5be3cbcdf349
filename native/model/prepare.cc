// SPDX-License-Identifier: Apache-2.0
// Prepares the weights for the ops, once before the first step: converts, packs, or uploads them to the GPU.
#include <algorithm>

#include "core/byte_text.h"
#include "core/error.h"
#include "core/interleaved_weight.h"
#include "core/memory.h"
#include "core/parallel.h"
#include "model/load.h"
#include "ops/elementwise.h"

namespace vpref {

namespace {

// Arena bytes of upload_packed.
size_t aligned_bytes(const PackedWeight& w) {
  size_t bytes = 0;
  for (const Tensor* t : {&w.codes, &w.scales, &w.book, &w.nested_scales, &w.nested_book}) bytes += aligned(t->bytes());
  return bytes;
}

// Reads the bytes from the file into memory, with all cores.
void fetch(const Tensor& t, int threads) {
  constexpr int64_t kPart = int64_t(1) << 20;
  const int64_t bytes = int64_t(t.bytes());
  parallel_ranges(threads, bytes, kPart, [&](int, int64_t first, int64_t end) {
    for (int64_t begin = first; begin < end; begin += kPart)
      MappedFile::fetch(t.as<char>() + begin, size_t(std::min(kPart, end - begin)));
  });
}

}  // namespace

Tensor Model::place(Context& ctx, const Tensor& stored, DType dtype) {
  Context host(Device::cpu, ctx.num_threads);
  Tensor t = stored;
  t.dtype = dtype;
  owned_bytes_ += t.bytes();
  if (ctx.measuring()) {
    t.data = device_weights_.tensor(dtype, {t.numel()}).data;
    return t;
  }
  if (device_ == Device::cpu) {
    owned_.emplace_back(device_, aligned(t.bytes()));
    t.data = owned_.back().data();
    fetch(stored, ctx.num_threads);
    convert(host, stored.reshaped({stored.numel()}), t.reshaped({t.numel()}));
    return t;
  }
  // All cores read and convert a chunk while the previous one is copied.
  t.data = device_weights_.tensor(dtype, {t.numel()}).data;
  const int64_t size = int64_t(dtype_size(dtype));
  const Tensor source = stored.reshaped({stored.numel()});
  write_to_device(ctx, t.data, t.bytes(), size_t(size), [&](void* piece, size_t begin, size_t bytes) {
    const int64_t count = int64_t(bytes) / size;
    const Tensor part = source.rows(int64_t(begin) / size, count);
    fetch(part, ctx.num_threads);
    convert(host, part, Tensor(piece, dtype, {count}));
  });
  return t;
}

void Model::pack_base(Packing packing, const std::string& cache, int threads) {
  check(!prepared_, "internal", "pack_base after prepare");
  check(packing == Packing::none || packed_.empty(), "request", shards_.front().path(), ": ",
        packed_.empty() ? "" : packed_.front().name, " is packed already, as ",
        packed_.empty() ? "" : packing_name(packed_.front().linear->packed.packing),
        ": expected a full checkpoint to pack as ", packing_name(packing));
  packing_ = packing;
  if (packing == Packing::none || cache.empty()) return;
  pack_cache_ = std::make_unique<PackCache>(cache, packing, shard_paths(), threads);
  notes_.push_back(pack_cache_->note());
}

Packing Model::stored_form() const {
  for (const PackedPlace& p : packed_)
    for (const DecoderLayer& layer : weights.layers)
      for (const Linear& linear : layer.linears)
        if (&linear == p.linear) return linear.packed.packing;
  return Packing::none;
}

// The linear with the weight `placed`, if it is to be packed; else null.
Linear* Model::to_pack(const Placed& placed) {
  if (packing_ == Packing::none) return nullptr;
  for (DecoderLayer& layer : weights.layers)
    for (Linear& linear : layer.linears)
      if (&linear.weight == placed.slot) return &linear;
  return nullptr;
}

void Model::pack(Context& ctx, Linear& linear, const Placed& placed) {
  const Tensor stored = *placed.slot;
  const int64_t rows = stored.dim(0), cols = stored.dim(1);
  const size_t bytes = packed_bytes(packing_, rows, cols);
  linear.weight = Tensor();
  if (ctx.measuring()) {
    Buffer memory = Buffer::measuring(bytes);
    linear.packed = packed_layout(packing_, rows, cols, memory.data());
    return place_packed(ctx, linear.packed, std::move(memory));
  }
  const auto named = std::find_if(stored_names_.begin(), stored_names_.end(),
                                  [&](const StoredName& s) { return s.place == placed.slot; });
  // An adapter may have replaced the matrix.
  const bool in_file = named->stored.data == stored.data, cached = pack_cache_ && in_file;
  if (cached) linear.packed = pack_cache_->find(named->name, rows, cols);
  if (linear.packed) {
    const PackedWeight found = linear.packed;
    place_packed(ctx, linear.packed, Buffer());
    if (linear.packed.codes.data != found.codes.data) pack_cache_->drop(found);
    return;
  }
  Buffer memory(Device::cpu, bytes, /*zero=*/cached);
  const std::string& path = std::next(shards_.begin(), ptrdiff_t(named->shard))->path();
  linear.packed = pack_matrix(stored, packing_, memory.data(), ctx.num_threads,
                              in_file ? cat(path, ": ", named->name) : named->name);
  if (placed.file) placed.file->drop(stored.data, stored.bytes());
  if (!cached) return place_packed(ctx, linear.packed, std::move(memory));
  pack_cache_->add(named->name, linear.packed, memory);
  uncached_.push_back({&linear, std::move(memory)});
}

// Moves a weight to where the ops read it: to the GPU, or in the order of the CPU's kernels. `memory` holds it; empty:
// a file does.
void Model::place_packed(Context& ctx, PackedWeight& w, Buffer memory) {
  if (device_ != Device::cpu) return upload_packed(ctx, w);
  if (can_interleave(w)) {
    const size_t bytes = interleaved_bytes(w);
    Buffer to = ctx.measuring() ? Buffer::measuring(bytes) : Buffer(Device::cpu, bytes);
    w = ctx.measuring() ? interleaved_layout(w, to.data()) : interleaved(w, to.data(), ctx.num_threads);
    memory = std::move(to);
  }
  (memory.data() ? owned_bytes_ : mapped_bytes_) += memory.data() ? memory.bytes() : w.bytes();
  if (memory.data()) owned_.push_back(std::move(memory));
}

void Model::upload_packed(Context& ctx, PackedWeight& w) {
  for (Tensor* part : {&w.codes, &w.scales, &w.book, &w.nested_scales, &w.nested_book}) {
    if (!*part) continue;
    const Tensor there = device_weights_.tensor(DType::u8, {int64_t(part->bytes())});
    copy_to_device(ctx, there.data, part->data, part->bytes());
    part->data = there.data;
    owned_bytes_ += part->bytes();
  }
  synchronize(ctx);
}

DType Model::placed_dtype(const Placed& placed) const {
  const DType stored = placed.slot->dtype;
  if (placed.slot == &weights.embed_tokens && folded_embedding_.data()) return DType::f32;
  const bool vector = placed.slot->rank == 1;
  if (!vector && (compute_ == DType::bf16 || device_ == Device::cuda)) return compute_;
  return placed.summed && stored == DType::f16 ? DType::f32 : stored;
}

void Model::prepare(Context& ctx) {
  if (prepare_error_) std::rethrow_exception(prepare_error_);
  if (prepared_) return;
  try {
    fold_embedding_adapters(ctx.num_threads);
    reserve_weights(ctx);
    prepared_ = true;
    place_weights(ctx);
  } catch (...) {
    prepare_error_ = std::current_exception();
    throw;
  }
}

// The GPU's memory for all weights, or while ctx measures, its size.
void Model::reserve_weights(const Context& ctx) {
  if (ctx.measuring()) {
    device_weights_ = Arena::measuring();
  } else if (device_ != Device::cpu) {
    size_t bytes = 0;
    for (const Placed& p : placed_)
      bytes += to_pack(p) ? packed_bytes(packing_, p.slot->dim(0), p.slot->dim(1))
                          : aligned(size_t(p.slot->numel()) * dtype_size(placed_dtype(p)));
    for (const PackedPlace& p : packed_) bytes += aligned_bytes(p.linear->packed);
    for_each_adapter_tensor([&](Tensor& t) { bytes += aligned(size_t(t.numel()) * dtype_size(compute_)); });
    const MemorySize memory = memory_size(device_);
    check(bytes <= memory.free, "memory", "the weights need ", gibibytes(bytes), " in ", dtype_name(compute_),
          ", the GPU has ", gibibytes(memory.free), " free of ", gibibytes(memory.total));
    device_weights_ = Arena(device_, bytes);
  }
}

void Model::place_weights(Context& ctx) {
  for (const PackedPlace& p : packed_) {
    const Tensor codes = p.linear->packed.codes;
    place_packed(ctx, p.linear->packed, Buffer());
    if (p.linear->packed.codes.data != codes.data && !ctx.measuring()) p.file->drop(codes.data, codes.bytes());
  }
  for (const Placed& p : placed_) {
    const Tensor stored = *p.slot;
    if (Linear* linear = to_pack(p)) {
      pack(ctx, *linear, p);
      continue;
    }
    const DType dtype = placed_dtype(p);
    if (device_ == Device::cpu && dtype == stored.dtype) {
      mapped_bytes_ += stored.bytes();
      continue;
    }
    *p.slot = place(ctx, stored, dtype);
    if (p.file) p.file->drop(stored.data, stored.bytes());
  }
  if (pack_cache_) {
    pack_cache_->write();
    for (Uncached& u : uncached_) place_packed(ctx, u.linear->packed, std::move(u.memory));
    uncached_.clear();
  }
  if (config.text.tie_word_embeddings) weights.lm_head.weight = weights.embed_tokens;
  for_each_adapter_tensor([&](Tensor& t) {
    if (device_ != Device::cpu || t.dtype != compute_) t = place(ctx, t, compute_);
  });
}

template <class Body>
void Model::for_each_adapter_tensor(Body body) {
  for (const LinearSpec& spec : tensors_.linears) {
    if (!spec.linear) continue;
    for (LoraPair& pair : spec.linear->adapters) {
      body(pair.a);
      body(pair.b);
    }
  }
}

}  // namespace vpref
