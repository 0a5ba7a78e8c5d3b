// int4_split: the products of int4_many (int4_hopper.cu) without gates where one wave
// of blocks has all tiles at most a few times: clusters of SPLIT blocks share a tile's
// inputs, and add up in each other's shared memory. The same arguments and layout
// (int4.cuh).
// Math:    bf16 products of weights that are rounded to it, fp32 sums
//
// A tile is 256 outputs by TOKENS rows; two warpgroups multiply
// as int4_many's do, a third copies: a warp's first lane the blocks of weights, whole,
// all lanes the rows.
//
// Launch:  clusters of SPLIT blocks of 384, a tile each, or one after the other where
//          SPLIT is 1
// Limit:   2·N·M·K FLOP, M·K/2 bytes of memory traffic
// Checked: TestInt4 against ref.Product; emulate_test.go, without a GPU
template <int TOKENS, int SPLIT>
struct Split {
  static constexpr int HALVES = 2, PANELS = 16, BLOCK = block_bytes(4), ROWS = TOKENS * 256, STAGE = ROWS + (PANELS * BLOCK + 1023) / 1024 * 1024;
  static constexpr int DEPTH = MANY_SHARED / STAGE, FULL_STAGE = DEPTH * STAGE, FREE_STAGE = FULL_STAGE + DEPTH * 8;
  static constexpr int SUMS = TOKENS / 2; // a thread's, of a half
  const Int4Args& a;
  u32 shared; // stages, each rows and behind them blocks of weights; then barriers
  Panels<HALVES, false> panels;
  int token_tiles, tiles, bytes, chunks; // bytes of a block in memory, which has BLOCK in a stage
  int from, to;                          // this block's chunks
  int cluster, clusters;

  __device__ __forceinline__ Split(const Int4Args& a, u32 shared) : a(a), shared(shared), panels(a) {
    token_tiles = (a.n + TOKENS - 1) / TOKENS, tiles = panels.tiles() * token_tiles;
    bytes = block_bytes(a.groups), chunks = a.in / 128;
    int rank = blockIdx.x % SPLIT;
    from = rank * chunks / SPLIT, to = (rank + 1) * chunks / SPLIT;
    cluster = blockIdx.x / SPLIT, clusters = gridDim.x / SPLIT;
  }

  __device__ __forceinline__ void produce() {
    int thread = threadIdx.x % 128, lane = thread % WARP, warp = thread / WARP, piece = thread % 16; // 8 rows are copied at once
    u32 row_to = shared + piece / 8 * (TOKENS * 128) + thread / 16 * 128 + (piece % 8 ^ thread / 16) * 16;
    Place<DEPTH> p;
    for (int tile = cluster; tile < tiles; tile += clusters) {
      // Where a panel or a row is not there another is copied.
      const u8* w[4]; // a warp copies four panels, of either half two
#pragma unroll
      for (int j = 0; j < 4; j++) w[j] = a.w + ((size_t)panels.at(tile / token_tiles, j / 2, j % 2 * 4 + warp) * chunks + from) * bytes;
      int first = tile % token_tiles * TOKENS, rows = min(a.n - first, TOKENS);
      const bf16* x = a.x + (size_t)first * a.in + from * 128 + piece * 8;
      u32 row_at[TOKENS / 8];
#pragma unroll
      for (int i = 0; i < TOKENS / 8; i++) row_at[i] = min(i * 8 + thread / 16, rows - 1) * a.in;
      for (int chunk = from; chunk < to; chunk++, x += 128) {
        u32 stage = p.i * STAGE, full = shared + FULL_STAGE + p.i * 8;
        barrier_wait(shared + FREE_STAGE + p.i * 8, p.phase ^ 1);
        if (lane == 0) {
          barrier_expect(full, 4 * bytes); // one of the arrivals
#pragma unroll
          for (int j = 0; j < 4; j++) copy_piece(shared + stage + ROWS + (j / 2 * 8 + j % 2 * 4 + warp) * BLOCK, w[j], bytes, full);
        }
#pragma unroll
        for (int j = 0; j < 4; j++) w[j] += bytes;
#pragma unroll
        for (int i = 0; i < TOKENS / 8; i++)
          if (i / 2 * 16 < rows) copy16(row_to + stage + i * 8 * 128, x + row_at[i], true);
        barrier_arrive_copied(full);
        p.next();
      }
    }
    copies_commit();
    copies_wait<0>();
  }

