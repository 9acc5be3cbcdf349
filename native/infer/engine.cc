// SPDX-License-Identifier: Apache-2.0
#include "infer/engine.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <new>
#include <set>
#include <thread>
#include <tuple>

#include "core/cores.h"
#include "infer/capacity.h"
#include "infer/generate.h"
#include "infer/queue.h"
#include "infer/score.h"
#include "model/load.h"

namespace vpref {

namespace {

// What f threw, if it threw.
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

struct GenerateItem {
  uint64_t id;
  GenerateRequest request;
  GenerateDone done;
};

struct JobItem {
  uint64_t id;
  std::function<void(Context&, Model&)> job;
  std::function<void(Outcome<std::monostate>)> done;
};

}  // namespace

const char* finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop:
      return "stop";
    case FinishReason::length:
      return "length";
    case FinishReason::repetition:
      return "repetition";
  }
  return "?";
}

struct Engine::State {
  explicit State(EngineOptions o)
      : options(std::move(o)),
        compute(options.dtype.value_or(options.device == Device::cuda ? DType::bf16 : DType::f32)),
        ctx(options.device, options.threads > 0 ? options.threads : physical_cores()),
        model(options.model_dir, options.device, compute, options.normalisation) {
    model.pack_base(options.packing, options.pack_cache, ctx.num_threads);
    for (const std::string& dir : options.adapter_dirs) model.add_adapter(dir);
    const ModelConfig& c = model.config;
    if (options.batch_tokens <= 0) options.batch_tokens = options.device == Device::cuda ? 8192 : 1024;
    info = {.model_type = c.model_type,
            .has_vision = c.has_vision,
            .image_token_id = c.image_token_id,
            .modules = c.modules,
            .vocab_size = c.text.vocab_size,
            .max_position_embeddings = c.text.max_position_embeddings,
            .eos_token_ids = c.eos_token_ids,
            .device = options.device,
            .dtype = compute,
            .stored_dtype = model.stored_dtype(),
            .packing = options.packing,
            .num_parameters = model.num_parameters(),
            .threads = ctx.num_threads,
            .notes = model.notes()};
    if (model.weights.vision) {
      for (const ConnectorPart& part : model.weights.vision->connector()) info.connector_parts.push_back(part.name);
    }
    thread = std::thread([this] { loop(); });
  }

  ~State() {
    {
      const std::lock_guard lock(mutex);
      closing = true;
    }
    wake.notify_all();
    thread.join();
  }

  template <class Item>
  uint64_t push(Queue<Item>& queue, Item item) {
    uint64_t id = 0;
    {
      const std::lock_guard lock(mutex);
      check(!closing, "closed", "the engine is closed");
      check(num_pending < options.queue_limit, "busy", "the engine's queue is full (", options.queue_limit,
            " requests)");
      ++num_pending;
      id = item.id = next_id++;
      queue.push(std::move(item));
    }
    wake.notify_all();
    return id;
  }

  // The compute thread.
  void loop();
  void fail_queued(const Error& error);
  void cancel_marked(Generator& generator);
  void admit(Generator& generator);
  void score(Scorer& scorer);
  void run_job(Generator& generator, Forward& forward, ImageCache& images);
  void pause_if_due(uint64_t ended_before);
  template <class Done, class T>
  void complete(Done& done, T outcome) {
    if (update_plan) update_plan();  // who is called may ask
    {
      const std::lock_guard lock(mutex);
      --num_pending;
      ++num_ended;
    }
    done(std::move(outcome));
  }
  // Ends requests that wait and will never run.
  template <class... Items>
  void end(std::tuple<std::deque<Items>...> waiting, const Error& error) {
    const auto end_each = [&](auto& items) {
      for (auto& item : items) complete(item.done, error);
    };
    std::apply([&](auto&... items) { (end_each(items), ...); }, waiting);
  }

  EngineOptions options;
  DType compute;
  Context ctx;
  Model model;
  EngineInfo info;

  std::mutex mutex;
  std::condition_variable wake;
  Queue<GenerateItem> to_generate;
  Queue<Scorer::Item> to_score;
  Queue<JobItem> jobs;
  std::set<uint64_t> cancelled;
  uint64_t next_id = 1;
  size_t num_pending = 0;
  uint64_t num_ended = 0;
  bool paced = false;                         // only what an advance() asks for is computed
  std::vector<std::function<void()>> paused;  // whom the running advance() tells that it is over; empty: none runs
  std::atomic<bool> closing = false;
  std::function<void()> update_plan;  // of the compute thread, once it has what is planned
  std::string plan;
  std::thread thread;
};

