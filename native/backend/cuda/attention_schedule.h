// SPDX-License-Identifier: Apache-2.0
// Work lists of attention on the GPU: one thread block per item and head (or pack of heads). The host builds the lists
// (attention_scheduler.h), the kernels read the same structs.
//
// Forward and dq use query tiles: query rows and a list of key ranges. dk and dv use key tiles: keys and the rows that
// attend to them.
#pragma once
#include <cstdint>
#include <vector>

#include "ops/attention.h"

namespace vpref::cuda {

constexpr int32_t kWideRows = 128, kTileRows = 64,
                  kDecodeRows = 16;   // maximum packed rows (row x head of the pack) of a query tile
constexpr int32_t kKeyTileRows = 64;  // keys per key tile

// A query row. `visible`: number of keys that it sees in its tile's last range (it sees the other ranges whole), or in
// its key tile. `hidden`: a window hides the first `hidden` keys of the tile.
struct TileRow {
  int32_t row, visible, hidden = 0;
};

struct QueryTile {
  int32_t first_row, num_rows;      // in `rows`
  int32_t first_range, num_ranges;  // in `ranges`; at least one
  int32_t visible_to_all;           // number of keys of the last range that all rows see, so that no mask is needed
  int32_t slot;  // -1: the tile writes the result; else its rows write partial results to slot, slot + 1, ...
  int32_t hidden_from_some = 0;  // from this key on (counted over all ranges) no row needs the window's mask
};

// The partial results of a query row: slots[first_slot .. first_slot + num_slots).
struct MergeRow {
  int32_t row, first_slot, num_slots;
};

struct KeyTile {
  int32_t begin, count;         // rows of k and v
  int32_t first_row, num_rows;  // in `key_rows`; none if no row attends to these keys
};

struct ForwardSchedule {
  std::vector<TileRow> rows;
  std::vector<KvRange> ranges;
  std::vector<QueryTile> wide, tiles, decode;  // of kWideRows, kTileRows, kDecodeRows packed rows
  std::vector<MergeRow> merges;
  std::vector<int32_t> slots;
  int32_t num_slots = 0;
};

struct BackwardSchedule {
  std::vector<TileRow> rows;
  std::vector<KvRange> ranges;
  std::vector<QueryTile> tiles;
  std::vector<KeyTile> key_tiles;
  std::vector<TileRow> key_rows;
};

// Heads of a group per query tile; a key tile is loaded once for all of them.
inline int32_t packed_heads(int64_t heads, int64_t kv_heads) {
  const int64_t group = heads / kv_heads;
  return group <= kDecodeRows ? int32_t(group) : 1;
}

}  // namespace vpref::cuda
