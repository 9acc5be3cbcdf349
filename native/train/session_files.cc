// SPDX-License-Identifier: Apache-2.0
// The files of a session: the adapter it starts from and writes, gradients, and the state that a run resumes from.
#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

#include "core/error.h"
#include "core/memory.h"
#include "model/adapter_keys.h"
#include "model/safetensors.h"
#include "train/session.h"

namespace vpref {

namespace {

constexpr const char *kRewardMean = "reward_mean", *kRewardCount = "reward_count";

// Host copies of named tensors, for writing.
struct HostTensors {
  std::vector<Buffer> buffers;
  NamedTensors named;
  void add(Context& ctx, const std::string& name, const Tensor& t) {
    Tensor host = t;
    if (ctx.device != Device::cpu) {
      buffers.emplace_back(Device::cpu, aligned(t.bytes()));
      host.data = buffers.back().data();
      copy_to_host(ctx, host.data, t.data, t.bytes());
    }
    named.emplace_back(name, host);
  }
};

bool is_lora(const Parameter& p) { return p.name.ends_with(".lora_A.weight") || p.name.ends_with(".lora_B.weight"); }

// The shortest text that parses to the same number.
std::string exact(double value) {
  char text[32];
  return std::string(text, std::to_chars(text, text + sizeof text, value).ptr);
}

// Biases and norms are [n, 1] in the flat store.
Tensor natural_shape(const Parameter& p, const Tensor& t) {
  return p.shape[1] == 1 && !is_lora(p) ? t.reshaped({p.shape[0]}) : t;
}

float element_f32(const Tensor& t, size_t i) {
  switch (t.dtype) {
    case DType::f32:
      return t.as<float>()[i];
    case DType::bf16:
      return to_f32(t.as<bf16_t>()[i]);
    case DType::f16:
      return to_f32(t.as<f16_t>()[i]);
    default:
      throw Error("checkpoint", cat("an adapter's tensor must be floating point, got ", dtype_name(t.dtype)));
  }
}

}  // namespace

// Copies the file's values to the parameters, in f32; keeps tensors that are not trained, for writing.
void TrainSession::load_adapter(const LoadedAdapter& adapter) {
  std::map<std::string, std::string> keys;  // by name
  for (const LoadedAdapter::Lora& l : adapter.loras) {
    keys.emplace(l.module + ".lora_A.weight", l.key_a);
    keys.emplace(l.module + ".lora_B.weight", l.key_b);
  }
  for (const LoadedAdapter::Other& o : adapter.others) keys.emplace(o.name, o.key);
  ParameterStore& store = trainer_.trainable().store;
  for (size_t i = 0; i < store.parameters().size(); ++i) {
    const Parameter& p = store.parameters()[i];
    const auto found = keys.find(p.name);
    if (found == keys.end()) {
      check(!is_lora(p), "internal", "no values for ", p.name);
      continue;  // a projector that the adapter lacks starts from the model's
    }
    const Tensor stored = adapter.file->view(found->second);
    std::vector<float> host(size_t(p.numel()));
    for (size_t k = 0; k < host.size(); ++k) host[k] = element_f32(stored, k);
    copy_to_device(ctx_, store.master(int(i)).data, host.data(), host.size() * sizeof(float));
    keys.erase(found);
  }
  start_file_ = adapter.file;
  fixed_.assign(keys.begin(), keys.end());
  store.refresh_copy(ctx_);
}

void TrainSession::write_gradients(const std::string& file, const StepResult& result) {
  HostTensors host;
  ParameterStore& store = trainer_.trainable().store;
  trainer_.exchange().gather_gradients(ctx_, store);
  if (world_->rank() != 0) return;
  for (size_t i = 0; i < store.parameters().size(); ++i) {
    const Parameter& p = store.parameters()[i];
    host.add(ctx_, p.name, natural_shape(p, store.grad(int(i))));
  }
  write_safetensors(file, host.named,
                    {{"loss", std::to_string(result.loss)}, {"grad_norm", std::to_string(result.grad_norm)}});
}

void TrainSession::save_adapter(const std::string& file) {
  if (world_->rank() != 0) return;
  HostTensors host;
  ParameterStore& store = trainer_.trainable().store;
  for (size_t i = 0; i < store.parameters().size(); ++i) {
    const Parameter& p = store.parameters()[i];
    host.add(ctx_, std::string(kPeftRoot) + p.name, natural_shape(p, store.master(int(i))));
  }
  for (const auto& [name, key] : fixed_) host.named.emplace_back(std::string(kPeftRoot) + name, start_file_->view(key));
  Metadata metadata = {{"format", "pt"}};
  if (model_.form() != Packing::none) metadata.emplace_back(kTrainedOn, packing_name(model_.form()));
  write_safetensors(file, host.named, metadata);
}

void TrainSession::save_state(const std::string& file) {
  HostTensors host;
  ParameterStore& store = trainer_.trainable().store;
  // In one process on the CPU the moments are written in place.
  const bool in_place = ctx_.device == Device::cpu && !trainer_.zero();
  const auto collected = [&](bool second) {
    return in_place ? std::vector<float>() : trainer_.exchange().collect_moment(ctx_, store, second);
  };
  std::vector<float> m = collected(false), v = collected(true);
  if (world_->rank() != 0) return;
  const auto flat = [&](std::vector<float>& values, bool second) {
    if (!in_place) return Tensor(values.data(), DType::f32, {store.numel()});
    return second ? store.second_moment(store.states()[0]) : store.first_moment(store.states()[0]);
  };
  const Tensor flat_m = flat(m, false), flat_v = flat(v, true);
  // Per parameter, so that runs with another layout or number of ranks can read them.
  for (const Parameter& p : store.parameters()) {
    const auto piece = [&](const Tensor& whole) {
      return whole.rows(p.offset, p.numel()).reshaped({p.shape[0], p.shape[1]});
    };
    host.add(ctx_, "master." + p.name, piece(store.flat_master()));
    host.named.emplace_back("exp_avg." + p.name, piece(flat_m));
    host.named.emplace_back("exp_avg_sq." + p.name, piece(flat_v));
  }
  Metadata figures = {{"step", std::to_string(steps_done())}};
  if (trainer_.has_reward_mean()) {
    const RewardMean& rewards = trainer_.reward_mean();
    figures.insert(figures.end(), {{kRewardMean, exact(rewards.mean)}, {kRewardCount, exact(rewards.count)}});
  }
  write_safetensors(file, host.named, figures);
}

namespace {

// The state tensors of a file, in the order of `kParts` per parameter; each is checked against its parameter.
constexpr const char* kParts[] = {"master.", "exp_avg.", "exp_avg_sq."};

std::vector<Tensor> state_tensors(const Safetensors& file, const ParameterStore& store) {
  check(file.tensors().size() == 3 * store.parameters().size(), "checkpoint", file.path(), ": expected the state of ",
        store.parameters().size(), " parameters, got ", file.tensors().size(), " tensors");
  check(file.metadata().contains("step"), "checkpoint", file.path(),
        ": expected the number of steps in the metadata, got none");
  std::vector<Tensor> tensors;
  for (const Parameter& p : store.parameters()) {
    for (const char* part : kParts) {
      const Tensor t = file.view(part + p.name);
      check(t.dtype == DType::f32 && t.rank == 2 && t.dim(0) == p.shape[0] && t.dim(1) == p.shape[1], "checkpoint",
            file.path(), ": ", part, p.name, ": expected [", p.shape[0], ", ", p.shape[1], "] f32, got ", t);
      tensors.push_back(t);
    }
  }
  return tensors;
}

double figure_of(const Safetensors& file, const char* name) {
  const auto found = file.metadata().find(name);
  const std::string text = found == file.metadata().end() ? "" : found->second;
  double value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  check(failed == std::errc() && end == text.data() + text.size() && !text.empty(), "checkpoint", file.path(),
        ": expected a number as ", name, " in the metadata, got ", text.empty() ? "none" : text);
  return value;
}

}  // namespace

int64_t TrainSession::restore(const std::string& path) {
  ParameterStore& store = trainer_.trainable().store;
  std::optional<Safetensors> file;
  std::vector<Tensor> stored;  // check everything before changing anything
  double steps = 0;
  RewardMean rewards;
  if (world_->rank() == 0) {
    file.emplace(path);
    stored = state_tensors(*file, store);
    steps = double(std::stoll(file->metadata().find("step")->second));
    if (trainer_.has_reward_mean()) rewards = {figure_of(*file, kRewardMean), figure_of(*file, kRewardCount)};
  }
  world_->broadcast(&steps, sizeof steps, 0);
  world_->broadcast(&rewards, sizeof rewards, 0);
  std::vector<float> received;
  for (size_t i = 0; i < 3 * store.parameters().size(); ++i) {
    const Parameter& p = store.parameters()[i / 3];
    if (!file) received.resize(size_t(p.numel()));
    float* values = file ? stored[i].as<float>() : received.data();
    world_->broadcast(values, size_t(p.numel()) * sizeof(float), 0);
    if (i % 3 == 0) {
      copy_to_device(ctx_, store.master(int(i / 3)).data, values, size_t(p.numel()) * sizeof(float));
      continue;
    }
    for (const ParameterStore::State& s : store.states()) {
      const int64_t begin = std::max(p.offset, s.begin), count = std::min(p.offset + p.numel(), s.end) - begin;
      const Tensor moment = i % 3 == 1 ? store.first_moment(s) : store.second_moment(s);
      if (count > 0)
        copy_to_device(ctx_, moment.as<float>() + (begin - s.begin), values + (begin - p.offset),
                       size_t(count) * sizeof(float));
    }
  }
  store.refresh_copy(ctx_);
  trainer_.set_steps_done(int64_t(steps));
  trainer_.set_reward_mean(rewards);
  return steps_done();
}

}  // namespace vpref
