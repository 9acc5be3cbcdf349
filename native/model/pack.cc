// SPDX-License-Identifier: Apache-2.0
#include "model/pack.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string_view>

#include "core/error.h"
#include "core/interleaved_weight.h"
#include "core/parallel.h"
#include "model/json.h"

namespace vpref {

PackedWeight pack_matrix(const Tensor& stored, Packing packing, void* memory, int threads, const std::string& where) {
  PackedWeight w = packed_layout(packing, stored.dim(0), stored.dim(1), memory);
  const int64_t units = packing_units(w), unit_bytes = std::max<int64_t>(1, int64_t(stored.bytes()) / units);
  const int64_t part = std::max<int64_t>(1, (int64_t(1) << 20) / unit_bytes), parts = (units + part - 1) / part;
  std::vector<float> absmax(is_four_bit(packing) ? size_t(units) : 0);
  std::atomic<bool> finite{true};
  parallel_items(threads, parts, [&](int, int64_t i) {
    const int64_t begin = i * part, end = std::min(units, begin + part);
    const size_t first = size_t(begin * unit_bytes);
    MappedFile::fetch(stored.as<char>() + first, std::min(size_t((end - begin) * unit_bytes), stored.bytes() - first));
    if (!pack_units(stored, begin, end, w, absmax.data())) finite = false;
  });
  check(finite, "checkpoint", where, ": expected finite values to pack as ", packing_name(packing),
        ", got one that is not");
  pack_scales(absmax.data(), w);
  return w;
}

PackedWeight interleaved(const PackedWeight& w, void* memory, int threads) {
  const PackedWeight to = interleaved_layout(w, memory);
  parallel_items(threads, interleaved_blocks(w), [&](int, int64_t block) { interleave(w, block, block + 1, to); });
  return to;
}

namespace {

constexpr const char *kState = ".quant_state.bitsandbytes__", *kBook = ".quant_map";

// The first key of a state of this weight, in whatever format; or "".
std::string some_state(const StoredIndex& stored, const std::string& name) {
  const std::string state = name + kState;
  const auto found = stored.lower_bound(state);
  return found != stored.end() && found->first.starts_with(state) ? found->first : "";
}

// Reads the packed weight of one name, and removes its parts from the index.
class Bitsandbytes {
 public:
  Bitsandbytes(StoredIndex& stored, const std::string& name) : stored_(stored), name_(name) {
    for (const Packing packing : {Packing::nf4, Packing::fp4}) {
      const std::string state = name + kState + packing_name(packing);
      if (!stored.contains(state)) continue;
      check(state_name_.empty(), "checkpoint", stored.at(state).file->path(), ": ", state,
            ": expected one packed format, got also ", state_name_);
      state_name_ = state;
      weight_.packing = packing;
    }
    const std::string other = some_state(stored, name);
    check(!state_name_.empty(), "checkpoint", where(name), ": expected ", name, kState, "nf4 or fp4 beside it, got ",
          other.empty() ? "none" : other);
  }

  PackedWeight take(const std::vector<int64_t>& shape) {
    read_state(shape);
    const int64_t blocks = weight_.num_blocks();
    const bool nested = stored_.contains(name_ + ".nested_absmax");
    weight_.codes = codes();
    weight_.book = part(kBook, DType::f32, 16);
    weight_.scales = part(".absmax", nested ? DType::u8 : DType::f32, blocks);
    if (nested) {
      weight_.nested_scales =
          part(".nested_absmax", DType::f32, (blocks + weight_.nested_block - 1) / weight_.nested_block);
      weight_.nested_book = part(".nested_quant_map", DType::f32, 256);
    }
    check(nested == has_nested_state_, "checkpoint", where(state_name_), ": expected nested_offset and ", name_,
          ".nested_absmax, got one of both");
    return weight_;
  }

 private:
  std::string where(const std::string& tensor) const { return stored_.at(name_).file->path() + ": " + tensor; }

  Tensor view(const std::string& tensor, DType dtype) {
    const auto found = stored_.find(tensor);
    check(found != stored_.end(), "checkpoint", where(tensor), ": expected this tensor beside ", name_, ", got none");
    const StoredTensor& stored = found->second.file->tensors().at(found->second.name);
    check(stored.dtype == dtype, "checkpoint", where(tensor), ": dtype: expected ", safetensors_dtype(dtype), ", got ",
          stored.dtype_name);
    const Tensor view = found->second.file->view(found->second.name);
    stored_.erase(found);
    return view;
  }

  // [count], for any shape in the file
  Tensor part(const char* suffix, DType dtype, int64_t count) {
    const std::string tensor = name_ + suffix;
    const Tensor t = view(tensor, dtype);
    check(t.numel() == count, "checkpoint", where(tensor), ": expected ", count, " values ", safetensors_dtype(dtype),
          ", got ", t);
    return Tensor(t.data, dtype, {count});
  }

