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
// The query heads of a key head are the rows of one tensor core operand, padded
// to 16.
//
// Codes become halves, exactly, in registers, by one instruction for two; queries
// become halves, and so do probabilities, times their values' scales. What adds up
// there is an order of its own: of 16 dimensions a lane multiplies four neighbours
// of a key, and of values, whose transposed pairs are of two dimensions, first the
// even ones.
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

// load starts copying a tile's keys and values; page is, in lane i, that of
// the tile's position i % 16. What the row does not see becomes zero.
__device__ __forceinline__ void load_tile(u32 shared, const DecodeArgs& a, int head, int first, int len, int page) {
  constexpr int CHUNKS = ROW / 16;
  int lane = threadIdx.x % WARP;
  if (KV_CODES) { // a scale by each lane
    int position = first + lane % TILE;
    size_t row = (((size_t)page * 2 + lane / TILE) * KV_HEADS + head) * PAGE_SIZE + position % PAGE_SIZE;
    copy4(shared + SCALES_AT + lane * 4, a.kv_scales + row, (u32)(len - 1 - position) < (u32)a.window);
  }
#pragma unroll(HEAD_DIM > 192 ? 2 : HEAD_DIM > 128 ? 4 : TILE * CHUNKS / WARP) // all, unless registers run out
  for (int i = 0; i < TILE * CHUNKS / WARP; i++) {
    // The i-th of every 32 chunks; whole rows of them where these are a power of 2.
    int row = WARP % CHUNKS ? (i * WARP + lane) / CHUNKS : i * (WARP / CHUNKS) + lane / CHUNKS;
    int chunk = WARP % CHUNKS ? (i * WARP + lane) % CHUNKS : lane % CHUNKS, position = first + row;
    size_t p = __shfl_sync(FULL, page, row);
    const u8* k = (const u8*)a.kv + ((p * 2 * KV_HEADS + head) * PAGE_SIZE + position % PAGE_SIZE) * ROW + chunk * 16;
    u32 to = shared + row * PITCH + chunk * 16;
    bool seen = (u32)(len - 1 - position) < (u32)a.window;
    copy16(to, k, seen);
    copy16(to + TILE * PITCH, k + KV_HEADS * PAGE_SIZE * ROW, seen);
  }
}


// Mixture is what the queries of a row and key head have of the tiles that a warp
// has seen.
struct Mixture {
  static constexpr int KS = HEAD_DIM / 16, NS = HEAD_DIM / 8;
  static constexpr bool WIDE = GROUP > 8;       // rows 8 to 15 hold heads
  static constexpr bool KEPT = HEAD_DIM <= 128; // queries stay in registers, but those for which there are too few
  const bf16* q;
  u32 qa[KS][4];
  float o[NS][4], top[2], sum[2]; // of rows l/4, then l/4 + 8

  __device__ __forceinline__ void query(u32* x, int k) const {
    int lane = threadIdx.x % WARP, g = lane / 4, column = lane % 4 * 2;
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
  }

  __device__ __forceinline__ void begin(const DecodeArgs& a, const Run& at) {
    q = a.q + ((size_t)at.row * HEADS + at.head * GROUP) * HEAD_DIM;
#pragma unroll
    for (int k = 0; KEPT && k < KS; k++) query(qa[k], k);
#pragma unroll
    for (int n = 0; n < NS; n++) o[n][0] = o[n][1] = o[n][2] = o[n][3] = 0.f;
    top[0] = top[1] = NEGATIVE_INFINITY, sum[0] = sum[1] = 0.f;
  }

