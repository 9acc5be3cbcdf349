// SPDX-License-Identifier: Apache-2.0
#include "infer/engine.h"

#include <algorithm>
#include <mutex>
#include <new>
#include <thread>

#include "core/cores.h"
#include "infer/capacity.h"
#include "infer/generate.h"
#include "infer/score.h"
#include "model/load.h"

namespace vpref {

namespace {

// The error that f throws, if it throws.
template <class F>
std::optional<Error> caught(F f) {
  try {
    f();
  } catch (const Error& e) {
    return e;
  } catch (const std::bad_alloc&) {
    return Error("memory", "out of memory");
  } catch (const std::exception& e) {
    return Error("internal", e.what());
  }
  return std::nullopt;
}

Generator::Options generator_options(const Model& model, Forward& forward, EngineOptions& options) {
  if (options.kv_tokens <= 0) options.kv_tokens = kv_rows_that_fit(model, forward, options.batch_tokens);
  return {options.batch_tokens, options.kv_tokens, int32_t(std::min<int64_t>(options.batch_tokens, 256)),
          &options.token_bytes};
}

// All that computes, on the compute thread. It is made for the first request, when the weights are prepared.
struct Workers {
  Workers(Context& ctx, Model& model, EngineOptions& options)
      : forward(ctx, model, options.batch_tokens, options.launch_graphs),
        images(model, std::clamp<size_t>((model.mapped_bytes() + model.owned_bytes()) / 64, 16 << 20, 256 << 20)),
        generator(ctx, model, forward, images, generator_options(model, forward, options)),
        scorer(ctx, model, forward, images) {}
  Forward forward;
  ImageCache images;
  Generator generator;
  Scorer scorer;
  // All that was computed with the weights.
  void forget() {
    generator.forget();
    forward.forget_plan();
    images.clear();
  }
};

EngineInfo engine_info(const Model& model, const EngineOptions& options, int threads) {
  const ModelConfig& c = model.config;
  EngineInfo info = {.model_type = c.model_type,
                     .has_vision = c.has_vision,
                     .image_token_id = c.image_token_id,
                     .modules = c.modules,
                     .vocab_size = c.text.vocab_size,
                     .max_position_embeddings = c.text.max_position_embeddings,
                     .eos_token_ids = c.eos_token_ids,
                     .device = options.device,
                     .dtype = model.compute(),
                     .stored_dtype = model.stored_dtype(),
                     .packing = options.packing,
                     .stored_form = model.stored_form(),
                     .num_parameters = model.num_parameters(),
                     .threads = threads,
                     .notes = model.notes()};
  if (!model.weights.vision) return info;
  for (const ConnectorPart& part : model.weights.vision->connector()) info.connector_parts.push_back(part.name);
  return info;
}

}  // namespace

struct Engine::State {
  State(EngineOptions o, Inbox& i)
      : options(std::move(o)),
        ctx(options.device, options.threads > 0 ? options.threads : physical_cores()),
        model(options.model_dir, options.device, options.dtype.value_or(default_dtype(options.device)),
              options.normalisation),
        inbox(i) {
    model.pack_base(options.packing, options.pack_cache, ctx.num_threads);
    for (const std::string& dir : options.adapter_dirs) model.add_adapter(dir);
    if (options.batch_tokens <= 0) options.batch_tokens = default_batch_tokens(options.device);
    // Padding rows of the embedding have no token and so no bytes.
    auto& bytes = options.token_bytes;
    if (!bytes.empty()) bytes.resize(std::max(bytes.size(), size_t(model.config.text.vocab_size)));
    info = engine_info(model, options, ctx.num_threads);
    thread = std::thread([this] { loop(); });
  }

  ~State() {
    inbox.close();
    thread.join();
  }

  // The compute thread.
  void loop();
  void prepare();
  void cancel_marked();
  void admit();
  void score();
  void end_all();
  void update_figures();
  template <class Done, class T>
  void complete(Done& done, T outcome) {
    update_figures();  // the callback may ask for them
    inbox.count_ended();
    done(std::move(outcome));
  }
  // Ends requests that wait and will never run.
  void end(Inbox::All waiting, const Error& error) {
    const auto end_each = [&](auto& items) {
      for (auto& item : items) complete(item.done, error);
    };
    std::apply([&](auto&... items) { (end_each(items), ...); }, waiting);
  }

