// SPDX-License-Identifier: Apache-2.0
#include "addon/functions.h"

#include <algorithm>
#include <cmath>

#include "addon/convert.h"
#include "addon/policy_object.h"
#include "addon/train_convert.h"
#include "dist/mpi.h"
#include "model/merge.h"

namespace vpref::addon {

Napi::Value abort_ranks(const Napi::CallbackInfo& info) {
  abort_world("", info[0].As<Napi::Number>().Int32Value());
  return info.Env().Undefined();
}

Napi::Value mpi_library_text(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value { return Napi::String::New(env, mpi_library("")); });
}

Napi::Value loss_needs(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&] {
    const std::string text = info[0].As<Napi::String>().Utf8Value();
    const std::vector<LossTerm> terms = parse_losses(text);
    const auto any = [&](bool LossInfo::* need) {
      return std::any_of(terms.begin(), terms.end(), [need](const LossTerm& t) { return t.info->*need; });
    };
    Napi::Object to = Napi::Object::New(env);
    // In a sum with other losses (except kto), a loss that takes both takes pairs.
    const bool takes_both =
        std::all_of(terms.begin(), terms.end(), [](const LossTerm& t) { return t.info->takes_both; });
    const auto ignores_label = [](const LossTerm& t) { return !t.info->needs_label && !t.info->takes_both; };
    const bool takes_pairs = any(&LossInfo::takes_both) && !takes_both && !any(&LossInfo::needs_label);
    to.Set("reference", any(&LossInfo::needs_reference));
    to.Set("rejected", any(&LossInfo::needs_rejected) || takes_pairs);
    to.Set("rejectedOrLabel", takes_both);
    to.Set("rejectedImages", any(&LossInfo::needs_rejected_images));
    to.Set("label", any(&LossInfo::needs_label));
    to.Set("ignoresLabel", std::any_of(terms.begin(), terms.end(), ignores_label));
    to.Set("referencePoint", any(&LossInfo::needs_reference_point));
    Napi::Array reads = Napi::Array::New(env);
    for (const std::string& name : hyperparameters_of(text)) reads.Set(reads.Length(), name);
    to.Set("hyperparameters", reads);
    return to;
  });
}

Napi::Value mean_loss(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const Napi::Object settings = info[0].As<Napi::Object>();
    const LossOptions options = loss_options_of(settings);
    const std::vector<LossTerm> terms = parse_losses(string_field(settings, "loss"), options);
    const Napi::Array list = info[1].As<Napi::Array>();
    std::vector<LossRow> rows;
    for (uint32_t i = 0; i < list.Length(); ++i) rows.push_back(loss_row_of(list.Get(i).As<Napi::Object>()));
    const Napi::Object given = info[2].As<Napi::Object>();
    const StepPoints points{number_field(given, "kl"), number_field(given, "rewardMean")};
    return Napi::Number::New(env, Objective{terms, options}.mean(rows, points));
  });
}

Napi::Value merge_model(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    PolicyObject* policy = PolicyObject::Unwrap(info[0].As<Napi::Object>());
    const Napi::Object asked = info[1].As<Napi::Object>();
    const std::string trained_on = string_field(asked, "trainedOn");
    const std::optional<Packing> packing = parse_packing(trained_on);
    check(packing && *packing != Packing::fp4, "request", "trainedOn: expected none, nf4 or int8, got ", trained_on);
    const MergeTarget target = {.dir = string_field(asked, "dir"),
                                .dtype = string_field(asked, "dtype") == "f16" ? DType::f16 : DType::f32,
                                .trained_on = *packing};
    auto result = std::make_shared<MergeResult>();
    auto [promise, done] =
        policy->promises()->make<std::monostate>(env, [result](Napi::Env env, std::monostate&&) -> Napi::Value {
          Napi::Object to = Napi::Object::New(env);
          to.Set("numMerged", double(result->num_merged));
          to.Set("numUnpacked", double(result->num_unpacked));
          to.Set("hasDelta", result->has_delta);
          to.Set("relativeError", result->relative_error);
          to.Set("packingChange", result->packing_change);
          to.Set("packingChangeOfDelta", result->packing_change_of_delta);
          to.Set("untied", result->untied);
          return to;
        });
    policy->engine()->run([=](Context& ctx, Model& model) { *result = write_merged(ctx, model, target); }, done);
    return promise;
  });
}

Napi::Value list_losses(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Array to = Napi::Array::New(env);
  const auto add = [&](std::string_view name, std::string_view source) {
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("name", std::string(name));
    entry.Set("source", std::string(source));
    to.Set(to.Length(), entry);
  };
  for (const LossInfo* loss : losses()) add(loss->name, loss->source);
  for (const LossSum& sum : loss_sums()) add(sum.name, sum.source);
  return to;
}

Napi::Value list_hyperparameters(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Array to = Napi::Array::New(env);
  for (const HyperparameterInfo& h : hyperparameters()) {
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("name", h.flag());
    entry.Set("default", h.default_value);
    entry.Set("helpValue", std::string(h.how.letter));
    entry.Set("summary", std::string(h.how.summary));
    if (std::isfinite(h.how.min)) entry.Set("min", h.how.min);
    if (std::isfinite(h.how.above)) entry.Set("above", h.how.above);
    if (std::isfinite(h.how.max)) entry.Set("max", h.how.max);
    to.Set(to.Length(), entry);
  }
  return to;
}

Napi::Value linear_paths(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    PolicyObject* policy = PolicyObject::Unwrap(info[0].As<Napi::Object>());
    auto paths = std::make_shared<std::vector<std::string>>();
    auto [promise, done] =
        policy->promises()->make<std::monostate>(env, [paths](Napi::Env env, std::monostate&&) -> Napi::Value {
          Napi::Array to = Napi::Array::New(env, paths->size());
          for (uint32_t i = 0; i < paths->size(); ++i) to.Set(i, (*paths)[i]);
          return to;
        });
    policy->engine()->run(
        [paths](Context&, Model& model) {
          for (size_t layer = 0; layer < model.weights.layers.size(); ++layer)
            for (const LinearInfo& linear : kLinears)
              paths->push_back(layer_path(model.config, layer) + "." + linear.path);
        },
        done);
    return promise;
  });
}

Napi::Value list_linears(const Napi::CallbackInfo& info) {
  Napi::Array to = Napi::Array::New(info.Env());
  for (const LinearInfo& linear : kLinears) to.Set(to.Length(), linear.name);
  return to;
}

}  // namespace vpref::addon
