// moe_up_hopper, moe_plain_hopper, moe_down_hopper: the products of moe_tiles.cu (the same
// arguments, tiles of 128 entries) for sm_90a, where warpgroups of 128 threads
// multiply matrices straight from shared memory. Scales are 1, as moe_group
// leaves them.
// Math:    bf16 products, fp32 sums
//
// An item is 256 rows of weights (128 gates and their ups in moe_up_hopper) for
// one tile. Two warpgroups have half the rows each, as two products of 64; a third
// copies for them, 64 of K at a time, and on from item to item. The order of rows
// is free: a thread has a gate and its up in the same place of both products,
// and what it stores lies behind one another.
//
// Launch:  a block of 384 a multiprocessor; each takes every so-many-th item
// Limit:   4·H·K FLOP for each entry, both 6·I·H bytes for each expert with one
// Checked: TestExperts against ref.Experts
#define ROW_BYTES 128
#define WEIGHTS 256
#define TOKENS 128
#define STAGE ((WEIGHTS + TOKENS) * ROW_BYTES)
#define DEPTH 4
#define SHARES 8 // items whose shares are kept: more than have begun at once

// What a block shares, from a multiple of 1024 on: stages, shares, barriers.
#define SHARES_OF(i) (DEPTH * STAGE + (i) * TOKENS * 4)
#define FULL_STAGE(i) (SHARES_OF(SHARES) + (i) * 8)
#define FREE_STAGE(i) (SHARES_OF(SHARES) + (DEPTH + (i)) * 8)

// Of a matrix in shared memory, for products: rows of 128 bytes whose 16-byte
// chunks are permuted by the row's last 3 bits; groups of 8 are 1024 bytes apart.
__device__ __forceinline__ u64 describe(u32 at) {
  return (u64)(at >> 4) | (u64)1 << 16 | (u64)(1024 >> 4) << 32 | (u64)1 << 62;
}

// c[64×64] += a[64×16]·b[64×16]ᵀ, both in shared memory; the other half of c stays.
__device__ __forceinline__ void product_half(float (&c)[64], u64 a, u64 b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" L32 "}, %32, %33, 1, 1, 1, 0, 0;" : F32(c) : "l"(a), "l"(b));
}

template <bool UP, bool TOKENS_IN>
__device__ __forceinline__ void produce(const ExpertArgs& a, u32 shared) {
  constexpr int RESULTS = UP ? WEIGHTS / 2 : WEIGHTS;
  int thread = threadIdx.x % 128, row = thread / 8, chunk = thread % 8; // 16 rows are copied at once
  int parts = (a.out + RESULTS - 1) / RESULTS, items = *a.count * parts;
  u32 copy_to = shared + row * ROW_BYTES + (chunk ^ row % 8) * 16;
  ExpertTile next = tile_at(a.tiles, blockIdx.x / parts, (int)blockIdx.x < items);
  Place<DEPTH> p;
  for (int item = blockIdx.x, round = 0; item < items; item += gridDim.x, round++) {
    ExpertTile t = next;
    next = tile_at(a.tiles, (item + gridDim.x) / parts, item + (int)gridDim.x < items);
    // Of 16 rows of a product a thread multiplies the l-th and the one 8 on:
    // neighbours. Where a row or a token is not there another is copied, or
    // none: nothing of theirs is stored.
    int first = item % parts * RESULTS + row % 8 * 2 + row / 8;
    const bf16 *w = a.w + (size_t)t.expert * (UP ? 2 : 1) * a.out * a.in + chunk * 8, *x = a.x + chunk * 8;
    u32 weight_at[WEIGHTS / 16], token_at[TOKENS / 16];
#pragma unroll
    for (int i = 0; i < WEIGHTS / 16; i++) {
      int half = UP ? i / 4 % 2 : 0, sixteen = UP ? i / 8 * 4 + i % 4 : i;
      weight_at[i] = (u32)(min(first + sixteen * 16, a.out - 1) + half * a.out) * a.in;
    }
#pragma unroll
    for (int i = 0; i < TOKENS / 16; i++) {
      int entry = t.first + min(row + i * 16, t.count - 1);
      token_at[i] = (u32)(TOKENS_IN ? a.entries[entry].token : entry) * a.in;
    }
    for (int k = 0; k < a.in; k += 64, w += 64, x += 64) {
      bool inside = k + chunk * 8 < a.in;
      barrier_wait(shared + FREE_STAGE(p.i), p.phase ^ 1);
      u32 to = copy_to + p.i * STAGE;
#pragma unroll
      for (int i = 0; i < WEIGHTS / 16; i++) copy16(to + i * 16 * ROW_BYTES, w + weight_at[i], inside);
#pragma unroll
      for (int i = 0; i < TOKENS / 16; i++)
        if (i * 16 < t.count) copy16(to + (WEIGHTS + i * 16) * ROW_BYTES, x + token_at[i], inside);
      if (UP && k == 0 && thread < t.count)
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(shared + SHARES_OF(round % SHARES) + thread * 4), "l"(&a.entries[t.first + thread].share) : "memory");
      barrier_arrive_copied(shared + FULL_STAGE(p.i));
      p.next();
    }
  }
  copies_commit();
  copies_wait<0>();
}