void Engine::State::cancel_marked(Generator& generator) {
  std::set<uint64_t> marked;
  auto waiting = [&] {
    const std::lock_guard lock(mutex);
    marked.swap(cancelled);
    return std::tuple(to_generate.take(marked), to_score.take(marked), jobs.take(marked));
  }();
  end(std::move(waiting), Error("cancelled", "the request was cancelled"));
  for (const uint64_t id : marked) generator.cancel(id);
}

void Engine::State::fail_queued(const Error& error) {
  auto waiting = [&] {
    const std::lock_guard lock(mutex);
    cancelled.clear();
    return std::tuple(to_generate.take_all(), to_score.take_all(), jobs.take_all());
  }();
  end(std::move(waiting), error);
}

void Engine::State::admit(Generator& generator) {
  for (;;) {
    GenerateItem item;
    {
      const std::lock_guard lock(mutex);
      if (to_generate.empty() || closing) return;
      item = to_generate.pop();
    }
    // The generator calls back itself from here on.
    GenerateDone counted = [this, done = item.done](Outcome<GenerateResult> outcome) mutable {
      complete(done, std::move(outcome));
    };
    bool admitted = false;
    if (const std::optional<Error> error =
            caught([&] { admitted = generator.admit(item.id, item.request, counted); })) {
      complete(item.done, Outcome<GenerateResult>(*error));
      continue;
    }
    if (admitted) continue;
    const std::lock_guard lock(mutex);
    to_generate.put_back(std::move(item));
    return;
  }
}

void Engine::State::score(Scorer& scorer) {
  std::vector<Scorer::Item> items;
  {
    const std::lock_guard lock(mutex);
    if (closing) return;
    int64_t rows = 0;
    while (!to_score.empty()) {
      const int64_t more = Scorer::rows_beside(items, to_score.front(), model.config.image_token_id);
      if (!items.empty() && rows + more > options.batch_tokens) break;
      rows += more;
      items.push_back(to_score.pop());
    }
  }
  if (items.empty()) return;
  std::vector<ScoreResult> results;
  std::optional<Error> error = caught([&] { results = scorer.score(items); });
  for (size_t i = 0; i < items.size(); ++i)
    complete(items[i].done, error ? Outcome<ScoreResult>(*error) : Outcome<ScoreResult>(std::move(results[i])));
}

void Engine::State::run_job(Generator& generator, Forward& forward, ImageCache& images) {
  JobItem item;
  {
    const std::lock_guard lock(mutex);
    if (jobs.empty() || closing) return;
    item = jobs.pop();
  }
  const std::optional<Error> error = caught([&] { item.job(ctx, model); });
  generator.forget();  // it may have changed the weights
  forward.forget_plan();
  images.clear();
  complete(item.done, error ? Outcome<std::monostate>(*error) : Outcome<std::monostate>(std::monostate()));
}

// Ends an advance() when a request has ended since then, or there is none.
void Engine::State::pause_if_due(uint64_t ended_before) {
  std::vector<std::function<void()>> tell;
  {
    const std::lock_guard lock(mutex);
    if (closing || num_ended != ended_before || num_pending == 0) tell.swap(paused);
  }
  for (const auto& f : tell) f();
}

