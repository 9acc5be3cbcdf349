// SPDX-License-Identifier: Apache-2.0
// Learning-rate schedules, with the numbers of transformers' get_scheduler.
#pragma once
#include <cstdint>
#include <string_view>

namespace vpref {

enum class Schedule : uint8_t { cosine, linear, constant };

// Throws Error{"config"} unless "cosine", "linear" or "constant".
Schedule parse_schedule(std::string_view name);

// Warm-up steps of a ratio: ceil(total x ratio), as in transformers' get_warmup_steps.
int64_t warmup_steps(int64_t total_steps, double warmup_ratio);

// The learning rate's factor at optimizer step `step` (0-based): a linear rise from 0 during warm-up, then half a
// cosine or a line down to 0, or the constant 1. With a warm-up the first step has factor 0, as in transformers.
double schedule_factor(Schedule schedule, int64_t step, int64_t total_steps, int64_t warmup);

}  // namespace vpref
