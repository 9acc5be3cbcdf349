// SPDX-License-Identifier: Apache-2.0
// The last decoder layer when only some rows are read afterwards: every row gives its key and value, only the wanted rows go on to the
// query, the output and the MLP. Scoring and prefill want a few rows of hundreds.
#pragma once
#include "model/decoder.h"

namespace vpref {

// Scratch bytes of a call, but for the x A^T of adapters.
size_t last_layer_scratch_bytes(const ModelConfig& config, int64_t num_rows, int64_t num_wanted, DType dtype);

// out[R,D]: the residual stream of rows `wanted` after the layer.  stream: what came before, summed up on the way; wanted: [R] i32; wanted_positions: [1,R] i32;
// call.plan: queries are the wanted rows in order, ranges as in decoder_layer.
void last_decoder_layer(Context& ctx, const ModelConfig& config, const DecoderLayer& layer, const DecoderCall& call, Residual& stream, const KvTarget* kv,
                        const Tensor& wanted, const Tensor& wanted_positions, const Tensor& out, Arena& scratch);

}  // namespace vpref