void Engine::State::loop() {
  std::unique_ptr<Forward> forward;
  std::unique_ptr<ImageCache> images;
  std::unique_ptr<Generator> generator;
  std::unique_ptr<Scorer> scorer;
  const auto have_work = [&] {
    if (closing || !cancelled.empty() || !jobs.empty()) return true;
    if (!paused.empty() && num_pending == 0) return true;
    if (paced && paused.empty()) return false;
    if (generator && !generator->idle()) return true;
    return !to_generate.empty() || !to_score.empty();
  };
  for (;;) {
    uint64_t ended_before = 0;
    bool computes = false;
    {
      std::unique_lock lock(mutex);
      wake.wait(lock, have_work);
      ended_before = num_ended;
      computes = !paced || !paused.empty();
    }
    const std::optional<Error> error = caught([&] {
      if (!generator) {
        model.prepare(ctx);
        forward = std::make_unique<Forward>(ctx, model, options.batch_tokens, options.launch_graphs);
        images = std::make_unique<ImageCache>(
            model, std::clamp<size_t>((model.mapped_bytes() + model.owned_bytes()) / 64, 16 << 20, 256 << 20));
        if (options.kv_tokens <= 0) options.kv_tokens = kv_rows_that_fit(model, *forward, options.batch_tokens);
        generator = std::make_unique<Generator>(
            ctx, model, *forward, *images,
            Generator::Options{options.batch_tokens, options.kv_tokens,
                               int32_t(std::min<int64_t>(options.batch_tokens, 256)), &options.token_bytes});
        scorer = std::make_unique<Scorer>(ctx, model, *forward, *images);
        update_plan = [&] {
          std::string text = plan_text(model, *generator, *forward, *images, options.batch_tokens);
          const std::lock_guard lock(mutex);
          plan = std::move(text);
        };
      }
      cancel_marked(*generator);
      if (closing) return;
      run_job(*generator, *forward, *images);
      if (computes) {
        admit(*generator);
        if (!generator->idle()) generator->step();
        score(*scorer);
      }
      update_plan();
    });
    if (closing) break;
    if (error && generator) {
      generator->fail_all(*error);
    } else if (error) {
      fail_queued(*error);  // the model could not be prepared: nothing that waits will ever run
    }
    if (computes) pause_if_due(ended_before);
  }
  fail_queued(Error("cancelled", "the engine was closed"));
  if (generator) generator->fail_all(Error("cancelled", "the engine was closed"));
  pause_if_due(0);
}

Engine::Engine(EngineOptions options) : state_(std::make_unique<State>(std::move(options))) {
  // Padding rows of the embedding have no token and so no bytes.
  auto& bytes = state_->options.token_bytes;
  if (!bytes.empty()) bytes.resize(std::max(bytes.size(), size_t(state_->model.config.text.vocab_size)));
}
Engine::~Engine() = default;

const EngineInfo& Engine::info() const { return state_->info; }

ImageLayout Engine::layout(const ImageShape& shape) const { return state_->model.vision().layout(shape); }
int64_t Engine::num_features(const ImageShape& shape) const { return state_->model.vision().num_features(shape); }

std::string Engine::memory_plan() {
  const std::lock_guard lock(state_->mutex);
  return state_->plan;
}

Engine::RequestId Engine::generate(GenerateRequest r, std::function<void(Outcome<GenerateResult>)> done) {
  const ModelConfig& c = state_->model.config;
  const int32_t next = prompt_rows(c, r, {}).next_position;
  check(next < c.text.max_position_embeddings, "request", "prompt: expected fewer than ",
        c.text.max_position_embeddings, " positions (max_position_embeddings), got ", next);
  check(r.num_samples >= 1 && r.num_samples <= 4096, "request", "num_samples: expected 1..4096, got ", r.num_samples);
  check(r.max_new_tokens >= 1, "request", "max_new_tokens: expected at least 1, got ", r.max_new_tokens);
  check_sample_settings(r.sampling, "request");
  check(r.num_beams >= 1 && r.num_beams <= 64, "request", "num_beams: expected 1..64, got ", r.num_beams);
  check(r.num_beams == 1 || (r.num_samples == 1 && r.sampling.temperature == 0), "request",
        "num_beams: expected temperature 0 and one branch");
  check(r.stop_strings.empty() || state_->options.token_bytes.size() >= size_t(c.text.vocab_size), "request",
        "stop_strings: expected token_bytes for the whole vocabulary at load");
  for (const std::string& s : r.stop_strings)
    check(!s.empty(), "request", "stop_strings: expected text, got an empty string");
  return state_->push(state_->to_generate, GenerateItem{0, std::move(r), std::move(done)});
}

Engine::RequestId Engine::score(ScoreRequest r, std::function<void(Outcome<ScoreResult>)> done) {
  check_score_request(state_->model.config, r);
  const uint64_t images = Scorer::images_key(r);
  return state_->push(state_->to_score, Scorer::Item{0, std::move(r), std::move(done), images});
}

Engine::RequestId Engine::run(std::function<void(Context&, Model&)> job,
                              std::function<void(Outcome<std::monostate>)> done) {
  return state_->push(state_->jobs, JobItem{0, std::move(job), std::move(done)});
}

void Engine::pace(bool paced) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->paced = paced;
  }
  state_->wake.notify_all();
}

void Engine::advance(std::function<void()> paused) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->paused.push_back(std::move(paused));
  }
  state_->wake.notify_all();
}

void Engine::cancel(RequestId id) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->cancelled.insert(id);
  }
  state_->wake.notify_all();
}

}  // namespace vpref
