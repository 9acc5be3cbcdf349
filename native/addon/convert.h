// SPDX-License-Identifier: Apache-2.0
// Converts JavaScript values to the engine's requests, and its results to JavaScript. A missing or wrong field throws a
// TypeError with its name: a bug of the TypeScript side, never a user's error.
#pragma once
#include <napi.h>

#include "infer/engine.h"

namespace vpref::addon {

EngineOptions engine_options(const Napi::Object& from);
GenerateRequest generate_request(const Napi::Object& from);
ScoreRequest score_request(const Napi::Object& from);

ImageShape image_shape_of(const Napi::Object& from);

Napi::Value info_value(Napi::Env env, const EngineInfo& info);
// {runs, numRows, numFeatures}
Napi::Value layout_value(Napi::Env env, const ImageLayout& layout, int64_t num_features);
Napi::Value generate_value(Napi::Env env, const GenerateResult& result);
Napi::Value score_value(Napi::Env env, const ScoreResult& result);

// Also for the trainer.
std::vector<int32_t> int32_list(const Napi::Value& from, const char* name);
std::string string_field(const Napi::Object& from, const char* name);
double number_field(const Napi::Object& from, const char* name);
uint64_t uint64_field(const Napi::Object& from, const char* name);
bool bool_field(const Napi::Object& from, const char* name);
Napi::Array array_field(const Napi::Object& from, const char* name);
std::vector<Image> image_list(const Napi::Array& from);

}  // namespace vpref::addon
