// moe_up_*, moe_down_*: the products of experts, as one product of many small
// matrices.
//   entries  Entry [N]          tokens at their experts, from moe_route.cu
//   tiles    Tile [*count]      up to 16, 32, 64 or 128 entries of one expert each
//   w        bf16 [E, 2I, H]    gates, then ups, of each expert; in moe_down_*
//            bf16 [E, H, I]
//   moe_up_*    x bf16 [T, H], y bf16 [N, I]
//               y[n] = share·silu(g)·u, where g|u = scale·x[token]·w[expert]ᵀ
//   moe_plain_* x bf16 [T, H], y bf16 [N, 2I], without gates: y[n] = x[token]·w[expert]ᵀ
//   moe_down_*  x bf16 [N, I], y bf16 [N, H]
//               y[n] = x[n]·w[expert]ᵀ
// H and I are multiples of 8.
// Math:    bf16 products, fp32 sums
//
// Weights are the tensor cores' left operand, 128 rows a block (64 gates and
// their ups in moe_up_*), a tile's tokens the right one; 64 of K at a time pass
// through shared memory, whose 16-byte chunks are permuted by the row's last 3
// bits. The order of rows is free: a lane's rows are chosen so that it has both
// a gate and its up, and neighbours of them to store at once.
//
// An item is those rows for one tile; copies go on from item to item. With
// tiles of 16 an item has half as many rows, and more copies are under way: what
// counts then is that every multiprocessor waits for memory. By the time
// moe_down_* starts tiles are there, since moe_up_* has waited for them: its
// weights are on their way before moe_up_* has ended.
//
// Launch:  two blocks a multiprocessor; each takes every so-many-th item
// Limit:   4·H·K FLOP for each entry, both 6·I·H bytes for each expert with one
// Checked: TestExperts against ref.Experts
#define BLOCK_K 64
#define ROW_BYTES (BLOCK_K * 2)

template <int MT>
__device__ __forceinline__ void store(bf16* to, const float (&v)[MT]) {
  if (MT == 1) {
    *to = to_bf16(v[0]);
  } else if (MT == 2) {
    *(u32*)to = pack(v[0], v[MT - 1]);
  } else {
    *(u64*)to = pack(v[0], v[MT / 2 - 1]) | (u64)pack(v[MT - 2], v[MT - 1]) << 32;
  }
}

