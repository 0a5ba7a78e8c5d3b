// moe_hopper_codes: the products of moe_hopper.cu of experts in codes (moe_tiles.cuh), which
// become bf16 in the registers of the warpgroups that multiply them, for sm_90a. It comes
// after moe.cuh, hopper.cuh and moe_codes.cuh. Scales of entries are 1, as moe_group leaves
// them.
// Math:    bf16 products, fp32 sums; of E4M3 by blocks numbers are rounded to bf16 once more
//
// An item is 256 rows of weights for one tile of 128 entries, as there. 128 of K pass at once:
// tokens in two halves of 64, as products read them; codes in rows, their chunks permuted.
//
// Launch:  a block of 384 a multiprocessor; each takes every so-many-th item
// Limit:   4·H·K FLOP for each entry, codes and scales for each expert with one
// Checked: TestCodedExperts; emulate_experts_test.go, without a GPU
#define WEIGHTS 256
#define TOKENS 128
#define PIECE_K 128
#define SHARES 8 // items whose shares are kept: more than have begun at once

// What a block shares, from a multiple of 1024 on: stages, of tokens, codes and their scales;
// shares; barriers.
template <int BITS>
struct Layout {
  static constexpr int ROW = PIECE_K * BITS / 8, SCALES = BITS == 4 ? 4 : 0, CODES_AT = TOKENS * PIECE_K * 2, SCALES_AT = CODES_AT + WEIGHTS * ROW;
  static constexpr int STAGE = SCALES_AT + WEIGHTS * SCALES, DEPTH = BITS == 4 ? 4 : 3;
  static constexpr int SHARES_AT = DEPTH * STAGE, FULL_AT = SHARES_AT + SHARES * TOKENS * 4, FREE_AT = FULL_AT + DEPTH * 8;
  static_assert(STAGE % 1024 == 0, "products read rows of tokens at multiples of 1024");
};

// Of tokens in shared memory, for products: rows of 128 bytes whose 16-byte chunks are
// permuted by the row's last 3 bits; groups of 8 are 1024 bytes apart.
__device__ __forceinline__ u64 tokens_at(u32 at) { return (u64)(at >> 4) | (u64)1 << 16 | (u64)(1024 >> 4) << 32 | (u64)1 << 62; }

// The row of a matrix that is row r of so many results from first on; of gates and ups each 64
// are followed by the other's. A thread's rows of 16, the l-th and 8 on, are neighbours.
template <bool UP>
__device__ __forceinline__ int row_at(int first, int r, int out) {
  int row = first + r % 8 * 2 + r / 8 % 2 + (UP ? r / 128 * 4 + r / 16 % 4 : r / 16) * 16;
  return min(row, out - 1) + (UP ? r / 64 % 2 * out : 0);
}

template <int BITS, bool UP, bool TOKENS_IN>
__device__ __forceinline__ void produce(const ExpertArgs& a, u32 shared) {
  using L = Layout<BITS>;
  constexpr int RESULTS = UP ? WEIGHTS / 2 : WEIGHTS, CHUNKS = L::ROW / 16, AT_ONCE = 128 / CHUNKS, BETWEEN = 8 / CHUNKS;
  int thread = threadIdx.x % 128, row = thread / 8, chunk = thread % 8, w_row = thread / CHUNKS, w_chunk = thread % CHUNKS;
  int parts = (a.out + RESULTS - 1) / RESULTS, items = *a.count * parts, row_bytes = a.in * BITS / 8;
  u32 token_to = shared + row * 128 + (chunk ^ row % 8) * 16, w_to = shared + L::CODES_AT + w_row * L::ROW + (w_chunk ^ w_row / BETWEEN % CHUNKS) * 16;
  ExpertTile next = tile_at(a.tiles, blockIdx.x / parts, (int)blockIdx.x < items);
  Place<L::DEPTH> p;
  for (int item = blockIdx.x, round = 0; item < items; item += gridDim.x, round++) {
    ExpertTile t = next;
    next = tile_at(a.tiles, (item + gridDim.x) / parts, item + (int)gridDim.x < items);
    // Where a row or a token is not there another is copied, or none: nothing of theirs is stored.
    int first = item % parts * RESULTS, of = t.expert * (UP ? 2 : 1) * a.out;
    const u8 *w = (const u8*)a.w + (size_t)of * row_bytes + w_chunk * 16, *scales = (const u8*)a.scales + (size_t)of * a.stride;
    const bf16* x = a.x + chunk * 8;
    u32 weight_at[WEIGHTS / AT_ONCE], token_at[TOKENS / 16], scale_at[2];
#pragma unroll
    for (int i = 0; i < WEIGHTS / AT_ONCE; i++) weight_at[i] = (u32)row_at<UP>(first, w_row + i * AT_ONCE, a.out) * row_bytes;
#pragma unroll
    for (int i = 0; i < 2; i++) scale_at[i] = (u32)row_at<UP>(first, thread + i * 128, a.out) * a.stride;
#pragma unroll
    for (int i = 0; i < TOKENS / 16; i++) {
      int entry = t.first + min(row + i * 16, t.count - 1);
      token_at[i] = (u32)(TOKENS_IN ? a.entries[entry].token : entry) * a.in;
    }
    for (int k = 0; k < a.in; k += PIECE_K, w += L::ROW, scales += L::SCALES, x += PIECE_K) {
      barrier_wait(shared + L::FREE_AT + p.i * 8, p.phase ^ 1);
      u32 stage = p.i * L::STAGE;
#pragma unroll
      for (int i = 0; i < WEIGHTS / AT_ONCE; i++) copy16(w_to + stage + i * AT_ONCE * L::ROW, w + weight_at[i], k + w_chunk * (PIECE_K / CHUNKS) < a.in);
      if (BITS == 4)
#pragma unroll
        for (int i = 0; i < 2; i++) copy4(shared + L::SCALES_AT + stage + (thread + i * 128) * 4, scales + scale_at[i], true);
#pragma unroll
      for (int i = 0; i < TOKENS / 16; i++)
        if (i * 16 < t.count)
#pragma unroll
          for (int h = 0; h < 2; h++) copy16(token_to + stage + h * TOKENS * 128 + i * 16 * 128, x + token_at[i] + h * 64, k + h * 64 + chunk * 8 < a.in);
      if (UP && k == 0 && thread < t.count) copy4(shared + L::SHARES_AT + (round % SHARES * TOKENS + thread) * 4, &a.entries[t.first + thread].share, true);
      barrier_arrive_copied(shared + L::FULL_AT + p.i * 8);
      p.next();
    }
  }
  copies_commit();
  copies_wait<0>();
}

