// SPDX-License-Identifier: Apache-2.0
#include "fiber/executor.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "core/error.h"
#include "fiber/device_memory.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define VPREF_FIBER_ASAN 1
#endif

#if defined(__x86_64__)
// Saves the call-preserved registers on the running stack, stores its address in *from, and resumes `to`.
extern "C" void vpref_fiber_switch(void** from, void* to);
asm(R"(
.text
.globl vpref_fiber_switch
.type vpref_fiber_switch, @function
vpref_fiber_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size vpref_fiber_switch, .-vpref_fiber_switch
)");
#else
#include <ucontext.h>
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace vpref::fiber {
namespace {

constexpr unsigned kWarp = 32, kMaxThreads = 1024;
constexpr size_t kMaxShared = 232448;  // a block's limit on Hopper
constexpr size_t kGuard = 4096;
#ifdef VPREF_FIBER_ASAN
constexpr size_t kStack = size_t(256) << 10;
#else
constexpr size_t kStack = size_t(64) << 10;
#endif

enum class State { ready, at_warp, at_block, at_dependency, done };

struct Copy {
  char* to;
  const char* from;
  size_t bytes, valid;
};

struct Fiber {
  State state = State::done;
  uint3 index{};
  // The event that it waits for.
  unsigned mask = 0;
  void* operand = nullptr;
  Where where;
  int predicate = 0;
  bool waited = false;  // called grid_dependency_synchronize()
  // Copies not yet committed, and committed groups, oldest first.
  std::vector<Copy> open;
  std::vector<std::vector<Copy>> groups;
  char* stack = nullptr;
#if defined(__x86_64__)
  void* sp = nullptr;
#else
  ucontext_t context;
#endif
  void* fake_stack = nullptr;  // of the address sanitizer
};

struct Machine {
  std::vector<Fiber> fibers;
  unsigned count = 0;  // threads of the running block
  Fiber* current = nullptr;
  const std::function<void()>* body = nullptr;
  char* shared = nullptr;
  std::string error;
  uint64_t random = 0, launches = 0;
  unsigned waiting = 0;  // at the block's barrier
  int votes = 0;
  bool dependent = false;
  // Of a dependent launch's first block, until every thread has waited for the previous launch, whose results are not
  // there before. Later blocks are not checked, because closing is slow.
  std::optional<DeviceClosed> closed;
  Where first_at_barrier;
#if defined(__x86_64__)
  void* main_sp = nullptr;
#else
  ucontext_t main_context;
#endif
  void* main_fake = nullptr;
  const void* main_bottom = nullptr;
  size_t main_size = 0;

  Machine() {
    const char* seed = std::getenv("VPREF_FIBER_SEED");
    set_seed(seed ? std::strtoull(seed, nullptr, 10) : 1);
  }
  void set_seed(uint64_t seed) { random = seed * 0x9E3779B97F4A7C15u + 0xD1B54A32D192ED03u; }
  uint64_t next() {  // splitmix64
    uint64_t z = (random += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
};

Machine& machine() {
  static Machine m;
  return m;
}

unsigned number(const Fiber& f) { return unsigned(&f - machine().fibers.data()); }

void leave(Fiber& f) {  // switches to the scheduler
  Machine& m = machine();
#ifdef VPREF_FIBER_ASAN
  __sanitizer_start_switch_fiber(f.state == State::done ? nullptr : &f.fake_stack, m.main_bottom, m.main_size);
#endif
#if defined(__x86_64__)
  vpref_fiber_switch(&f.sp, m.main_sp);
#else
  swapcontext(&f.context, &m.main_context);
#endif
#ifdef VPREF_FIBER_ASAN
  __sanitizer_finish_switch_fiber(f.fake_stack, &m.main_bottom, &m.main_size);
#endif
}

void note(const std::string& message);

void enter() {
  Machine& m = machine();
#ifdef VPREF_FIBER_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &m.main_bottom, &m.main_size);
#endif
  (*m.body)();
  Fiber& f = *m.current;
  // They may arrive after later writes of its block.
  bool copies = !f.open.empty();
  for (const std::vector<Copy>& group : f.groups) copies = copies || !group.empty();
  if (m.dependent && !f.waited) note("is a dependent launch and ends without grid_dependency_synchronize()");
  if (copies) note("ends with copies under way that it never waited for");
  f.state = State::done;
  leave(f);
  std::abort();  // a finished thread is never resumed
}

void resume(Fiber& f) {
  Machine& m = machine();
  m.current = &f;
  threadIdx = f.index;
#ifdef VPREF_FIBER_ASAN
  __sanitizer_start_switch_fiber(&m.main_fake, f.stack, kStack);
#endif
#if defined(__x86_64__)
  vpref_fiber_switch(&m.main_sp, f.sp);
#else
  swapcontext(&m.main_context, &f.context);
#endif
#ifdef VPREF_FIBER_ASAN
  __sanitizer_finish_switch_fiber(m.main_fake, nullptr, nullptr);
#endif
  m.current = nullptr;
}

void start(Fiber& f, unsigned i) {
  if (!f.stack) {
    void* region =
        mmap(nullptr, kStack + kGuard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    check(region != MAP_FAILED, "memory", "fiber: no memory for a stack");
    mprotect(region, kGuard, PROT_NONE);
    f.stack = static_cast<char*>(region) + kGuard;
  }
#ifdef VPREF_FIBER_ASAN
  __asan_unpoison_memory_region(f.stack, kStack);
#endif
  f.state = State::ready;
  f.index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
  f.open.clear();
  f.groups.clear();
  f.waited = false;
#if defined(__x86_64__)
  void** top = reinterpret_cast<void**>(f.stack + kStack) -
               1;  // after `ret` the stack is 8 beyond a multiple of 16, as after a call
  *--top = reinterpret_cast<void*>(&enter);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  f.sp = top;
  static_assert(sizeof(void*) == 8);
#else
  getcontext(&f.context);
  f.context.uc_stack.ss_sp = f.stack;
  f.context.uc_stack.ss_size = kStack;
  f.context.uc_link = nullptr;
  makecontext(&f.context, enter, 0);
#endif
}

std::string name(const Fiber& f) {
  return cat("thread ", number(f), " (warp ", number(f) / kWarp, ", lane ", number(f) % kWarp, ")");
}

std::string place(const Where& w) {
  const char* file = std::strrchr(w.file_name(), '/');
  return cat(file ? file + 1 : w.file_name(), ":", w.line());
}

bool same_place(const Where& a, const Where& b) {
  return a.line() == b.line() && a.column() == b.column() && std::strcmp(a.file_name(), b.file_name()) == 0;
}

// Deadlock: reports which threads wait, where and for which.
std::string deadlock() {
  Machine& m = machine();
  const Fiber *waits = nullptr, *done = nullptr, *other = nullptr;
  for (unsigned i = 0; i < m.count; ++i) {
    const Fiber& f = m.fibers[i];
    if (f.state == State::done) {
      if (!done) done = &f;
    } else if (!waits) {
      waits = &f;
    }
  }
  for (unsigned i = 0; i < m.count; ++i) {
    const Fiber& f = m.fibers[i];
    if (f.state == State::done ||
        (f.state == waits->state && place(f.where) == place(waits->where) && f.mask == waits->mask))
      continue;
    other = &f;
    break;
  }
  const auto at = [](const Fiber& f) {
    return cat(name(f), " waits at the ", f.state == State::at_block ? "block" : "warp", " barrier ", place(f.where));
  };
  std::string text = at(*waits);
  if (other) text += cat(", ", at(*other));
  if (done) text += cat(", ", name(*done), " has exited");
  return text;
}

// Ends the wait of the threads at grid_dependency_synchronize(). Returns whether there were any.
bool pass_dependency() {
  Machine& m = machine();
  m.closed.reset();
  bool any = false;
  for (unsigned i = 0; i < m.count; ++i) {
    if (m.fibers[i].state != State::at_dependency) continue;
    m.fibers[i].state = State::ready;
    any = true;
  }
  return any;
}

void run_block() {
  Machine& m = machine();
  for (unsigned i = 0; i < m.count; ++i) start(m.fibers[i], i);
  m.waiting = 0;
  m.votes = 0;
  const unsigned warps = (m.count + kWarp - 1) / kWarp;
  // The probability that one warp runs on while others wait: from lockstep to one warp at a time up to its barrier.
  const uint64_t stick = (m.next() % 5) * 0x3fffffffffffffffu;
  unsigned warp = unsigned(m.next() % warps);
  const auto can_move = [&](unsigned w) {
    for (unsigned i = w * kWarp; i < std::min(m.count, (w + 1) * kWarp); ++i)
      if (m.fibers[i].state == State::ready) return true;
    return false;
  };
  for (;;) {
    if (m.next() >= stick || !can_move(warp)) {
      const unsigned first = unsigned(m.next() % warps);
      unsigned tried = 0;
      for (; tried < warps; ++tried)
        if (can_move(warp = (first + tried) % warps)) break;
      if (tried == warps) {
        if (pass_dependency()) continue;
        break;
      }
    }
    // Every ready lane, in a random order: steps of an odd number visit all.
    const uint64_t order = m.next();
    for (unsigned i = 0; i < kWarp; ++i) {
      const unsigned thread = warp * kWarp + unsigned((order >> 8) + i * (order | 1)) % kWarp;
      if (thread >= m.count || m.fibers[thread].state != State::ready) continue;
      resume(m.fibers[thread]);
      if (!m.error.empty()) return;
    }
  }
  for (unsigned i = 0; i < m.count; ++i)
    if (m.fibers[i].state != State::done) {
      m.error = deadlock();
      return;
    }
}

// A thread that fails is never resumed, so its frames leak what they own. The message must be destroyed before stop().
void note(const std::string& message) {
  Machine& m = machine();
  m.error = cat(name(*m.current), ": ", message);
}
[[noreturn]] void stop() {
  leave(*machine().current);
  std::abort();
}

}  // namespace

void set_seed(uint64_t seed) { machine().set_seed(seed); }
uint64_t launches() { return machine().launches; }
bool in_kernel() { return machine().body != nullptr; }

void run(dim3 grid, dim3 block, size_t shared_bytes, bool dependent, const std::function<void()>& thread) {
  Machine& m = machine();
  const uint64_t threads = uint64_t(block.x) * block.y * block.z, blocks = uint64_t(grid.x) * grid.y * grid.z;
  check(threads >= 1 && threads <= kMaxThreads && block.z <= 64, "device", "fiber: a block of ", block.x, " x ",
        block.y, " x ", block.z, " threads");
  check(blocks >= 1 && grid.x <= 0x7fffffffu && grid.y <= 65535 && grid.z <= 65535, "device", "fiber: a grid of ",
        grid.x, " x ", grid.y, " x ", grid.z);
  check(shared_bytes <= kMaxShared, "device", "fiber: ", shared_bytes, " bytes of shared memory, a block has at most ",
        kMaxShared);
  check(m.body == nullptr, "device", "fiber: a kernel launched from a kernel");
  if (m.fibers.empty()) m.fibers.resize(kMaxThreads);
  void* memory = nullptr;  // exactly the requested size, so that the address sanitizer sees overruns
  check(posix_memalign(&memory, 1024, shared_bytes ? shared_bytes : 1) == 0, "memory", "fiber: no shared memory");
  const std::unique_ptr<void, void (*)(void*)> owner(memory, std::free);
  const DeviceAccess access;
  gridDim = grid;
  blockDim = block;
  m.count = unsigned(threads);
  m.body = &thread;
  m.dependent = dependent;
  m.shared = static_cast<char*>(memory);
  m.error.clear();
  ++m.launches;
  if (dependent) m.closed.emplace();
  const uint64_t first = m.next() % blocks;
  for (uint64_t i = 0; i < blocks && m.error.empty(); ++i) {
    const uint64_t b = (first + i) % blocks;
    blockIdx = {unsigned(b % grid.x), unsigned(b / grid.x % grid.y), unsigned(b / (uint64_t(grid.x) * grid.y))};
    std::memset(m.shared, 0xff, shared_bytes);
    run_block();
  }
  m.closed.reset();
  m.body = nullptr;
  m.shared = nullptr;
  if (!m.error.empty())
    throw Error("device", cat("fiber: block (", blockIdx.x, ", ", blockIdx.y, ", ", blockIdx.z, "): ", m.error));
}

void* dynamic_shared() { return machine().shared; }
int lane() { return int(number(*machine().current) % kWarp); }

void fail(const char* message) {
  note(message);
  stop();
}

void warp_collective(unsigned mask, void* operand, Resolve resolve, const Where& where) {
  Machine& m = machine();
  Fiber& self = *m.current;
  const unsigned base = number(self) / kWarp * kWarp;
  if (!(mask >> (number(self) - base) & 1)) {
    note(cat("its lane is not in the mask it gives at ", place(where)));
    stop();
  }
  self.state = State::at_warp;
  self.mask = mask;
  self.operand = operand;
  self.where = where;
  void* operands[kWarp] = {};
  bool all = true;
  for (unsigned l = 0; l < kWarp && all; ++l) {
    if (!(mask >> l & 1)) continue;
    if (base + l >= m.count) {
      note(cat("names lane ", l, ", which its block does not have, at ", place(where)));
      stop();
    }
    const Fiber& f = m.fibers[base + l];
    all = f.state == State::at_warp && f.mask == mask && same_place(f.where, where);
    operands[l] = f.operand;
  }
  if (all) {
    resolve(mask, operands);
    for (unsigned l = 0; l < kWarp; ++l)
      if (mask >> l & 1) m.fibers[base + l].state = State::ready;
  }
  leave(self);
}

int block_barrier(int predicate, const Where& where) {
  Machine& m = machine();
  Fiber& self = *m.current;
  self.state = State::at_block;
  self.mask = 0;
  self.where = where;
  if (m.waiting > 0 && !same_place(m.first_at_barrier, where)) {
    note(
        cat("waits at the block barrier ", place(where), " while others wait at another, ", place(m.first_at_barrier)));
    stop();
  }
  if (m.waiting == 0) m.first_at_barrier = where;
  if (m.waiting++ == 0) m.votes = 0;
  m.votes += predicate != 0;
  if (m.waiting == m.count) {
    m.waiting = 0;
    for (unsigned i = 0; i < m.count; ++i) {
      m.fibers[i].state = State::ready;
      m.fibers[i].predicate = m.votes;
    }
  }
  leave(self);
  return self.predicate;
}

void copy_later(void* to, const void* from, size_t bytes, size_t valid) {
  if (reinterpret_cast<uintptr_t>(to) % bytes || (valid && reinterpret_cast<uintptr_t>(from) % bytes)) {
    note(cat("cp.async of ", bytes, " bytes is not aligned"));
    stop();
  }
  std::memset(to, 0xff, bytes);
  machine().current->open.push_back({static_cast<char*>(to), static_cast<const char*>(from), bytes, valid});
}

void commit_copies() {
  Fiber& f = *machine().current;
  f.groups.push_back(std::move(f.open));
  f.open.clear();
}

void grid_dependency_synchronize() {
  Fiber& self = *machine().current;
  self.waited = true;
  if (!machine().closed) return;
  self.state = State::at_dependency;
  leave(self);
}

void wait_copies(int groups_left) {
  Fiber& f = *machine().current;
  while (int(f.groups.size()) > groups_left) {
    for (const Copy& c : f.groups.front()) {
      std::memcpy(c.to, c.from, c.valid);
      std::memset(c.to + c.valid, 0, c.bytes - c.valid);
    }
    f.groups.erase(f.groups.begin());
  }
}

}  // namespace vpref::fiber
