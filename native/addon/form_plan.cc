// SPDX-License-Identifier: Apache-2.0
#include "addon/form_plan.h"

#include <algorithm>
#include <optional>

#include "addon/convert.h"
#include "addon/promise_worker.h"
#include "addon/train_convert.h"
#include "core/memory.h"
#include "infer/capacity.h"
#include "infer/forward.h"
#include "train/session.h"

namespace vpref::addon {

namespace {

struct FormPlan {
  Packing stored = Packing::none;
  DType dtype = DType::f32, stored_dtype = DType::f32;
  size_t weights = 0, sampling = 0;
  TrainSession::StepBytes step = {};
  MemorySize memory = {};
};

struct Asked {
  RowSize pair;
  int64_t cached_tokens;
  double free_bytes, share;  // as in TrainSession::measure; CPU only: a GPU reports its free memory
};

// As Engine makes the model, and TrainSession its step.
FormPlan plan(const EngineOptions& options, TrainerOptions training, const Asked& asked) {
  const RowSize& pair = asked.pair;
  const bool is_cpu = options.device == Device::cpu;
  Context ctx(options.device, 1);
  const DType compute = options.dtype.value_or(default_dtype(options.device));
  Model model(options.model_dir, options.device, compute, options.normalisation);
  FormPlan out{.stored = model.stored_form(), .dtype = compute, .stored_dtype = model.stored_dtype()};
  model.pack_base(options.packing);
  Arena none;
  {
    const Measure measured(ctx, none);
    model.prepare(ctx);
  }
  out.weights = model.mapped_bytes() + model.owned_bytes();
  out.memory = memory_size(options.device);
  const int64_t rows = options.batch_tokens > 0 ? options.batch_tokens : default_batch_tokens(options.device);
  Forward forward(ctx, model, rows);
  out.sampling = out.weights + forward.plan_bytes() + reserved_bytes(model.device(), out.memory) +
                 KvCache::bytes_of(model.config, compute, std::max(asked.cached_tokens, kMinKvRows));
  if (pair.features > 0)
    out.sampling += ImageEncoder(model).measure(ctx, pair.features, pair.features) + size_t(pair.pixel_bytes);
  std::optional<TrainSession> session;
  {
    const Measure measured(ctx, none);
    session.emplace(ctx, model, std::move(training), "");
  }
  const size_t libraries = is_cpu ? 0 : library_bytes(out.memory);
  const double free = is_cpu ? asked.free_bytes : double(out.memory.free) - double(libraries);
  out.step = session->measure(pair, free, is_cpu ? asked.share : 1);
  out.step.all += libraries;
  return out;
}

}  // namespace

Napi::Value plan_form(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const Napi::Object asked = info[1].As<Napi::Object>();
    const std::vector<int32_t> sizes = int32_list(asked.Get("pair"), "pair");
    check(sizes.size() == 5, "internal", "pair: expected five sizes, got ", sizes.size());
    const FormPlan made =
        plan(engine_options(info[0].As<Napi::Object>()), options_of(asked.Get("settings").As<Napi::Object>()),
             {.pair = {sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]},
              .cached_tokens = int64_t(number_field(asked, "cachedTokens")),
              .free_bytes = number_field(asked, "freeBytes"),
              .share = number_field(asked, "share")});
    Napi::Object to = Napi::Object::New(env);
    to.Set("stored", packing_name(made.stored));
    to.Set("dtype", dtype_name(made.dtype));
    to.Set("storedDtype", dtype_name(made.stored_dtype));
    to.Set("weightBytes", double(made.weights));
    to.Set("samplingBytes", double(made.sampling));
    to.Set("stepBytes", double(made.step.all));
    to.Set("level", made.step.level);
    to.Set("freeBytes", double(made.memory.free));
    to.Set("totalBytes", double(made.memory.total));
    return to;
  });
}

}  // namespace vpref::addon
