// SPDX-License-Identifier: Apache-2.0
// The tasks of bench_engine --text by llama.cpp's library, of the release that node-llama-cpp's package was built from
// (llama_peer.py installs it, takes the headers out of the same package and compiles this).
//   llama_peer quantize IN OUT f16|bf16|q8_0|q4_0 HEAD THREADS   every matrix; head and embedding as HEAD (f16, bf16)
//   llama_peer ids GGUF PROMPT THREADS                           the greedy tokens of one prompt of PROMPT tokens
//   llama_peer TASK GGUF PROMPT THREADS ROUNDS                   prefill (8 prompts), decode1, decode8
//   llama_peer read THREADS                                      the speed of reading memory
// One JSON line on stdout. LLAMA_PEER_BACKENDS: the folder of the package's libraries.
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "ggml-cpu.h"
#include "gguf.h"
#include "llama.h"

namespace {

constexpr int32_t kPrompts = 8, kNewTokens = 48, kCompared = 64;  // as engine.cc

struct Time {
  double wall = 0, cpu = 0;
};
Time now() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return {std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(),
          double(t.tv_sec) + 1e-9 * double(t.tv_nsec)};
}

void require(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

// prompt_ids() of bench/support/random_model.h without a picture.
std::vector<llama_token> prompt_ids(int32_t i, int32_t length) {
  std::vector<llama_token> ids = {1};
  while (int32_t(ids.size()) < length) ids.push_back(100 + (i * 997 + int32_t(ids.size()) * 31) % 30000);
  return ids;
}

// The file's matrices: bytes of all but the embedding (what a token step reads), and the types of head and layers.
struct Stored {
  size_t bytes = 0;
  std::string layers, head;
};
Stored stored(const std::string& path) {
  gguf_context* file = gguf_init_from_file(path.c_str(), {/*no_alloc=*/true, /*ctx=*/nullptr});
  require(file, path + ": cannot be read");
  Stored s;
  for (int64_t i = 0; i < gguf_get_n_tensors(file); ++i) {
    const std::string name = gguf_get_tensor_name(file, i), type = ggml_type_name(gguf_get_tensor_type(file, i));
    if (name.find("norm") != std::string::npos || name == "token_embd.weight") continue;
    s.bytes += gguf_get_tensor_size(file, i);
    std::string& kind = name == "output.weight" ? s.head : s.layers;
    require(kind.empty() || kind == type, path + ": " + name + ": expected " + kind + ", got " + type);
    kind = type;
  }
  gguf_free(file);
  return s;
}

// Which of the package's CPU libraries was loaded.
std::string backend() {
  std::ifstream maps("/proc/self/maps");
  const std::string key = "libggml-cpu-";
  for (std::string line; std::getline(maps, line);)
    if (const size_t at = line.find(key); at != std::string::npos)
      return line.substr(at + key.size(), line.rfind(".so") - at - key.size());
  return "?";
}

// A context for `sequences` of at most `length` tokens, with the pool of threads that llama.cpp's own programs give it.
class Peer {
 public:
  Peer(const std::string& path, int32_t sequences, int32_t length, int threads) : sequences_(sequences) {
    model_ = llama_model_load_from_file(path.c_str(), llama_model_default_params());
    require(model_, path + ": cannot be loaded");
    vocabulary_ = llama_vocab_n_tokens(llama_model_get_vocab(model_));
    llama_context_params p = llama_context_default_params();
    require(p.n_batch == 2048 && p.n_ubatch == 512 && p.n_seq_max == 1, "llama.h is not that of the library");
    p.n_ctx = uint32_t(sequences * ((length + 255) / 256 * 256));
    p.n_seq_max = uint32_t(sequences);
    p.n_threads = p.n_threads_batch = threads;
    p.no_perf = true;
    context_ = llama_init_from_model(model_, p);
    require(context_, "no context");
    ggml_threadpool_params pool = ggml_threadpool_params_default(threads);
    ggml_backend_reg_t cpu = ggml_backend_reg_by_name("CPU");
    const auto make =
        reinterpret_cast<decltype(&ggml_threadpool_new)>(ggml_backend_reg_get_proc_address(cpu, "ggml_threadpool_new"));
    free_pool_ = reinterpret_cast<decltype(&ggml_threadpool_free)>(
        ggml_backend_reg_get_proc_address(cpu, "ggml_threadpool_free"));
    require(make && free_pool_, "no thread pool");
    pool_ = make(&pool);
    llama_attach_threadpool(context_, pool_, nullptr);
    batch_ = llama_batch_init(int32_t(llama_n_batch(context_)), 0, 1);
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer() {
    llama_batch_free(batch_);
    llama_free(context_);
    free_pool_(pool_);
    llama_model_free(model_);
  }

  void clear() { llama_memory_clear(llama_get_memory(context_), true); }

  // The greedy token after the prompt of a sequence.
  llama_token prefill(int32_t sequence, const std::vector<llama_token>& ids) {
    batch_.n_tokens = 0;
    for (size_t i = 0; i < ids.size(); ++i) add(ids[i], int32_t(i), sequence, i + 1 == ids.size());
    decode();
    return greedy(-1);
  }

  // One token of every sequence, all at the same position.
  void step(std::vector<llama_token>& tokens, int32_t position) {
    batch_.n_tokens = 0;
    for (int32_t s = 0; s < sequences_; ++s) add(tokens[size_t(s)], position, s, true);
    decode();
    for (int32_t s = 0; s < sequences_; ++s) tokens[size_t(s)] = greedy(s);
  }

 private:
  void add(llama_token id, int32_t position, int32_t sequence, bool wanted) {
    const int32_t i = batch_.n_tokens++;
    batch_.token[i] = id;
    batch_.pos[i] = position;
    batch_.n_seq_id[i] = 1;
    batch_.seq_id[i][0] = sequence;
    batch_.logits[i] = wanted;
  }
  void decode() { require(llama_decode(context_, batch_) == 0, "llama_decode failed"); }
  llama_token greedy(int32_t row) const {
    const float* logits = llama_get_logits_ith(context_, row);
    return llama_token(std::max_element(logits, logits + vocabulary_) - logits);
  }

  int32_t sequences_, vocabulary_;
  llama_model* model_;
  llama_context* context_;
  ggml_threadpool* pool_;
  decltype(&ggml_threadpool_free) free_pool_;
  llama_batch batch_;
};

// Seconds of a round: all prompts, or the steps after them.
Time run_round(Peer& peer, bool prefill, int32_t sequences, int32_t prompt, int32_t round) {
  peer.clear();
  std::vector<llama_token> tokens(static_cast<size_t>(sequences));
  Time begin = now();
  if (prefill) {
    for (int32_t i = 0; i < kPrompts; ++i) {
      peer.clear();
      peer.prefill(0, prompt_ids(i + 100 * round, prompt));
    }
  } else {
    for (int32_t s = 0; s < sequences; ++s) tokens[size_t(s)] = peer.prefill(s, prompt_ids(s + 100 * round, prompt));
    begin = now();
    for (int32_t i = 0; i + 1 < kNewTokens; ++i) peer.step(tokens, prompt + i);
  }
  const Time end = now();
  return {end.wall - begin.wall, end.cpu - begin.cpu};
}

void time_task(const std::string& task, const std::string& path, int32_t prompt, int threads, int rounds) {
  const bool prefill = task == "prefill";
  require(prefill || task == "decode1" || task == "decode8", "task: expected prefill, decode1 or decode8, got " + task);
  const int32_t sequences = task == "decode8" ? 8 : 1, units = prefill ? kPrompts : kNewTokens - 1;
  const Stored s = stored(path);
  Peer peer(path, sequences, prompt + kNewTokens, threads);
  Time best{INFINITY, INFINITY};
  for (int r = 0; r <= rounds; ++r) {  // round 0 only warms up
    const Time t = run_round(peer, prefill, sequences, prompt, r);
    if (r > 0) best = {std::min(best.wall, t.wall / units), std::min(best.cpu, t.cpu / units)};
  }
  std::printf(
      "{\"engine\":\"llama.cpp\",\"task\":\"%s\",\"seconds\":%.6f,\"cpu_seconds\":%.6f,\"threads\":%d,\"weight_bytes\":"
      "%zu,\"layers\":\"%s\",\"head\":\"%s\",\"backend\":\"%s\"}\n",
      task.c_str(), best.wall, best.cpu, threads, s.bytes, s.layers.c_str(), s.head.c_str(), backend().c_str());
}

void print_ids(const std::string& path, int32_t prompt, int threads) {
  Peer peer(path, 1, prompt + kCompared, threads);
  std::vector<llama_token> token = {peer.prefill(0, prompt_ids(0, prompt))};
  std::printf("{\"engine\":\"llama.cpp\",\"ids\":[%d", token[0]);
  for (int32_t i = 0; i + 1 < kCompared; ++i) {
    peer.step(token, prompt + i);
    std::printf(",%d", token[0]);
  }
  std::printf("]}\n");
}

void quantize(const std::string& from, const std::string& to, const std::string& type, const std::string& head,
              int threads) {
  static const std::map<std::string, llama_ftype> files = {{"f16", LLAMA_FTYPE_MOSTLY_F16},
                                                           {"bf16", LLAMA_FTYPE_MOSTLY_BF16},
                                                           {"q8_0", LLAMA_FTYPE_MOSTLY_Q8_0},
                                                           {"q4_0", LLAMA_FTYPE_MOSTLY_Q4_0}};
  static const std::map<std::string, ggml_type> heads = {{"f16", GGML_TYPE_F16}, {"bf16", GGML_TYPE_BF16}};
  require(files.count(type) && heads.count(head), "quantize: expected f16, bf16, q8_0 or q4_0, and f16 or bf16");
  llama_model_quantize_params p = llama_model_quantize_default_params();
  p.nthread = threads;
  p.ftype = files.at(type);
  p.output_tensor_type = p.token_embedding_type = heads.at(head);
  p.pure = true;
  require(llama_model_quantize(from.c_str(), to.c_str(), &p) == 0, to + ": cannot be written");
}

// The most of ten passes over 512 MiB, in bytes a second.
void read_memory(int threads) {
  constexpr size_t kWords = size_t(64) << 20;
  const std::vector<uint64_t> words(kWords, 1);
  double best = 0;
  uint64_t sum = 0;
  for (int pass = 0; pass < 10; ++pass) {
    std::vector<uint64_t> sums(static_cast<size_t>(threads));
    std::vector<std::thread> readers;
    const Time begin = now();
    for (int t = 0; t < threads; ++t)
      readers.emplace_back([&, t] {
        uint64_t own = 0;
        const size_t end = kWords * size_t(t + 1) / size_t(threads);
        for (size_t i = kWords * size_t(t) / size_t(threads); i < end; ++i) own += words[i];
        sums[size_t(t)] = own;
      });
    for (std::thread& r : readers) r.join();
    best = std::max(best, double(kWords * sizeof(uint64_t)) / (now().wall - begin.wall));
    for (const uint64_t s : sums) sum += s;
  }
  require(sum == 10 * kWords, "read: wrong sum");
  std::printf("{\"bytes_per_second\":%.4g}\n", best);
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  try {
    const auto number = [&](size_t i) { return std::stoi(args.at(i)); };
    if (args.at(0) == "read") {
      read_memory(number(1));
      return 0;
    }
    llama_log_set(
        [](ggml_log_level level, const char* text, void*) {
          if (level == GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr);
        },
        nullptr);
    const char* folder = std::getenv("LLAMA_PEER_BACKENDS");
    require(folder, "LLAMA_PEER_BACKENDS: expected the folder of the libraries");
    ggml_backend_load_all_from_path(folder);
    llama_backend_init();
    if (args[0] == "quantize") {
      quantize(args.at(1), args.at(2), args.at(3), args.at(4), number(5));
    } else if (args[0] == "ids") {
      print_ids(args.at(1), number(2), number(3));
    } else {
      time_task(args[0], args.at(1), number(2), number(3), number(4));
    }
    llama_backend_free();
    return 0;
  } catch (const std::out_of_range&) {
    std::cerr << "usage: llama_peer quantize IN OUT TYPE HEAD THREADS | ids GGUF PROMPT THREADS | TASK GGUF PROMPT "
                 "THREADS ROUNDS | read THREADS\n";
    return 2;
  } catch (const std::exception& e) {
    std::cerr << "llama_peer: " << e.what() << '\n';
    return 1;
  }
}
