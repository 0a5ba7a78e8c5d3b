// decode: what the kernels of decode attention have in common: how their work is
// divided, and what a warp does with a tile. It comes after common.cuh and fp8.cuh.
//
// Work is cut into tiles of 16 positions of one row and one key head. All tiles
// stand in one line, and every worker, a warp or a block, takes a run of it of the
// same length, so any mix of lengths keeps all busy to the end. decode_plan writes
// where each run begins; as it runs on the device, a captured graph serves any
// lengths. A row and head that lies in one run is written at once; else each
// of its runs leaves a partial result and the last to arrive merges them, in
// the order of the line: same lengths, same bits.
//
// Keys, and values transposed, are the operand of tensor cores that has 16 rows; the
// query heads of a key head are the columns of the other, of which there are eight,
// or twice eight. So scores lie as positions by heads, and probabilities are
// transposed in registers to be the columns that values are multiplied by.
//
// Codes become halves, exactly, in registers, by one instruction for two; queries
// become halves, and so do probabilities, times their values' scales. What adds up
// there is an order of its own: of 16 dimensions a lane multiplies four neighbours
// of a key, and of values, whose transposed pairs are of two dimensions, the even ones
// are the operand's first eight rows.
//
// With a window a row's tiles begin with the one that its first visible position
// is in. A plan is of one window.
#define TILE 16

// A worker's run of tiles, of length tiles for all, and the row it begins in. Of a
// negative length runs begin anew with each row and head, whose tiles in the line
// are rounded up to whole ones.
struct alignas(16) Run { int row, head, tile, len, slot, begin, end, length; };

struct DecodeArgs {
  const bf16* q;
  const void* kv;
  const float* kv_scales;
  const int* table;
  const int* slots;
  const int* lens;
  const int* first; // [R] tiles before row r, over all heads
  const Run* runs;  // [workers]
  bf16* out;
  float* partial;   // [2·workers, group, D]: sums not yet divided
  float* stats;     // [2·workers, group, 2]: maximum (of scores·scale), denominator
  u32* arrived;     // [R, Hkv], zero between launches
  const bf16* sinks;
  int rows, table_stride;
  float scale;      // the scores', in powers of 2: log2(e)/√D
  int window;       // positions that a row sees; INT_MAX: all
};

// The first tile of which a row of that length sees anything, and how many it
// looks at.
__device__ __forceinline__ int first_tile(int len, int window) { return max(0, len - window) / TILE; }
__device__ __forceinline__ int tiles_of(int len, int window) { return (len + TILE - 1) / TILE - first_tile(len, window); }

// has_new says whether a tile may have positions of the step at hand, which the kernel
// just ahead writes: a row's own and, where it is of a draft, those before it.
__device__ __forceinline__ bool has_new(int tile, int len) { return (tile + 1) * TILE > len - NEWEST_TOKENS; }

#define GROUP (HEADS / KV_HEADS)
#define ROW (HEAD_DIM * (KV_CODES ? 1 : 2)) // bytes of a key or value
#define PITCH (ROW + 16)                    // of a row in shared memory: no bank conflicts
#define SCALES_AT (2 * TILE * PITCH)        // keys' scales, then values'
#define STAGE (SCALES_AT + (KV_CODES ? 2 * TILE * 4 : 0))

// How many powers of 2 scores may be above the one that they are relative to: halves of
// probabilities times values' scales hold one (cache_scale).
#define SLACK 1.f

__device__ __forceinline__ float load_shared_float(u32 from) { return __uint_as_float(load_shared4(from)); }

// seen says whether a row of len positions sees one; all_seen, a tile's every one.
__device__ __forceinline__ bool seen(int position, int len, int window) { return (u32)(len - 1 - position) < (u32)window; }
__device__ __forceinline__ bool all_seen(int first, int len, int window) { return first + TILE <= len && len - 1 - first < window; }

// Whether a tile lies in one page, its keys and its values one behind another.
#define TILE_IN_PAGE (PAGE_SIZE % TILE == 0)

