// SPDX-License-Identifier: Apache-2.0
// Functions of the addon without an object: tables of losses and linears, merging, the end of ranks.
#pragma once
#include <napi.h>

namespace vpref::addon {

// lossNeeds(text: string): LossNeeds
Napi::Value loss_needs(const Napi::CallbackInfo& info);
// meanLoss(settings: {loss, lossOptions}, rows: LossRow[], points: {kl, rewardMean}): number, of scored rows
Napi::Value mean_loss(const Napi::CallbackInfo& info);
// mergeModel(policy: Policy, {dir, dtype: 'f32' | 'f16', trainedOn: Quantize}): Promise<{numMerged, relativeError,
// ...}>: writes weight files with the adapters merged, or with the weights that a trainer of this policy has trained
Napi::Value merge_model(const Napi::CallbackInfo& info);
// abortRanks(exitCode: number): ends every rank of this run, also those that have not joined; returns only if it fails
Napi::Value abort_ranks(const Napi::CallbackInfo& info);
// mpiLibrary(): string, of vpref_mpi.so
Napi::Value mpi_library_text(const Napi::CallbackInfo& info);
// losses(): {name, source}[]
Napi::Value list_losses(const Napi::CallbackInfo& info);
// hyperparameters(): {name, default, helpValue, summary, min?, above?, max?}[] of the losses, as flags
Napi::Value list_hyperparameters(const Napi::CallbackInfo& info);
// linearPaths(policy: Policy): Promise<string[]>, the module paths of the decoder's linears, layer by layer
Napi::Value linear_paths(const Napi::CallbackInfo& info);
// linears(): string[], the names of a decoder layer's linears
Napi::Value list_linears(const Napi::CallbackInfo& info);

}  // namespace vpref::addon
