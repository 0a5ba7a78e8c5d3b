// paged_decode: attention of one new token per row over its paged history.
//   q      bf16 [R, Hq, D]
//   kv     bf16 [P, 2, Hkv, S, D] one layer's pages, read only; with KV_CODES E4M3, and
//   kv_scales f32 [P, 2, Hkv, S]  their scales
//   table  i32  [·, M]            table[slots[r]][j] is the j-th page of row r
//   slots  i32  [R]
//   lens   i32  [R]               newest included; 0: padding, nothing is written
//   sinks  bf16 [Hq]              null: none
//   out    bf16 [R, Hq, D]
//   out[r,h] = Σ_t softmax_t(scale·q[r,h]·K_t) V_t over the last window positions;
//   exp(sinks[h]) is added to the sum under the softmax
// Defines: HEADS, KV_HEADS (group Hq/Hkv ≤ 16), HEAD_DIM (32 to 256, see Shape),
//          PAGE_SIZE, STAGES of copies under way per warp, KV_CODES
// Math:    fp32 accumulation; online softmax, arXiv:1805.02867; paging,
//          arXiv:2309.06180; splitting the history, arXiv:2311.01282
//
// decode.cuh says how work is divided, here among warps: for rows of which most
// are done by one or few. A warp has the next row and head on its way before it
// writes or merges the one at hand. Few rows are paged_decode_blocks'.
//
// Shorter runs, taken as warps come free, were slower on an H200: 287 µs for
// 279 with 256 rows of 100 to 2,048, 90 for 72 with 8 of 8,192.
//
// What earlier kernels than the one just ahead have written is read before
// waiting for it: the plan, the page table, and all tiles but those of the
// step's own positions: a row's newest and, with drafts, those of the rows before it.
//
// Launch:  blocks of 4 warps, of 2 with heads above 128, as many as fit on the
//          device; worker w is warp w / grid of block w % grid, so that few tiles
//          spread over all blocks
// Limit:   4·D·Hkv·Σ min(lens, window) bytes of memory traffic, of codes (2·D+8)·Hkv·Σ
// Checked: TestPagedDecode against ref.Windowed

struct PlanArgs {
  const int* lens;
  const int* slots;
  int* first;
  Run* runs;
  int rows, workers, window;
  int shortest; // run, in tiles: shorter ones cost more in merging than they win
  int whole;    // tiles up to which rows are not parted; 0: runs go on from row to row, head to head
};

#define PARTED 512 // rows at most of which runs begin anew with each row and head

// part_length is the shortest length, a multiple of a block's warps, of runs of which a
// row and head has its own, all within so many workers. It is of one warp.
__device__ __forceinline__ int part_length(const int* tiles, int rows, int longest, int workers) {
  int low = 1, high = (longest + WARPS - 1) / WARPS; // in rounds of a block
  while (low < high) {
    int mid = (low + high) / 2, runs = 0;
    for (int r = threadIdx.x % WARP; r < rows; r += WARP) runs += (tiles[r] + mid * WARPS - 1) / (mid * WARPS) * KV_HEADS;
    if (__reduce_add_sync(FULL, runs) <= workers) high = mid; else low = mid + 1;
  }
  return high * WARPS;
}

