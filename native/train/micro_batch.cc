// SPDX-License-Identifier: Apache-2.0
#include "train/micro_batch.h"

#include <numeric>

#include "core/error.h"

namespace vpref {

namespace {

RowSize size_of(const ModelConfig& config, const TrainRow& row) {
  RowSize size;
  check(row.images.empty() || config.has_vision, "request", "row ", row.id,
        ": images: expected none (the model reads text), got ", row.images.size());
  for (const ImageShape& image : row.images) {
    size.image_rows += config.vision->layout(image).num_rows();
    size.features += config.vision->num_features(image);
  }
  for (const SegmentInput& s : row.segments) {
    size.rows += int64_t(s.token_ids.size());
    if (s.branch >= 0) size.targets += s.num_scored();
  }
  return size;
}

MicroBatch pack(const ModelConfig& config, std::span<const TrainRow> rows, size_t first_row) {
  MicroBatch b;
  b.rows = rows;
  b.first_row = int64_t(first_row);
  std::vector<int32_t> first_image_row;
  TreePacker packer(config, /*shares_prefixes=*/false);
  for (size_t r = 0; r < rows.size(); ++r) {
    const TrainRow& row = rows[r];
    std::vector<TreeImage> images;
    for (const ImageShape& shape : row.images) {
      b.images.push_back({int32_t(first_row + r), int32_t(images.size())});
      b.shapes.push_back(shape);
      images.push_back({config.vision->layout(shape)});
      first_image_row.push_back(int32_t(b.image_rows));
      b.image_rows += images.back().layout.num_rows();
      b.num_features += config.vision->num_features(shape);
    }
    b.branch_of_row.push_back(packer.batch().num_branches);
    packer.add(row.segments, images, cat("row ", row.id, ": "));
    const int32_t branches = packer.batch().num_branches - b.branch_of_row.back();
    check(branches == row.num_branches(), "request", "row ", row.id, ": expected ", row.num_branches(),
          " branches, got ", branches);
  }
  b.tree = packer.take();
  b.image_index.assign(b.tree.token_ids.size(), -1);
  for (const ImagePiece& p : b.tree.images)
    std::iota(b.image_index.begin() + p.row, b.image_index.begin() + p.row + p.count,
              first_image_row[size_t(p.image)] + p.first);
  return b;
}

}  // namespace

size_t micro_batch_end(std::span<const RowSize> rows, size_t begin, int64_t max_tokens) {
  size_t end = begin;
  int64_t tokens = 0;
  while (end < rows.size() && (end == begin || tokens + rows[end].rows <= max_tokens)) tokens += rows[end++].rows;
  return end;
}

std::vector<MicroBatch> pack_micro_batches(const ModelConfig& config, std::span<const TrainRow> rows,
                                           int64_t max_tokens) {
  std::vector<MicroBatch> batches;
  std::vector<RowSize> sizes;
  for (const TrainRow& row : rows) sizes.push_back(size_of(config, row));
  for (size_t begin = 0; begin < rows.size();) {
    const size_t end = micro_batch_end(sizes, begin, max_tokens);
    batches.push_back(pack(config, rows.subspan(begin, end - begin), begin));
    begin = end;
  }
  return batches;
}

MicroBatch batch_of_size(const ModelConfig& config, const RowSize& size) {
  const auto zeros = [](int64_t count) { return std::vector<int32_t>(size_t(count), 0); };
  const int32_t rows = int32_t(size.rows);
  MicroBatch b;
  b.tree.segments = {{-1, 0, rows, {{0, rows}}, {-1, 0, rows}}};
  b.tree.token_ids = zeros(rows);
  b.tree.positions = Positions(config.text.num_position_axes);
  for (int32_t i = 0; i < rows; ++i) b.tree.positions.add(i);
  b.tree.target_rows = b.tree.targets = b.tree.target_branch = zeros(size.targets);
  b.tree.num_branches = 1;
  b.image_rows = size.image_rows;
  b.num_features = size.features;
  b.image_index = zeros(rows);
  return b;
}

}  // namespace vpref
