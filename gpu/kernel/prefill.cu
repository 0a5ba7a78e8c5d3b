// paged_prefill: attention of runs of new tokens, each over the pages of its
// row and, causally, over the run itself (whose keys are in pages already).
//   q      bf16 [T, Hq, D]
//   kv     bf16 [P, 2, Hkv, S, D] one layer's pages, read only
//   table  i32  [·, M]            table[slot][j] is the j-th page
//   tiles  Tile [grid.x]          the longest first (prefill.cuh)
//   out    bf16 [T, Hq, D]
//   out[t,h] = Σ_p softmax_p(scale·q[t,h]·K_p) V_p over the last window p up to
//   the position of t; exp(sinks[h]) is added to the sum under the softmax
// Defines: HEADS, KV_HEADS, HEAD_DIM (32 to 256, see Shape), PAGE_SIZE, STAGES
// Math:    fp32 accumulation; arXiv:2307.08691
//
// A tile is 128 pairs of a token and one of the query heads that share a key
// head, tokens first: a key is read once for the whole group, and short runs
// fill tiles, too. Eight warps have 16 pairs each; 64 keys and values at a time,
// fewer with large heads, pass through shared memory. Any mix of lengths is one
// launch.
//
// Launch:  (tiles, Hkv) blocks of 256
// Limit:   4·D·Hq·Σ (positions seen) FLOP of matrix products
// Checked: TestPagedPrefill against ref.Attention
#define BLOCK_ROWS 128
#define BLOCK_KEYS (HEAD_DIM > 192 ? 16 : HEAD_DIM > 128 ? 32 : 64) // what registers hold
#define PITCH (HEAD_DIM * 2 + 16)
#define STAGE (2 * BLOCK_KEYS * PITCH)

