// int4_many, int4_many_gate: the products of int4.cu for sm_90a and many rows, where
// warpgroups of 128 threads multiply weights in registers by rows in shared memory.
// The same arguments and layout (int4.cuh).
// Math:    bf16 products of weights that are rounded to it, fp32 sums
//
// A tile is 256 outputs (of g and u 128 each) by TOKENS rows, which is as much as
// registers hold: what is copied for it bounds the product. 128 inputs are multiplied
// at a time. Two warpgroups have half the outputs each, and widen what
// they multiply next while the tensor cores multiply; a third copies for them, on
// from tile to tile.
//
// Launch:  a block of 384 a multiprocessor
// Limit:   2·N·M·K FLOP, M·K/2 bytes of memory traffic
// Checked: TestInt4 against ref.Product

template <int TOKENS, bool GATE>
struct Many {
  static constexpr int HALVES = 2, BLOCK = block_bytes(4), ROWS = TOKENS * 256, STAGE = ROWS + (8 * HALVES * BLOCK + 1023) / 1024 * 1024;
  static constexpr int DEPTH = MANY_SHARED / STAGE, FULL_STAGE = DEPTH * STAGE, FREE_STAGE = FULL_STAGE + DEPTH * 8;
  static constexpr int SUMS = TOKENS / 2; // a thread's, of a half
  const Int4Args& a;
  u32 shared; // stages, each rows and behind them blocks of weights; then barriers
  Panels<HALVES, GATE> panels;
  int token_tiles, bytes; // of a block in memory, which has BLOCK in a stage
  Portion all;

  __device__ __forceinline__ Many(const Int4Args& a, u32 shared) : a(a), shared(shared), panels(a) {
    token_tiles = (a.n + TOKENS - 1) / TOKENS;
    bytes = block_bytes(a.groups);
    all.chunks = a.in / 128;
    all.units = panels.tiles() * token_tiles * all.chunks;
  }

  __device__ __forceinline__ void produce() {
    int thread = threadIdx.x % 128, lane = thread % WARP, warp = thread / WARP, piece = thread % 16; // 8 rows are copied at once
    u32 row_to = shared + piece / 8 * (TOKENS * 128) + thread / 16 * 128 + (piece % 8 ^ thread / 16) * 16, block_to = shared + ROWS + warp * BLOCK + lane * 16;
    Place<DEPTH> p;
    u32 unit = all.begin(blockIdx.x), end = all.begin(blockIdx.x + 1), tile = unit / all.chunks, chunk = unit % all.chunks;
    while (unit < end) {
      // Where a panel or a row is not there another is copied.
      const u8* w[HALVES * 2]; // a warp has two panels of each half
#pragma unroll
      for (int j = 0; j < HALVES * 2; j++) w[j] = a.w + ((size_t)panels.at(tile / token_tiles, j / 2, j % 2 * 4 + warp) * all.chunks + chunk) * bytes + lane * 16;
      int first = tile % token_tiles * TOKENS, rows = min(a.n - first, TOKENS);
      const bf16* x = a.x + (size_t)first * a.in + chunk * 128 + piece * 8;
      u32 row_at[TOKENS / 8];
#pragma unroll
      for (int i = 0; i < TOKENS / 8; i++) row_at[i] = min(i * 8 + thread / 16, rows - 1) * a.in;
      for (; chunk < all.chunks && unit < end; chunk++, unit++, x += 128) {
        barrier_wait(shared + FREE_STAGE + p.i * 8, p.phase ^ 1);
        u32 stage = p.i * STAGE;
#pragma unroll
        for (int j = 0; j < HALVES * 2; j++) {
          u32 to = block_to + stage + j * 4 * BLOCK;
          copy16(to, w[j], true);
          copy16(to + 512, w[j] + 512, true);
        }
        if (lane * 16 < bytes - SIXTEEN_ROWS)
#pragma unroll
          for (int j = 0; j < HALVES * 2; j++) copy16(block_to + stage + j * 4 * BLOCK + SIXTEEN_ROWS, w[j] + SIXTEEN_ROWS, true);
#pragma unroll
        for (int j = 0; j < HALVES * 2; j++) w[j] += bytes;
#pragma unroll
        for (int i = 0; i < TOKENS / 8; i++)
          if (i / 2 * 16 < rows) copy16(row_to + stage + i * 8 * 128, x + row_at[i], true);
        barrier_arrive_copied(shared + FULL_STAGE + p.i * 8);
        p.next();
      }
      chunk = 0, tile++;
    }
    copies_commit();
    copies_wait<0>();
  }

