// product_N_M, product_N_M_codes: products of N rows or less, or of tiles of N of them, for sm_90a.
//   x     bf16 [n, K]   K % 64 == 0; a map of N rows by 64
//   w     bf16 [M, K]   read once; a map of pairs of rows, `box` of them by 64; M % 16 == 0
//         _codes: both E4M3, K % 128 == 0, of which two lie where a bf16 does
//   y     f32 or bf16 [n, ld]
//   form  0: y f32 = x·wᵀ; 1: y bf16; 2: y f32 += x·wᵀ
// Math:    bf16 products, fp32 sums, added up in an order that the arguments fix; of codes
//          the tensor cores add up 128, in some 14 bits, and what they make is added in fp32
//
// The weights are the left operand of the tensor cores' products, 64 rows at a time, so
// that few rows waste nothing. A block has `rows` rows of w, any multiple of 16, so
// that all weights are one wave of blocks, each with as many; what a product of 64 has
// besides is thrown away. The copy engine fills a ring of stages of 64 inputs, for
// which a thread of a ninth warp asks.
//
// A cluster is `split` blocks that share the inputs of the same rows of w, and send
// each other their sums, of 16 rows at a time. Weights are nobody's output: the first
// stages of them are on their way before the kernel ahead has ended, and the kernel
// behind may begin at once.
//
// Tried, with Qwen3-14B on an H200: tiles of 128 and 256 rows of x: down by 128 rows in
// 59 µs for cuBLASLt's 57, gate and up 108 for 93, by 256 rows 155 for 122; blocks that
// copy x for each other (multicast), which then wait for each other: o by 64 rows 45 for
// 20, gate and up by 128 rows 114 for 108; stages given back by a release to the cluster,
// which is a fence of the whole device: 0.5 µs for each 64 inputs.
//
// Launch:  a cluster for every tile of w and N rows, blocks of 288
// Limit:   2·M·K bytes of memory traffic, of codes half of them; 2·n·M·K FLOP
// Checked: TestProducts, TestCodesProducts against float64; TestEmulatedProducts, TestEmulatedCodesProducts, without a GPU
#define STAGES_AT 1024 // behind barriers
#define MOST_STAGES 32
#define ROW_BYTES 128

struct ProductArgs {
  TensorMap w, x;
  void* y;
  int n, out, ld, form;
  int rows, box;     // of a tile of w, and of a copy, of which two may have it
  int chunks;        // of 64 inputs
  int split;         // blocks of a cluster
  int depth;         // of the ring
  int pad[5];
};

template <int N, int MT, bool CODES>
struct Rows {
  static constexpr int SUMS = N / 2, PITCH = 20 * 4; // sums of a thread; bytes from token to token of 16 rows' sums
  const ProductArgs& a;
  u32 shared;
  int stage; // bytes
  int part, tile, first, here; // which of split, of w's tiles; the first token, how many
  int from, count;               // chunks

  __device__ __forceinline__ Rows(const ProductArgs& a, u32 shared) : a(a), shared(shared) {
    stage = (a.rows + N) * ROW_BYTES;
    int cluster = blockIdx.x / a.split, token_tiles = (a.n + N - 1) / N;
    part = blockIdx.x % a.split, tile = cluster / token_tiles, first = cluster % token_tiles * N, here = min(a.n - first, N);
    from = part * a.chunks / a.split, count = (part + 1) * a.chunks / a.split - from;
  }
  __device__ __forceinline__ u32 full(int i) { return shared + i * 8; }
  __device__ __forceinline__ u32 free(int i) { return shared + (MOST_STAGES + i) * 8; }
  __device__ __forceinline__ u32 summed() { return shared + 2 * MOST_STAGES * 8; }
  __device__ __forceinline__ u32 weights(int i) { return shared + STAGES_AT + i * stage; }
  __device__ __forceinline__ u32 tokens(int i) { return weights(i) + a.rows * ROW_BYTES; }

  __device__ __forceinline__ void copy_weights(int i, int chunk) {
    int again = a.rows - a.box; // where the second begins, if there are two: some rows come with both
    barrier_expect(full(i), ((again ? 2 : 1) * a.box + N) * ROW_BYTES);
    copy_tile_paired(weights(i), a.w, chunk * 64, tile * a.rows / 16, full(i));
    if (again) copy_tile_paired(weights(i) + again * ROW_BYTES, a.w, chunk * 64, (tile * a.rows + again) / 16, full(i));
  }
  __device__ __forceinline__ void copy_tokens(int i, int chunk) { copy_tile(tokens(i), a.x, chunk * 64, first, full(i)); }

