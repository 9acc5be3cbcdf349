// SPDX-License-Identifier: Apache-2.0
#include "dist/phase.h"

#include <new>
#include <optional>

#include "core/error.h"

namespace vpref {

void throw_cancelled() { throw Error("cancelled", "the step was cancelled; no parameter was changed"); }

void run_phase(Collective& world, const std::function<void()>& work) {
  if (world.size() == 1) return work();
  constexpr double fine = 0, cancelled = 1, failed = 2;  // the maximum over ranks counts
  std::optional<Error> own;
  world.begin_phase();
  try {
    work();
  } catch (const Error& e) {
    own = e;
  } catch (const std::bad_alloc&) {
    own = Error("memory", "out of memory");
  }
  if (own) world.notify();
  std::vector<double> worst = {!own ? fine : own->code() == "cancelled" ? cancelled : failed};
  world.all_reduce(worst, Reduce::max);
  if (worst[0] == fine) return;
  if (own && own->code() != "cancelled") throw Error(own->code(), cat("rank ", world.rank(), ": ", own->what()));
  if (worst[0] == failed) throw Error("peer", "another rank failed");
  throw_cancelled();
}

}  // namespace vpref