// decode_plan: one block of 1024.
extern "C" __global__ void __launch_bounds__(1024) decode_plan(const __grid_constant__ PlanArgs a) {
  __shared__ int sums[WARP], longest[WARP], tiles_in[PARTED], length_of_parts;
  wait_for_previous();
  let_next_start();
  int most = 0; // tiles of the longest row
  // scan writes where rows begin in the line, each head's tiles rounded up, and
  // returns how long that is.
  auto scan = [&](int round) {
    int before = 0;
    for (int base = 0; base < a.rows; base += blockDim.x) {
      int r = base + threadIdx.x, tiles = r < a.rows ? tiles_of(a.lens[r], a.window) : 0;
      int n = (tiles + round - 1) / round * round * KV_HEADS, sum = n;
      if (r < min(a.rows, PARTED)) tiles_in[r] = tiles;
      most = max(most, __reduce_max_sync(FULL, tiles));
#pragma unroll
      for (int d = 1; d < WARP; d *= 2) {
        int other = __shfl_up_sync(FULL, sum, d);
        if ((int)(threadIdx.x % WARP) >= d) sum += other;
      }
      if (threadIdx.x % WARP == WARP - 1) sums[threadIdx.x / WARP] = sum, longest[threadIdx.x / WARP] = most;
      __syncthreads();
      int offset = before, all = 0;
#pragma unroll
      for (int w = 0; w < WARP; w++) {
        if (w < (int)(threadIdx.x / WARP)) offset += sums[w];
        all += sums[w];
        most = max(most, longest[w]);
      }
      if (r < a.rows) a.first[r] = offset + sum - n;
      before += all;
      __syncthreads();
    }
    return before;
  };
  int all = scan(1), length = max(a.shortest, (all + a.workers - 1) / a.workers);
  bool parted = a.whole > 0 && a.rows <= PARTED && a.rows * KV_HEADS <= a.workers;
  if (parted) {
    if (threadIdx.x < WARP) {
      int n = most <= a.whole ? max(most, 1) : max(part_length(tiles_in, a.rows, most, a.workers), a.shortest);
      if (threadIdx.x == 0) length_of_parts = n;
    }
    __syncthreads();
    // Where rows of several lengths leave workers idle, the line is better.
    parted = length_of_parts * 8 <= length * 9 || length_of_parts <= max(a.shortest, a.whole);
    if (parted) length = length_of_parts, all = scan(length);
  }
  for (int w = threadIdx.x; w < a.workers; w += blockDim.x) {
    int at = w * length;
    if (at >= all) {
      a.runs[w].begin = a.runs[w].end = 0;
      continue;
    }
    int lo = 0, hi = a.rows - 1; // the last row that begins at or before at
    while (lo < hi) {
      int mid = (lo + hi + 1) / 2;
      if (a.first[mid] <= at) lo = mid; else hi = mid - 1;
    }
    int len = a.lens[lo], tiles = tiles_of(len, a.window), in = at - a.first[lo];
    int head_tiles = parted ? (tiles + length - 1) / length * length : tiles, tile = in % head_tiles;
    int end = parted ? at + min(length, tiles - tile) : min(all, at + length);
    a.runs[w] = Run{lo, in / head_tiles, first_tile(len, a.window) + tile, len, a.slots[lo], at, end, parted ? -length : length};
  }
}

// merge adds up the partial results of workers w0 to w1 for a row and key head; of
// w0 it is the second if second is 1. The statistics are read at once, a worker's
// by each lane, and the sums of several. It is of N query heads from h0 on.
template <int N>
__device__ __forceinline__ void merge(const DecodeArgs& a, const Run& at, int second, int w0, int w1, int h0) {
  constexpr int PER = (HEAD_DIM + 63) / 64 * 2, AHEAD = (GROUP > 8 ? 2 : GROUP > 4 ? 4 : 8) / (HEAD_DIM > 128 ? 2 : 1);
  int lane = threadIdx.x % WARP;
  bool mine = HEAD_DIM % 64 == 0 || lane * PER < HEAD_DIM; // some of the columns
  float best[N], all[N], acc[N][PER];
#pragma unroll
  for (int h = 0; h < N; h++) {
    best[h] = NEGATIVE_INFINITY, all[h] = 0.f;
#pragma unroll
    for (int j = 0; j < PER; j++) acc[h][j] = 0.f;
  }
  for (int base = w0; base <= w1; base += WARP) {
    int count = min(WARP, w1 - base + 1), w = base + lane;
    const float* stats = a.stats + (size_t)(2 * w + (w == w0 ? second : 0)) * GROUP * 2 + h0 * 2;
    float2 st[N];
#pragma unroll
    for (int h = 0; h < N; h++) st[h] = lane < count ? __ldcg((const float2*)(stats + h * 2)) : make_float2(NEGATIVE_INFINITY, 0.f);
    float weight[N];
#pragma unroll
    for (int h = 0; h < N; h++) {
      float top = fmaxf(best[h], warp_max(st[h].x)), shrink = exp2_fast(best[h] - top);
      weight[h] = exp2_fast(st[h].x - top);
      best[h] = top;
      all[h] = all[h] * shrink + warp_sum(st[h].y * weight[h]);
#pragma unroll
      for (int j = 0; j < PER; j++) acc[h][j] *= shrink;
    }
#pragma unroll(AHEAD)
    for (int i = 0; i < count; i++) {
      const float* sums = a.partial + (size_t)(2 * (base + i) + (base + i == w0 ? second : 0)) * GROUP * HEAD_DIM + h0 * HEAD_DIM + lane * PER;
#pragma unroll
      for (int h = 0; h < N; h++) {
        float add = __shfl_sync(FULL, weight[h], i);
#pragma unroll
        for (int j = 0; j < PER; j += 2) {
          float2 v = mine ? __ldcg((const float2*)(sums + h * HEAD_DIM + j)) : make_float2(0.f, 0.f);
          acc[h][j] += v.x * add;
          acc[h][j + 1] += v.y * add;
        }
      }
    }
  }
  if (!mine) return;
#pragma unroll
  for (int h = 0; h < N; h++) {
    if (a.sinks) all[h] += exp2_fast(from_bf16(a.sinks[at.head * GROUP + h0 + h]) * LOG2E - best[h]);
    bf16* out = a.out + ((size_t)at.row * HEADS + at.head * GROUP + h0 + h) * HEAD_DIM + lane * PER;
#pragma unroll
    for (int j = 0; j < PER; j += 2) *(u32*)(out + j) = pack(acc[h][j] / all[h], acc[h][j + 1] / all[h]);
  }
}

