// decode FILE runs decode_plan and decode attention on the processor: FILE is a Job, q, kv,
// scales, table, slots, lens, sinks and what out was, which out replaces. The shape is
// defined as for the kernels, and KERNEL: paged_decode or paged_decode_blocks.
#include "emulate.h"
#include "halves.h"
#define NEGATIVE_INFINITY (-INFINITY)
#define VALUE_UNIT 256.f
#define __CUDA_ARCH__ 900
#define __align__(n)
#undef __shared__
#define __shared__ thread_local // all threads are fibers of one: it is theirs together, also where it is not extern
thread_local u8 memory[emulate::SHARED];
using std::size_t;
struct float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct uint2 { u32 x, y; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(u32 x, u32 y) { return {x, y}; }
inline float from_bf16(bf16 v) { return low(v); }
inline float2 __ldcg(const float2* p) { return *p; }

template <class T, class F>
inline T reduced(T v, F f) {
  for (int d = 1; d < 32; d *= 2) v = f(v, __shfl_xor_sync(FULL, v, d));
  return v;
}
inline int __reduce_add_sync(u32, int v) { return reduced(v, [](int a, int b) { return a + b; }); }
inline int __reduce_max_sync(u32, int v) { return reduced(v, [](int a, int b) { return max(a, b); }); }
inline bool __any_sync(u32, bool v) { return reduced((int)v, [](int a, int b) { return a | b; }); }
inline float warp_sum(float v) { return reduced(v, [](float a, float b) { return a + b; }); }
inline float warp_max(float v) { return reduced(v, fmaxf); }
inline int __shfl_up_sync(u32, int v, int by) {
  int lane = emulate::current->thread % 32;
  return exchanged(v, lane < by ? lane : lane - by);
}
inline u32 transposed(u32 pair) {
  struct { u32 pair, r; } mine = {pair};
  emulate::together(&mine, [](void** all) {
    using Mine = decltype(mine);
    for (int lane = 0; lane < 32; lane++) {
      u32 r = 0;
      for (int i = 0; i < 2; i++) r |= (((Mine*)all[(lane % 4 * 2 + i) * 4 + lane / 8])->pair >> lane / 4 % 2 * 16 & 0xffff) << 16 * i;
      ((Mine*)all[lane])->r = r;
    }
  });
  return mine.r;
}
inline u32 arrive(u32* counter) { return (*counter)++; }

#include "../../decode.cuh"
#include "../../decode.cu"
#include "../../decode_blocks.cu"

struct Job {
  int rows, slots, pages, stride, window, sinks, blocks, by_blocks, shortest, whole, shared, seed;
};

int main(int argc, char** argv) {
  emulate::only = memory;
  Job j;
  FILE* f = emulate::open(argc, argv, j);
  auto read = [&](size_t bytes) { return emulate::read(f, bytes); };
  size_t kept = (size_t)j.pages * 2 * KV_HEADS * PAGE_SIZE, out = (size_t)j.rows * HEADS * HEAD_DIM * 2;
  int workers = j.by_blocks ? j.blocks : j.blocks * WARPS;
  DecodeArgs a = {};
  a.q = (const bf16*)read(out), a.kv = read(kept * ROW), a.kv_scales = (const float*)read(kept * 4), a.table = (const int*)read(4 * j.slots * j.stride);
  a.slots = (const int*)read(4 * j.rows), a.lens = (const int*)read(4 * j.rows), a.sinks = (const bf16*)read(2 * HEADS);
  if (!j.sinks) a.sinks = nullptr;
  long at = ftell(f);
  a.out = (bf16*)read(out);
  int* first = (int*)emulate::room(4 * j.rows);
  Run* runs = (Run*)emulate::room(sizeof(Run) * workers);
  a.first = first, a.runs = runs, a.rows = j.rows, a.table_stride = j.stride, a.scale = LOG2E / std::sqrt((float)HEAD_DIM), a.window = j.window;
  a.partial = (float*)emulate::room(4 * 2 * workers * GROUP * HEAD_DIM), a.stats = (float*)emulate::room(4 * 2 * workers * GROUP * 2);
  a.arrived = (u32*)memset(emulate::room(4 * j.rows * KV_HEADS), 0, 4 * j.rows * KV_HEADS);
  PlanArgs plan = {a.lens, a.slots, first, runs, j.rows, workers, j.window, j.shortest, j.whole};
  emulate::run(1, 1, 1024, [&] { decode_plan(plan); });
  for (int i = 0; i < 2; i++) { // the second finds counters back at zero
    emulate::run(j.blocks, 1, WARPS * WARP, [&] { j.by_blocks ? paged_decode_blocks(a) : paged_decode(a); });
    for (int r = 0; r < j.rows * KV_HEADS; r++)
      if (a.arrived[r]) emulate::fail("a counter that is not zero", r, a.arrived[r]);
  }
  if (j.shared < WARPS * (j.by_blocks ? RING : STAGES * STAGE)) emulate::fail("too little shared memory", j.shared, WARPS * RING);
  fseek(f, at, SEEK_SET);
  fwrite(a.out, 1, out, f);
  return fclose(f);
}
