// SPDX-License-Identifier: Apache-2.0
#include "addon/convert.h"

#include <cctype>
#include <cmath>
#include <cstring>

#include "infer/stop.h"

namespace vpref::addon {
namespace {

[[noreturn]] void expected(Napi::Env env, const char* name, const char* what) {
  throw Napi::TypeError::New(env, cat("[addon] ", name, ": expected ", what));
}

std::string bytes_text(const Napi::Value& from, const char* name) {
  if (!from.IsTypedArray()) expected(from.Env(), name, "a Uint8Array");
  auto array = from.As<Napi::TypedArray>();
  if (array.TypedArrayType() != napi_uint8_array) expected(from.Env(), name, "a Uint8Array");
  auto bytes = from.As<Napi::Uint8Array>();
  return std::string(reinterpret_cast<const char*>(bytes.Data()), bytes.ElementLength());
}

std::vector<std::string> bytes_list(const Napi::Array& from, const char* name) {
  std::vector<std::string> list(from.Length());
  for (uint32_t i = 0; i < from.Length(); ++i) list[i] = bytes_text(from.Get(i), name);
  return list;
}

// "top_p" is "topP" in JavaScript.
std::string camel_case(std::string_view name) {
  std::string out;
  for (size_t i = 0; i < name.size(); ++i) out += name[i] == '_' ? char(std::toupper(name[++i])) : name[i];
  return out;
}

std::optional<DType> dtype_of(const std::string& name) {
  if (name == "f32") return DType::f32;
  if (name == "bf16") return DType::bf16;
  return std::nullopt;
}

CropSize crop_size(const Napi::Object& from) {
  const CropSize size{int32_t(number_field(from, "height")), int32_t(number_field(from, "width"))};
  if (size.height <= 0 || size.width <= 0) expected(from.Env(), "crops", "heights and widths above 0");
  return size;
}

template <class Take>
void for_each_crop(const Napi::Object& image, Take take) {
  const Napi::Array crops = array_field(image, "crops");
  for (uint32_t i = 0; i < crops.Length(); ++i) {
    const Napi::Value value = crops.Get(i);
    if (!value.IsObject()) expected(image.Env(), "crops", "objects");
    const Napi::Object crop = value.As<Napi::Object>();
    take(crop, crop_size(crop));
  }
}

uint64_t seed_field(const Napi::Object& from) {
  const double seed = number_field(from, "seed");
  if (!(seed >= 0 && seed < 9007199254740992.0) || seed != std::floor(seed))
    expected(from.Env(), "seed", "a whole number below 2^53");
  return uint64_t(seed);
}

Image image_of(const Napi::Object& from) {
  Image image{int32_t(number_field(from, "height")), int32_t(number_field(from, "width")), {}, {}};
  for_each_crop(from, [&](const Napi::Object& crop, CropSize size) {
    const Napi::Value pixels = crop.Get("pixels");
    if (!pixels.IsTypedArray()) expected(from.Env(), "pixels", "a Uint8Array");
    auto bytes = pixels.As<Napi::Uint8Array>();
    if (bytes.ElementLength() != size_t(size.height) * size_t(size.width) * 3)
      expected(from.Env(), "pixels", "height * width * 3 bytes");
    image.crops.push_back({size.height, size.width, {bytes.Data(), bytes.Data() + bytes.ElementLength()}});
  });
  if (const Napi::Value recipe = from.Get("noise"); recipe.IsObject()) {
    const Napi::Object object = recipe.As<Napi::Object>();
    image.diffusion = DiffusionRecipe{int32_t(number_field(object, "step")), seed_field(object)};
  }
  return image;
}

void three_numbers(const Napi::Object& from, const char* name, float (&out)[3]) {
  const Napi::Array list = array_field(from, name);
  if (list.Length() != 3) expected(from.Env(), name, "three numbers");
  for (uint32_t i = 0; i < 3; ++i) out[i] = list.Get(i).ToNumber().FloatValue();
}

std::optional<Normalisation> normalisation_of(const Napi::Value& from) {
  if (!from.IsObject()) return std::nullopt;
  const Napi::Object object = from.As<Napi::Object>();
  Normalisation n{.scale = number_field(object, "scale")};
  three_numbers(object, "mean", n.mean);
  three_numbers(object, "std", n.std);
  return n;
}

Napi::Array text_list(Napi::Env env, const std::vector<std::string>& from) {
  Napi::Array to = Napi::Array::New(env, from.size());
  for (uint32_t i = 0; i < from.size(); ++i) to.Set(i, from[i]);
  return to;
}

template <class T>
Napi::Value typed_array(Napi::Env env, const std::vector<T>& from) {
  using Array = std::conditional_t<std::is_same_v<T, float>, Napi::Float32Array, Napi::Int32Array>;
  auto to = Array::New(env, from.size());
  if (!from.empty()) std::memcpy(to.Data(), from.data(), from.size() * sizeof(T));
  return to;
}

}  // namespace

std::vector<int32_t> int32_list(const Napi::Value& from, const char* name) {
  if (!from.IsTypedArray() || from.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array)
    expected(from.Env(), name, "an Int32Array");
  auto array = from.As<Napi::Int32Array>();
  return std::vector<int32_t>(array.Data(), array.Data() + array.ElementLength());
}

std::string string_field(const Napi::Object& from, const char* name) {
  const Napi::Value value = from.Get(name);
  if (!value.IsString()) expected(from.Env(), name, "a string");
  return value.As<Napi::String>().Utf8Value();
}

double number_field(const Napi::Object& from, const char* name) {
  const Napi::Value value = from.Get(name);
  if (!value.IsNumber()) expected(from.Env(), name, "a number");
  return value.As<Napi::Number>().DoubleValue();
}

uint64_t uint64_field(const Napi::Object& from, const char* name) {
  const Napi::Value value = from.Get(name);
  bool lossless = false;
  if (!value.IsBigInt()) expected(from.Env(), name, "a bigint");
  const uint64_t number = value.As<Napi::BigInt>().Uint64Value(&lossless);
  if (!lossless) expected(from.Env(), name, "a bigint of 64 bits");
  return number;
}

bool bool_field(const Napi::Object& from, const char* name) {
  const Napi::Value value = from.Get(name);
  if (!value.IsBoolean()) expected(from.Env(), name, "a boolean");
  return value.As<Napi::Boolean>().Value();
}

Napi::Array array_field(const Napi::Object& from, const char* name) {
  const Napi::Value value = from.Get(name);
  if (!value.IsArray()) expected(from.Env(), name, "an array");
  return value.As<Napi::Array>();
}

std::vector<Image> image_list(const Napi::Array& from) {
  std::vector<Image> images;
  for (uint32_t i = 0; i < from.Length(); ++i) {
    const Napi::Value value = from.Get(i);
    if (!value.IsObject()) expected(from.Env(), "images", "objects");
    images.push_back(image_of(value.As<Napi::Object>()));
  }
  return images;
}

ImageShape image_shape_of(const Napi::Object& from) {
  ImageShape shape{int32_t(number_field(from, "height")), int32_t(number_field(from, "width")), {}};
  for_each_crop(from, [&](const Napi::Object&, CropSize size) { shape.crops.push_back(size); });
  return shape;
}

EngineOptions engine_options(const Napi::Object& from) {
  EngineOptions options;
  options.model_dir = string_field(from, "modelDir");
  const Napi::Array adapters = array_field(from, "adapterDirs");
  for (uint32_t i = 0; i < adapters.Length(); ++i)
    options.adapter_dirs.push_back(adapters.Get(i).ToString().Utf8Value());
  options.device = string_field(from, "device") == "cuda" ? Device::cuda : Device::cpu;
  options.dtype = dtype_of(string_field(from, "dtype"));
  const std::string packing = string_field(from, "quantize");
  const std::optional<Packing> parsed = parse_packing(packing);
  check(parsed && *parsed != Packing::fp4, "request", "quantize: expected none, nf4 or int8, got ", packing);
  options.packing = *parsed;
  options.pack_cache = string_field(from, "quantizeCache");
  options.threads = int(number_field(from, "threads"));
  options.batch_tokens = int64_t(number_field(from, "batchTokens"));
  options.token_bytes = bytes_list(array_field(from, "tokenBytes"), "tokenBytes");
  options.normalisation = normalisation_of(from.Get("normalisation"));
  return options;
}

GenerateRequest generate_request(const Napi::Object& from) {
  GenerateRequest request;
  request.prompt = int32_list(from.Get("promptIds"), "promptIds");
  request.images = image_list(array_field(from, "images"));
  request.num_samples = int32_t(number_field(from, "numSamples"));
  request.first_sample = uint32_t(number_field(from, "firstSample"));
#define VPREF_SAMPLE_READ(TYPE, NAME, ...) request.sampling.NAME = TYPE(number_field(from, camel_case(#NAME).c_str()));
  VPREF_SAMPLE_SETTINGS(VPREF_SAMPLE_READ)
#undef VPREF_SAMPLE_READ
  request.sampling.seed = seed_field(from);
  request.sampling.rng_key = uint64_field(from, "rngKey");
  request.max_new_tokens = int32_t(number_field(from, "maxNewTokens"));
  request.eos_token_ids = int32_list(from.Get("eosTokenIds"), "eosTokenIds");
  request.stop_strings = bytes_list(array_field(from, "stopStrings"), "stopStrings");
  request.repetition.max_period = int32_t(number_field(from, "repetitionMaxPeriod"));
  request.num_beams = int32_t(number_field(from, "numBeams"));
  return request;
}

ScoreRequest score_request(const Napi::Object& from) {
  ScoreRequest request;
  request.images = image_list(array_field(from, "images"));
  const Napi::Array segments = array_field(from, "segments");
  for (uint32_t i = 0; i < segments.Length(); ++i) {
    const Napi::Value value = segments.Get(i);
    if (!value.IsObject()) expected(from.Env(), "segments", "objects");
    const Napi::Object object = value.As<Napi::Object>();
    ScoreSegment segment;
    segment.parent = int32_t(number_field(object, "parent"));
    segment.token_ids = int32_list(object.Get("ids"), "ids");
    segment.images = int32_list(object.Get("images"), "images");
    segment.scored = bool_field(object, "scored");
    request.segments.push_back(std::move(segment));
  }
  return request;
}

Napi::Value info_value(Napi::Env env, const EngineInfo& info) {
  Napi::Object to = Napi::Object::New(env);
  to.Set("modelType", info.model_type);
  to.Set("hasVision", info.has_vision);
  to.Set("imageTokenId", info.image_token_id);
  to.Set("textModule", info.modules.text);
  to.Set("connectorModules", text_list(env, info.modules.connector));
  to.Set("connectorParts", text_list(env, info.connector_parts));
  to.Set("vocabSize", info.vocab_size);
  to.Set("maxPositionEmbeddings", info.max_position_embeddings);
  to.Set("eosTokenIds", typed_array(env, info.eos_token_ids));
  to.Set("device", info.device == Device::cuda ? "cuda" : "cpu");
  to.Set("dtype", dtype_name(info.dtype));
  to.Set("storedDtype", dtype_name(info.stored_dtype));
  to.Set("quantize", packing_name(info.packing));
  to.Set("storedForm", packing_name(info.stored_form));
  to.Set("numParameters", double(info.num_parameters));
  to.Set("threads", info.threads);
  to.Set("notes", text_list(env, info.notes));
  return to;
}

Napi::Value layout_value(Napi::Env env, const ImageLayout& layout, int64_t num_features) {
  Napi::Object to = Napi::Object::New(env);
  Napi::Array runs = Napi::Array::New(env, layout.runs.size());
  for (uint32_t i = 0; i < layout.runs.size(); ++i) runs.Set(i, layout.runs[i]);
  to.Set("runs", runs);
  to.Set("numRows", layout.num_rows());
  to.Set("positionSpan", layout.offsets.empty() ? layout.num_rows() : layout.position_span);
  to.Set("numFeatures", double(num_features));
  return to;
}

Napi::Value generate_value(Napi::Env env, const GenerateResult& result) {
  Napi::Array to = Napi::Array::New(env, result.branches.size());
  for (size_t i = 0; i < result.branches.size(); ++i) {
    const GeneratedBranch& branch = result.branches[i];
    Napi::Object item = Napi::Object::New(env);
    item.Set("ids", typed_array(env, branch.token_ids));
    item.Set("logps", branch.logps);
    item.Set("finishReason", finish_reason_name(branch.finish_reason));
    to.Set(uint32_t(i), item);
  }
  return to;
}

Napi::Value score_value(Napi::Env env, const ScoreResult& result) {
  Napi::Array to = Napi::Array::New(env, result.segments.size());
  for (size_t i = 0; i < result.segments.size(); ++i) {
    Napi::Object item = Napi::Object::New(env);
    item.Set("segment", result.segments[i].segment);
    item.Set("perTokenLogps", typed_array(env, result.segments[i].per_token_logps));
    item.Set("logps", result.segments[i].logps);
    to.Set(uint32_t(i), item);
  }
  return to;
}

}  // namespace vpref::addon