// page_of is, in lane i, the page of a tile's position i % 16, or the tile's. Positions
// past the row's end have none, nor have tiles from end on.
__device__ __forceinline__ int page_of(const int* pages, int tile, int end, int len) {
  int p = tile * TILE + (TILE_IN_PAGE ? 0 : threadIdx.x % TILE);
  return tile < end && p < len ? pages[p / PAGE_SIZE] : 0;
}

// load_tile starts copying a tile's keys and values from where page_of says. What the
// row does not see becomes zero.
template <bool ALL>
__device__ __forceinline__ void load_tile(u32 shared, const DecodeArgs& a, int head, int first, int len, int page) {
  constexpr int CHUNKS = ROW / 16;
  int lane = threadIdx.x % WARP;
  if (KV_CODES) { // a scale by each lane
    int position = first + lane % TILE;
    size_t row = (((size_t)page * 2 + lane / TILE) * KV_HEADS + head) * PAGE_SIZE;
    row += TILE_IN_PAGE ? first % PAGE_SIZE + lane % TILE : position % PAGE_SIZE;
    copy4(shared + SCALES_AT + lane * 4, a.kv_scales + row, ALL || seen(position, len, a.window));
  }
#pragma unroll(HEAD_DIM > 192 ? 2 : HEAD_DIM > 128 ? 4 : TILE * CHUNKS / WARP) // all, unless registers run out
  for (int i = 0; i < TILE * CHUNKS / WARP; i++) {
    // The i-th of every 32 chunks; whole rows of them where these are a power of 2.
    int row = WARP % CHUNKS ? (i * WARP + lane) / CHUNKS : i * (WARP / CHUNKS) + lane / CHUNKS;
    int chunk = WARP % CHUNKS ? (i * WARP + lane) % CHUNKS : lane % CHUNKS, position = first + row;
    const u8* k;
    if (TILE_IN_PAGE) {
      k = (const u8*)a.kv + (((size_t)page * 2 * KV_HEADS + head) * PAGE_SIZE + first % PAGE_SIZE) * ROW + lane * 16 + i * WARP * 16;
    } else {
      size_t p = __shfl_sync(FULL, page, row);
      k = (const u8*)a.kv + ((p * 2 * KV_HEADS + head) * PAGE_SIZE + position % PAGE_SIZE) * ROW + chunk * 16;
    }
    u32 to = shared + row * PITCH + chunk * 16;
    bool valid = ALL || seen(position, len, a.window);
    copy16_once(to, k, valid);
    copy16_once(to + TILE * PITCH, k + KV_HEADS * PAGE_SIZE * ROW, valid);
  }
}
__device__ __forceinline__ void load_tile(u32 shared, const DecodeArgs& a, int head, int tile, int len, int page) {
  if (TILE_IN_PAGE && all_seen(tile * TILE, len, a.window)) load_tile<true>(shared, a, head, tile * TILE, len, page);
  else load_tile<false>(shared, a, head, tile * TILE, len, page);
}

// Mixture is what the queries of a row and key head have of the tiles that a warp
// has seen. Lane l has, of heads 2(l%4) and one more of each eight, what is of
// dimension first(n), and of second(n).
struct Mixture {
  static constexpr int KS = HEAD_DIM / 16, EIGHTS = (GROUP + 7) / 8;
  static constexpr bool KEPT = EIGHTS * HEAD_DIM <= 256; // queries stay in registers, but those for which there are too few
  const bf16* q;
  u32 qb[EIGHTS][KS][2];
  float o[EIGHTS][KS][4], top[EIGHTS][2], sum[EIGHTS][2];

  __device__ static __forceinline__ int head(int e, int c) { return e * 8 + threadIdx.x % 4 * 2 + c; }
  __device__ static __forceinline__ int first(int n) { return n * 16 + threadIdx.x % WARP / 4 * (KV_CODES ? 2 : 1); }
  __device__ static __forceinline__ int second(int n) { return first(n) + (KV_CODES ? 1 : 8); }

