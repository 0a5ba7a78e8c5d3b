// paged_decode: attention of one new token per row over its paged history.
//   qkv    bf16 [R, Hq+2·Hkv, D]  the queries are read
//   kv     bf16 [P, 2, Hkv, S, D] one layer's pages, read only
//   table  i32  [·, M]            table[slots[r]][j] is the j-th page of row r
//   slots  i32  [R]
//   lens   i32  [R]               newest included; 0: padding, nothing is written
//   out    bf16 [R, Hq, D]
//   out[r,h] = Σ_t softmax_t(q[r,h]·K_t/√D) V_t
// Defines: HEADS, KV_HEADS (group Hq/Hkv ≤ 16), HEAD_DIM (64 or 128), PAGE_SIZE,
//          STAGES of copies under way per warp
// Math:    fp32 accumulation; online softmax, arXiv:1805.02867; paging,
//          arXiv:2309.06180; splitting the history, arXiv:2311.01282
//
// Work is cut into tiles of 16 positions of one row and one key head. All tiles
// stand in one line, and every warp takes a run of it of the same length, so
// any mix of lengths keeps all warps busy to the end. decode_plan writes where
// each run begins; as it runs on the device, a captured graph serves any
// lengths. A row and head that lies in one run is written at once; else each
// of its runs leaves a partial result and the last to arrive merges them, in
// the order of the line: same lengths, same bits.
//
// The query heads of a key head are the rows of one tensor core operand, padded
// to 16.
//
// Launch:  blocks of 4 warps, as many as fit on the device; worker w is warp
//          w / grid of block w % grid, so that few tiles spread over all blocks
// Limit:   4·D·Hkv·Σ lens bytes of memory traffic
// Checked: TestPagedDecode against ref.Attention
#define TILE 16
#define MIN_RUN 4 // tiles; shorter runs cost more in merging than they win

struct Run { int row, head, tile, unused; };

struct DecodeArgs {
  const bf16* qkv;
  const bf16* kv;
  const int* table;
  const int* slots;
  const int* lens;
  const int* first; // [R+2] see decode_plan
  const Run* runs;  // [workers]
  bf16* out;
  float* partial;   // [2·workers, group, D]: sums not yet divided
  float* stats;     // [2·workers, group, 2]: maximum (of scores·scale), denominator
  u32* arrived;     // [R, Hkv], zero between launches
  int rows, table_stride;
  float scale;      // log2(e)/√D
};

struct PlanArgs {
  const int* lens;
  int* first; // [R+2]: tiles before row r over all heads; [R]: all; [R+1]: a run's length
  Run* runs;
  int rows, workers;
};

// decode_plan: one block of 1024.
extern "C" __global__ void __launch_bounds__(1024) decode_plan(const __grid_constant__ PlanArgs a) {
  __shared__ int sums[WARP];
  wait_for_previous();
  int before = 0; // tiles of the rows already scanned
  for (int base = 0; base < a.rows; base += blockDim.x) {
    int r = base + threadIdx.x;
    int n = r < a.rows ? (a.lens[r] + TILE - 1) / TILE * KV_HEADS : 0, sum = n;
#pragma unroll
    for (int d = 1; d < WARP; d *= 2) {
      int other = __shfl_up_sync(FULL, sum, d);
      if ((int)(threadIdx.x % WARP) >= d) sum += other;
    }
    if (threadIdx.x % WARP == WARP - 1) sums[threadIdx.x / WARP] = sum;
    __syncthreads();
    int offset = before, all = 0;
#pragma unroll
    for (int w = 0; w < WARP; w++) {
      if (w < (int)(threadIdx.x / WARP)) offset += sums[w];
      all += sums[w];
    }
    if (r < a.rows) a.first[r] = offset + sum - n;
    before += all;
    __syncthreads();
  }
  int run = max(MIN_RUN, (before + a.workers - 1) / a.workers);
  if (threadIdx.x == 0) a.first[a.rows] = before, a.first[a.rows + 1] = run;
  __syncthreads();
  for (int w = threadIdx.x; w < a.workers; w += blockDim.x) {
    int at = w * run;
    if (at >= before) break;
    int lo = 0, hi = a.rows - 1; // the last row that begins at or before at
    while (lo < hi) {
      int mid = (lo + hi + 1) / 2;
      if (a.first[mid] <= at) lo = mid; else hi = mid - 1;
    }
    int tiles = (a.lens[lo] + TILE - 1) / TILE, in = at - a.first[lo];
    a.runs[w] = Run{lo, in / tiles, in % tiles, 0};
  }
}

#define GROUP (HEADS / KV_HEADS)
#define PITCH (HEAD_DIM * 2 + 16) // bytes of a row in shared memory: no bank conflicts
#define STAGE (2 * TILE * PITCH)