extern "C" __global__ void __launch_bounds__(256, 1) paged_prefill(const __grid_constant__ PrefillArgs a) {
  extern __shared__ __align__(128) u8 memory[];
  constexpr int KS = HEAD_DIM / 16, NS = HEAD_DIM / 8, CHUNKS = HEAD_DIM / 8;
  constexpr int LOADS = BLOCK_KEYS * CHUNKS / 256; // of 16 bytes by each thread
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, head = blockIdx.y;
  u32 shared = shared_address(memory);
  u32 keys_at = ((lane / 16) * 8 + lane % 8) * PITCH + (lane / 8 % 2) * 16;
  u32 values_at = BLOCK_KEYS * PITCH + ((lane / 8 % 2) * 8 + lane % 8) * PITCH + (lane / 16) * 16;

  wait_for_previous();
  let_next_start();
  if ((int)blockIdx.x >= *a.count) return;
  Tile tile = a.tiles[blockIdx.x];
  int pairs = tile.tokens * GROUP, last_pair = min(tile.pair + BLOCK_ROWS, pairs) - 1;
  int length = tile.position + last_pair / GROUP + 1; // keys that the tile sees
  int from = first_key(tile, a.window), start = from / BLOCK_KEYS, blocks = (length + BLOCK_KEYS - 1) / BLOCK_KEYS;
  const int* pages = a.table + (size_t)tile.slot * a.table_stride;

  // The i-th of every 256 chunks; whole rows of them where these are a power of 2.
  auto row_of = [&](int i) -> int { return 256 % CHUNKS ? (i * 256 + threadIdx.x) / CHUNKS : i * (256 / CHUNKS) + threadIdx.x / CHUNKS; };
  auto chunk_of = [&](int i) -> int { return 256 % CHUNKS ? (i * 256 + threadIdx.x) % CHUNKS : threadIdx.x % CHUNKS; };
  int page[LOADS]; // of the rows that this thread copies next
  auto find_pages = [&](int block) {
#pragma unroll
    for (int i = 0; i < LOADS; i++) {
      int p = block * BLOCK_KEYS + row_of(i);
      page[i] = p < length ? pages[p / PAGE_SIZE] : 0;
    }
  };
  auto load = [&](int block, int stage) {
#pragma unroll
    for (int i = 0; i < LOADS; i++) {
      int row = row_of(i), chunk = chunk_of(i), p = block * BLOCK_KEYS + row;
      bool seen = p >= from && p < length;
      const bf16* k = a.kv + (((size_t)page[i] * 2 * KV_HEADS + head) * PAGE_SIZE + p % PAGE_SIZE) * HEAD_DIM + chunk * 8;
      u32 to = shared + stage * STAGE + row * PITCH + chunk * 16;
      copy16(to, k, seen);
      copy16(to + BLOCK_KEYS * PITCH, k + KV_HEADS * PAGE_SIZE * HEAD_DIM, seen);
    }
  };
  find_pages(start);
#pragma unroll
  for (int s = 0; s < STAGES - 1; s++) {
    if (start + s < blocks) load(start + s, s);
    copies_commit();
    find_pages(start + s + 1);
  }

  // This lane's two rows of the warp's 16: pairs, tokens, the last key each sees.
  int g = lane / 4, column = lane % 4 * 2, sees[2];
  u32 qa[KS][4];
#pragma unroll
  for (int h = 0; h < 2; h++) {
    int pair = tile.pair + warp * 16 + g + h * 8;
    bool inside = pair < pairs;
    int token = pair / GROUP;
    sees[h] = inside ? tile.position + token : -1;
    const bf16* q = a.q + ((size_t)(tile.token + token) * HEADS + head * GROUP + pair % GROUP) * HEAD_DIM + column;
#pragma unroll
    for (int k = 0; k < KS; k++) {
      qa[k][h] = inside ? *(const u32*)(q + k * 16) : 0;
      qa[k][h + 2] = inside ? *(const u32*)(q + k * 16 + 8) : 0;
    }
  }
  // Blocks the warp looks at: those from its first row's window up to its last
  // row's position.
  int warp_last = min(tile.pair + warp * 16 + 15, pairs - 1);
  int warp_length = tile.pair + warp * 16 < pairs ? tile.position + warp_last / GROUP + 1 : 0;
  int warp_first = tile.position + (tile.pair + warp * 16) / GROUP; // what its first row sees last
  int warp_from = warp_first + 1 - a.window, all_from = warp_length - a.window; // what its first row sees first, and its last

  float o[NS][4], top[2] = {NEGATIVE_INFINITY, NEGATIVE_INFINITY}, sum[2] = {0.f, 0.f};
#pragma unroll
  for (int n = 0; n < NS; n++) o[n][0] = o[n][1] = o[n][2] = o[n][3] = 0.f;

  int stage = 0;
  for (int block = start; block < blocks; block++) {
    int ahead = block + STAGES - 1, into = stage == 0 ? STAGES - 1 : stage - 1;
    copies_wait<STAGES - 2>();
    __syncthreads(); // this block is here for all, and the stage before it has been read by all
    if (ahead < blocks) load(ahead, into);
    copies_commit();
    find_pages(ahead + 1);

    int first = block * BLOCK_KEYS;
    if (first < warp_length && first + BLOCK_KEYS > warp_from) {
      u32 base = shared + stage * STAGE, r[4];
      float s[BLOCK_KEYS / 8][4];
#pragma unroll
      for (int n = 0; n < BLOCK_KEYS / 8; n++) s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0.f;
#pragma unroll
      for (int k = 0; k < KS; k++)
#pragma unroll
        for (int n = 0; n < BLOCK_KEYS / 8; n += 2) {
          load_matrices(r, base + keys_at + n * 8 * PITCH + k * 32);
          multiply_add(s[n], qa[k], r[0], r[1]);
          multiply_add(s[n + 1], qa[k], r[2], r[3]);
        }
      if (first + BLOCK_KEYS - 1 > warp_first || first < all_from) { // some row does not see all
#pragma unroll
        for (int n = 0; n < BLOCK_KEYS / 8; n++)
#pragma unroll
          for (int j = 0; j < 4; j++)
            if ((u32)(sees[j / 2] - (first + n * 8 + column + j % 2)) >= (u32)a.window) s[n][j] = NEGATIVE_INFINITY;
      }
#pragma unroll
      for (int h = 0; h < 2; h++) {
        float highest = top[h];
#pragma unroll
        for (int n = 0; n < BLOCK_KEYS / 8; n++) highest = fmaxf(highest, fmaxf(s[n][h * 2], s[n][h * 2 + 1]));
        highest = fmaxf(highest, __shfl_xor_sync(FULL, highest, 1));
        highest = fmaxf(highest, __shfl_xor_sync(FULL, highest, 2));
        // A row outside the run has seen nothing, nor has one whose window begins
        // further on: keep its exponents finite.
        float offset = highest == NEGATIVE_INFINITY ? 0.f : highest * a.scale;
        // 1 where nothing is higher, exactly: what a row is must not depend on blocks that it
        // looks at for its neighbours' sake.
        float shrink = top[h] == highest ? 1.f : exp2_fast((top[h] - highest) * a.scale);
        top[h] = highest;
        sum[h] *= shrink;
#pragma unroll
        for (int n = 0; n < BLOCK_KEYS / 8; n++) {
          s[n][h * 2] = exp2_fast(s[n][h * 2] * a.scale - offset);
          s[n][h * 2 + 1] = exp2_fast(s[n][h * 2 + 1] * a.scale - offset);
          sum[h] += s[n][h * 2] + s[n][h * 2 + 1];
        }
#pragma unroll
        for (int n = 0; n < NS; n++) o[n][h * 2] *= shrink, o[n][h * 2 + 1] *= shrink;
      }
#pragma unroll
      for (int k = 0; k < BLOCK_KEYS / 16; k++) {
        u32 p[4] = {pack(s[2 * k][0], s[2 * k][1]), pack(s[2 * k][2], s[2 * k][3]),
                    pack(s[2 * k + 1][0], s[2 * k + 1][1]), pack(s[2 * k + 1][2], s[2 * k + 1][3])};
#pragma unroll
        for (int n = 0; n < NS; n += 2) {
          load_matrices_transposed(r, base + values_at + k * 16 * PITCH + n * 16);
          multiply_add(o[n], p, r[0], r[1]);
          multiply_add(o[n + 1], p, r[2], r[3]);
        }
      }
    }
    stage = stage == STAGES - 1 ? 0 : stage + 1;
  }
  copies_wait<0>();

#pragma unroll
  for (int h = 0; h < 2; h++) {
    sum[h] += __shfl_xor_sync(FULL, sum[h], 1);
    sum[h] += __shfl_xor_sync(FULL, sum[h], 2);
    int pair = tile.pair + warp * 16 + g + h * 8;
    if (pair >= pairs) continue;
    if (a.sinks) sum[h] += exp2_fast(from_bf16(a.sinks[head * GROUP + pair % GROUP]) * LOG2E - top[h] * a.scale);
    float scale = 1.f / sum[h];
    bf16* out = a.out + ((size_t)(tile.token + pair / GROUP) * HEADS + head * GROUP + pair % GROUP) * HEAD_DIM + column;
#pragma unroll
    for (int n = 0; n < NS; n++) *(u32*)(out + n * 8) = pack(o[n][h * 2] * scale, o[n][h * 2 + 1] * scale);
  }
}