  __device__ __forceinline__ void consume(int* last) {
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP % 4;
    int group = __shfl_sync(FULL, threadIdx.x / 128, 0); // so that the compiler knows it is a warp's
    float c[HALVES][SUMS];
    float(&sums)[HALVES * SUMS] = *(float(*)[HALVES * SUMS])c;
    Shared<HALVES * SUMS, 256> parts(a, all);
    auto all_live = [](int) { return true; };
    Place<DEPTH> p;
    int before = -1; // a stage that products may still read
    auto give = [&] {
      if (before >= 0 && lane == 0) barrier_arrive(shared + FREE_STAGE + before * 8);
    };
    u32 unit = parts.begin, end = parts.end, tile = unit / all.chunks, chunk = unit % all.chunks;
    for (int done = 0;;) { // tiles, and behind them those that others have parts of
      if (unit < end) {
#pragma unroll
        for (int i = 0; i < HALVES * SUMS; i++) sums[i] = 0.f;
        do {
          barrier_wait(shared + FULL_STAGE + p.i * 8, p.phase);
          copies_visible();
          multiply_widened<TOKENS>(c, shared + p.i * STAGE, shared + p.i * STAGE + ROWS + (group * 4 + warp) * BLOCK, 8 * BLOCK, a.groups, give);
          before = p.i;
          p.next();
        } while (++unit, ++chunk < all.chunks && unit < end);
        products_wait<0>();
#pragma unroll
        for (int m = 0; m < HALVES; m++) pin(c[m]);
        give();
        before = -1, chunk = 0;
        if (!parts.whole(tile)) {
          parts.leave(sums, tile++, all_live);
          continue;
        }
      } else {
        if (done == 0) parts.count(last, [] { asm volatile("bar.sync 1, 256;" ::: "memory"); });
        while (done < 2 && !last[done]) done++;
        if (done == 2) break;
        tile = parts.tile(done++);
        parts.add_up(sums, tile, all_live);
      }
      Sums<GATE, HALVES, TOKENS / 8>(a, panels, tile / token_tiles, group * 4 + warp, tile % token_tiles * TOKENS).store(sums);
      tile++;
    }
  }
};

template <int TOKENS, bool GATE>
__device__ __forceinline__ void many(const Int4Args& a) {
  using M = Many<TOKENS, GATE>;
  extern __shared__ __align__(128) u8 memory[];
  __shared__ int last[2];
  u32 shared = (shared_address(memory) + 1023) & ~1023u;
  if (threadIdx.x == 0)
    for (int i = 0; i < M::DEPTH; i++) barrier_init(shared + M::FULL_STAGE + i * 8, 128), barrier_init(shared + M::FREE_STAGE + i * 8, 8);
  __syncthreads();
  wait_for_previous();
  let_next_start();
  if (threadIdx.x / 128 == 2) {
    registers_lower<96>();
    M(a, shared).produce();
  } else {
    registers_raise<200>();
    M(a, shared).consume(last);
  }
}

#define KERNEL(NAME, TOKENS, GATE) \
  extern "C" __global__ void __launch_bounds__(384, 1) NAME(const __grid_constant__ Int4Args a) { many<TOKENS, GATE>(a); }
KERNEL(int4_many_64, 64, false)
KERNEL(int4_many_128, 128, false)
KERNEL(int4_many_gate_64, 64, true)
KERNEL(int4_many_gate_128, 128, true)