  // begin and produce are one thread's, begin before others know of its barriers.
  __device__ __forceinline__ void begin() {
    int warps = a.rows > 64 ? 8 : 4; // that multiply
    for (int i = 0; i < a.depth; i++) barrier_init(full(i), 1), barrier_init(free(i), warps);
    barrier_init(summed(), 1);
    barriers_visible();
    if (a.split > 1) barrier_expect(summed(), a.split * sixteens() * here * 64);
    for (int i = 0; i < min(a.depth, count); i++) copy_weights(i, from + i);
  }
  __device__ __forceinline__ void produce() {
    int ahead = min(a.depth, count);
    wait_for_previous();
    for (int i = 0; i < ahead; i++) copy_tokens(i, from + i);
    int i = 0;
    u32 phase = 0;
    for (int k = ahead; k < count; k++) {
      barrier_wait(free(i), phase);
      copy_weights(i, from + k);
      copy_tokens(i, from + k);
      if (++i == a.depth) i = 0, phase ^= 1;
    }
  }

  template <int COUNT>
  __device__ __forceinline__ void add(float (&c)[COUNT][SUMS], int sixty_four) {
    int lane = threadIdx.x % WARP;
    int at = 0, before = 0;
    u32 phase = 0;
    for (int k = 0; k < count; k++) {
      barrier_wait(full(at), phase);
      u64 w = describe_rows(weights(at) + sixty_four * 64 * ROW_BYTES), x = describe_rows(tokens(at));
#pragma unroll
      for (int m = 0; m < COUNT; m++) pin(c[m]);
      products_begin();
#pragma unroll
      for (int j = 0; j < 4; j++)
#pragma unroll
        for (int m = 0; m < COUNT; m++) product_tiles(c[m], w + m * (64 * ROW_BYTES >> 4) + j * 2, x + j * 2);
      products_commit();
      if (k > 0) { // the products before these
        products_wait<1>();
        if (lane == 0) barrier_arrive(free(before));
      }
      before = at;
      if (++at == a.depth) at = 0, phase ^= 1;
    }
    products_wait<0>();
#pragma unroll
    for (int m = 0; m < COUNT; m++) pin(c[m]);
  }
  // add_codes is add of codes: 128 of them are added up by the tensor cores, in some 14 bits.
  template <int COUNT>
  __device__ __forceinline__ void add_codes(float (&c)[COUNT][SUMS], int sixty_four) {
    int at = 0;
    u32 phase = 0;
    float few[SUMS] = {};
    for (int k = 0; k < count; k++) {
      barrier_wait(full(at), phase);
      u64 w = describe_rows(weights(at) + sixty_four * 64 * ROW_BYTES), x = describe_rows(tokens(at));
#pragma unroll
      for (int m = 0; m < COUNT; m++) {
        u64 rows = w + m * (64 * ROW_BYTES >> 4);
        pin(few);
        products_begin();
        product_codes<false>(few, rows, x);
        product_codes<true>(few, rows + 2, x + 2);
        product_codes<true>(few, rows + 4, x + 4);
        product_codes<true>(few, rows + 6, x + 6);
        products_commit();
        products_wait<0>();
        pin(few);
        if (m == COUNT - 1 && threadIdx.x % WARP == 0) barrier_arrive(free(at));
#pragma unroll
        for (int i = 0; i < SUMS; i++) c[m][i] += few[i];
      }
      if (++at == a.depth) at = 0, phase ^= 1;
    }
  }

  // consume leaves the sums of COUNT times 64 rows in shared memory.
  template <int COUNT>
  __device__ __forceinline__ void consume(int sixty_four) {
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP % 4;
    float c[COUNT][SUMS];
#pragma unroll
    for (int m = 0; m < COUNT; m++)
#pragma unroll
      for (int i = 0; i < SUMS; i++) c[m][i] = 0.f;
    if (CODES) {
      add_codes<COUNT>(c, sixty_four);
    } else {
      add<COUNT>(c, sixty_four);
    }
    end();
    u32 own = lane % 4 * 2 * PITCH + lane / 4 * 8;
#pragma unroll
    for (int m = 0; m < COUNT; m++) {
      int sixteen = (sixty_four + m) * 4 + warp;
      if (sixteen * 16 >= a.rows) continue;
      u32 to = sums(part, sixteen / a.split) + own, barrier = summed();
      if (a.split > 1) to = shared_of(to, sixteen % a.split), barrier = shared_of(barrier, sixteen % a.split);
#pragma unroll
      for (int i = 0; i < SUMS; i += i % 4 ? 3 : 1) {
        int token = i / 4 * 8 + i % 2;
        if (token + lane % 4 * 2 >= here) continue;
        if (a.split > 1) {
          store_there(to + token * PITCH, c[m][i], c[m][i + 2], barrier);
        } else {
          store_shared2(to + token * PITCH, c[m][i], c[m][i + 2]);
        }
      }
    }
  }