  __device__ __forceinline__ void query(u32* x, int e, int k) const {
    int lane = threadIdx.x % WARP, h = e * 8 + lane / 4;
    x[0] = x[1] = 0;
    if (h >= GROUP) return;
    const bf16* at = q + h * HEAD_DIM + k * 16;
    if (KV_CODES) {
      uint2 four = *(const uint2*)(at + lane % 4 * 4);
      x[0] = halves(low(four.x), high(four.x)), x[1] = halves(low(four.y), high(four.y));
    } else {
      x[0] = *(const u32*)(at + lane % 4 * 2), x[1] = *(const u32*)(at + 8 + lane % 4 * 2);
    }
  }

  __device__ __forceinline__ void begin(const DecodeArgs& a, const Run& at) {
    q = a.q + ((size_t)at.row * HEADS + at.head * GROUP) * HEAD_DIM;
#pragma unroll
    for (int e = 0; e < EIGHTS; e++) {
#pragma unroll
      for (int k = 0; k < KS; k++) {
        if (KEPT) query(qb[e][k], e, k);
        o[e][k][0] = o[e][k][1] = o[e][k][2] = o[e][k][3] = 0.f;
      }
      top[e][0] = top[e][1] = NEGATIVE_INFINITY, sum[e][0] = sum[e][1] = 0.f;
    }
  }

  // score multiplies queries by the 16 keys whose dimensions 16·k on a has.
  __device__ __forceinline__ void score(float (&s)[EIGHTS][2][4], const u32* a, int k) {
#pragma unroll
    for (int e = 0; e < EIGHTS; e++) {
      if (!KEPT) query(qb[e][k], e, k);
      if (KV_CODES) multiply_add_halves(s[e][k % 2], a, qb[e][k][0], qb[e][k][1]);
      else multiply_add(s[e][k % 2], a, qb[e][k][0], qb[e][k][1]);
    }
  }

  // raise makes the highest score that there is the one that others are relative to.
  __device__ __forceinline__ void raise(const float (&z)[EIGHTS][4]) {
#pragma unroll
    for (int e = 0; e < EIGHTS; e++)
#pragma unroll
      for (int c = 0; c < 2; c++) {
        float highest = fmaxf(z[e][c], z[e][2 + c]);
#pragma unroll
        for (int d = 4; d < WARP; d *= 2) highest = fmaxf(highest, __shfl_xor_sync(FULL, highest, d));
        highest = fmaxf(highest, top[e][c]);
        float shrink = exp2_fast(top[e][c] - highest);
        top[e][c] = highest;
        sum[e][c] *= shrink;
#pragma unroll
        for (int n = 0; n < KS; n++) o[e][n][c] *= shrink, o[e][n][2 + c] *= shrink;
      }
  }

