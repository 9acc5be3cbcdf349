// SPDX-License-Identifier: Apache-2.0
// The generator and the schedule against a separate numpy implementation (scripts/goldens/diffusion.py).
#include "input/diffusion.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "core/philox.h"
#include "model/json.h"

namespace vpref {
namespace {

class Diffusion : public testing::Test {
 protected:
  Json golden = read_json_file(std::string(VPREF_FIXTURES) + "/golden/pixels/diffusion.json");
  const std::vector<Json>& list(const char* key) const { return golden.find(key)->array(); }
};

TEST_F(Diffusion, ScheduleEqualsVcds) {
  for (const Json& row : list("schedule")) {
    const DiffusionLevel level = diffusion_level(int32_t(row.find("step")->integer()));
    EXPECT_NEAR(level.signal, row.find("signal")->number(), 1e-12);
    EXPECT_NEAR(level.noise, row.find("noise")->number(), 1e-12);
  }
  EXPECT_THROW(diffusion_level(-1), Error);
  EXPECT_THROW(diffusion_level(1000), Error);
}

TEST_F(Diffusion, NormalsAreKeyedByElement) {
  for (const Json& row : list("normals")) {
    const size_t element = size_t(row.find("element")->integer());
    std::vector<float> z(element + 1);
    standard_normals(uint64_t(row.find("seed")->integer()), 0, z);
    EXPECT_NEAR(z[element], row.find("value")->number(), 1e-6)
        << "seed " << row.find("seed")->integer() << " element " << element;
  }
}

TEST_F(Diffusion, NoisedTensorEqualsTheGolden) {
  const Json& tensor = *golden.find("tensor");
  for (const Json& row : list("noised")) {
    std::vector<float> x;
    for (const Json& v : tensor.find("values")->array()) x.push_back(float(v.number()));
    add_diffusion_noise({int32_t(row.find("step")->integer()), uint64_t(row.find("seed")->integer())}, 0, x);
    for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], row.find("values")->array()[i].number(), 2e-6) << i;
  }
}

TEST(DiffusionNoise, IsStandardNormal) {
  std::vector<float> z(200001);
  standard_normals(5, 0, z);
  double sum = 0, squares = 0;
  for (const float v : z) {
    sum += v;
    squares += double(v) * v;
  }
  const double n = double(z.size());
  EXPECT_NEAR(sum / n, 0, 4 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 1, 4 * std::sqrt(2 / n));
}

}  // namespace
}  // namespace vpref