  // bnb_4bit_quant_storage may store the same bytes as another dtype.
  Tensor codes() {
    const auto& [file, name] = stored_.at(name_);
    const StoredTensor& t = file->tensors().at(name);
    const int64_t bytes = (weight_.numel() + 1) / 2;
    check(int64_t(t.end - t.begin) == bytes, "checkpoint", where(name_), ": expected ", bytes, " bytes of codes for [",
          weight_.num_rows, ", ", weight_.num_cols, "], got ", t.end - t.begin);
    std::byte* data = const_cast<std::byte*>(file->file().data()) + t.begin;
    return Tensor(data, DType::u8, {bytes});
  }

  void read_state(const std::vector<int64_t>& shape) {
    const Tensor bytes = view(state_name_, DType::u8);
    const std::string at = where(state_name_);
    const Json state = Json::parse({bytes.as<char>(), bytes.bytes()}, at);
    check(state.is_object(), "checkpoint", at, ": expected a JSON object, got ", state.kind_name());
    for (const auto& [key, value] : state.object()) {
      static constexpr std::string_view kKeys[] = {"quant_type",       "blocksize",    "dtype",        "shape",
                                                   "nested_blocksize", "nested_dtype", "nested_offset"};
      check(std::find(std::begin(kKeys), std::end(kKeys), key) != std::end(kKeys), "checkpoint", at, ": ", key,
            ": expected no such key");
    }
    const Json *type = state.find("quant_type"), *dims = state.find("shape"), *offset = state.find("nested_offset");
    const char* name = packing_name(weight_.packing);
    check(type && type->is_string() && type->string() == name, "checkpoint", at, ": quant_type: expected ", name);
    check(dims && dims->kind() == Json::Kind::array && dims->array().size() == shape.size() &&
              std::equal(shape.begin(), shape.end(), dims->array().begin(),
                         [](int64_t n, const Json& j) { return j.is_integer() && j.integer() == n; }),
          "checkpoint", at, ": shape: expected that of the layer, [", shape[0], ", ", shape[1], "]");
    weight_.num_rows = shape[0];
    weight_.num_cols = shape[1];
    weight_.block = block_of(state, "blocksize", at);
    // What older libraries round weights to; not ours.
    check_dtype(state, "dtype", {"float32", "bfloat16", "float16"}, at);
    has_nested_state_ = offset != nullptr && !offset->is_null();
    if (!has_nested_state_) return;
    check_dtype(state, "nested_dtype", {"float32"}, at);
    weight_.offset = offset->is_number() ? float(offset->number()) : NAN;
    check(std::isfinite(weight_.offset), "checkpoint", at, ": nested_offset: expected a finite number");
    weight_.nested_block = block_of(state, "nested_blocksize", at);
  }

  static void check_dtype(const Json& state, const char* key, std::initializer_list<std::string_view> known,
                          const std::string& at) {
    const Json* value = state.find(key);
    if (value == nullptr || value->is_null()) return;
    std::string names;
    for (const std::string_view name : known) names += cat(names.empty() ? "" : " or ", name);
    check(value->is_string() && std::find(known.begin(), known.end(), value->string()) != known.end(), "checkpoint", at,
          ": ", key, ": expected ", names, ", got ", value->is_string() ? value->string() : value->kind_name());
  }

  static int64_t block_of(const Json& state, const char* key, const std::string& at) {
    const Json* value = state.find(key);
    check(value && value->is_integer() && value->integer() >= 32 && value->integer() <= 4096 &&
              (value->integer() & (value->integer() - 1)) == 0,
          "checkpoint", at, ": ", key, ": expected a power of two from 32 to 4096");
    return value->integer();
  }

  StoredIndex& stored_;
  const std::string& name_;
  std::string state_name_;
  bool has_nested_state_ = false;
  PackedWeight weight_;
};

}  // namespace

bool is_bitsandbytes(const StoredIndex& stored, const std::string& name) {
  return stored.contains(name + kBook) || !some_state(stored, name).empty();
}

PackedWeight take_bitsandbytes(StoredIndex& stored, const std::string& name, const std::vector<int64_t>& shape) {
  return Bitsandbytes(stored, name).take(shape);
}

void check_quantization(const ConfigReader& config) {
  if (!config.has("quantization_config")) return;
  const std::string expected = "none, or bitsandbytes' with load_in_4bit (other quantised checkpoints are not read)";
  if (!config.raw("quantization_config")->is_object()) config.fail("quantization_config", expected);
  const ConfigReader quantization = config.object("quantization_config");
  if (quantization.string("quant_method", "bitsandbytes") != "bitsandbytes")
    quantization.fail("quant_method", "\"bitsandbytes\" (other quantised checkpoints are not read)");
  if (quantization.boolean("load_in_8bit", false))
    quantization.fail(
        "load_in_8bit",
        "false (LLM.int8() rounds activations too; --quantize int8 packs the weights of a full checkpoint)");
  if (!quantization.boolean("load_in_4bit", false)) quantization.fail("load_in_4bit", "true");
}

}  // namespace vpref
