// SPDX-License-Identifier: Apache-2.0
#include "train/step_points.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "dist/phase.h"

namespace vpref {

namespace {

// A row's response as bytes, which a rank sends to the others.
std::string response_bytes(const SegmentInput& s) {
  std::string out(sizeof(int32_t), '\0');
  const int32_t n = int32_t(s.token_ids.size());
  std::memcpy(out.data(), &n, sizeof n);
  out.append(reinterpret_cast<const char*>(s.token_ids.data()), s.token_ids.size() * sizeof(int32_t));
  return out.append(reinterpret_cast<const char*>(s.scored.data()), s.scored.size());
}

void set_response(const std::string& bytes, SegmentInput& s) {
  int32_t n = 0;
  std::memcpy(&n, bytes.data(), sizeof n);
  s.token_ids.resize(size_t(n));
  std::memcpy(s.token_ids.data(), bytes.data() + sizeof n, size_t(n) * sizeof(int32_t));
  const size_t scored = sizeof n + size_t(n) * sizeof(int32_t);
  s.scored.assign(bytes.begin() + int64_t(scored), bytes.end());
}

SegmentInput& response_of(TrainRow& row) {
  return *std::find_if(row.segments.begin(), row.segments.end(), [](const SegmentInput& s) { return s.branch == 0; });
}

}  // namespace

LossRow loss_row(const TrainRow& row, std::span<const double> policy, std::span<const int64_t> num_tokens) {
  LossRow record{{}, row.num_rejected, row.label, row.weight, row.beta};
  for (size_t k = 0; k < policy.size(); ++k)
    record.branches.push_back({policy[k], row.ref.empty() ? 0 : row.ref[k], num_tokens[k]});
  return record;
}

double reference_point(std::span<const TrainRow> rows, Collective& world, const ScoreRows& score) {
  std::vector<TrainRow> mismatched(rows.begin(), rows.end());
  std::vector<std::string> responses;
  for (TrainRow& row : mismatched) responses.push_back(response_bytes(response_of(row)));
  const std::vector<std::string> first_responses = world.all_gather(responses.empty() ? "" : responses[0]);
  if (!responses.empty()) {
    const size_t size = first_responses.size();
    size_t next = (size_t(world.rank()) + 1) % size;
    while (first_responses[next].empty()) next = (next + 1) % size;  // skips ranks without rows; this rank has some
    responses.push_back(first_responses[next]);
  }
  std::vector<double> sums = {0, double(rows.size())};
  run_phase(world, [&] {
    for (size_t i = 0; i < mismatched.size(); ++i) set_response(responses[i + 1], response_of(mismatched[i]));
    const std::vector<RowResult> policy = score(mismatched, true), reference = score(mismatched, false);
    for (size_t i = 0; i < policy.size(); ++i) sums[0] += policy[i].policy[0] - reference[i].policy[0];
  });
  world.all_reduce(sums, Reduce::sum);
  check(sums[1] > 1, "config", "the reference point of the loss needs at least two rows a step, got ", sums[1]);
  return std::max(0.0, sums[0] / sums[1]);
}

RewardSums rewards_of(std::span<const TrainRow> rows, double beta, Collective& world, const ScoreRows& score) {
  RewardSums own;
  run_phase(world, [&] {
    const std::vector<RowResult> scored = score(rows, true);
    for (size_t r = 0; r < rows.size(); ++r) {
      own.add(loss_row(rows[r], scored[r].policy, scored[r].num_tokens), beta);
      check(std::isfinite(own.rewards), "nonfinite", "the reward of row ", rows[r].id,
            " is not finite; no parameter was changed (rows of the step: ", join_ids(rows), ")");
    }
  });
  std::vector<double> sums = {own.rewards, own.count};
  world.all_reduce(sums, Reduce::sum);
  return {sums[0], sums[1]};
}

}  // namespace vpref
