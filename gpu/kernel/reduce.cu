// reduce_add, reduce, gather_ranks: what ranks add up and put together, over each
// other's memory.
//   part   bf16 or f32 [n, 8], of each rank     what it has of the sum
//   x      f32 [n, 8]                           the residual stream
//   flags  u32 [MEETING_BLOCKS, MAX_RANKS], of each rank; turns u32 [MEETING_BLOCKS]
//   spent  u64 [2]: nanoseconds that sums took, and those of them that ranks waited
//   reduce_add  x += Σ part                     each rank reads all parts; n·(N−1) from others
//   reduce      part = Σ part, on every rank, and if there is an x: x += part
//               each sums 1/N of them and writes that to all; 2n·(N−1)/N to and from others
//   gather      columns [at, at+width) of to, on every rank: those of from. In words of
//               32 bits; rows from_stride and to_stride words apart
// Math:    fp32, in the order of ranks: the same bits everywhere
// Ranks meet block by block: block b of each rank tells block b of every other that
// it is there, in that rank's flags, and waits until all have told it. Before the
// first meeting a rank's parts are whole (the kernels before it are done), behind the
// last one nobody reads them any more. Flags count meetings and are never reset, so
// that a graph may be launched again; every rank launches the same kernels with the
// same grids in the same order, and no more blocks than fit on the device at once.
// A rank that never comes is waited for without end, until the process is replaced.
// Launch:  at most MEETING_BLOCKS blocks of 512
// Limit:   the bytes above by what a link carries, and two meetings
// Checked: TestReduce, TestGatherRanks
struct ReduceArgs {
  void* part[MAX_RANKS];
  u32* flags[MAX_RANKS];
  u32* turns;
  float* x;
  u64* spent;
  int vectors, half, rank, ranks;
};

struct GatherRanksArgs {
  u32* to[MAX_RANKS];
  u32* flags[MAX_RANKS];
  u32* turns;
  const u32* from;
  u64* spent;
  int rows, width, from_stride, to_stride, at, rank, ranks;
};

// meet waits for block blockIdx.x of every rank to be here for the turn-th time.
// What any of their threads wrote before, all threads here see behind it.
template <typename Args>
__device__ __forceinline__ void meet(const Args& a, u32 turn, Stopwatch& watch) {
  __syncthreads();
  u32 since = watch.now();
  if (threadIdx.x < a.ranks) {
    u32* theirs = a.flags[threadIdx.x] + blockIdx.x * MAX_RANKS + a.rank;
    const u32* mine = a.flags[a.rank] + blockIdx.x * MAX_RANKS + threadIdx.x;
    asm volatile("fence.acq_rel.sys;" ::: "memory");
    asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(theirs), "r"(turn) : "memory");
    u32 at;
    do {
      asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(at) : "l"(mine) : "memory");
    } while ((int)(at - turn) < 0);
    asm volatile("fence.acq_rel.sys;" ::: "memory");
  }
  __syncthreads();
  watch.wait(since);
}

__device__ __forceinline__ void sum8(const ReduceArgs& a, size_t i, float* sum) {
  float f[MAX_RANKS][8];
#pragma unroll
  for (int r = 0; r < MAX_RANKS; r++) {
    if (r < a.ranks) read8(a.part[r], a.half, i, f[r]);
  }
#pragma unroll
  for (int j = 0; j < 8; j++) sum[j] = f[0][j];
#pragma unroll
  for (int r = 1; r < MAX_RANKS; r++) {
    if (r < a.ranks) {
#pragma unroll
      for (int j = 0; j < 8; j++) sum[j] += f[r][j];
    }
  }
}

__device__ __forceinline__ void add8(float* x, size_t i, const float* f) {
  float y[8];
  read8(x, 0, i, y);
#pragma unroll
  for (int j = 0; j < 8; j++) y[j] += f[j];
  write8(x, 0, i, y);
}

extern "C" __global__ void __launch_bounds__(512) reduce_add(const __grid_constant__ ReduceArgs a) {
  wait_for_previous();
  Stopwatch watch;
  u32 turn = a.turns[blockIdx.x];
  meet(a, turn + 1, watch);
  for (int i = blockIdx.x * 512 + threadIdx.x; i < a.vectors; i += gridDim.x * 512) {
    float sum[8];
    sum8(a, i, sum);
    add8(a.x, i, sum);
  }
  meet(a, turn + 2, watch);
  if (threadIdx.x == 0) a.turns[blockIdx.x] = turn + 2;
  watch.stop(a.spent);
}

extern "C" __global__ void __launch_bounds__(512) reduce(const __grid_constant__ ReduceArgs a) {
  wait_for_previous();
  Stopwatch watch;
  u32 turn = a.turns[blockIdx.x];
  // Slice r is rank r's; of each, block b of every rank has the same vectors.
  auto first = [&](int rank) { return (int)((size_t)a.vectors * rank / a.ranks); };
  int begin = blockIdx.x * 512 + threadIdx.x;
  meet(a, turn + 1, watch);
  for (int i = first(a.rank) + begin; i < first(a.rank + 1); i += gridDim.x * 512) {
    float sum[8];
    sum8(a, i, sum);
#pragma unroll
    for (int r = 0; r < MAX_RANKS; r++) {
      if (r < a.ranks) write8(a.part[r], a.half, i, sum);
    }
  }
  meet(a, turn + 2, watch);
  if (threadIdx.x == 0) a.turns[blockIdx.x] = turn + 2;
  for (int r = 0; r < (a.x ? a.ranks : 0); r++) {
    for (int i = first(r) + begin; i < first(r + 1); i += gridDim.x * 512) {
      float sum[8];
      read8(a.part[a.rank], a.half, i, sum);
      add8(a.x, i, sum);
    }
  }
  watch.stop(a.spent);
}

extern "C" __global__ void __launch_bounds__(512) gather_ranks(const __grid_constant__ GatherRanksArgs a) {
  wait_for_previous();
  Stopwatch watch;
  u32 turn = a.turns[blockIdx.x];
  meet(a, turn + 1, watch);
  size_t n = (size_t)a.rows * a.width;
  for (size_t i = blockIdx.x * 512 + threadIdx.x; i < n; i += gridDim.x * 512) {
    size_t row = i / a.width, column = i % a.width;
    u32 v = a.from[row * a.from_stride + column];
#pragma unroll
    for (int r = 0; r < MAX_RANKS; r++) {
      if (r < a.ranks) a.to[r][row * a.to_stride + a.at + column] = v;
    }
  }
  meet(a, turn + 2, watch);
  if (threadIdx.x == 0) a.turns[blockIdx.x] = turn + 2;
  watch.stop(a.spent);
}
