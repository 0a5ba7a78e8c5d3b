// int4_many, int4_many_gate: the products of int4.cu for sm_90a and many rows, where
// warpgroups of 128 threads multiply weights in registers by rows in shared memory.
// The same arguments and layout (int4.cuh).
// Math:    bf16 products of weights that are rounded to it, fp32 sums
//
// A tile is 128 outputs (of g, and the same of u) by TOKENS rows; 128 inputs are
// multiplied at a time. Two warpgroups have half the outputs each, and widen what
// they multiply next while the tensor cores multiply; a third copies for them, on
// from tile to tile.
//
// Launch:  a block of 384 a multiprocessor
// Limit:   2·N·M·K FLOP, M·K/2 bytes of memory traffic
// Checked: TestInt4 against ref.Product

// Of a matrix in shared memory, for products: rows of 128 bytes whose 16-byte
// chunks are permuted by the row's last 3 bits; groups of 8 are 1024 bytes apart.
__device__ __forceinline__ u64 describe(u32 at) {
  return (u64)(at >> 4) | (u64)1 << 16 | (u64)(1024 >> 4) << 32 | (u64)1 << 62;
}

// c[64×N] += a[64×16]·b[N×16]ᵀ, a in registers as multiply_add has it.
__device__ __forceinline__ void product_rows(float (&c)[64], const u32* a, u64 b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" L64 "}, {%64,%65,%66,%67}, %68, 1, 1, 1, 0;" : F64(c) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
__device__ __forceinline__ void product_rows(float (&c)[32], const u32* a, u64 b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" L32 "}, {%32,%33,%34,%35}, %36, 1, 1, 1, 0;" : F32(c) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}


template <int TOKENS, int HALVES, int GROUPS>
struct Many {
  static constexpr int BLOCK = block_bytes(GROUPS), ROWS = TOKENS * 256, STAGE = ROWS + (8 * HALVES * BLOCK + 1023) / 1024 * 1024;
  static constexpr int DEPTH = MANY_SHARED / STAGE, FULL_STAGE = DEPTH * STAGE, FREE_STAGE = FULL_STAGE + DEPTH * 8;
  static constexpr int SUMS = TOKENS / 2; // a thread's, of a half
  const Int4Args& a;
  u32 shared; // stages, each rows and behind them blocks of weights; then barriers
  int panels; // of 16 outputs
  int token_tiles;
  Portion all;

  __device__ __forceinline__ Many(const Int4Args& a, u32 shared) : a(a), shared(shared) {
    panels = a.out / 16 / HALVES;
    token_tiles = (a.n + TOKENS - 1) / TOKENS;
    all.chunks = a.in / 128;
    all.units = (panels + 7) / 8 * token_tiles * all.chunks;
  }

  __device__ __forceinline__ void produce() {
    int thread = threadIdx.x % 128, lane = thread % WARP, warp = thread / WARP, piece = thread % 16; // 8 rows are copied at once
    u32 row_to = shared + piece / 8 * (TOKENS * 128) + thread / 16 * 128 + (piece % 8 ^ thread / 16) * 16;
    Place<DEPTH> p;
    u32 unit = all.begin(blockIdx.x), end = all.begin(blockIdx.x + 1), tile = unit / all.chunks, chunk = unit % all.chunks;
    for (; unit < end; unit++) {
      int first = tile / token_tiles * 8 + warp, token = tile % token_tiles * TOKENS + thread / 16;
      const bf16* x = a.x + (size_t)token * a.in + chunk * 128 + piece * 8;
      barrier_wait(shared + FREE_STAGE + p.i * 8, p.phase ^ 1);
      u32 stage = p.i * STAGE;
#pragma unroll
      for (int m = 0; m < HALVES; m++)
#pragma unroll
        for (int j = 0; j < 8; j += 4) { // a warp has two panels; where one is not there the last is copied
          const u8* w = a.w + ((size_t)(min(first + j, panels - 1) + m * panels) * all.chunks + chunk) * BLOCK + lane * 16;
          u32 to = shared + stage + ROWS + (m * 8 + j + warp) * BLOCK + lane * 16;
#pragma unroll
          for (int i = 0; i < BLOCK; i += WARP * 16)
            if (i + lane * 16 < BLOCK) copy16(to + i, w + i, true);
        }
#pragma unroll
      for (int i = 0; i < TOKENS; i += 8)
        if (token + i < a.n) copy16(row_to + stage + i * 128, x + (size_t)i * a.in, true);
      barrier_arrive_copied(shared + FULL_STAGE + p.i * 8);
      p.next();
      if (++chunk == all.chunks) chunk = 0, tile++;
    }
    copies_commit();
    copies_wait<0>();
  }

  // widen makes two registers' worth of 32 inputs, s and s + 1 of a block's 8 times 16,
  // what the tensor cores multiply.
  __device__ __forceinline__ void widen(u32* v, u32 block, Vec4 word, int s, int g) {
    u32 zero[2], by[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
      u32 scale = load_shared4(block + SIXTEEN_ROWS + s * GROUPS / 8 * 64 + (g + h * 8) * 4);
      zero[h] = less_zero(scale), by[h] = pack(scale4(scale), scale4(scale));
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
      u32 four = s % 4 == 0 ? (i / 4 ? word.y : word.x) : i / 4 ? word.w : word.z;
      asm("mul.rn.bf16x2 %0, %1, %2;" : "=r"(v[i]) : "r"(pair4(four, i % 4, zero[i % 2])), "r"(by[i % 2]));
    }
  }

