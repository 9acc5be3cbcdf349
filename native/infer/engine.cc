// SPDX-License-Identifier: Apache-2.0
#include "infer/engine.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <fstream>
#include <mutex>
#include <new>
#include <set>
#include <thread>

#include "core/memory.h"
#include "infer/generate.h"
#include "infer/score.h"
#include "model/load.h"

namespace vpref {

namespace {

// Physical cores among the processors this process may use: two threads of one core share its vector units.
int physical_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
    return int(std::max(1u, std::thread::hardware_concurrency()));
  std::set<std::string> cores;
  int count = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    ++count;
    std::ifstream in(cat("/sys/devices/system/cpu/cpu", cpu, "/topology/thread_siblings_list"));
    std::string siblings;
    if (std::getline(in, siblings)) cores.insert(siblings);
  }
  return std::max(1, cores.empty() ? count : int(cores.size()));
}

// On CUDA: what libraries, image encoder and attention take beside the plan; the smallest and largest slab.
constexpr size_t kCudaReserve = size_t(512) << 20;
constexpr int64_t kLeastKvRows = 1024, kMostKvRows = 262144;

std::string mebibytes(size_t bytes) { return cat((bytes + (1 << 19)) >> 20, " MiB"); }

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

std::vector<ImageLayout> layouts_of(const Model& model, std::span<const Image> images) {
  std::vector<ImageLayout> layouts;
  for (const Image& image : images) {
    layouts.push_back(model.vision().layout(image_shape(image)));
    for (const Crop& crop : image.crops)
      check(crop.pixels.size() == 3 * size_t(crop.height) * size_t(crop.width), "request", "image: expected ",
            crop.width, " x ", crop.height, " RGB pixels, got ", crop.pixels.size(), " bytes");
  }
  return layouts;
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
    for (const std::string& dir : options.adapter_dirs) model.add_adapter(dir);
    const ModelConfig& c = model.config;
    const bool cuda = options.device == Device::cuda;
    if (options.batch_tokens <= 0) options.batch_tokens = cuda ? 8192 : 1024;
    if (options.kv_tokens <= 0 && !cuda) {
      const int64_t fits = int64_t(memory_size(Device::cpu).total / 4 / KvSlab::bytes_a_row(c, compute));
      options.kv_tokens = std::clamp<int64_t>(fits, 1024, 16384);
    }
    facts = {.model_type = c.model_type,
             .has_vision = c.has_vision,
             .image_token_id = c.image_token_id,
             .modules = c.modules,
             .vocab_size = c.text.vocab_size,
             .max_position_embeddings = c.text.max_position_embeddings,
             .bos_token_id = c.bos_token_id,
             .eos_token_ids = c.eos_token_ids,
             .device = options.device,
             .dtype = compute,
             .stored_dtype = model.stored_dtype(),
             .num_parameters = model.num_parameters(),
             .threads = ctx.num_threads,
             .notes = model.notes()};
    if (model.weights.vision) {
      for (const ConnectorPart& part : model.weights.vision->connector()) facts.connector_parts.push_back(part.name);
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
  uint64_t push(std::deque<Item>& queue, Item item) {
    uint64_t id = 0;
    {
      const std::lock_guard lock(mutex);
      check(!closing, "closed", "the engine is closed");
      check(num_pending < options.queue_limit, "busy", "the engine's queue is full (", options.queue_limit,
            " requests)");
      ++num_pending;
      id = item.id = next_id++;
      queue.push_back(std::move(item));
    }
    wake.notify_all();
    return id;
  }

  // Rows of the KV slab in what the GPU has left beside weights and step. Throws Error{"memory"} when that is too
  // little for anything.
  int64_t kv_rows_that_fit(const Forward& forward) const;

  // The compute thread.
  void loop();
  void fail_queued(const Error& error);
  void cancel_marked(Generator& generator);
  void admit(Generator& generator);
  void score(Scorer& scorer);
  void run_job(Generator& generator, ImageCache& images);
  void pause_if_due(uint64_t ended_before);
  template <class Done, class T>
  void complete(Done& done, T outcome) {
    {
      const std::lock_guard lock(mutex);
      --num_pending;
      ++num_ended;
    }
    done(std::move(outcome));
  }
  void update_plan(const Generator& generator, const Forward& forward, const ImageCache& images);

  EngineOptions options;
  DType compute;
  Context ctx;
  Model model;
  EngineFacts facts;

  std::mutex mutex;
  std::condition_variable wake;
  std::deque<GenerateItem> to_generate;
  std::deque<Scorer::Item> to_score;
  std::deque<JobItem> jobs;
  std::set<uint64_t> cancelled;
  uint64_t next_id = 1;
  size_t num_pending = 0;
  uint64_t num_ended = 0;
  bool held = false;
  bool paced = false;                         // only what an advance() asks for is computed
  std::vector<std::function<void()>> paused;  // whom the running advance() tells that it is over; empty: none runs
  std::atomic<bool> closing = false;
  std::string plan;
  std::thread thread;
};

void Engine::State::update_plan(const Generator& generator, const Forward& forward, const ImageCache& images) {
  const KvSlab* slab = generator.slab();
  std::string text = cat(
      "weights read in place: ", mebibytes(model.mapped_bytes()),
      "\nweights converted: ", mebibytes(model.owned_bytes()), "\nKV slab: ",
      slab ? cat(mebibytes(slab->bytes()), " for ", slab->num_rows(), " rows, ", slab->rows_touched(), " used so far")
           : std::string("not planned yet"),
      "\nstep arena: ", mebibytes(forward.planned_bytes()), " for ", options.batch_tokens, " rows of ",
      dtype_name(compute), "\nimage rows: ", mebibytes(images.bytes()), " (", images.num_encoded(), " images encoded)",
      "\nprompt rows: ", generator.rows_prefilled(), " computed, ", generator.rows_shared(), " shared");
  if (options.device == Device::cuda) {
    const LaunchGraphs::Counts& c = forward.graphs().counts();
    text += cat("\ndecoding steps: ", c.steps, ", ", c.recorded, " recorded, ", c.replayed, " replayed");
    if (!forward.graphs().refusal().empty()) text += cat("; none more are recorded: ", forward.graphs().refusal());
  }
  const std::lock_guard lock(mutex);
  plan = std::move(text);
}

int64_t Engine::State::kv_rows_that_fit(const Forward& forward) const {
  const MemorySize memory = memory_size(options.device);
  const size_t row = KvSlab::bytes_a_row(model.config, compute),
               step = forward.step_bytes(options.batch_tokens, options.batch_tokens);
  const size_t taken = step + std::max(memory.total / 16, kCudaReserve);
  const int64_t rows = memory.free > taken ? int64_t((memory.free - taken) / row) : 0;
  check(rows >= kLeastKvRows, "memory", "the GPU has ", mebibytes(memory.free), " free beside the weights; a step of ",
        options.batch_tokens, " rows takes ", mebibytes(step), " and ", kLeastKvRows, " cached tokens ",
        mebibytes(kLeastKvRows * row), ": lower --batch-tokens, or use a GPU with more memory");
  return std::min<int64_t>(rows, kMostKvRows);
}

void Engine::State::cancel_marked(Generator& generator) {
  std::set<uint64_t> marked;
  std::deque<GenerateItem> generate;
  std::deque<Scorer::Item> score;
  std::deque<JobItem> job;
  {
    const std::lock_guard lock(mutex);
    const auto move_out = [&](auto& from, auto& to) {
      for (auto at = from.begin(); at != from.end();) {
        if (cancelled.contains(at->id)) {
          to.push_back(std::move(*at));
          at = from.erase(at);
        } else {
          ++at;
        }
      }
    };
    move_out(to_generate, generate);
    move_out(to_score, score);
    move_out(jobs, job);
    marked.swap(cancelled);
  }
  const Error error("cancelled", "the request was cancelled");
  for (auto& item : generate) complete(item.done, Outcome<GenerateResult>(error));
  for (auto& item : score) complete(item.done, Outcome<ScoreResult>(error));
  for (auto& item : job) complete(item.done, Outcome<std::monostate>(error));
  for (const uint64_t id : marked) generator.cancel(id);
}

void Engine::State::fail_queued(const Error& error) {
  std::deque<GenerateItem> generate;
  std::deque<Scorer::Item> score;
  std::deque<JobItem> job;
  {
    const std::lock_guard lock(mutex);
    generate.swap(to_generate);
    score.swap(to_score);
    job.swap(jobs);
    cancelled.clear();
  }
  for (auto& item : generate) complete(item.done, Outcome<GenerateResult>(error));
  for (auto& item : score) complete(item.done, Outcome<ScoreResult>(error));
  for (auto& item : job) complete(item.done, Outcome<std::monostate>(error));
}

void Engine::State::admit(Generator& generator) {
  for (;;) {
    GenerateItem item;
    {
      const std::lock_guard lock(mutex);
      if (to_generate.empty() || held || closing) return;
      item = std::move(to_generate.front());
      to_generate.pop_front();
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
    to_generate.push_front(std::move(item));
    return;
  }
}

void Engine::State::score(Scorer& scorer) {
  std::vector<Scorer::Item> items;
  {
    const std::lock_guard lock(mutex);
    if (held || closing) return;
    int64_t rows = 0;
    while (!to_score.empty()) {
      const int64_t more = Scorer::num_rows(to_score.front().request);
      if (!items.empty() && rows + more > options.batch_tokens) break;
      rows += more;
      items.push_back(std::move(to_score.front()));
      to_score.pop_front();
    }
  }
  if (items.empty()) return;
  std::vector<ScoreResult> results;
  std::optional<Error> error = caught([&] { results = scorer.score(items); });
  for (size_t i = 0; i < items.size(); ++i)
    complete(items[i].done, error ? Outcome<ScoreResult>(*error) : Outcome<ScoreResult>(std::move(results[i])));
}

void Engine::State::run_job(Generator& generator, ImageCache& images) {
  JobItem item;
  {
    const std::lock_guard lock(mutex);
    if (jobs.empty() || closing) return;
    item = std::move(jobs.front());
    jobs.pop_front();
  }
  const std::optional<Error> error = caught([&] { item.job(ctx, model); });
  generator.forget();  // it may have changed the weights
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
    return !held && (!to_generate.empty() || !to_score.empty());
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
        if (options.kv_tokens <= 0) options.kv_tokens = kv_rows_that_fit(*forward);
        generator = std::make_unique<Generator>(
            ctx, model, *forward, *images,
            Generator::Options{options.batch_tokens, options.kv_tokens,
                               int32_t(std::min<int64_t>(options.batch_tokens, 256)), &options.token_bytes});
        scorer = std::make_unique<Scorer>(ctx, model, *forward, *images);
      }
      cancel_marked(*generator);
      if (closing) return;
      run_job(*generator, *images);
      if (computes) {
        admit(*generator);
        if (!generator->idle()) generator->step();
        score(*scorer);
      }
      update_plan(*generator, *forward, *images);
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

const EngineFacts& Engine::facts() const { return state_->facts; }

ImageLayout Engine::layout(const ImageShape& shape) const { return state_->model.vision().layout(shape); }
int64_t Engine::num_features(const ImageShape& shape) const { return state_->model.vision().num_features(shape); }

std::string Engine::memory_plan() {
  const std::lock_guard lock(state_->mutex);
  return state_->plan;
}

Engine::RequestId Engine::generate(GenerateRequest r, std::function<void(Outcome<GenerateResult>)> done) {
  const ModelConfig& c = state_->model.config;
  check_prompt(c, r.prompt, layouts_of(state_->model, r.images), "prompt");
  check(int64_t(r.prompt.size()) < c.text.max_position_embeddings, "request", "prompt: expected fewer than ",
        c.text.max_position_embeddings, " tokens (max_position_embeddings), got ", r.prompt.size());
  check(r.num_branches >= 1 && r.num_branches <= 4096, "request", "num_branches: expected 1..4096, got ",
        r.num_branches);
  check(r.max_new_tokens >= 1, "request", "max_new_tokens: expected at least 1, got ", r.max_new_tokens);
  check(r.temperature >= 0, "request", "temperature: expected at least 0, got ", r.temperature);
  check(r.top_p > 0 && r.top_p <= 1, "request", "top_p: expected a number in (0, 1], got ", r.top_p);
  check(r.top_k >= 0, "request", "top_k: expected at least 0, got ", r.top_k);
  check(r.num_beams >= 1 && r.num_beams <= 64, "request", "num_beams: expected 1..64, got ", r.num_beams);
  check(r.num_beams == 1 || (r.num_branches == 1 && r.temperature == 0), "request",
        "num_beams: expected temperature 0 and one branch");
  check(r.stop_strings.empty() || state_->options.token_bytes.size() >= size_t(c.text.vocab_size), "request",
        "stop_strings: expected token_bytes for the whole vocabulary at load");
  for (const std::string& s : r.stop_strings)
    check(!s.empty(), "request", "stop_strings: expected text, got an empty string");
  return state_->push(state_->to_generate, GenerateItem{0, std::move(r), std::move(done)});
}

Engine::RequestId Engine::score(ScoreRequest r, std::function<void(Outcome<ScoreResult>)> done) {
  check_score_request(state_->model.config, r, layouts_of(state_->model, r.images));
  return state_->push(state_->to_score, Scorer::Item{0, std::move(r), std::move(done)});
}

Engine::RequestId Engine::run(std::function<void(Context&, Model&)> job,
                              std::function<void(Outcome<std::monostate>)> done) {
  return state_->push(state_->jobs, JobItem{0, std::move(job), std::move(done)});
}

void Engine::hold(bool held) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->held = held;
  }
  state_->wake.notify_all();
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