// load starts copying a tile's keys and values; page is, in lane i, that of
// the tile's position i % 16.
__device__ __forceinline__ void load_tile(u32 shared, const bf16* kv, int head, int first, int len, int page) {
  constexpr int CHUNKS = HEAD_DIM / 8, ROWS = WARP / CHUNKS;
  int lane = threadIdx.x % WARP, chunk = lane % CHUNKS;
#pragma unroll
  for (int i = 0; i < TILE / ROWS; i++) {
    int row = i * ROWS + lane / CHUNKS, position = first + row;
    size_t p = __shfl_sync(FULL, page, row);
    const bf16* k = kv + ((p * 2 * KV_HEADS + head) * PAGE_SIZE + position % PAGE_SIZE) * HEAD_DIM + chunk * 8;
    u32 to = shared + row * PITCH + chunk * 16;
    copy16(to, k, position < len);
    copy16(to + TILE * PITCH, k + KV_HEADS * PAGE_SIZE * HEAD_DIM, position < len);
  }
}

extern "C" __global__ void __launch_bounds__(128) paged_decode(const __grid_constant__ DecodeArgs a) {
  extern __shared__ __align__(128) u8 memory[];
  constexpr int KS = HEAD_DIM / 16, NS = HEAD_DIM / 8;
  constexpr bool WIDE = GROUP > 8; // rows 8 to 15 hold heads
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  int worker = warp * gridDim.x + blockIdx.x;
  u32 shared = shared_address(memory) + warp * STAGES * STAGE;
  u32 keys_at = ((lane / 16) * 8 + lane % 8) * PITCH + (lane / 8 % 2) * 16;
  u32 values_at = TILE * PITCH + ((lane / 8 % 2) * 8 + lane % 8) * PITCH + (lane / 16) * 16;

  wait_for_previous();
  let_next_start();
  int total = a.first[a.rows], run = a.first[a.rows + 1];
  int begin = worker * run, end = min(total, begin + run);
  if (begin >= end) return;
  Run at = a.runs[worker];

  for (int position = begin; position < end;) {
    int len = a.lens[at.row], tiles = (len + TILE - 1) / TILE;
    if (tiles == 0) { at.row++; continue; } // padding
    int take = min(tiles - at.tile, end - position), last = at.tile + take;
    const int* pages = a.table + (size_t)a.slots[at.row] * a.table_stride;
    const bf16* q = a.qkv + ((size_t)at.row * (HEADS + 2 * KV_HEADS) + at.head * GROUP) * HEAD_DIM;
    int g = lane / 4, column = lane % 4 * 2;

    auto page_of = [&](int tile) { // of the lane's position; positions past the end have none
      int p = tile * TILE + lane % TILE;
      return tile < last && p < len ? pages[p / PAGE_SIZE] : 0;
    };
    __syncwarp(); // shared memory of the item before has been read
    int page = page_of(at.tile);
#pragma unroll
    for (int s = 0; s < STAGES - 1; s++) {
      int tile = at.tile + s, next = page_of(tile + 1);
      if (tile < last) load_tile(shared + s * STAGE, a.kv, at.head, tile * TILE, len, page);
      copies_commit();
      page = next;
    }
    u32 qa[KS][4];
#pragma unroll
    for (int k = 0; k < KS; k++) {
      const bf16* p = q + g * HEAD_DIM + k * 16 + column;
      qa[k][0] = g < GROUP ? *(const u32*)p : 0;
      qa[k][2] = g < GROUP ? *(const u32*)(p + 8) : 0;
      qa[k][1] = WIDE && g + 8 < GROUP ? *(const u32*)(p + 8 * HEAD_DIM) : 0;
      qa[k][3] = WIDE && g + 8 < GROUP ? *(const u32*)(p + 8 * HEAD_DIM + 8) : 0;
    }
    float o[NS][4], top[2] = {NEGATIVE_INFINITY, NEGATIVE_INFINITY}, sum[2] = {0.f, 0.f};
#pragma unroll
    for (int n = 0; n < NS; n++) o[n][0] = o[n][1] = o[n][2] = o[n][3] = 0.f;

    int stage = 0;
    for (int tile = at.tile; tile < last; tile++) {
      int ahead = tile + STAGES - 1, into = stage == 0 ? STAGES - 1 : stage - 1;
      copies_wait<STAGES - 2>();
      __syncwarp(); // this tile is here, and the stage before it has been read
      int next = page_of(ahead + 1);
      if (ahead < last) load_tile(shared + into * STAGE, a.kv, at.head, ahead * TILE, len, page);
      copies_commit();
      page = next;

      u32 base = shared + stage * STAGE, r[4];
      float s[2][4] = {};
#pragma unroll
      for (int k = 0; k < KS; k++) {
        load_matrices(r, base + keys_at + k * 32);
        multiply_add(s[0], qa[k], r[0], r[1]);
        multiply_add(s[1], qa[k], r[2], r[3]);
      }
      u32 p[4];
#pragma unroll
      for (int h = 0; h < (WIDE ? 2 : 1); h++) { // rows l/4, then l/4 + 8
        float highest = NEGATIVE_INFINITY;
#pragma unroll
        for (int j = 0; j < 4; j++) {
          float& z = s[j / 2][h * 2 + j % 2];
          z = tile * TILE + j / 2 * 8 + column + j % 2 < len ? z * a.scale : NEGATIVE_INFINITY;
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
        p[h] = pack(s[0][h * 2], s[0][h * 2 + 1]);
        p[h + 2] = pack(s[1][h * 2], s[1][h * 2 + 1]);
#pragma unroll
        for (int n = 0; n < NS; n++) o[n][h * 2] *= shrink, o[n][h * 2 + 1] *= shrink;
      }
      if (!WIDE) p[1] = p[3] = 0;
#pragma unroll
      for (int n = 0; n < NS; n += 2) {
        load_matrices_transposed(r, base + values_at + n * 16);
        multiply_add(o[n], p, r[0], r[1]);
        multiply_add(o[n + 1], p, r[2], r[3]);
      }
      stage = stage == STAGES - 1 ? 0 : stage + 1;
    }
    copies_wait<0>();

    bool whole = take == tiles;
    int place = 2 * worker + (position == begin ? 0 : 1);
#pragma unroll
    for (int h = 0; h < (WIDE ? 2 : 1); h++) {
      sum[h] += __shfl_xor_sync(FULL, sum[h], 1);
      sum[h] += __shfl_xor_sync(FULL, sum[h], 2);
      int mine = g + h * 8;
      if (mine >= GROUP) continue;
      if (whole) {
        bf16* out = a.out + ((size_t)at.row * HEADS + at.head * GROUP + mine) * HEAD_DIM + column;
        float scale = 1.f / sum[h];
#pragma unroll
        for (int n = 0; n < NS; n++) *(u32*)(out + n * 8) = pack(o[n][h * 2] * scale, o[n][h * 2 + 1] * scale);
      } else {
        float* to = a.partial + ((size_t)place * GROUP + mine) * HEAD_DIM + column;
#pragma unroll
        for (int n = 0; n < NS; n++) *(float2*)(to + n * 8) = make_float2(o[n][h * 2], o[n][h * 2 + 1]);
        if (lane % 4 == 0) *(float2*)(a.stats + ((size_t)place * GROUP + mine) * 2) = make_float2(top[h], sum[h]);
      }
    }
    if (!whole) {
      // The runs that this row and head lies in, and whether this is the last to be done.
      int from = a.first[at.row] + at.head * tiles, w0 = from / run, w1 = (from + tiles - 1) / run;
      u32* counter = a.arrived + at.row * KV_HEADS + at.head;
      u32 n = 0;
      __threadfence();
      __syncwarp();
      if (lane == 0) n = atomicAdd(counter, 1u);
      n = __shfl_sync(FULL, n, 0);
      if (n == (u32)(w1 - w0)) {
        __threadfence();
        if (lane == 0) *counter = 0;
        constexpr int PER = HEAD_DIM / WARP;
        for (int mine = 0; mine < GROUP; mine++) {
          float best = NEGATIVE_INFINITY, all = 0.f, acc[PER] = {};
#pragma unroll 4
          for (int w = w0; w <= w1; w++) {
            size_t i = (size_t)(2 * w + (w == w0 && from != w * run ? 1 : 0)) * GROUP + mine;
            float2 st = __ldcg((const float2*)(a.stats + i * 2));
            float more = fmaxf(best, st.x), mul = exp2_fast(best - more), add = exp2_fast(st.x - more);
            best = more;
            all = all * mul + st.y * add;
#pragma unroll
            for (int j = 0; j < PER; j += 2) {
              float2 v = __ldcg((const float2*)(a.partial + i * HEAD_DIM + lane * PER + j));
              acc[j] = acc[j] * mul + v.x * add;
              acc[j + 1] = acc[j + 1] * mul + v.y * add;
            }
          }
          bf16* out = a.out + ((size_t)at.row * HEADS + at.head * GROUP + mine) * HEAD_DIM + lane * PER;
#pragma unroll
          for (int j = 0; j < PER; j += 2) *(u32*)(out + j) = pack(acc[j] / all, acc[j + 1] / all);
        }
      }
    }
    position += take;
    at.tile = 0;
    if (++at.head == KV_HEADS) at.head = 0, at.row++;
  }
}
