// SPDX-License-Identifier: Apache-2.0
#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"

namespace vpref {

Schedule parse_schedule(std::string_view name) {
  if (name == "cosine") return Schedule::cosine;
  if (name == "linear") return Schedule::linear;
  if (name == "constant") return Schedule::constant;
  throw Error("config", cat("lr_schedule: expected cosine, linear or constant, got ", name));
}

int64_t warmup_steps(int64_t total_steps, double warmup_ratio) {
  return int64_t(std::ceil(double(total_steps) * warmup_ratio));
}

double schedule_factor(Schedule schedule, int64_t step, int64_t total_steps, int64_t warmup) {
  if (step < warmup) return double(step) / double(std::max<int64_t>(1, warmup));
  if (schedule == Schedule::constant) return 1;
  const double span = double(std::max<int64_t>(1, total_steps - warmup));
  if (schedule == Schedule::linear) return std::max(0.0, double(total_steps - step) / span);
  const double progress = double(step - warmup) / span;
  return std::max(0.0, 0.5 * (1 + std::cos(std::numbers::pi * progress)));
}

}  // namespace vpref