// Its tiles are seen by Mixture's code (decode.cuh) written out: as Mixture's the
// compiler orders it so that FP8 with five query heads to a key head takes 187 µs for 166
// on an H200, 256 rows of 100 to 2,048.
extern "C" __global__ void __launch_bounds__(HEAD_DIM > 128 ? 64 : 128, BLOCKS) paged_decode(const __grid_constant__ DecodeArgs a) {
  extern __shared__ __align__(128) u8 memory[];
  constexpr int KS = HEAD_DIM / 16, NS = HEAD_DIM / 8;
  constexpr bool WIDE = GROUP > 8; // rows 8 to 15 hold heads
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  int worker = warp * gridDim.x + blockIdx.x;
  u32 shared = shared_address(memory) + warp * STAGES * STAGE;
  u32 keys_at = ((lane / 16) * 8 + lane % 8) * PITCH + (lane / 8 % 2) * 16;
  u32 values_at = TILE * PITCH + ((lane / 8 % 2) * 8 + lane % 8) * PITCH + (lane / 16) * 16;

  Run at = a.runs[worker];
  bool waiting = true;
  auto wait = [&] {
    if (waiting) wait_for_previous(), let_next_start();
    waiting = false;
  };

  // The tiles of the row and head at hand that this run has, and their pages.
  int position = at.begin, tiles, take, page; // tiles: before the row's end, seen or not
  const int* pages;
  auto page_of = [&](int tile) { // of the lane's position; positions past the end have none
    int p = tile * TILE + lane % TILE;
    return tile < at.tile + take && p < at.len ? pages[p / PAGE_SIZE] : 0;
  };
  auto start = [&] {
    tiles = (at.len + TILE - 1) / TILE;
    take = min(tiles - at.tile, at.end - position);
    pages = a.table + (size_t)at.slot * a.table_stride;
    page = page_of(at.tile);
#pragma unroll
    for (int s = 0; s < STAGES - 1; s++) {
      int tile = at.tile + s, next = page_of(tile + 1);
      if (has_new(tile, at.len)) wait();
      if (s < take) load_tile(shared + s * STAGE, a, at.head, tile * TILE, at.len, page);
      copies_commit();
      page = next;
    }
  };

  bool more = at.begin < at.end;
  if (more) start();
  while (more) {
    const bf16* q = a.q + ((size_t)at.row * HEADS + at.head * GROUP) * HEAD_DIM;
    int g = lane / 4, column = lane % 4 * 2, last = at.tile + take;
    wait();
    auto query = [&](u32* x, int k) {
      if constexpr (KV_CODES) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
          x[h] = x[h + 2] = 0;
          if (g + h * 8 >= GROUP) continue;
          uint2 four = *(const uint2*)(q + (g + h * 8) * HEAD_DIM + k * 16 + lane % 4 * 4);
          x[h] = halves(low(four.x), high(four.x)), x[h + 2] = halves(low(four.y), high(four.y));
        }
        return;
      }
      const bf16* p = q + g * HEAD_DIM + k * 16 + column;
      x[0] = g < GROUP ? *(const u32*)p : 0;
      x[2] = g < GROUP ? *(const u32*)(p + 8) : 0;
      x[1] = WIDE && g + 8 < GROUP ? *(const u32*)(p + 8 * HEAD_DIM) : 0;
      x[3] = WIDE && g + 8 < GROUP ? *(const u32*)(p + 8 * HEAD_DIM + 8) : 0;
    };
    // Queries stay in registers, but those for which there are too few.
    constexpr bool KEPT = HEAD_DIM <= 128;
    u32 qa[KS][4];