  __device__ __forceinline__ void consume() {
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP % 4;
    int group = __shfl_sync(FULL, threadIdx.x / 128, 0); // so that the compiler knows it is a warp's
    float c[HALVES][SUMS];
    float(&sums)[HALVES * SUMS] = *(float(*)[HALVES * SUMS])c;
    Place<DEPTH> p;
    int before = -1; // a stage that products may still read
    auto give = [&] {
      if (before >= 0 && lane == 0) barrier_arrive(shared + FREE_STAGE + before * 8);
    };
    for (int tile = cluster; tile < tiles; tile += clusters) {
#pragma unroll
      for (int i = 0; i < HALVES * SUMS; i++) sums[i] = 0.f;
      for (int chunk = from; chunk < to; chunk++) {
        barrier_wait(shared + FULL_STAGE + p.i * 8, p.phase);
        copies_visible();
        multiply_widened<TOKENS>(c, shared + p.i * STAGE, shared + p.i * STAGE + ROWS + (group * 4 + warp) * BLOCK, 8 * BLOCK, a.groups, give);
        before = p.i;
        p.next();
      }
      products_wait<0>();
#pragma unroll
      for (int m = 0; m < HALVES; m++) pin(c[m]);
      give();
      before = -1;
      if (SPLIT == 1) {
        Sums<false, HALVES, TOKENS / 8>(a, panels, tile / token_tiles, group * 4 + warp, tile % token_tiles * TOKENS).store(sums);
      } else {
        leave(sums);
      }
    }
  }

  // leave puts a thread's sums where stages were, of which none is wanted any more.
  __device__ __forceinline__ void leave(const float (&c)[HALVES * SUMS]) {
    meet(1, 256); // both have multiplied
#pragma unroll
    for (int i = 0; i < HALVES * SUMS; i++) store_shared(shared + (i * 256 + threadIdx.x) * 4, c[i]);
  }

  // add_up stores this block's share of the sums of all: every SPLIT-th of each thread's.
  __device__ __forceinline__ void add_up() {
    int lane = threadIdx.x % WARP, panel = threadIdx.x / WARP, tile = cluster, first = tile % token_tiles * TOKENS;
    auto sum = [&](int i) {
      float v = 0.f;
#pragma unroll
      for (int rank = 0; rank < SPLIT; rank++) v += load_of_cluster(shared_of(shared + (i * 256 + threadIdx.x) * 4, rank));
      return v;
    };
#pragma unroll 4
    for (int i = blockIdx.x % SPLIT; i < HALVES * SUMS; i += SPLIT) {
      int token = first + i % SUMS / 4 * 8 + lane % 4 * 2 + i % 2, output = panels.output(tile / token_tiles, i / SUMS, panel) + lane / 4 + i / 2 % 2 * 8;
      if (token >= a.n || output >= panels.outputs()) continue;
      float v = sum(i);
      size_t at = (size_t)token * a.ld + output;
      if (a.form == 1) {
        ((bf16*)a.y)[at] = to_bf16(v);
      } else {
        ((float*)a.y)[at] = a.form == 2 ? load_fresh((const float*)a.y + at) + v : v;
      }
    }
  }
};

template <int TOKENS, int SPLIT>
__device__ __forceinline__ void split(const Int4Args& a) {
  using S = Split<TOKENS, SPLIT>;
  extern __shared__ __align__(128) u8 memory[];
  u32 shared = (shared_address(memory) + 1023) & ~1023u;
  if (threadIdx.x == 0)
    for (int i = 0; i < S::DEPTH; i++) barrier_init(shared + S::FULL_STAGE + i * 8, 128 + 4), barrier_init(shared + S::FREE_STAGE + i * 8, 8);
  copies_visible(); // barriers are, too
  __syncthreads();
  wait_for_previous();
  let_next_start();
  S s(a, shared);
  if (threadIdx.x / 128 == 2) {
    registers_lower<96>();
    s.produce();
  } else {
    registers_raise<200>();
    s.consume();
  }
  if (SPLIT > 1) {
    cluster_meet();
    if (threadIdx.x < 256) s.add_up();
    cluster_meet(); // others have read what this block has
  }
}

#ifdef __CUDACC_RTC__
extern "C" __global__ void __launch_bounds__(384, 1) int4_split_64_1(const __grid_constant__ Int4Args a) { split<64, 1>(a); }
extern "C" __global__ void __cluster_dims__(2) __launch_bounds__(384, 1) int4_split_64_2(const __grid_constant__ Int4Args a) { split<64, 2>(a); }
extern "C" __global__ void __launch_bounds__(384, 1) int4_split_128_1(const __grid_constant__ Int4Args a) { split<128, 1>(a); }
extern "C" __global__ void __cluster_dims__(2) __launch_bounds__(384, 1) int4_split_128_2(const __grid_constant__ Int4Args a) { split<128, 2>(a); }
#endif