// A piece's products: of a warp's 16 rows in both of its 64, and of tokens, or half of them;
// given is told when those before are done.
template <int BITS, bool HALF, class Given>
__device__ __forceinline__ void multiply_codes(float (&c)[2][64], u32 stage, u32 codes, u32 scales, bool by_block, const float (&block)[2], Given given) {
  using L = Layout<BITS>;
  constexpr int CHUNKS = L::ROW / 16, BETWEEN = 8 / CHUNKS;
  int lane = threadIdx.x % WARP;
  u32 v[2][2][4], words[2][4], four[2][2], by[2][2];
#pragma unroll
  for (int s = 0; s < PIECE_K / 16; s++) { // some become numbers while those before are multiplied
#pragma unroll
    for (int m = 0; m < 2; m++) {
      constexpr int EACH = BITS == 8 ? 2 : 4; // products of 16 inputs of two chunks
      if (s % EACH == 0) load_matrices(words[m], codes + (m * 64 + lane % 16) * L::ROW + ((s / EACH * 2 + lane / 16) ^ lane % 8 / BETWEEN) * 16);
      if (BITS == 4 && s % 2 == 0)
#pragma unroll
        for (int h = 0; h < 2; h++) {
          if (s == 0) four[m][h] = load_shared4(scales + (m * 64 + h * 8) * 4);
          by[m][h] = by4(four[m][h], s / 2);
        }
#pragma unroll
      for (int i = 0; i < 4; i++) { // of row i%2, pair i/2
        u32 pair = BITS == 4 ? pair4(words[m][i % 2], words[m][2 + i % 2], s % 4 * 2 + i / 2, by[m][i % 2]) : pair8(words[m][s % 2 * 2 + i % 2], i / 2);
        v[s % 2][m][i] = BITS == 8 && by_block ? pack(low(pair) * block[m], high(pair) * block[m]) : pair;
      }
    }
#pragma unroll
    for (int m = 0; m < 2; m++) pin(c[m]);
    products_begin();
    u64 x = tokens_at(stage + s / 4 * (TOKENS * 128)) + s % 4 * 2;
#pragma unroll
    for (int m = 0; m < 2; m++) {
      if (HALF) {
        product_rows_half(c[m], v[s % 2][m], x);
      } else {
        product_rows(c[m], v[s % 2][m], x);
      }
    }
    products_commit();
    products_wait<1>();
    if (s == 0) given();
  }
}