#pragma unroll
    for (int k = 0; KEPT && k < KS; k++) query(qa[k], k);
    float o[NS][4], top[2] = {NEGATIVE_INFINITY, NEGATIVE_INFINITY}, sum[2] = {0.f, 0.f};
#pragma unroll
    for (int n = 0; n < NS; n++) o[n][0] = o[n][1] = o[n][2] = o[n][3] = 0.f;

    int stage = 0;
    for (int tile = at.tile; tile < last; tile++) {
      int ahead = tile + STAGES - 1, into = stage == 0 ? STAGES - 1 : stage - 1;
      copies_wait<STAGES - 2>();
      __syncwarp(); // this tile is here, and the stage before it has been read
      int next = page_of(ahead + 1);
      if (ahead < last) load_tile(shared + into * STAGE, a, at.head, ahead * TILE, at.len, page);
      copies_commit();
      page = next;

      u32 base = shared + stage * STAGE, r[4];
      float s[2][4] = {};
#pragma unroll
      for (int k = 0; k < KS; k++) {
        if (!KEPT) query(qa[k], k);
        if constexpr (KV_CODES) {
#pragma unroll
          for (int j = 0; j < 2; j++) {
            widen(load_shared4(base + (j * 8 + g) * PITCH + k * 16 + lane % 4 * 4), r[0], r[1]);
            multiply_add_halves(s[j], qa[k], r[0], r[1]);
          }
          continue;
        }
        load_matrices(r, base + keys_at + k * 32);
        multiply_add(s[0], qa[k], r[0], r[1]);
        multiply_add(s[1], qa[k], r[2], r[3]);
      }
      u32 p[4];
      float by[4], weigh[4]; // scales of the lane's keys and values
      if (KV_CODES) {
        float2 k0 = load_shared_floats(base + SCALES_AT + column * 4), k1 = load_shared_floats(base + SCALES_AT + (8 + column) * 4);
        float2 v0 = load_shared_floats(base + SCALES_AT + (TILE + column) * 4), v1 = load_shared_floats(base + SCALES_AT + (TILE + 8 + column) * 4);
        by[0] = k0.x, by[1] = k0.y, by[2] = k1.x, by[3] = k1.y;
        weigh[0] = v0.x * VALUE_UNIT, weigh[1] = v0.y * VALUE_UNIT, weigh[2] = v1.x * VALUE_UNIT, weigh[3] = v1.y * VALUE_UNIT;
      }
#pragma unroll
      for (int h = 0; h < (WIDE ? 2 : 1); h++) { // rows l/4, then l/4 + 8
        float highest = NEGATIVE_INFINITY;
#pragma unroll
        for (int j = 0; j < 4; j++) {
          float& z = s[j / 2][h * 2 + j % 2];
          z = (u32)(at.len - 1 - (tile * TILE + j / 2 * 8 + column + j % 2)) < (u32)a.window ? z * (KV_CODES ? a.scale * by[j] : a.scale) : NEGATIVE_INFINITY;
          highest = fmaxf(highest, z);
        }
        highest = fmaxf(highest, __shfl_xor_sync(FULL, highest, 1));
        highest = fmaxf(highest, __shfl_xor_sync(FULL, highest, 2));
        highest = fmaxf(highest, top[h]);
        float shrink = exp2_fast(top[h] - highest);
        top[h] = highest;
        sum[h] *= shrink;
#pragma unroll
        for (int j = 0; j < 4; j++) {
          float& z = s[j / 2][h * 2 + j % 2];
          z = exp2_fast(z - highest);
          sum[h] += z;
        }
        if (KV_CODES) {
          p[h] = halves(s[0][h * 2] * weigh[0], s[0][h * 2 + 1] * weigh[1]);
          p[h + 2] = halves(s[1][h * 2] * weigh[2], s[1][h * 2 + 1] * weigh[3]);
        } else {
          p[h] = pack(s[0][h * 2], s[0][h * 2 + 1]);
          p[h + 2] = pack(s[1][h * 2], s[1][h * 2 + 1]);
        }
#pragma unroll
        for (int n = 0; n < NS; n++) o[n][h * 2] *= shrink, o[n][h * 2 + 1] *= shrink;
      }
      if (!WIDE) p[1] = p[3] = 0;
#pragma unroll
      for (int n = 0; KV_CODES && n < NS; n += 4) { // o[n] has even dimensions of 16, o[n + 1] odd ones
        load_matrices_transposed(r, base + values_at + n * 8);
#pragma unroll
        for (int i = 0; i < 4; i += 2) {
          u32 even[2], odd[2];
          widen(__byte_perm(r[i], 0, 0x3120), even[0], odd[0]);
          widen(__byte_perm(r[i + 1], 0, 0x3120), even[1], odd[1]);
          multiply_add_halves(o[n + i], p, even[0], even[1]);
          multiply_add_halves(o[n + i + 1], p, odd[0], odd[1]);
        }
      }
#pragma unroll
      for (int n = 0; !KV_CODES && n < NS; n += 2) {
        load_matrices_transposed(r, base + values_at + n * 16);
        multiply_add(o[n], p, r[0], r[1]);
        multiply_add(o[n + 1], p, r[2], r[3]);
      }
      stage = stage == STAGES - 1 ? 0 : stage + 1;
    }

    // What comes next is on its way before this is written.
    Run done = at;
    int place = 2 * worker + (position == at.begin ? 0 : 1), all_tiles = tiles_of(at.len, a.window);
    bool whole = take == all_tiles;
    position += take;
    more = position < at.end;
    if (more && ++at.head == KV_HEADS) {
      at.head = 0;
      do at.len = a.lens[++at.row]; while (at.len == 0); // padding
      at.slot = a.slots[at.row];
    }
    at.tile = first_tile(at.len, a.window);
    __syncwarp(); // shared memory has been read
    if (more) start();