  // see takes in a tile of a row of len positions, from stage base on.
  __device__ __forceinline__ void see(const DecodeArgs& a, u32 base, int tile, int len) {
    int lane = threadIdx.x % WARP, g = lane / 4;
    u32 rows = base + lane % 16 * PITCH + lane / 16 * 16, r[4]; // matrices of the first eight rows, the others; the next 16 bytes
    float s[EIGHTS][2][4] = {}, z[EIGHTS][4];
    if constexpr (KV_CODES) {
#pragma unroll
      for (int k = 0; k < KS; k += 2) {
        u32 x[4];
        load_matrices(r, rows + k * 16);
        widen(r[0], x[0], x[2]), widen(r[1], x[1], x[3]);
        score(s, x, k);
        widen(r[2], x[0], x[2]), widen(r[3], x[1], x[3]);
        score(s, x, k + 1);
      }
    } else {
#pragma unroll
      for (int k = 0; k < KS; k++) load_matrices(r, rows + k * 32), score(s, r, k);
    }
    float by[2] = {a.scale, a.scale}, weigh[2]; // scales of keys g and g + 8, and of values
    if (KV_CODES)
#pragma unroll
      for (int i = 0; i < 2; i++) {
        u32 scales = base + SCALES_AT + (i * 8 + g) * 4;
        by[i] *= load_shared_float(scales), weigh[i] = load_shared_float(scales + TILE * 4) * VALUE_UNIT;
      }
#pragma unroll
    for (int e = 0; e < EIGHTS; e++)
#pragma unroll
      for (int i = 0; i < 4; i++) z[e][i] = (s[e][0][i] + s[e][1][i]) * by[i / 2];
    if (!all_seen(tile * TILE, len, a.window))
#pragma unroll
      for (int e = 0; e < EIGHTS; e++)
#pragma unroll
        for (int i = 0; i < 4; i++)
          if (!seen(tile * TILE + i / 2 * 8 + g, len, a.window)) z[e][i] = NEGATIVE_INFINITY;
    bool higher = false;
#pragma unroll
    for (int e = 0; e < EIGHTS; e++)
#pragma unroll
      for (int i = 0; i < 4; i++) higher |= z[e][i] > top[e][i % 2] + SLACK;
    if (__any_sync(FULL, higher)) raise(z);
    u32 p[EIGHTS][2];
#pragma unroll
    for (int e = 0; e < EIGHTS; e++) {
#pragma unroll
      for (int i = 0; i < 4; i++) z[e][i] = exp2_fast(z[e][i] - top[e][i % 2]), sum[e][i % 2] += z[e][i];
#pragma unroll
      for (int i = 0; i < 2; i++)
        p[e][i] = transposed(KV_CODES ? halves(z[e][2 * i] * weigh[i], z[e][2 * i + 1] * weigh[i]) : pack(z[e][2 * i], z[e][2 * i + 1]));
    }
    if constexpr (KV_CODES) {
#pragma unroll
      for (int n = 0; n < KS; n += 2) {
        load_matrices_transposed(r, rows + TILE * PITCH + n * 16);
#pragma unroll
        for (int i = 0; i < 2; i++) {
          u32 x[4];
          widen(__byte_perm(r[2 * i], 0, 0x3120), x[0], x[1]), widen(__byte_perm(r[2 * i + 1], 0, 0x3120), x[2], x[3]);
#pragma unroll
          for (int e = 0; e < EIGHTS; e++) multiply_add_halves(o[e][n + i], x, p[e][0], p[e][1]);
        }
      }
    } else {
#pragma unroll
      for (int n = 0; n < KS; n++) {
        load_matrices_transposed(r, rows + TILE * PITCH + n * 32);
        u32 x[4] = {r[0], r[2], r[1], r[3]};
#pragma unroll
        for (int e = 0; e < EIGHTS; e++) multiply_add(o[e][n], x, p[e][0], p[e][1]);
      }
    }
  }

  // settle adds up the denominators, of lanes that have some of the positions.
  __device__ __forceinline__ void settle() {
#pragma unroll
    for (int e = 0; e < EIGHTS; e++)
#pragma unroll
      for (int c = 0; c < 2; c++)
#pragma unroll
        for (int d = 4; d < WARP; d *= 2) sum[e][c] += __shfl_xor_sync(FULL, sum[e][c], d);
  }

  // leave writes the sums, not yet divided, with rows of heads so many floats apart.
  __device__ __forceinline__ void leave(float* to, int pitch, float2* stats) const {
#pragma unroll
    for (int e = 0; e < EIGHTS; e++)
#pragma unroll
      for (int c = 0; c < 2; c++) {
        int h = head(e, c);
        if (h >= GROUP) continue;
#pragma unroll
        for (int n = 0; n < KS; n++) {
          float x = o[e][n][c], y = o[e][n][2 + c];
          if (KV_CODES) *(float2*)(to + h * pitch + first(n)) = make_float2(x / VALUE_UNIT, y / VALUE_UNIT);
          else to[h * pitch + first(n)] = x, to[h * pitch + second(n)] = y;
        }
        if (threadIdx.x % WARP < 4) stats[h] = make_float2(top[e][c], sum[e][c]);
      }
  }

