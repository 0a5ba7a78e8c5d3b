// emulate: what kernels of Hopper call, on a processor, so that a kernel's own source
// runs there, thread by thread: where copies, barriers and products go wrong it
// goes wrong, too. It stands in for common.cuh, hopper.cuh and the assembly of int4.cuh and moe.cuh.
//
// Each thread is a fiber; warps run in random order, a thread of one until it waits.
// What is asynchronous happens late or at once, at random: a wait that is missing
// is seen, and so is memory that is given back too early. Shared memory begins as
// NaN. Sums of products are cut off behind 24 bits of the largest addend, which is
// the least that tensor cores keep.
#pragma once
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <vector>

typedef unsigned char u8;
typedef unsigned short u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef u16 bf16;
#define __device__
#define __global__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __shared__ // what is extern is where shared addresses begin
#define WARP 32
#define FULL 0xffffffffu
#define LOG2E 1.4426950408889634f
struct alignas(16) Vec4 { u32 x, y, z, w; };
using std::max;
using std::min;

namespace emulate {
[[noreturn]] inline void fail(const char* what, u64 a = 0, u64 b = 0) {
  fprintf(stderr, "emulate: %s (%llu, %llu)\n", what, (unsigned long long)a, (unsigned long long)b);
  exit(1);
}
inline u64 seed = 1;
inline u32 draw(u32 n) {
  seed = seed * 6364136223846793005ull + 1442695040888963407ull;
  return (u32)(seed >> 33) % n;
}

// room is memory for so many bytes, aligned as copies want it.
inline u8* room(size_t bytes) { return (u8*)aligned_alloc(128, bytes / 128 * 128 + 128); }

// open is FILE of a program, behind the job that it begins with.
template <class Job>
inline FILE* open(int argc, char** argv, Job& j) {
  FILE* f = argc > 1 ? fopen(argv[1], "r+b") : nullptr;
  if (!f || fread(&j, sizeof j, 1, f) != 1) fail("no job");
  seed = j.seed;
  return f;
}
inline u8* read(FILE* f, size_t bytes) {
  u8* p = room(bytes);
  if (fread(p, 1, bytes, f) != bytes) fail("a short file");
  return p;
}

struct Barrier {
  int expected = -1, pending = 0;
  long long bytes = 0;
  u32 phase = 0;
  void settle() {
    if (pending == 0 && bytes == 0) phase++, pending = expected;
  }
};

const u32 SHARED = 232448, CTA = 1u << 24; // of a block; an address' block is in its upper bits, 0: one's own
inline u8* only = nullptr; // a program's own shared memory, of one block at a time
struct Block {
  std::vector<u8> own = std::vector<u8>(only ? 0 : SHARED, 0xff);
  u8* shared = only ? (u8*)memset(only, 0xff, SHARED) : own.data();
  std::map<u32, Barrier> barriers;
  std::map<u64, std::pair<int, u64>> meetings; // by id: who came, which time
};
struct Copy { // in flight
  u8* to;
  const u8* from;
  u32 bytes;
  bool valid;
};
struct Bulk {
  Copy copy;
  Block* block;
  u32 barrier;
};
struct Warp;
struct Thread {
  ucontext_t context;
  std::unique_ptr<u8[]> stack;
  u32 thread;
  Warp* warp;
  bool done = false;
  std::vector<std::vector<Copy>> groups = {{}}; // of copies; the last is open
};
struct Warp {
  Block* block;
  u32 block_index;
  std::vector<std::unique_ptr<Thread>> threads;
  int came = 0;
  u64 times = 0;
  void* given[32];
  std::vector<std::vector<std::function<void()>>> products = {{}}; // of groups under way; the last is open
};
inline ucontext_t scheduler;
inline Thread* current;
inline std::vector<Bulk> bulks;
inline std::vector<Block*> cluster;
inline std::pair<int, u64> cluster_meeting;
inline int cluster_threads;
inline u32 grid, block;
inline u64 progress;

inline void wait() { swapcontext(&current->context, &scheduler); }
inline u8* place(u32 at, u32 bytes) {
  Block* b = at / CTA ? cluster.at(at / CTA - 1) : current->warp->block;
  if (at % CTA + bytes > SHARED) fail("outside of shared memory", at, bytes);
  return b->shared + at % CTA;
}
inline void perform(const Copy& c) {
  if (c.valid) {
    memcpy(c.to, c.from, c.bytes);
  } else {
    memset(c.to, 0, c.bytes);
  }
}
inline void land(size_t i) {
  Bulk b = bulks[i];
  bulks.erase(bulks.begin() + i);
  perform(b.copy);
  Barrier& at = b.block->barriers.at(b.barrier);
  at.bytes -= b.copy.bytes;
  at.settle();
  progress++;
}

// together has all threads of a warp give something; the last does it for all.
inline void together(void* mine, std::function<void(void**)> does) {
  Warp& w = *current->warp;
  w.given[current->thread % 32] = mine;
  if (++w.came == 32) {
    does(w.given);
    w.came = 0, w.times++, progress++;
    return;
  }
  for (u64 time = w.times; w.times == time;) wait();
}
inline void meet(std::pair<int, u64>& m, int threads) {
  if (++m.first == threads) {
    m.first = 0, m.second++, progress++;
    return;
  }
  for (u64 time = m.second; m.second == time;) wait();
}

struct Index { u32 x; };
struct CurrentThread { operator Index() const { return {current->thread}; } };
struct GetThread { u32 get() const { return current->thread; } };
inline std::function<void()> body;
inline void enter() {
  body();
  current->done = true, progress++;
  swapcontext(&current->context, &scheduler);
}

// run is a launch.
inline void run(u32 blocks, u32 cluster_size, u32 threads, std::function<void()> kernel) {
  grid = blocks, block = threads, body = kernel;
  for (u32 first = 0; first < blocks; first += cluster_size) {
    std::vector<std::unique_ptr<Block>> held;
    std::vector<std::unique_ptr<Warp>> warps;
    cluster.clear(), cluster_meeting = {}, cluster_threads = cluster_size * threads;
    for (u32 b = 0; b < cluster_size; b++) {
      held.push_back(std::make_unique<Block>());
      cluster.push_back(held.back().get());
      for (u32 t = 0; t < threads; t++) {
        if (t % 32 == 0) {
          warps.push_back(std::make_unique<Warp>());
          warps.back()->block = cluster.back(), warps.back()->block_index = first + b;
        }
        auto th = std::make_unique<Thread>();
        th->thread = t, th->warp = warps.back().get(), th->stack = std::make_unique<u8[]>(64 << 10);
        getcontext(&th->context);
        th->context.uc_stack.ss_sp = th->stack.get(), th->context.uc_stack.ss_size = 64 << 10, th->context.uc_link = nullptr;
        makecontext(&th->context, enter, 0);
        warps.back()->threads.push_back(std::move(th));
      }
    }
    size_t left = warps.size(), idle = 0;
    std::vector<Warp*> live;
    for (auto& w : warps) live.push_back(w.get());
    while (!live.empty()) {
      u64 before = progress;
      if (!bulks.empty() && draw(3) == 0) land(draw(bulks.size()));
      size_t i = draw(live.size());
      bool any = false;
      for (auto& t : live[i]->threads)
        if (!t->done) {
          current = t.get();
          swapcontext(&scheduler, &t->context);
          any |= !t->done;
        }
      if (!any) live.erase(live.begin() + i);
      idle = progress == before ? idle + 1 : 0;
      if (idle > 100000) fail("nobody goes on", first);
    }
    (void)left;
    if (!bulks.empty()) fail("copies that nobody waited for", first);
  }
}
} // namespace emulate