  // see takes in a tile of a row of len positions, from stage base on.
  __device__ __forceinline__ void see(const DecodeArgs& a, u32 base, int tile, int len) {
    int lane = threadIdx.x % WARP, g = lane / 4, column = lane % 4 * 2;
    u32 keys = base + ((lane / 16) * 8 + lane % 8) * PITCH + (lane / 8 % 2) * 16;
    u32 values = base + TILE * PITCH + ((lane / 8 % 2) * 8 + lane % 8) * PITCH + (lane / 16) * 16;
    u32 r[4];
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
      load_matrices(r, keys + k * 32);
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
    for (int h = 0; h < (WIDE ? 2 : 1); h++) {
      float highest = NEGATIVE_INFINITY;
#pragma unroll
      for (int j = 0; j < 4; j++) {
        float& z = s[j / 2][h * 2 + j % 2];
        z = (u32)(len - 1 - (tile * TILE + j / 2 * 8 + column + j % 2)) < (u32)a.window ? z * (KV_CODES ? a.scale * by[j] : a.scale) : NEGATIVE_INFINITY;
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
      load_matrices_transposed(r, values + n * 8);
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
      load_matrices_transposed(r, values + n * 16);
      multiply_add(o[n], p, r[0], r[1]);
      multiply_add(o[n + 1], p, r[2], r[3]);
    }
  }

  // settle adds up a row's sums, of lanes that have columns of its tiles, and puts
  // neighbours together: o[n] has columns pair(n) and one more.
  __device__ __forceinline__ void settle(int h) {
    sum[h] += __shfl_xor_sync(FULL, sum[h], 1);
    sum[h] += __shfl_xor_sync(FULL, sum[h], 2);
    if (KV_CODES)
#pragma unroll
      for (int n = 0; n < NS; n += 2) {
        float odd = o[n + 1][h * 2];
        o[n + 1][h * 2] = o[n][h * 2 + 1] / VALUE_UNIT, o[n + 1][h * 2 + 1] /= VALUE_UNIT;
        o[n][h * 2] /= VALUE_UNIT, o[n][h * 2 + 1] = odd / VALUE_UNIT;
      }
  }
  __device__ static __forceinline__ int pair(int n) {
    int column = threadIdx.x % 4 * 2;
    return KV_CODES ? n / 2 * 16 + column * 2 + n % 2 * 2 : n * 8 + column;
  }
};

// Partial is what a warp adds up of the partial results for N query heads of a row
// and key head, from h0 on: of workers w0 to w1 every STEP-th, from the first-th on.
// Of w0 it is the second if second is 1. The statistics are read at once, a
// worker's by each lane, and the sums of several.
template <int N, int STEP>
struct Partial {
  static constexpr int PER = (HEAD_DIM + 63) / 64 * 2; // columns of a lane
  float best[N], all[N], acc[N][PER];

  __device__ static __forceinline__ bool mine() { return HEAD_DIM % 64 == 0 || (int)(threadIdx.x % WARP) * PER < HEAD_DIM; }

  __device__ __forceinline__ void add_up(const DecodeArgs& a, int second, int w0, int w1, int first, int h0) {
    constexpr int AHEAD = (N > 8 || KV_CODES && N > 4 ? 2 : N > 4 ? 4 : 8) / (HEAD_DIM > 128 ? 2 : 1);
    int lane = threadIdx.x % WARP;
    bool has = mine();
#pragma unroll
    for (int h = 0; h < N; h++) {
      best[h] = NEGATIVE_INFINITY, all[h] = 0.f;
#pragma unroll
      for (int j = 0; j < PER; j++) acc[h][j] = 0.f;
    }
    for (int base = w0 + first; base <= w1; base += WARP * STEP) {
      int count = min(WARP, (w1 - base) / STEP + 1), w = base + lane * STEP;
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
        int w = base + i * STEP;
        const float* sums = a.partial + (size_t)(2 * w + (w == w0 ? second : 0)) * GROUP * HEAD_DIM + h0 * HEAD_DIM + lane * PER;
#pragma unroll
        for (int h = 0; h < N; h++) {
          float add = __shfl_sync(FULL, weight[h], i);
#pragma unroll
          for (int j = 0; j < PER; j += 2) {
            float2 v = has ? __ldcg((const float2*)(sums + h * HEAD_DIM + j)) : make_float2(0.f, 0.f);
            acc[h][j] += v.x * add;
            acc[h][j + 1] += v.y * add;
          }
        }
      }
    }
  }
};

// What fits on a multiprocessor as far as registers go.
// The compiler for sm_100 is one register short of three with codes.
#define BLOCKS (HEAD_DIM <= 64 || KV_CODES && HEAD_DIM <= 128 && GROUP <= 8 && __CUDA_ARCH__ < 1000 ? 3 : 2)
#define WARPS (HEAD_DIM > 128 ? 2 : 4) // of a block
