// moe_up_*, moe_down_*: the products of experts, as one product of many small
// matrices.
//   entries  Entry [N]          tokens at their experts, from moe_route.cu
//   tiles    Tile [*count]      up to 16, 32, 64 or 128 entries of one expert each
//   w        [E, 2I, H]         gates, then ups, of each expert; in moe_down_*
//            [E, H, I]
//   scales   of w
//   moe_up_*    x bf16 [T, H], y bf16 [N, I]
//               y[n] = share·silu(g)·u, where g|u = scale·x[token]·w[expert]ᵀ
//   moe_plain_* x bf16 [T, H], y bf16 [N, 2I], without gates: y[n] = x[token]·w[expert]ᵀ
//   moe_down_*  x bf16 [N, I], y bf16 [N, H]
//               y[n] = x[n]·w[expert]ᵀ
// H and I are multiples of 8.
// Math:    bf16 products, fp32 sums
//
// w is of so many BITS:
//   16  bf16
//   8   E4M3, of 16 inputs in the order of codes (kernel.PackFP8); H and I are multiples
//       of 128. scales f32 [E·outputs], of each output, or, with a stride, [E·outputs/128,
//       stride], of 128 outputs and 128 inputs, of which sums are multiplied by them
//   4   E2M1, of 64 inputs in the order of codes (kernel.PackMXFP4), which are multiples
//       of that. scales u8 [E·outputs, stride], one for 32 inputs: the exponent of what a
//       code is multiplied by, which makes it exact in bf16
//
// Weights are the tensor cores' left operand, 128 rows a block (64 gates and
// their ups in moe_up_*), a tile's tokens the right one; 64 of K at a time, of codes
// 128, pass through shared memory, whose 16-byte chunks are permuted by the row's last 3
// bits. The order of rows is free: a lane's rows are chosen so that it has both
// a gate and its up, and neighbours of them to store at once. Codes become bf16 in a lane's registers, and their
// bits lie so that this takes few instructions: with those of few tokens these are what
// counts, as much as memory.
//
// An item is those rows for one tile; copies go on from item to item. With
// tiles of 16 an item has half as many rows, and more copies are under way: what
// counts then is that every multiprocessor waits for memory. By the time
// moe_down_* starts tiles are there, since moe_up_* has waited for them: its
// weights are on their way before moe_up_* has ended.
//
// Launch:  two blocks a multiprocessor, of codes and tiles of 32 three, of 16 four; each
//          takes every so-many-th item
// Limit:   4·H·K FLOP for each entry, both 3·I·H numbers for each expert with one
// Checked: TestExperts, TestCodedExperts; emulate_experts_test.go, without a GPU
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

