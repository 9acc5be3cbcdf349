// SPDX-License-Identifier: Apache-2.0
#include "train/schedule.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace vpref {
namespace {

// transformers 5: get_cosine_schedule_with_warmup(num_warmup_steps=3, num_training_steps=10) and the linear schedule,
// printed by their lambdas.
TEST(Schedule, CosineEqualsTransformers) {
  const double want[] = {0.0,
                         1.0 / 3,
                         2.0 / 3,
                         1.0,
                         0.9504844339512095,
                         0.8117449009293668,
                         0.6112604669781572,
                         0.3887395330218429,
                         0.1882550990706332,
                         0.04951556604879048};
  for (int step = 0; step < 10; ++step)
    EXPECT_NEAR(schedule_factor(Schedule::cosine, step, 10, 3), want[step], 1e-12) << step;
}

TEST(Schedule, LinearEqualsTransformers) {
  for (int step = 0; step < 10; ++step) {
    const double want = step < 3 ? step / 3.0 : (10 - step) / 7.0;
    EXPECT_NEAR(schedule_factor(Schedule::linear, step, 10, 3), want, 1e-12) << step;
  }
}

TEST(Schedule, ConstantHasAWarmupAndNoWarmupStartsAtOne) {
  EXPECT_EQ(schedule_factor(Schedule::constant, 0, 10, 0), 1);
  EXPECT_EQ(schedule_factor(Schedule::constant, 1, 10, 4), 0.25);
  EXPECT_EQ(schedule_factor(Schedule::cosine, 0, 10, 0), 1);
  EXPECT_NEAR(schedule_factor(Schedule::cosine, 10, 10, 0), 0, 1e-15);
}

TEST(Schedule, WarmupRatioRoundsUp) {
  EXPECT_EQ(warmup_steps(169, 0.03), 6);
  EXPECT_EQ(warmup_steps(100, 0.03), 3);
  EXPECT_EQ(warmup_steps(1, 0.03), 1);
  EXPECT_EQ(warmup_steps(100, 0), 0);
}

TEST(Schedule, RefusesUnknownNames) { EXPECT_THROW(parse_schedule("polynomial"), Error); }

}  // namespace
}  // namespace vpref