  // end waits until nobody needs stages any more, where sums lie then.
  __device__ __forceinline__ void end() {
    if (a.split > 1) {
      cluster_meet_only();
    } else {
      meet(1, 256);
    }
  }
  // Of sums this block has every split-th sixteen rows: so many, each part's.
  __device__ __forceinline__ int sixteens() { return (a.rows / 16 - part + a.split - 1) / a.split; }
  __device__ __forceinline__ u32 sums(int part, int i) { return shared + STAGES_AT + (part * ((a.rows / 16 + a.split - 1) / a.split) + i) * (N * PITCH); }

  // store writes this block's sums.
  __device__ __forceinline__ void store() {
    int mine = sixteens() * here * 4;
    for (int i = threadIdx.x; i < mine; i += 256) {
      int four = i % 4, token = i / 4 % here, sixteen = i / 4 / here, row = tile * a.rows + (sixteen * a.split + part) * 16 + four * 4;
      if (row >= a.out) continue;
      float4 v = load_shared4_floats(sums(0, sixteen) + token * PITCH + four * 16);
      for (int p = 1; p < a.split; p++) {
        float4 u = load_shared4_floats(sums(p, sixteen) + token * PITCH + four * 16);
        v.x += u.x, v.y += u.y, v.z += u.z, v.w += u.w;
      }
      size_t line = (size_t)(first + token) * a.ld;
      if (a.form == 1) {
        uint2 pairs = {pack(v.x, v.y), pack(v.z, v.w)};
        *(uint2*)((bf16*)a.y + line + row) = pairs;
      } else {
        float* y = (float*)a.y + line + row;
        if (a.form == 2) {
          float4 before = load_fresh4(y);
          v.x += before.x, v.y += before.y, v.z += before.z, v.w += before.w;
        }
        *(float4*)y = v;
      }
    }
  }
};

template <int N, int MT, bool CODES>
__device__ __forceinline__ void multiply(const ProductArgs& a) {
  extern __shared__ __align__(128) u8 memory[];
  u32 shared = (shared_address(memory) + 1023) & ~1023u;
  let_next_start();
  Rows<N, MT, CODES> r(a, shared);
  if (threadIdx.x / WARP == 8 && elected()) r.begin();
  if (a.split > 1) {
    cluster_meet_only();
  } else {
    __syncthreads();
  }
  if (threadIdx.x < 256) {
    int group = __shfl_sync(FULL, threadIdx.x / 128, 0); // so that the compiler knows it is a warp's
    int sixty_fours = (a.rows + 63) / 64, mine = (sixty_fours + 1 - group) / 2, begin = group * ((sixty_fours + 1) / 2);
    if (mine == MT) {
      r.template consume<MT>(begin);
    } else if (MT > 1 && mine == MT - 1) {
      r.template consume<(MT > 1 ? MT - 1 : 1)>(begin);
    } else {
      r.end();
    }
    if (a.split > 1) {
      barrier_wait(r.summed(), 0);
    } else {
      meet(1, 256);
    }
    wait_for_previous();
    r.store();
  } else {
    if (elected()) r.produce();
    if (a.split > 1) r.end();
  }
}

#ifndef __CUDACC_RTC__
#define KERNEL(N, MT)
#else
#define KERNEL(N, MT)                                                                                                                                               \
  extern "C" __global__ void __launch_bounds__(288, N * MT <= 128 ? 2 : 1) product_##N##_##MT(const __grid_constant__ ProductArgs a) { multiply<N, MT, false>(a); } \
  extern "C" __global__ void __launch_bounds__(288, N * MT <= 64 ? 2 : 1) product_##N##_##MT##_codes(const __grid_constant__ ProductArgs a) { multiply<N, MT, true>(a); }
#endif
KERNEL(16, 1)
KERNEL(16, 2)
KERNEL(16, 3)
KERNEL(32, 1)
KERNEL(32, 2)
KERNEL(32, 3)
KERNEL(64, 1)
KERNEL(64, 2)
KERNEL(64, 3)
