// add_copied, add_copied_wide: sums over ranks of many rows. Copy engines bring to a
// rank's inbox what the others have, some rows at a time, while the rest is multiplied;
// what is there is added up in the rank's own memory.
//   told    u32 [MAX_RANKS] of these rows: copied behind what another rank has of them, 0 before
//   done    u32: how many blocks are
//   part    bf16 [n, 8·width] of each rank, in this rank's memory
//   x       f32 [n, 8·width]      the residual stream
//   spent   u64 [2]: nanoseconds that sums took, and those of them that ranks waited
//   x += Σ part, and if there are weights w: y bf16 = rms_norm(x)·w
// Math:    fp32, in the order of ranks: the same bits everywhere; arXiv:1910.07467
// What other ranks copy waits for none of this rank's kernels: the blocks here may take the
// whole device while they wait. The last of them makes told 0 again. Neither that nor the
// parts are copied to before they were added up, for sums that follow each other have
// different inboxes: who copies for the next but one has had of this rank's next.
// A rank that never comes is waited for without end, until the process is replaced.
// Launch:  a row a time, of half as many threads as it has vectors
// Limit:   memory traffic, 14 bytes an element of two ranks
// Checked: TestCopied
struct CopiedArgs {
  const bf16* part[MAX_RANKS];
  u32* told;
  u32* done;
  float* x;
  const bf16* w;
  bf16* y;
  u64* spent;
  int rows, width, rank, ranks;
  float eps;
};

// arrive waits until every other rank's part is here.
__device__ __forceinline__ void arrive(const CopiedArgs& a, Stopwatch& watch) {
  u32 since = watch.now();
  if (threadIdx.x < a.ranks && threadIdx.x != a.rank) {
    u32 told;
    do {
      asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(told) : "l"(a.told + threadIdx.x) : "memory");
    } while (told == 0);
    asm volatile("fence.acq_rel.sys;" ::: "memory");
  }
  __syncthreads();
  watch.wait(since);
}

// leave has the last block forget what was told, when all have seen it.
__device__ __forceinline__ void leave(const CopiedArgs& a) {
  if (threadIdx.x != 0 || atomicAdd(a.done, 1u) + 1 < gridDim.x) return;
  *a.done = 0;
  for (int r = 0; r < a.ranks; r++) a.told[r] = 0;
}

// Threads have two vectors of a row.
__device__ __forceinline__ void add_copied_rows(const CopiedArgs& a) {
  __shared__ float scratch[WARP];
  wait_for_previous();
  Stopwatch watch;
  arrive(a, watch);
  for (int row = blockIdx.x; row < a.rows; row += gridDim.x) {
    size_t first = (size_t)row * a.width;
    Vec4 x[2][2];
    float f[2][8], squares = 0.f;
#pragma unroll
    for (int i = 0; i < 2; i++) {
      int v = threadIdx.x + i * blockDim.x;
      if (v < a.width) x[i][0] = load16(a.x + 8 * (first + v)), x[i][1] = load16(a.x + 8 * (first + v) + 4);
#pragma unroll
      for (int j = 0; j < 8; j++) f[i][j] = 0.f;
    }
#pragma unroll 1
    for (int r = 0; r < a.ranks; r += 2) {
      Vec4 part[2][2];
#pragma unroll
      for (int k = 0; k < 4; k++) {
        int v = threadIdx.x + k / 2 * blockDim.x, of = r + k % 2;
        if (v < a.width && of < a.ranks) part[k / 2][k % 2] = load16(a.part[of] + 8 * (first + v));
      }
#pragma unroll
      for (int k = 0; k < 4; k++) {
        if ((int)(threadIdx.x + k / 2 * blockDim.x) >= a.width || r + k % 2 >= a.ranks) continue;
        float g[8];
        unpack(part[k / 2][k % 2], g);
#pragma unroll
        for (int j = 0; j < 8; j++) f[k / 2][j] += g[j];
      }
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
      int v = threadIdx.x + i * blockDim.x;
      if (v >= a.width) continue;
      float g[8];
      floats8(x[i][0], x[i][1], g);
#pragma unroll
      for (int j = 0; j < 8; j++) f[i][j] += g[j], squares += f[i][j] * f[i][j];
      write8(a.x, 0, first + v, f[i]);
    }
    if (!a.w) continue;
    float scale = rsqrtf(block_sum(squares, scratch) / (8 * a.width) + a.eps);
#pragma unroll
    for (int i = 0; i < 2; i++) {
      int v = threadIdx.x + i * blockDim.x;
      if (v >= a.width) continue;
      float w[8];
      unpack(load16(a.w + 8 * v), w);
#pragma unroll
      for (int j = 0; j < 8; j++) w[j] *= f[i][j] * scale;
      store16(a.y + 8 * (first + v), pack8(w));
    }
  }
  leave(a);
  watch.stop(a.spent);
}

extern "C" __global__ void __launch_bounds__(384, 2) add_copied(const __grid_constant__ CopiedArgs a) { add_copied_rows(a); }
extern "C" __global__ void __launch_bounds__(768, 1) add_copied_wide(const __grid_constant__ CopiedArgs a) { add_copied_rows(a); }