  __device__ __forceinline__ void consume(int* last) {
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP % 4, g = lane / 4;
    int group = __shfl_sync(FULL, threadIdx.x / 128, 0); // so that the compiler knows it is a warp's
    float c[HALVES][SUMS] = {};
    Place<DEPTH> p;
    int before = -1; // a stage that products may still read
    auto give = [&] {
      if (before >= 0 && lane == 0) barrier_arrive(shared + FREE_STAGE + before * 8);
    };
    u32 unit = all.begin(blockIdx.x), end = all.begin(blockIdx.x + 1), tile = unit / all.chunks, chunk = unit % all.chunks;
    for (; unit < end; unit++) {
      barrier_wait(shared + FULL_STAGE + p.i * 8, p.phase);
      copies_visible();
      u32 stage = shared + p.i * STAGE, own = stage + ROWS + (group * 4 + warp) * BLOCK;
      u32 v[2][HALVES][8];
      Vec4 word[HALVES];
#pragma unroll
      for (int s = 0; s < 8; s += 2) { // some are widened while those before are multiplied
#pragma unroll
        for (int m = 0; m < HALVES; m++) {
          if (s % 4 == 0) word[m] = load_shared16(own + m * 8 * BLOCK + s / 4 * 512 + lane * 16);
          widen(v[s / 2 % 2][m], own + m * 8 * BLOCK, word[m], s, g);
        }
#pragma unroll
        for (int m = 0; m < HALVES; m++) pin(c[m]);
        products_begin();
#pragma unroll
        for (int j = 0; j < 2; j++)
#pragma unroll
          for (int m = 0; m < HALVES; m++)
            product_rows(c[m], v[s / 2 % 2][m] + j * 4, describe(stage + (s + j) / 4 * (TOKENS * 128)) + (s + j) % 4 * 2);
        products_commit();
        products_wait<1>();
        if (s == 0) give();
      }
      before = p.i;
      p.next();
      if (++chunk < all.chunks && unit + 1 < end) continue;
      products_wait<0>();
#pragma unroll
      for (int m = 0; m < HALVES; m++) pin(c[m]);
      give();
      before = -1;
      finish(c, tile, group * 4 + warp, lane, last);
#pragma unroll
      for (int m = 0; m < HALVES; m++)
#pragma unroll
        for (int i = 0; i < SUMS; i++) c[m][i] = 0.f;
      chunk = 0, tile++;
    }
  }

  __device__ __forceinline__ void finish(float (&c)[HALVES][SUMS], u32 tile, int panel, int lane, int* last) {
    int first = tile % token_tiles * TOKENS + lane % 4 * 2, out = (tile / token_tiles * 8 + panel) * 16 + lane / 4;
    float(&flat)[HALVES * SUMS] = *(float(*)[HALVES * SUMS])c;
    auto token = [&](int i) { return first + i % SUMS / 4 * 8 + i % 2; };
    auto output = [&](int i) { return out + i / 2 % 2 * 8; };
    auto live = [&](int i) { return token(i) < a.n; };
    auto meet = [] { asm volatile("bar.sync 1, 256;" ::: "memory"); };
    if (whole_sums<HALVES * SUMS, 256>(a, flat, all, tile, last, live, meet))
      store_sums<HALVES, SUMS>(a, flat, [&](int i) { return live(i) && output(i) < a.out / HALVES; }, [&](int i) { return (size_t)token(i) * a.ld + output(i); });
  }
};

template <int TOKENS, int HALVES, int GROUPS>
__device__ __forceinline__ void many(const Int4Args& a) {
  using M = Many<TOKENS, HALVES, GROUPS>;
  extern __shared__ __align__(128) u8 memory[];
  __shared__ int last;
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
    M(a, shared).consume(&last);
  }
}

#define KERNEL(NAME, TOKENS, HALVES, GROUPS) \
  extern "C" __global__ void __launch_bounds__(384, 1) NAME(const __grid_constant__ Int4Args a) { many<TOKENS, HALVES, GROUPS>(a); }
KERNEL(int4_many_64_1, 64, 1, 1)
KERNEL(int4_many_64_2, 64, 1, 2)
KERNEL(int4_many_64_4, 64, 1, 4)
KERNEL(int4_many_128_1, 128, 1, 1)
KERNEL(int4_many_128_2, 128, 1, 2)
KERNEL(int4_many_128_4, 128, 1, 4)
KERNEL(int4_many_gate_64_1, 64, 2, 1)
KERNEL(int4_many_gate_64_2, 64, 2, 2)
KERNEL(int4_many_gate_64_4, 64, 2, 4)
KERNEL(int4_many_gate_128_1, 128, 2, 1)
KERNEL(int4_many_gate_128_2, 128, 2, 2)
KERNEL(int4_many_gate_128_4, 128, 2, 4)