// Warps are M by N: each has 16·MT rows and 8·NT tokens of the block's.
// UP gates; with TOKENS_IN x has a row for each token, which entries name.
template <bool UP, bool TOKENS_IN, int M, int N, int MT, int NT, int DEPTH>
__device__ __forceinline__ void experts(const ExpertArgs& a) {
  extern __shared__ __align__(128) u8 memory[];
  constexpr int BLOCK_ROWS = M * MT * 16, THREADS = M * N * WARP, TOKENS = N * NT * 8;
  constexpr int STAGE = (BLOCK_ROWS + TOKENS) * ROW_BYTES;
  constexpr int AT_ONCE = THREADS / 8; // rows copied at once, a lane 16 bytes
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, wm = warp / N, wn = warp % N;
  u32 shared = shared_address(memory);
  constexpr int HALF = UP ? BLOCK_ROWS / 2 : BLOCK_ROWS; // rows of the result
  int parts = (a.out + HALF - 1) / HALF, steps = (a.in + BLOCK_K - 1) / BLOCK_K;

  if (TOKENS_IN) wait_for_previous();
  int items = fresh(a.count) * parts;

  // What is copied next: an item, a piece of K, a stage it goes to.
  int item, step, into;
  int copy_row = threadIdx.x / 8, copy_chunk = threadIdx.x % 8;
  u32 copy_to = shared + copy_row * ROW_BYTES + (copy_chunk ^ copy_row % 8) * 16;
  // Row r of shared memory, of warp row r/(16·MT), has its fragment's row r%16
  // of product r/16%MT: see the comment above.
  int fragment = copy_row % 16, piece = copy_row / 16;
  const bf16* w;
  int row0, token[TOKENS / AT_ONCE];
  ExpertTile next, first = tile_at(a.tiles, blockIdx.x / parts, (int)blockIdx.x < items);
  auto find = [&] {
    ExpertTile t = next;
    int after = item + gridDim.x;
    next = tile_at(a.tiles, after / parts, after < items);
    int part = item % parts;
    if (UP) {
      row0 = part * HALF + fragment % 8 * MT;
      w = a.w + ((size_t)t.expert * 2 + fragment / 8) * a.out * a.in;
    } else {
      row0 = part * HALF + fragment * MT;
      w = a.w + (size_t)t.expert * a.out * a.in;
    }
#pragma unroll
    for (int i = 0; i < TOKENS / AT_ONCE; i++) {
      int n = copy_row + i * AT_ONCE;
      token[i] = n >= t.count ? -1 : TOKENS_IN ? a.entries[t.first + n].token : t.first + n;
    }
  };
  auto begin = [&] {
    item = blockIdx.x, step = 0, into = 0, next = first;
    if (item < items) find();
  };
  auto load = [&](bool weights, bool tokens) {
    if (item < items) {
      int k = step * BLOCK_K + copy_chunk * 8;
      bool inside = k < a.in;
      u32 to = copy_to + into * STAGE;
#pragma unroll
      for (int i = 0; i < BLOCK_ROWS / AT_ONCE; i++) {
        int p = piece + i * (AT_ONCE / 16), row = row0 + p / MT * ((UP ? 8 : 16) * MT) + p % MT;
        bool there = inside && row < a.out;
        if (weights) copy16(to + i * AT_ONCE * ROW_BYTES, w + (there ? (size_t)row * a.in + k : 0), there);
      }
      to += BLOCK_ROWS * ROW_BYTES;
#pragma unroll
      for (int i = 0; i < TOKENS / AT_ONCE; i++) {
        bool there = inside && token[i] >= 0;
        if (tokens) copy16(to + i * AT_ONCE * ROW_BYTES, a.x + (there ? (size_t)token[i] * a.in + k : 0), there);
      }
      if (++step == steps) {
        step = 0, item += gridDim.x;
        if (item < items) find();
      }
    }
    if (tokens) copies_commit();
    into = into == DEPTH - 1 ? 0 : into + 1;
  };
  begin();
  if (!TOKENS_IN) {
#pragma unroll
    for (int s = 0; s < DEPTH - 1; s++) load(true, false);
    wait_for_previous();
    begin();
  }
  let_next_start();
#pragma unroll
  for (int s = 0; s < DEPTH - 1; s++) load(TOKENS_IN, true);

  // Where the lane's rows of operands begin, and which of their chunks it takes.
  u32 a_at = (wm * MT * 16 + lane % 16) * ROW_BYTES, a_chunk = lane / 16;
  u32 b_at = BLOCK_ROWS * ROW_BYTES + (wn * NT * 8 + lane / 16 * 8 + lane % 8) * ROW_BYTES, b_chunk = lane / 8 % 2;
  u32 turn = lane % 8; // of either row
  int stage = 0;
  for (int i = blockIdx.x; i < items; i += gridDim.x) {
    ExpertTile t = tile_at(a.tiles, i / parts, true);
    float c[MT][NT][4];
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
      for (int n = 0; n < NT; n++) c[m][n][0] = c[m][n][1] = c[m][n][2] = c[m][n][3] = 0.f;
    for (int s = 0; s < steps; s++) {
      copies_wait<DEPTH - 2>();
      __syncthreads(); // this stage is here for all, and the one before it has been read by all
      load(true, true);
      u32 base = shared + stage * STAGE;
#pragma unroll
      for (int k = 0; k < BLOCK_K / 16; k++) {
        u32 rows[MT][4], tokens[NT / 2][4];
#pragma unroll
        for (int m = 0; m < MT; m++) load_matrices(rows[m], base + a_at + m * 16 * ROW_BYTES + ((k * 2 + a_chunk) ^ turn) * 16);
#pragma unroll
        for (int n = 0; n < NT / 2; n++) load_matrices(tokens[n], base + b_at + n * 16 * ROW_BYTES + ((k * 2 + b_chunk) ^ turn) * 16);
#pragma unroll
        for (int m = 0; m < MT; m++)
#pragma unroll
          for (int n = 0; n < NT; n++) multiply_add(c[m][n], rows[m], tokens[n / 2][n % 2 * 2], tokens[n / 2][n % 2 * 2 + 1]);
      }
      stage = stage == DEPTH - 1 ? 0 : stage + 1;
    }

    int row = i % parts * HALF + wm * (HALF / M) + lane / 4 * MT; // of MT behind one another
    int at = wn * NT * 8 + lane % 4 * 2; // of the tile's entries, and every 8th from there, and each one's next
    float share[NT][2], scale[NT][2];
    if (UP) {
#pragma unroll
      for (int n = 0; n < NT; n++)
#pragma unroll
        for (int j = 0; j < 2; j++) {
          Vec4 entry = load16(a.entries + t.first + min(at + n * 8 + j, t.count - 1));
          share[n][j] = __uint_as_float(entry.y), scale[n][j] = __uint_as_float(entry.z);
        }
    }
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
      for (int j = 0; j < 2; j++) {
        if (at + n * 8 + j >= t.count) continue;
        bf16* y = (bf16*)a.y + (size_t)(t.first + at + n * 8 + j) * a.out + row;
        float v[MT];
        if (UP) {
#pragma unroll
          for (int m = 0; m < MT; m++) {
            float g = c[m][n][j] * scale[n][j];
            v[m] = g / (1.f + exp2_fast(-LOG2E * g)) * (c[m][n][j + 2] * scale[n][j]) * share[n][j];
          }
          if (row < a.out) store(y, v);
        } else {
#pragma unroll
          for (int h = 0; h < 2; h++) {
#pragma unroll
            for (int m = 0; m < MT; m++) v[m] = c[m][n][j + h * 2];
            if (row + h * 8 * MT < a.out) store(y + h * 8 * MT, v);
          }
        }
      }
  }
  copies_wait<0>();
}