// Warps are M by N by S: each has 16·MT rows and 8·NT tokens of the block's, and one of S parts
// of K that passes at once, whose sums are added up at last.
// UP gates; with TOKENS_IN x has a row for each token, which entries name.
template <int BITS, bool UP, bool TOKENS_IN, int M, int N, int S, int MT, int NT, int DEPTH>
__device__ __forceinline__ void experts(const ExpertArgs& a) {
  extern __shared__ __align__(128) u8 memory[];
  constexpr int BLOCK_ROWS = M * MT * 16, THREADS = M * N * S * WARP, TOKENS = N * NT * 8;
  // Of K that pass at once; and of rows of tokens and of weights their bytes and 16-byte
  // chunks, of weights permuted by what rows 128 bytes have in common.
  constexpr int PART_K = BITS == 16 ? 64 : 128, BLOCK_K = PART_K * S, X_BYTES = BLOCK_K * 2, X_CHUNKS = BLOCK_K / 8;
  constexpr int W_BYTES = BLOCK_K * BITS / 8, CHUNKS = W_BYTES / 16, BETWEEN = CHUNKS < 8 ? 8 / CHUNKS : 1, SCALES = BITS == 4 ? S * 4 : 0;
  constexpr int WEIGHTS = BLOCK_ROWS * (W_BYTES + SCALES), STAGE = WEIGHTS + TOKENS * X_BYTES;
  // So many lanes copy a row, 16 bytes each and as often as it takes, so many rows at once.
  constexpr int X_LANES = X_CHUNKS < 16 ? X_CHUNKS : 16, W_LANES = CHUNKS < 8 ? CHUNKS : 8, AT_ONCE = THREADS / X_LANES, W_AT_ONCE = THREADS / W_LANES;
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, wm = warp / N / S, wn = warp % N, ws = warp / N % S;
  u32 shared = shared_address(memory);
  constexpr int HALF = UP ? BLOCK_ROWS / 2 : BLOCK_ROWS; // rows of the result
  int parts = (a.out + HALF - 1) / HALF, steps = (a.in + BLOCK_K - 1) / BLOCK_K;

  if (TOKENS_IN) wait_for_previous();
  int tiles = fresh(a.count);

  // An item is a part of a tile's rows; a block's next one is so many on.
  struct Item {
    int tile, part;
  };
  int tiles_on = gridDim.x / parts, parts_on = gridDim.x % parts;
  auto go_on = [&](Item i) {
    i.tile += tiles_on, i.part += parts_on;
    if (i.part >= parts) i.part -= parts, i.tile++;
    return i;
  };
  Item own = {(int)(blockIdx.x / parts), (int)(blockIdx.x % parts)};

  // What is copied next: an item, a piece of K, a stage it goes to.
  Item item = own;
  int step;
  u32 into;
  int copy_row = threadIdx.x / X_LANES, copy_chunk = threadIdx.x % X_LANES;
  u32 copy_to = shared + WEIGHTS + copy_row * X_BYTES + (copy_chunk ^ copy_row % 8) * 16;
  int w_row = threadIdx.x / W_LANES, w_chunk = threadIdx.x % W_LANES;
  u32 w_to = shared + w_row * W_BYTES + (w_chunk ^ w_row / BETWEEN % W_LANES) * 16;
  // Row r of shared memory, of warp row r/(16·MT), has its fragment's row r%16
  // of product r/16%MT: see the comment above.
  auto first_row = [&](int r, int part) { return part * HALF + (UP ? r % 8 : r % 16) * MT; };
  auto row_of = [&](int first, int r) { return first + r / 16 / MT * ((UP ? 8 : 16) * MT) + r / 16 % MT; };
  auto matrix_of = [&](int expert, int r) { return UP ? expert * 2 + r % 16 / 8 : expert; };
  // Of the item: where the piece's weights, scales and tokens begin, and how far from there the
  // thread's rows are. A row that is not there is another one: nothing of it is stored.
  constexpr u32 NONE = ~0u; // of tokens, whose place keeps what it has: nothing of that is stored, either
  const u8 *w, *scales;
  const bf16* x;
  u32 row_at[BLOCK_ROWS / W_AT_ONCE], token_at[TOKENS / AT_ONCE];
  ExpertTile next, first = tile_at(a.tiles, own.tile, own.tile < tiles);
  auto find = [&] {
    ExpertTile t = next;
    int after = go_on(item).tile;
    next = tile_at(a.tiles, after, after < tiles);
    int row = first_row(w_row, item.part), row_bytes = a.in * BITS / 8;
    w = (const u8*)a.w + (size_t)matrix_of(t.expert, w_row) * a.out * row_bytes + w_chunk * 16;
#pragma unroll
    for (int i = 0; i < BLOCK_ROWS / W_AT_ONCE; i++) row_at[i] = (u32)min(row_of(row, w_row + i * W_AT_ONCE), a.out - 1) * row_bytes;
    if (BITS == 4) {
      int r = threadIdx.x / S;
      row = min(row_of(first_row(r, item.part), r), a.out - 1);
      scales = (const u8*)a.scales + ((size_t)matrix_of(t.expert, r) * a.out + row) * a.stride + threadIdx.x % S * 4;
    }
    x = a.x + copy_chunk * 8;
#pragma unroll
    for (int i = 0; i < TOKENS / AT_ONCE; i++) {
      int n = copy_row + i * AT_ONCE;
      token_at[i] = n >= t.count ? NONE : (u32)(TOKENS_IN ? a.entries[t.first + n].token : t.first + n) * a.in;
    }
  };
  auto begin = [&] {
    item = own, step = 0, into = 0, next = first;
    if (item.tile < tiles) find();
  };
  auto load = [&](bool weights, bool tokens) {
    if (item.tile < tiles) {
      int k = step * BLOCK_K;
#pragma unroll
      for (int h = 0; h < CHUNKS / W_LANES && weights; h++)
#pragma unroll
        for (int i = 0; i < BLOCK_ROWS / W_AT_ONCE; i++)
          copy16(w_to + into + i * W_AT_ONCE * W_BYTES + h * W_LANES * 16, w + row_at[i] + h * W_LANES * 16, k + (w_chunk + h * W_LANES) * (BLOCK_K / CHUNKS) < a.in);
      if (BITS == 4 && weights && threadIdx.x < BLOCK_ROWS * S)
        copy4(shared + into + BLOCK_ROWS * W_BYTES + threadIdx.x * 4, scales, S == 1 || k + (int)threadIdx.x % S * PART_K < a.in);
#pragma unroll
      for (int h = 0; h < X_CHUNKS / X_LANES && tokens; h++)
#pragma unroll
        for (int i = 0; i < TOKENS / AT_ONCE; i++)
          if (token_at[i] != NONE) copy16(copy_to + into + i * AT_ONCE * X_BYTES + h * X_LANES * 16, x + token_at[i] + h * X_LANES * 8, k + (copy_chunk + h * X_LANES) * 8 < a.in);
      w += W_BYTES, scales += SCALES, x += BLOCK_K;
      if (++step == steps) {
        step = 0, item = go_on(item);
        if (item.tile < tiles) find();
      }
    }
    if (tokens) copies_commit();
    into = into == (DEPTH - 1) * STAGE ? 0 : into + STAGE;
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
  u32 a_at = (wm * MT * 16 + lane % 16) * W_BYTES, a_chunk = lane / 16, a_turn = lane % 8 / BETWEEN;
  u32 b_at = WEIGHTS + (wn * NT * 8 + lane / 16 * 8 + lane % 8) * X_BYTES + ws * PART_K * 2, b_chunk = lane / 8 % 2;
  u32 b_turn = lane % 8;
  constexpr int PART_BYTES = PART_K * BITS / 8;
  if (PART_BYTES % 128 == 0) {
    a_at += ws * PART_BYTES;
  } else {
    a_turn ^= ws * (PART_BYTES / 16);
  }
  u32 base = shared;
  for (Item i = own; i.tile < tiles; i = go_on(i)) {
    ExpertTile t = tile_at(a.tiles, i.tile, true);
    float c[MT][NT][4];
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
      for (int n = 0; n < NT; n++) c[m][n][0] = c[m][n][1] = c[m][n][2] = c[m][n][3] = 0.f;
    // Scales of blocks, of 128 inputs and the block's rows, of gates and of ups.
    const float* of[2];
    float sum[BITS == 8 ? MT : 1][NT][4], block[2] = {1.f, 1.f};
    auto begin_block = [&](int s) {
#pragma unroll
      for (int h = 0; h < 2; h++)
        if (a.stride) block[h] = S == 1 || (s * S + ws) * PART_K < a.in ? of[h][s * S + ws] : 0.f;
#pragma unroll
      for (int m = 0; m < MT; m++)
#pragma unroll
        for (int n = 0; n < NT; n++) sum[m][n][0] = sum[m][n][1] = sum[m][n][2] = sum[m][n][3] = 0.f;
    };
    auto end_block = [&] {
#pragma unroll
      for (int m = 0; m < MT; m++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
          for (int j = 0; j < 4; j++) c[m][n][j] += block[j / 2] * sum[m][n][j];
    };
    if (BITS == 8)
#pragma unroll
      for (int h = 0; h < 2; h++)
        of[h] = (const float*)a.scales + (size_t)((matrix_of(t.expert, h * 8) * a.out + i.part * HALF) / 128) * a.stride;
    auto multiply = [&](int live) { // so many of NT tiles of tokens; inlined for each
      for (int s = 0; s < steps; s++) {
        if (BITS == 8) begin_block(s);
        copies_wait<DEPTH - 2>();
        __syncthreads(); // this stage is here for all, and the one before it has been read by all
        load(true, true);
        // Of 16 rows two chunks as they lie, which are so many products of 16 inputs; of 4 bits
        // the scales of all, and what numbers of the rows of now are multiplied by.
        constexpr int EACH = BITS == 16 ? 1 : 32 / BITS / 2;
        u32 words[MT][4], four[BITS == 4 ? MT : 1][2], by[BITS == 4 ? MT : 1][2];
        if (BITS == 4)
#pragma unroll
          for (int m = 0; m < MT; m++)
#pragma unroll
            for (int h = 0; h < 2; h++) four[m][h] = load_shared4(base + BLOCK_ROWS * W_BYTES + (((wm * MT + m) * 16 + lane / 4 + h * 8) * S + ws) * 4);
#pragma unroll
        for (int k = 0; k < PART_K / 16; k++) {
          u32 rows[MT][4], tokens[NT / 2][4];
#pragma unroll
          for (int m = 0; m < MT; m++) {
            if (k % EACH == 0) load_matrices(words[m], base + a_at + m * 16 * W_BYTES + ((k / EACH * 2 + a_chunk) ^ a_turn) * 16);
            if (BITS == 4 && k % 2 == 0)
#pragma unroll
              for (int h = 0; h < 2; h++) by[m][h] = by4(four[m][h], k / 2);
#pragma unroll
            for (int j = 0; j < 4; j++) { // of row j%2, pair j/2
              if (BITS == 16) rows[m][j] = words[m][j];
              if (BITS == 8) rows[m][j] = pair8(words[m][k % 2 * 2 + j % 2], j / 2);
              if (BITS == 4) rows[m][j] = pair4(words[m][j % 2], words[m][2 + j % 2], k % 4 * 2 + j / 2, by[BITS == 4 ? m : 0][j % 2]);
            }
          }
#pragma unroll
          for (int n = 0; n < NT / 2; n++)
            if (n < live / 2) load_matrices(tokens[n], base + b_at + n * 16 * X_BYTES + ((k * 2 + b_chunk) ^ b_turn) * 16);
#pragma unroll
          for (int m = 0; m < MT; m++)
#pragma unroll
            for (int n = 0; n < NT; n++)
              if (n < live) multiply_add(BITS == 8 ? sum[BITS == 8 ? m : 0][n] : c[m][n], rows[m], tokens[n / 2][n % 2 * 2], tokens[n / 2][n % 2 * 2 + 1]);
        }
        if (BITS == 8) end_block();
        base = base == shared + (DEPTH - 1) * STAGE ? shared : base + STAGE;
      }
    };
    if (NT == 8 && t.count <= NT * 4) {
      multiply(NT / 2);
    } else {
      multiply(NT);
    }
    if (S > 1) { // before the next sums go there all have met
      u32 at = shared + DEPTH * STAGE + (wm * N + wn) * MT * NT * 4 * WARP * 4 + lane * 4;
#pragma unroll
      for (int e = 0; e < MT * NT * 4 && ws > 0; e++) store_shared(at + e * WARP * 4, c[e / 4 / NT][e / 4 % NT][e % 4]);
      __syncthreads();
      if (ws > 0) continue;
#pragma unroll
      for (int e = 0; e < MT * NT * 4; e++) c[e / 4 / NT][e / 4 % NT][e % 4] += __uint_as_float(load_shared4(at + e * WARP * 4));
    }

    int row = i.part * HALF + wm * (HALF / M) + lane / 4 * MT; // of MT behind one another
    if (BITS == 8 && !a.stride) // an output's scale
#pragma unroll
      for (int h = 0; h < 2; h++)
#pragma unroll
        for (int m = 0; m < MT; m++) {
          int output = min(row + (UP ? 0 : h * 8 * MT) + m, a.out - 1);
          float scale = ((const float*)a.scales)[(size_t)matrix_of(t.expert, h * 8) * a.out + output];
#pragma unroll
          for (int n = 0; n < NT; n++) c[m][n][h * 2] *= scale, c[m][n][h * 2 + 1] *= scale;
        }
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

// moe_widen_*: codes of experts as bf16 in the order of inputs, of so many rows.
//   y bf16 [rows, in]
// moe_down_* reads weights before it waits: so the next kernel starts when all of this one
// is written.
// Launch:  a warp a row, eight to a block; a lane writes eight inputs at a time
// Limit:   memory traffic: what is read and written
// Checked: TestCodedExperts; emulate_experts_test.go
struct WidenExpertsArgs {
  const u8* w;
  const void* scales;
  bf16* y;
  long long rows;
  int in, stride;
};

template <int BITS>
__device__ __forceinline__ void widen_experts(const WidenExpertsArgs& a) {
  constexpr int EACH = BITS == 8 ? 16 : 64, BYTES = EACH * BITS / 8; // inputs whose codes lie together
  wait_for_previous();
  long long row = (long long)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
  if (row >= a.rows) return;
  const u8* w = a.w + row * a.in * BITS / 8;
  for (int eight = threadIdx.x % WARP; eight < a.in / 8; eight += WARP) {
    int part = eight * 8 / EACH, pair = eight % (EACH / 8);
    Vec4 v = load16(w + part * BYTES), next = BITS == 4 ? load16(w + part * BYTES + 16) : v;
    u32 words[4] = {v.x, v.y, v.z, v.w}, others[4] = {next.x, next.y, next.z, next.w}, pairs[4];
    u32 by = BITS == 4 ? by4(((const u8*)a.scales)[row * a.stride + eight / 4], 0) : 0;
    float scale = BITS == 4 ? 0.f : ((const float*)a.scales)[a.stride ? row / 128 * a.stride + eight / 16 : row];
#pragma unroll
    for (int q = 0; q < 4; q++) {
      u32 two = BITS == 4 ? pair4(words[q], others[q], pair, by) : pair8(words[q], pair);
      pairs[q] = BITS == 4 ? two : pack(low(two) * scale, high(two) * scale);
    }
    store16(a.y + row * a.in + eight * 8, {pairs[0], pairs[1], pairs[2], pairs[3]});
  }
  __threadfence();
}