template <int BITS, bool UP>
__device__ __forceinline__ void consume(const ExpertArgs& a, u32 shared) {
  using L = Layout<BITS>;
  constexpr int RESULTS = UP ? WEIGHTS / 2 : WEIGHTS;
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP % 4;
  int group = __shfl_sync(FULL, threadIdx.x / 128, 0); // so that the compiler knows it is a warp's
  int parts = (a.out + RESULTS - 1) / RESULTS, steps = (a.in + PIECE_K - 1) / PIECE_K, items = *a.count * parts;
  u32 own = group * 128 + warp * 16; // rows of weights, and 64 on
  u32 codes_at = shared + L::CODES_AT + own * L::ROW, scales_at = shared + L::SCALES_AT + (own + lane / 4) * 4;
  float c[2][64];
  Place<L::DEPTH> p;
  auto give = [&](int stage) { // one that the warp has read
    if (lane == 0) barrier_arrive(shared + L::FREE_AT + stage * 8);
  };
  ExpertTile next = tile_at(a.tiles, blockIdx.x / parts, (int)blockIdx.x < items);
  for (int item = blockIdx.x, round = 0; item < items; item += gridDim.x, round++) {
    ExpertTile t = next;
    next = tile_at(a.tiles, (item + gridDim.x) / parts, item + (int)gridDim.x < items);
#pragma unroll
    for (int i = 0; i < 64; i++) c[0][i] = c[1][i] = 0.f;
    // What of the first 64 rows, and of the others, is: gates and ups, or behind one another.
    int first = item % parts * RESULTS, row = first + group * (RESULTS / 2) + warp * 16 + lane / 4 * 2; // and 64 on, where nothing is gated
    int of = t.expert * (UP ? 2 : 1) * a.out;
    const float *scales = (const float*)a.scales, *blocks[2];
    float block[2], coming[2] = {1.f, 1.f};
    bool by_block = BITS == 8 && a.stride;
#pragma unroll
    for (int m = 0; m < 2; m++) {
      blocks[m] = scales + (size_t)((of + (UP ? m * a.out + first : first + group * 128)) / 128) * a.stride;
      if (by_block) coming[m] = *blocks[m];
    }
    auto multiply = [&](bool half) { // inlined for either
      int before = 0;
      for (int s = 0; s < steps; s++) {
#pragma unroll
        for (int m = 0; m < 2; m++) {
          block[m] = coming[m];
          if (by_block && s + 1 < steps) coming[m] = blocks[m][s + 1];
        }
        barrier_wait(shared + L::FULL_AT + p.i * 8, p.phase);
        copies_visible();
        u32 stage = p.i * L::STAGE;
        auto given = [&] {
          if (s > 0) give(before); // the products before these
        };
        if (half) {
          multiply_codes<BITS, true>(c, shared + stage, codes_at + stage, scales_at + stage, by_block, block, given);
        } else {
          multiply_codes<BITS, false>(c, shared + stage, codes_at + stage, scales_at + stage, by_block, block, given);
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

    float by[2][2] = {{1.f, 1.f}, {1.f, 1.f}}; // an output's scale, of two neighbours
    if (BITS == 8 && !a.stride)
#pragma unroll
      for (int m = 0; m < 2; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) by[m][h] = scales[of + (UP ? m * a.out : 0) + min(row + (UP ? 0 : m * 64) + h, a.out - 1)];
#pragma unroll
    for (int n = 0; n < TOKENS / 8; n++) {
      int at = n * 8 + lane % 4 * 2;
#pragma unroll
      for (int j = 0; j < 2; j++) {
        if (at + j >= t.count) continue;
        bf16* y = (bf16*)a.y + (size_t)(t.first + at + j) * a.out + row;
        float r[2][2];
#pragma unroll
        for (int m = 0; m < 2; m++)
#pragma unroll
          for (int h = 0; h < 2; h++) r[m][h] = c[m][n * 4 + j + h * 2] * by[m][h];
        if (UP) {
          float share = __uint_as_float(load_shared4(shared + L::SHARES_AT + (round % SHARES * TOKENS + at + j) * 4));
#pragma unroll
          for (int h = 0; h < 2; h++) r[0][h] = r[0][h] / (1.f + exp2_fast(-LOG2E * r[0][h])) * r[1][h] * share;
          if (row < a.out) *(u32*)y = pack(r[0][0], r[0][1]);
        } else {
#pragma unroll
          for (int m = 0; m < 2; m++)
            if (row + m * 64 < a.out) *(u32*)(y + m * 64) = pack(r[m][0], r[m][1]);
        }
      }
    }
  }
}

template <int BITS, bool UP, bool TOKENS_IN>
__device__ __forceinline__ void experts(const ExpertArgs& a) {
  using L = Layout<BITS>;
  extern __shared__ __align__(128) u8 memory[];
  u32 shared = (shared_address(memory) + 1023) & ~1023u;
  if (threadIdx.x == 0)
    for (int i = 0; i < L::DEPTH; i++) barrier_init(shared + L::FULL_AT + i * 8, 128), barrier_init(shared + L::FREE_AT + i * 8, 8);
  __syncthreads();
  wait_for_previous();
  let_next_start();
  if (threadIdx.x / 128 == 2) {
    registers_lower<80>();
    produce<BITS, UP, TOKENS_IN>(a, shared);
  } else {
    registers_raise<208>();
    consume<BITS, UP>(a, shared);
  }
}
