// SPDX-License-Identifier: Apache-2.0
#include "core/tensor.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace vpref {
namespace {

TEST(Tensor, ViewsSelectRowsAndColumns) {
  float data[24];
  const Tensor t(data, DType::f32, {4, 6});
  EXPECT_EQ(t.rows(2, 1).data, data + 12);
  const Tensor c = t.cols(1, 2);
  EXPECT_EQ(c.data, data + 1);
  EXPECT_EQ(c.stride[0], 6);
  EXPECT_FALSE(c.dense());
  EXPECT_EQ(c.rows(3, 1).data, data + 19);
  EXPECT_EQ(t.reshaped({2, 3, 4}).stride[0], 12);
  EXPECT_THROW(c.reshaped({8}), Error);
  const Tensor h = t.cols(2, 4).heads(2);
  EXPECT_EQ(cat(h), "[4, 2, 2] f32");
  EXPECT_EQ(h.stride[0], 6);
  EXPECT_EQ(h.rows(1, 1).data, data + 8);
  EXPECT_EQ(cat(h.joined()), "[4, 4] f32");
  EXPECT_EQ(h.joined().stride[0], 6);
  EXPECT_THROW(t.heads(4), Error);
  EXPECT_THROW(t.joined(), Error);
  EXPECT_THROW(t.reshaped({5, 5}), Error);
}

TEST(Tensor, ShapeErrorsSayWhatWasExpected) {
  const Tensor t(nullptr, DType::bf16, {2, 3});
  EXPECT_NO_THROW(expect_shape("op", "x", t, {-1, 3}));
  try {
    expect_shape("op", "x", t, {-1, 4});
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "[op] x: expected [any, 4], got [2, 3] bf16");
  }
}

}  // namespace
}  // namespace vpref
