// SPDX-License-Identifier: Apache-2.0
// How the GPU walks an AttentionPlan: lists of work items, one thread block per item and head (or pack of heads).
// The host makes the lists (attention_scheduler.h), the kernels read the same structs. Pure C++, no functions but
// packed_heads.
//
// Forward and dq walk query tiles: rows of the query against a list of key ranges. dk and dv walk key tiles: keys
// against the rows that see them.
#pragma once
#include <cstdint>
#include <vector>

#include "ops/attention.h"

namespace vpref::cuda {

constexpr int32_t kWideRows = 128, kTileRows = 64,
                  kDecodeRows = 16;   // packed rows (row x head of the pack) of a query tile
constexpr int32_t kKeyTileRows = 64;  // keys of a tile of dk and dv

// Query row, and how many keys of its tile's last range it sees (it sees all of the others); in a key tile, of the
// tile. With a window it sees none of the first `hidden` keys of its tile.
struct TileRow {
  int32_t row, visible, hidden = 0;
};

struct QueryTile {
  int32_t first_row, num_rows;      // in `rows`
  int32_t first_range, num_ranges;  // in `ranges`; at least one
  int32_t visible_to_all;           // of the last range: up to here no row needs a mask
  int32_t slot;  // -1: the tile writes the result; else its rows write partial results slot, slot + 1, ...
  int32_t hidden_from_some = 0;  // from this key on (of all ranges) no row needs a window's mask
};

// The partial results of one query row are slots[first_slot .. first_slot + num_slots).
struct MergeRow {
  int32_t row, first_slot, num_slots;
};

struct KeyTile {
  int32_t begin, count;         // rows of k and v
  int32_t first_row, num_rows;  // in `key_rows`; none where nothing sees these keys
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

// Heads of a group that one query tile holds side by side, so that a key tile is loaded once for them.
inline int32_t packed_heads(int64_t heads, int64_t kv_heads) {
  const int64_t group = heads / kv_heads;
  return group <= kDecodeRows ? int32_t(group) : 1;
}

}  // namespace vpref::cuda