#pragma unroll
    for (int h = 0; h < (WIDE ? 2 : 1); h++) {
      sum[h] += __shfl_xor_sync(FULL, sum[h], 1);
      sum[h] += __shfl_xor_sync(FULL, sum[h], 2);
      int mine = g + h * 8;
      if (mine >= GROUP) continue;
      if (KV_CODES)
#pragma unroll
        for (int n = 0; n < NS; n += 2) { // neighbours together again
          float odd = o[n + 1][h * 2];
          o[n + 1][h * 2] = o[n][h * 2 + 1] / VALUE_UNIT, o[n + 1][h * 2 + 1] /= VALUE_UNIT;
          o[n][h * 2] /= VALUE_UNIT, o[n][h * 2 + 1] = odd / VALUE_UNIT;
        }
      // Where a lane's pairs of dimensions are.
      auto pair = [&](int n) { return KV_CODES ? n / 2 * 16 + column * 2 + n % 2 * 2 : n * 8 + column; };
      if (whole) {
        bf16* out = a.out + ((size_t)done.row * HEADS + done.head * GROUP + mine) * HEAD_DIM;
        if (a.sinks) sum[h] += exp2_fast(from_bf16(a.sinks[done.head * GROUP + mine]) * LOG2E - top[h]);
        float scale = 1.f / sum[h];
#pragma unroll
        for (int n = 0; n < NS; n++) *(u32*)(out + pair(n)) = pack(o[n][h * 2] * scale, o[n][h * 2 + 1] * scale);
      } else {
        float* to = a.partial + ((size_t)place * GROUP + mine) * HEAD_DIM;
#pragma unroll
        for (int n = 0; n < NS; n++) *(float2*)(to + pair(n)) = make_float2(o[n][h * 2], o[n][h * 2 + 1]);
        if (lane % 4 == 0) *(float2*)(a.stats + ((size_t)place * GROUP + mine) * 2) = make_float2(top[h], sum[h]);
      }
    }
    if (!whole) {
      // The runs that this row and head lies in, and whether this is the last to be done.
      int from = a.first[done.row] + done.head * all_tiles, w0 = from / done.length, w1 = (from + all_tiles - 1) / done.length;
      u32* counter = a.arrived + done.row * KV_HEADS + done.head;
      u32 n = 0;
      __threadfence();
      __syncwarp();
      if (lane == 0) n = atomicAdd(counter, 1u);
      n = __shfl_sync(FULL, n, 0);
      if (n == (u32)(w1 - w0)) {
        __threadfence();
        if (lane == 0) *counter = 0;
        // Half of the heads at a time where registers do not hold the sums of all.
        constexpr int N = GROUP * HEAD_DIM > 12 * 192 && GROUP % 2 == 0 ? GROUP / 2 : GROUP;
#pragma unroll 1
        for (int h = 0; h < GROUP; h += N) merge<N>(a, done, from != w0 * done.length, w0, w1, h);
      }
    }
  }
  copies_wait<0>();
  wait(); // also a warp without work: the kernel must not end before those ahead
}