  // finish writes the result.
  __device__ __forceinline__ void finish(const DecodeArgs& a, const Run& of) const {
#pragma unroll
    for (int e = 0; e < EIGHTS; e++)
#pragma unroll
      for (int c = 0; c < 2; c++) {
        int h = of.head * GROUP + head(e, c);
        if (head(e, c) >= GROUP) continue;
        float all = sum[e][c] + (a.sinks ? exp2_fast(from_bf16(a.sinks[h]) * LOG2E - top[e][c]) : 0.f);
        float scale = 1.f / (KV_CODES ? all * VALUE_UNIT : all);
        bf16* out = a.out + ((size_t)of.row * HEADS + h) * HEAD_DIM;
#pragma unroll
        for (int n = 0; n < KS; n++) {
          u32 both = pack(o[e][n][c] * scale, o[e][n][2 + c] * scale);
          if (KV_CODES) *(u32*)(out + first(n)) = both;
          else out[first(n)] = (bf16)both, out[second(n)] = (bf16)(both >> 16);
        }
      }
  }
};

// How many heads' partial results a warp adds up at a time: few where registers do
// not hold the sums of all.
#define TOGETHER (GROUP > 7 ? GROUP % 4 == 0 ? 4 : GROUP % 3 == 0 ? 3 : GROUP % 2 == 0 ? 2 : 1 : GROUP)

// Partial is what a warp adds up of the partial results for N query heads of a row
// and key head, from h0 on: of workers w0 to w1 every STEP-th, from the first-th on.
// Of w0 it is the second if second is 1. The statistics are read at once, a
// worker's by each lane, and the sums of several, the first of them beside those.
template <int N, int STEP>
struct Partial {
  static constexpr int PER = (HEAD_DIM + 63) / 64 * 2; // columns of a lane
  static constexpr int AHEAD = N * PER > 20 ? 1 : N * PER > 5 ? 40 / (N * PER) : 8; // workers, as registers hold
  float best[N], all[N], acc[N][PER];

  __device__ static __forceinline__ bool mine() { return HEAD_DIM % 64 == 0 || (int)(threadIdx.x % WARP) * PER < HEAD_DIM; }

  __device__ __forceinline__ void add_up(const DecodeArgs& a, int second, int w0, int w1, int first, int h0) {
    int lane = threadIdx.x % WARP;
    bool has = mine();
#pragma unroll
    for (int h = 0; h < N; h++) {
      best[h] = NEGATIVE_INFINITY, all[h] = 0.f;
#pragma unroll
      for (int j = 0; j < PER; j++) acc[h][j] = 0.f;
    }
    for (int base = w0 + first; base <= w1; base += WARP * STEP) {
      int count = min(WARP, (w1 - base) / STEP + 1);
      auto place = [&](int i) { return (size_t)(2 * (base + i * STEP) + (base + i * STEP == w0 ? second : 0)) * GROUP + h0; };
      float2 some[AHEAD][N][PER / 2], st[N];
      auto read = [&](int from) {
#pragma unroll
        for (int i = 0; i < AHEAD; i++)
#pragma unroll
          for (int h = 0; h < N; h++)
#pragma unroll
            for (int j = 0; j < PER / 2; j++)
              some[i][h][j] = has && from + i < count ? __ldcg((const float2*)(a.partial + (place(from + i) + h) * HEAD_DIM + lane * PER) + j) : make_float2(0.f, 0.f);
      };
#pragma unroll
      for (int h = 0; h < N; h++) st[h] = lane < count ? __ldcg((const float2*)a.stats + place(lane) + h) : make_float2(NEGATIVE_INFINITY, 0.f);
      read(0);
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
#pragma unroll 1
      for (int from = 0;;) {
#pragma unroll
        for (int i = 0; i < AHEAD; i++)
#pragma unroll
          for (int h = 0; h < N; h++) {
            float by = __shfl_sync(FULL, weight[h], (from + i) % WARP);
#pragma unroll
            for (int j = 0; j < PER / 2; j++) acc[h][2 * j] += some[i][h][j].x * by, acc[h][2 * j + 1] += some[i][h][j].y * by;
          }
        if ((from += AHEAD) >= count) break;
        read(from);
      }
    }
  }
};

#define WARPS DECODE_WARPS // of a block: decodeWarps in decode.go
// Blocks that fit on a multiprocessor as far as registers go.
#define BLOCKS (WARPS > 4 ? 1 : HEAD_DIM <= 64 || KV_CODES && HEAD_DIM <= 128 && GROUP <= 8 ? 3 : 2)