  EngineOptions options;
  Context ctx;
  Model model;
  EngineInfo info;
  Inbox& inbox;
  std::unique_ptr<Workers> workers;  // of the compute thread
  std::mutex figures_mutex;
  std::optional<MemoryFigures> figures;
  std::thread thread;
};

void Engine::State::prepare() {
  model.prepare(ctx);
  workers = std::make_unique<Workers>(ctx, model, options);
}

void Engine::State::cancel_marked() {
  auto [ids, waiting] = inbox.take_cancelled();
  end(std::move(waiting), Error("cancelled", "the request was cancelled"));
  for (const uint64_t id : ids) workers->generator.cancel(id);
}

void Engine::State::admit() {
  while (std::optional<GenerateItem> item = inbox.pop_generate()) {
    // An admitted request ends in the generator.
    GenerateDone counted = [this, done = item->done](Outcome<GenerateResult> outcome) mutable {
      complete(done, std::move(outcome));
    };
    bool admitted = false;
    const std::optional<Error> error =
        caught([&] { admitted = workers->generator.admit(item->id, item->request, counted); });
    if (error)
      complete(item->done, Outcome<GenerateResult>(*error));
    else if (!admitted)
      return inbox.put_back(std::move(*item));
  }
}

void Engine::State::score() {
  int64_t rows = 0;
  const auto fits = [&](const std::vector<ScoreItem>& items, const ScoreItem& next) {
    rows += Scorer::rows_beside(items, next, model.config.image_token_id);
    return items.empty() || rows <= options.batch_tokens;
  };
  std::vector<ScoreItem> items = inbox.pop_scores(fits);
  if (items.empty()) return;
  std::vector<ScoreResult> results;
  const std::optional<Error> error = caught([&] { results = workers->scorer.score(items); });
  for (size_t i = 0; i < items.size(); ++i)
    complete(items[i].done, error ? Outcome<ScoreResult>(*error) : Outcome<ScoreResult>(std::move(results[i])));
}

void Engine::State::update_figures() {
  if (!workers) return;
  const std::lock_guard lock(figures_mutex);
  figures = memory_figures(model, workers->generator, workers->forward, workers->images);
}

void Engine::State::loop() {
  for (;;) {
    const auto [num_ended, computes] = inbox.wait(workers && !workers->generator.idle());
    if (inbox.is_closed()) break;
    const std::optional<Error> error = caught([&] {
      if (!workers) prepare();
      cancel_marked();
      if (std::optional<JobItem> item = inbox.pop_job()) {
        const std::optional<Error> failed = caught([&] { item->job(ctx, model); });
        workers->forget();  // the job may have changed the weights
        complete(item->done, failed ? Outcome<std::monostate>(*failed) : Outcome<std::monostate>());
      }
      if (computes) {
        admit();
        if (!workers->generator.idle()) workers->generator.step();
        score();
      }
      update_figures();
    });
    if (error && workers) {
      workers->generator.fail_all(*error);
    } else if (error) {
      end(inbox.take_all(), Error("model", error->what()));  // it could not be prepared: no request will ever run
    }
    if (computes && !inbox.is_closed()) inbox.pause_if_due(num_ended);
  }
  end_all();
}

// After close().
void Engine::State::end_all() {
  const Error closed("cancelled", "the engine was closed");
  end(inbox.take_all(), closed);
  if (workers) workers->generator.fail_all(closed);
  inbox.pause_if_due(0);
  workers.reset();  // on the thread that made them
}

Engine::Engine(EngineOptions options)
    : Inbox(options.queue_limit), state_(std::make_unique<State>(std::move(options), static_cast<Inbox&>(*this))) {}
Engine::~Engine() = default;

const EngineInfo& Engine::info() const { return state_->info; }

ImageLayout Engine::layout(const ImageShape& shape) const { return state_->model.vision().layout(shape); }
int64_t Engine::num_features(const ImageShape& shape) const { return state_->model.vision().num_features(shape); }

std::string Engine::memory_plan() {
  const std::lock_guard lock(state_->figures_mutex);
  return state_->figures ? plan_text(*state_->figures, state_->model, state_->options.batch_tokens) : "";
}

Engine::RequestId Engine::generate(GenerateRequest r, GenerateDone done) {
  check_generate_request(state_->model.config, state_->options.token_bytes.size(), r);
  return Inbox::generate(std::move(r), std::move(done));
}

Engine::RequestId Engine::score(ScoreRequest r, ScoreDone done) {
  check_score_request(state_->model.config, r);
  const uint64_t images = Scorer::images_key(r);
  return Inbox::score(std::move(r), std::move(done), images);
}

}  // namespace vpref