extern "C" __global__ void __launch_bounds__(128, 2) moe_up_16(const __grid_constant__ ExpertArgs a) { experts<true, true, 4, 1, 1, 2, 8>(a); }
extern "C" __global__ void __launch_bounds__(128, 2) moe_up_32(const __grid_constant__ ExpertArgs a) { experts<true, true, 4, 1, 2, 4, 4>(a); }
extern "C" __global__ void __launch_bounds__(128, 2) moe_up_64(const __grid_constant__ ExpertArgs a) { experts<true, true, 2, 2, 4, 4, 4>(a); }
extern "C" __global__ void __launch_bounds__(256, 2) moe_up_128(const __grid_constant__ ExpertArgs a) { experts<true, true, 2, 4, 4, 4, 3>(a); }
extern "C" __global__ void __launch_bounds__(128, 2) moe_down_16(const __grid_constant__ ExpertArgs a) { experts<false, false, 4, 1, 1, 2, 8>(a); }
extern "C" __global__ void __launch_bounds__(128, 2) moe_down_32(const __grid_constant__ ExpertArgs a) { experts<false, false, 4, 1, 2, 4, 4>(a); }
extern "C" __global__ void __launch_bounds__(128, 2) moe_down_64(const __grid_constant__ ExpertArgs a) { experts<false, false, 2, 2, 4, 4, 4>(a); }
extern "C" __global__ void __launch_bounds__(256, 2) moe_down_128(const __grid_constant__ ExpertArgs a) { experts<false, false, 2, 4, 4, 4, 3>(a); }
extern "C" __global__ void __launch_bounds__(128, 2) moe_plain_16(const __grid_constant__ ExpertArgs a) { experts<false, true, 4, 1, 1, 2, 8>(a); }
extern "C" __global__ void __launch_bounds__(128, 2) moe_plain_32(const __grid_constant__ ExpertArgs a) { experts<false, true, 4, 1, 2, 4, 4>(a); }
extern "C" __global__ void __launch_bounds__(128, 2) moe_plain_64(const __grid_constant__ ExpertArgs a) { experts<false, true, 2, 2, 4, 4, 4>(a); }
extern "C" __global__ void __launch_bounds__(256, 2) moe_plain_128(const __grid_constant__ ExpertArgs a) { experts<false, true, 2, 4, 4, 4, 3>(a); }
