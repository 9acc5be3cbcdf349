// SPDX-License-Identifier: Apache-2.0
// The noise of the engine against fixtures/golden/pixels/diffusion.json, which the data stages are held against too.
#include "input/diffusion.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/error.h"
#include "model/json.h"

namespace vpref {
namespace {

const Json& golden() {
  static const Json json = read_json_file(std::string(VPREF_FIXTURES) + "/golden/pixels/diffusion.json");
  return json;
}

uint64_t integer(const Json& row, const char* key) { return uint64_t(row.find(key)->integer()); }
double number(const Json& row, const char* key) { return row.find(key)->number(); }

TEST(Diffusion, ScheduleIsVcds) {
  for (const Json& row : golden().find("schedule")->array()) {
    const DiffusionLevel level = diffusion_level(int32_t(integer(row, "step")));
    EXPECT_NEAR(level.signal, number(row, "signal"), 1e-12) << "step " << integer(row, "step");
    EXPECT_NEAR(level.noise, number(row, "noise"), 1e-12) << "step " << integer(row, "step");
  }
}

TEST(Diffusion, NormalsOfEachSeedAndElement) {
  for (const Json& row : golden().find("normals")->array()) {
    std::vector<float> out(integer(row, "element") + 1);
    standard_normals(integer(row, "seed"), out);
    EXPECT_NEAR(out.back(), number(row, "value"), 1e-6) << "seed " << integer(row, "seed") << ", element " << integer(row, "element");
  }
}

TEST(Diffusion, TensorIsNoisedUnclipped) {
  for (const Json& row : golden().find("noised")->array()) {
    std::vector<float> x;
    for (const Json& value : golden().find("tensor")->find("values")->array()) x.push_back(float(value.number()));
    add_diffusion_noise({int32_t(integer(row, "step")), integer(row, "seed")}, x);
    const std::vector<Json>& expected = row.find("values")->array();
    ASSERT_EQ(x.size(), expected.size());
    for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], expected[i].number(), 1e-6) << "element " << i;
  }
}

TEST(Diffusion, StepOutsideScheduleIsRefused) {
  for (const int32_t step : {-1, kDiffusionSteps}) EXPECT_THROW(diffusion_level(step), Error);
}

}  // namespace
}  // namespace vpref