template <bool UP>
__device__ __forceinline__ void consume(const ExpertArgs& a, u32 shared) {
  constexpr int RESULTS = UP ? WEIGHTS / 2 : WEIGHTS;
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP % 4;
  int group = __shfl_sync(FULL, threadIdx.x / 128, 0); // so that the compiler knows it is a warp's
  int parts = (a.out + RESULTS - 1) / RESULTS, steps = (a.in + 63) / 64, items = *a.count * parts;
  float c[2][64];
  Place<DEPTH> p;
  auto give = [&](int stage) { // one that the warp has read
    if (lane == 0) barrier_arrive(shared + FREE_STAGE(stage));
  };
  ExpertTile next = tile_at(a.tiles, blockIdx.x / parts, (int)blockIdx.x < items);
  for (int item = blockIdx.x, round = 0; item < items; item += gridDim.x, round++) {
    ExpertTile t = next;
    next = tile_at(a.tiles, (item + gridDim.x) / parts, item + (int)gridDim.x < items);
#pragma unroll
    for (int i = 0; i < 64; i++) c[0][i] = c[1][i] = 0.f;
    auto multiply = [&](bool half) { // inlined for either
      int before = 0;
      for (int s = 0; s < steps; s++) {
        barrier_wait(shared + FULL_STAGE(p.i), p.phase);
        copies_visible();
        u64 w = describe(shared + p.i * STAGE + group * 128 * ROW_BYTES), x = describe(shared + p.i * STAGE + WEIGHTS * ROW_BYTES);
        pin(c[0]);
        pin(c[1]);
        products_begin();
#pragma unroll
        for (int k = 0; k < 4; k++) {
          u64 v = w + (64 * ROW_BYTES >> 4);
          if (half) {
            product_half(c[0], w + k * 2, x + k * 2);
            product_half(c[1], v + k * 2, x + k * 2);
          } else {
            product<true>(c[0], w + k * 2, x + k * 2);
            product<true>(c[1], v + k * 2, x + k * 2);
          }
        }
        products_commit();
        if (s > 0) { // the products before these
          products_wait<1>();
          give(before);
        }
        before = p.i;
        p.next();
      }
      products_wait<0>();
      pin(c[0]);
      pin(c[1]);
      give(before);
    };
    if (t.count <= TOKENS / 2) {
      multiply(true);
    } else {
      multiply(false);
    }

    int row = item % parts * RESULTS + group * (RESULTS / 2) + warp * 16 + lane / 4 * 2; // and 64 on, in moe_down_hopper
#pragma unroll
    for (int n = 0; n < TOKENS / 8; n++) {
      int at = n * 8 + lane % 4 * 2;
      float share[2];
      if (UP) asm volatile("ld.shared.v2.f32 {%0,%1}, [%2];" : "=f"(share[0]), "=f"(share[1]) : "r"(shared + SHARES_OF(round % SHARES) + at * 4) : "memory");
#pragma unroll
      for (int j = 0; j < 2; j++) {
        bf16* y = (bf16*)a.y + (size_t)(t.first + at + j) * a.out + row;
        bool there = at + j < t.count;
        const float *v = c[0] + n * 4 + j, *u = c[1] + n * 4 + j; // and two on: the next row
        if (UP) {
          float r[2];
#pragma unroll
          for (int h = 0; h < 2; h++) r[h] = v[h * 2] / (1.f + exp2_fast(-LOG2E * v[h * 2])) * u[h * 2] * share[j];
          if (there && row < a.out) *(u32*)y = pack(r[0], r[1]);
        } else {
          if (there && row < a.out) *(u32*)y = pack(v[0], v[2]);
          if (there && row + 64 < a.out) *(u32*)(y + 64) = pack(u[0], u[2]);
        }
      }
    }
  }
}

template <bool UP, bool TOKENS_IN>
__device__ __forceinline__ void experts(const ExpertArgs& a) {
  extern __shared__ __align__(128) u8 memory[];
  u32 shared = (shared_address(memory) + 1023) & ~1023u;
  if (threadIdx.x == 0)
    for (int i = 0; i < DEPTH; i++) barrier_init(shared + FULL_STAGE(i), 128), barrier_init(shared + FREE_STAGE(i), 8);
  __syncthreads();
  wait_for_previous();
  let_next_start();
  if (threadIdx.x / 128 == 2) {
    registers_lower<80>();
    produce<UP, TOKENS_IN>(a, shared);
  } else {
    registers_raise<208>();
    consume<UP>(a, shared);
  }
}

extern "C" __global__ void __launch_bounds__(384, 1) moe_up_hopper(const __grid_constant__ ExpertArgs a) { experts<true, true>(a); }
extern "C" __global__ void __launch_bounds__(384, 1) moe_down_hopper(const __grid_constant__ ExpertArgs a) { experts<false, false>(a); }
extern "C" __global__ void __launch_bounds__(384, 1) moe_plain_hopper(const __grid_constant__ ExpertArgs a) { experts<false, true>(a); }