struct ThreadIdx { struct X { operator u32() const { return emulate::current->thread; } } x; };
struct BlockIdx { struct X { operator u32() const { return emulate::current->warp->block_index; } } x; };
struct GridDim { struct X { operator u32() const { return emulate::grid; } } x; };
struct BlockDim { struct X { operator u32() const { return emulate::block; } } x; };
inline ThreadIdx threadIdx;
inline BlockDim blockDim;
inline BlockIdx blockIdx;
inline GridDim gridDim;

inline float __uint_as_float(u32 v) { float f; memcpy(&f, &v, 4); return f; }
inline u32 __float_as_uint(float v) { u32 f; memcpy(&f, &v, 4); return f; }
inline u32 __byte_perm(u32 a, u32 b, u32 s) {
  u64 all = (u64)b << 32 | a;
  u32 r = 0;
  for (int i = 0; i < 4; i++) r |= (u32)(all >> (s >> (4 * i) & 7) * 8 & 255) << (8 * i);
  return r;
}
inline float low(u32 p) { return __uint_as_float(p << 16); }
inline float high(u32 p) { return __uint_as_float(p & 0xffff0000u); }
inline bf16 to_bf16(float f) {
  u32 u = __float_as_uint(f);
  if ((u & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return (u + 0x7fff + (u >> 16 & 1)) >> 16;
}
inline u32 pack(float lo, float hi) { return to_bf16(lo) | (u32)to_bf16(hi) << 16; }
inline float exp2_fast(float x) { return std::exp2(x); }
inline void wait_for_previous() {}
inline void let_next_start() {}
inline u32 shared_address(const void*) { return 0; }
// exchanged is, of what the threads of a warp give, that of the one which each names.
template <class T>
inline T exchanged(T v, int from) {
  struct { T v; int from; } mine = {v, from};
  using Mine = decltype(mine);
  emulate::together(&mine, [](void** all) {
    T r[32];
    for (int i = 0; i < 32; i++) r[i] = ((Mine*)all[((Mine*)all[i])->from % 32])->v;
    for (int i = 0; i < 32; i++) ((Mine*)all[i])->v = r[i];
  });
  return mine.v;
}
template <class T>
inline T __shfl_sync(u32, T v, int from) { return exchanged(v, from); }
template <class T>
inline T __shfl_xor_sync(u32, T v, int by) { return exchanged(v, emulate::current->thread % 32 ^ by); }
inline void __syncwarp() { emulate::together(nullptr, [](void**) {}); }
inline void named_barrier(int id, int threads) { emulate::meet(emulate::current->warp->block->meetings[id], threads); }
inline void __syncthreads() {
  int n = 0;
  n = emulate::cluster_threads / (int)emulate::cluster.size();
  named_barrier(0, n);
}

inline void copy16(u32 to, const void* from, bool valid) {
  emulate::Copy c{emulate::place(to, 16), (const u8*)from, 16, valid};
  if (to % 16 || valid && (u64)from % 16) emulate::fail("copy16: not aligned", to, (u64)from);
  if (emulate::draw(2)) { // at once, or when it is waited for
    emulate::perform(c);
  } else {
    emulate::current->groups.back().push_back(c);
  }
}
inline void copy4(u32 to, const void* from, bool valid) {
  emulate::Copy c{emulate::place(to, 4), (const u8*)from, 4, valid};
  if (to % 4 || valid && (u64)from % 4) emulate::fail("copy4: not aligned", to, (u64)from);
  if (emulate::draw(2)) {
    emulate::perform(c);
  } else {
    emulate::current->groups.back().push_back(c);
  }
}
inline void copy16_once(u32 to, const void* from, bool valid) { copy16(to, from, valid); }
inline void copies_commit() { emulate::current->groups.push_back({}); }
template <int N>
inline void copies_wait() {
  auto& g = emulate::current->groups;
  while (g.size() > N + 1) {
    for (auto& c : g.front()) emulate::perform(c);
    g.erase(g.begin());
  }
}
template <class T>
inline T shared_load(u32 from) {
  if (from % sizeof(T)) emulate::fail("a load that is not aligned", from);
  T v;
  memcpy(&v, emulate::place(from, sizeof v), sizeof v);
  return v;
}
inline Vec4 load_shared16(u32 from) { return shared_load<Vec4>(from); }
inline u32 load_shared4(u32 from) { return shared_load<u32>(from); }
inline void store_shared(u32 to, float v) { memcpy(emulate::place(to, 4), &v, 4); }

inline void load_matrices(u32* r, u32 address) {
  struct { u32 address, *r; } mine = {address, r};
  emulate::together(&mine, [](void** all) {
    for (int lane = 0; lane < 32; lane++)
      for (int m = 0; m < 4; m++) {
        u32 row = ((decltype(mine)*)all[m * 8 + lane / 4])->address;
        if (row % 16) emulate::fail("load_matrices: not aligned", row);
        memcpy(&((decltype(mine)*)all[lane])->r[m], emulate::place(row + lane % 4 * 4, 4), 4);
      }
  });
}

// Transposed: lane l has of column l / 4 of each matrix rows 2(l % 4) and one more.
inline void load_matrices_transposed(u32* r, u32 address) {
  struct { u32 address, *r; } mine = {address, r};
  emulate::together(&mine, [](void** all) {
    for (int lane = 0; lane < 32; lane++)
      for (int m = 0; m < 4; m++)
        for (int i = 0; i < 2; i++) {
          u32 row = ((decltype(mine)*)all[m * 8 + lane % 4 * 2 + i])->address;
          if (row % 16) emulate::fail("load_matrices_transposed: not aligned", row);
          memcpy((u8*)&((decltype(mine)*)all[lane])->r[m] + 2 * i, emulate::place(row + lane / 4 * 2, 2), 2);
        }
  });
}

// cut_sum adds up as little exactly as tensor cores may.
inline float cut_sum(float c, const double* v, int n) {
  double most = std::fabs((double)c);
  for (int i = 0; i < n; i++) most = std::fmax(most, std::fabs(v[i]));
  if (!(most > 0) || !std::isfinite(most)) {
    double s = c;
    for (int i = 0; i < n; i++) s += v[i];
    return (float)s;
  }
  int e;
  std::frexp(most, &e);
  double unit = std::ldexp(1.0, e - 24), s = std::trunc(c / unit);
  for (int i = 0; i < n; i++) s += std::trunc(v[i] / unit);
  s *= unit;
  float f = (float)s;
  if (std::fabs((double)f) > std::fabs(s)) f = std::nextafterf(f, 0.f);
  return f;
}
inline double product_of(u32 a, u32 b, int i) { return (double)(i ? high(a) : low(a)) * (double)(i ? high(b) : low(b)); }

// What a lane holds of an m16n8k16 product: element k of a row of a is half k % 2 of the
// word at(row)->a[…], and so of a column of b; value says what two halves' product is.
template <class Value>
inline void multiply_m16n8k16(float* c, const u32* a, u32 b0, u32 b1, Value) {
  struct { float* c; const u32* a; u32 b[2]; } mine = {c, a, {b0, b1}};
  using Mine = decltype(mine);
  emulate::together(&mine, [](void** all) {
    auto at = [&](int i) { return (Mine*)all[i]; };
    for (int lane = 0; lane < 32; lane++)
      for (int i = 0; i < 4; i++) {
        int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        double v[16];
        for (int k = 0; k < 16; k++) {
          u32 left = at(row % 8 * 4 + k % 8 / 2)->a[row / 8 + k / 8 * 2], right = at(column * 4 + k % 8 / 2)->b[k / 8];
          v[k] = Value::of(left >> k % 2 * 16 & 0xffff, right >> k % 2 * 16 & 0xffff);
        }
        at(lane)->c[i] = cut_sum(at(lane)->c[i], v, 16);
      }
  });
}

struct Bf16Product {
  static double of(u32 a, u32 b) { return product_of(a << 16, b << 16, 1); }
};
inline void multiply_add(float* c, const u32* a, u32 b0, u32 b1) { multiply_m16n8k16(c, a, b0, b1, Bf16Product{}); }

// Barriers in shared memory, and copies that they count.
inline emulate::Barrier& barrier(u32 at) {
  auto& all = emulate::current->warp->block->barriers;
  if (!all.count(at)) emulate::fail("a barrier that is none", at);
  return all[at];
}
inline void barrier_init(u32 at, int arrivals) {
  emulate::place(at, 8);
  emulate::Barrier b;
  b.expected = b.pending = arrivals;
  emulate::current->warp->block->barriers[at] = b;
}
inline void barrier_arrive(u32 at) {
  auto& b = barrier(at);
  if (b.pending-- == 0) emulate::fail("more arrive than are expected", at);
  b.settle();
  emulate::progress++;
}
inline void barrier_expect(u32 at, u32 bytes) {
  barrier(at).bytes += bytes;
  barrier_arrive(at);
}
inline void barrier_wait(u32 at, u32 phase) {
  while ((barrier(at).phase & 1) == phase) emulate::wait();
}
inline void copy_piece(u32 to, const void* from, u32 bytes, u32 at) {
  if (to % 16 || bytes % 16 || (u64)from % 16) emulate::fail("copy_piece: not aligned", to, bytes);
  barrier(at);
  emulate::bulks.push_back({{emulate::place(to, bytes), (const u8*)from, bytes, true}, emulate::current->warp->block, at});
  if (emulate::draw(2)) emulate::land(emulate::bulks.size() - 1);
}
inline void copies_visible() {}
inline bool elected() { return emulate::current->thread % 32 == 0; }
inline void barrier_arrive_copied(u32 at) {
  for (auto& g : emulate::current->groups)
    for (auto& c : g) emulate::perform(c);
  emulate::current->groups = {{}};
  barrier_arrive(at);
}
inline void meet(int name, int threads) { named_barrier(name, threads); }
template <int N>
inline void registers_raise() {}
template <int N>
inline void registers_lower() {}

// Products of warpgroups. Where shared memory is read they are done when they are
// waited for, or at once.
inline void products_begin() {}
template <int N>
inline void pin(float (&)[N]) {}
template <int N>
inline void product_rows(float (&c)[N], const u32* a, u64 b) {
  struct { float* c; u32 a[4]; u64 b; } mine = {c, {a[0], a[1], a[2], a[3]}, b};
  using Mine = decltype(mine);
  emulate::together(&mine, [](void** all) {
    std::vector<Mine> given;
    for (int i = 0; i < 32; i++) given.push_back(*(Mine*)all[i]);
    u32 start = (u32)(given[0].b & 0x3fff) << 4;
    auto* block = emulate::current->warp->block;
    auto work = [given, start, block] {
      for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < N; i++) {
          int row = lane / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
          double v[16];
          for (int k = 0; k < 16; k++) {
            u32 left = given[row % 8 * 4 + k % 8 / 2].a[row / 8 + k / 8 * 2], at = start + column * 128 + k * 2;
            at ^= (at >> 7 & 7) << 4;
            u16 right;
            memcpy(&right, &block->shared[at], 2);
            v[k] = product_of(k % 2 ? left >> 16 << 16 : left << 16, (u32)right << 16, 1);
          }
          given[lane].c[i] = cut_sum(given[lane].c[i], v, 16);
        }
    };
    emulate::current->warp->products.back().push_back(work);
  });
}
inline void product_rows_half(float (&c)[64], const u32* a, u64 b) { product_rows(*(float (*)[32])c, a, b); }
inline void products_commit() {
  emulate::together(nullptr, [](void**) { emulate::current->warp->products.push_back({}); });
}
template <int N>
inline void products_wait() {
  emulate::together(nullptr, [](void**) {
    auto& p = emulate::current->warp->products;
    while (p.size() > N + 1) {
      for (auto& work : p.front()) work();
      p.erase(p.begin());
    }
  });
}
template <int N>
struct Place {
  int i = 0;
  u32 phase = 0;
  void next() {
    if (++i == N) i = 0, phase ^= 1;
  }
};
inline void cluster_meet() { emulate::meet(emulate::cluster_meeting, emulate::cluster_threads); }
inline u32 shared_of(u32 at, u32 rank) { return at % emulate::CTA + (rank + 1) * emulate::CTA; }
inline float load_of_cluster(u32 at) { return __uint_as_float(load_shared4(at)); }
