// int4_rows: products of weights of 4 bits with up to 16 rows, for sm_90a. The same
// arguments and layout as int4.cu's (int4.cuh).
//   y = x·wᵀ  [N, M], or added to y, or bf16 [N, M/2] = silu(g)·u, where g|u = x·wᵀ
//   N ≤ 8·TILES, K % 128 == 0, M % 16 == 0, M % 32 == 0 with gates
// Math:    bf16 products of 128 + 4 bits, exact, fp32 sums. A group's sum is off by
//          (128 + zero point)·Σx, which it begins with, negative, and is multiplied by
//          the scale: that costs 7 of the sum's 24 bits and saves a third of the
//          instructions. Σx is a product, too, with ones.
//
// A block has some neighbouring panels of 16 outputs, all K of them, and its
// warps share that out evenly, in the order of K: a warp has all panels of its
// part of K, two at a time (a duo: two chains of products, or gates and their ups), so it
// has its part of x once, in registers, and meets nobody before the end, where all add up
// in shared memory. The thread that needs a weight finds it in the 16 bytes that it
// loads.
//
// A warp copies for itself, a duo's two blocks a stage, as far ahead as there are
// stages. Weights are nobody's output: the first stages are on their way before the
// kernel ahead has ended.
//
// What bounds it are instructions, of which as many warps as registers allow hide each
// other's latency: of Qwen3-14B's gates 16 warps take 29 µs for 37 of 8. One block fits on a
// multiprocessor, on purpose: where two do, kernels that start early come to lie two on
// one and none on the next (a step of Qwen3-14B took 5.4 ms for 4.2 in turn). Clusters
// that share panels lost more at their meetings than they gained in balance.
//
// Launch:  a block a multiprocessor, of WARPS warps
// Limit:   M·K/2 bytes of memory traffic, and 4 for each group
// Checked: TestInt4 against ref.Product; emulate_test.go, without a GPU
#define ONES 0x3f803f80u

// What a warp does of a round, some duos and all K: so many units, a duo and 128 inputs
// each, of K's order.
struct Walk {
  u32 unit, end;
  int chunk, duo; // of the round
  int first, duos; // the round's in the block's

  // begin finds a warp's units of a round; there are fewer rounds than that: false.
  __device__ __forceinline__ bool begin(int round, int rounds, int all, int chunks, u32 worker, u32 workers) {
    if (round >= rounds) return false;
    first = round * all / rounds, duos = (round + 1) * all / rounds - first;
    u32 units = chunks * duos;
    unit = worker * units / workers, end = (worker + 1) * units / workers;
    chunk = unit / duos, duo = unit % duos;
    return true;
  }
  __device__ __forceinline__ void next() {
    unit++;
    if (++duo == duos) duo = 0, chunk++;
  }
};

template <int TILES, int GROUPS, int WARPS, int DUOS, int DEPTH>
struct Rows {
  static constexpr int BLOCK = block_bytes(GROUPS), STAGE = 2 * BLOCK, X = TILES * 8 * 256;
  static constexpr int OWN = DUOS * 2 * TILES * 512 > 2 * X ? DUOS * 2 * TILES * 512 : 2 * X; // a warp's rows, and sums when it is done with those
  static constexpr int BARRIERS = WARPS * (DEPTH * STAGE + OWN);
  static constexpr int BYTES = BARRIERS + WARPS * DEPTH * 8;

  const Int4Args& a;
  bool gate;
  int chunks, panels, all, rounds, panel; // the block's panels (of gates), duos and rounds; its first
  u32 up;       // bytes from a duo's first panel to its second
  int on, back; // to the next duo; from a round's last to the first, 128 inputs on
  u32 warp, stages, own, barriers;

  __device__ __forceinline__ Rows(const Int4Args& a, u32 shared) : a(a), gate(a.form == 3), chunks(a.in / 128) {
    int whole = a.out / (gate ? 32 : 16);
    panel = blockIdx.x * whole / gridDim.x, panels = (blockIdx.x + 1) * whole / gridDim.x - panel;
    up = (gate ? whole : 1) * chunks * BLOCK, on = (gate ? 1 : 2) * chunks * BLOCK;
    all = gate ? panels : (panels + 1) / 2, rounds = (all + DUOS - 1) / DUOS;
    warp = __shfl_sync(FULL, threadIdx.x / WARP, 0);
    stages = shared + warp * DEPTH * STAGE, own = shared + WARPS * DEPTH * STAGE + warp * OWN, barriers = shared + BARRIERS + warp * DEPTH * 8;
  }

  // Of duos where there is no second panel there is one.
  __device__ __forceinline__ bool second(int duo) const { return gate || duo * 2 + 1 < panels; }

  // Stages are filled in the order of units, on from round to round.
  Walk ahead;
  int ahead_round;
  u32 next; // where its first block is: int4_rows.go sees to it that 32 bits do
  Place<DEPTH> into;
  __device__ __forceinline__ void seek() {
    while (ahead.unit == ahead.end && ahead.begin(++ahead_round, rounds, all, chunks, warp, WARPS))
      back = BLOCK - (ahead.duos - 1) * on, next = ((u32)(panel + (ahead.first + ahead.duo) * (gate ? 1 : 2)) * chunks + ahead.chunk) * BLOCK;
  }
  __device__ __forceinline__ void fill() {
    if (ahead_round < rounds) {
      if (elected()) {
        u32 to = stages + into.i * STAGE, barrier = barriers + into.i * 8;
        bool two = second(ahead.first + ahead.duo);
        barrier_expect(barrier, two ? 2 * BLOCK : BLOCK);
        copy_piece(to, a.w + next, BLOCK, barrier);
        if (two) copy_piece(to + BLOCK, a.w + (next + up), BLOCK, barrier);
      }
      ahead.next();
      next += ahead.duo ? on : back;
      if (ahead.unit == ahead.end) seek();
    }
    into.next();
  }

  __device__ __forceinline__ void begin() {
    if (threadIdx.x % WARP == 0) {
      for (int i = 0; i < DEPTH; i++) barrier_init(barriers + i * 8, 1);
      copies_visible();
    }
    __syncwarp();
    ahead_round = -1, ahead.unit = ahead.end = 0;
    seek();
#pragma unroll 1
    for (int i = 0; i < DEPTH; i++) fill();
  }

  // rows copies 128 inputs of all rows; a row's 16 pieces are permuted by its last 3 bits.
  __device__ __forceinline__ void rows(int chunk, u32 to) {
    int lane = threadIdx.x % WARP, piece = lane % 16;
    const bf16* x = a.x + chunk * 128 + piece * 8;
#pragma unroll
    for (int i = 0; i < TILES * 4; i++) {
      int row = i * 2 + lane / 16;
      if (row < a.n) copy16(to + row * 256 + (piece ^ row % 8) * 16, x + (size_t)row * a.in, true);
    }
  }

  // group is the products of a block and 128/GROUPS inputs, of which are words.
  __device__ __forceinline__ void group(float (&c)[TILES][4], u32 block, int group, const Vec4* words, const u32 (&b)[TILES][16], const float (&x)[GROUPS][TILES][2]) {
    int g = threadIdx.x % WARP / 4;
    float scale[2], zero[2], sum[TILES][4];
#pragma unroll
    for (int h = 0; h < 2; h++) {
      u32 word = load_shared4(block + SIXTEEN_ROWS + group * 64 + (g + h * 8) * 4);
      scale[h] = scale4(word), zero[h] = __uint_as_float(__byte_perm(word, 0xc3000000u, 0x7044)); // −(128 + zero point)
    }
#pragma unroll
    for (int t = 0; t < TILES; t++)
#pragma unroll
      for (int i = 0; i < 4; i++) sum[t][i] = zero[i / 2] * x[group][t][i % 2];
#pragma unroll
    for (int s = group * 8 / GROUPS; s < (group + 1) * 8 / GROUPS; s++) {
      const Vec4& four = words[s / 4];
      u32 word = s % 4 == 0 ? four.x : s % 4 == 1 ? four.y : s % 4 == 2 ? four.z : four.w, w[4];
#pragma unroll
      for (int i = 0; i < 4; i++) w[i] = behind128(word >> (4 * i));
#pragma unroll
      for (int t = 0; t < TILES; t++) multiply_add(sum[t], w, b[t][s * 2], b[t][s * 2 + 1]);
    }
#pragma unroll
    for (int t = 0; t < TILES; t++)
#pragma unroll
      for (int i = 0; i < 4; i++) c[t][i] += scale[i / 2] * sum[t][i];
  }

  __device__ __forceinline__ void run() {
    int lane = threadIdx.x % WARP;
    Place<DEPTH> p;
#pragma unroll 1
    for (int round = 0; round < rounds; round++) {
      Walk walk;
      walk.begin(round, rounds, all, chunks, warp, WARPS);
      float acc[DUOS][2][TILES][4] = {};
      u32 at = 0; // which half of own has the chunk's rows
      if (walk.unit < walk.end) rows(walk.chunk, own);
      copies_commit();
#pragma unroll 1
      while (walk.unit < walk.end) {
        copies_wait<0>();
        __syncwarp();
        u32 b[TILES][16];
#pragma unroll
        for (int t = 0; t < TILES; t++)
#pragma unroll
          for (int s = 0; s < 4; s++) load_matrices(b[t] + s * 4, own + at + (t * 8 + lane % 8) * 256 + ((s * 4 + lane / 8) ^ lane % 8) * 16);
        int from = walk.duo, to = min(walk.duos, from + (int)(walk.end - walk.unit));
        at ^= X; // nobody reads what was there any more: all have passed the barrier since
        if (walk.unit + (to - from) < walk.end) rows(walk.chunk + 1, own + at);
        copies_commit();
        float x[GROUPS][TILES][2]; // sums of rows, of each group
        u32 ones[4] = {ONES, ONES, ONES, ONES};
#pragma unroll
        for (int i = 0; i < GROUPS; i++)
#pragma unroll
          for (int t = 0; t < TILES; t++) {
            float c[4] = {};
#pragma unroll
            for (int s = i * 8 / GROUPS; s < (i + 1) * 8 / GROUPS; s++) multiply_add(c, ones, b[t][s * 2], b[t][s * 2 + 1]);
            x[i][t][0] = c[0], x[i][t][1] = c[1];
          }
#pragma unroll
        for (int duo = 0; duo < DUOS; duo++)
          if (duo >= from && duo < to) {
            u32 stage = stages + p.i * STAGE;
            barrier_wait(barriers + p.i * 8, p.phase);
            Vec4 words[2][2];
#pragma unroll
            for (int m = 0; m < 2; m++)
#pragma unroll
              for (int i = 0; i < 2; i++) words[m][i] = load_shared16(stage + m * BLOCK + i * 512 + lane * 16);
#pragma unroll
            for (int i = 0; i < GROUPS; i++)
#pragma unroll
              for (int m = 0; m < 2; m++) group(acc[duo][m], stage + m * BLOCK, i, words[m], b, x);
            p.next();
            __syncwarp();
            fill(); // where this duo was
          }
        walk.unit += to - from, walk.duo = 0, walk.chunk++;
      }
      finish(acc, walk);
    }
  }

  // finish adds up what all warps have of a round, in their order, and stores it.
  __device__ __forceinline__ void finish(const float (&acc)[DUOS][2][TILES][4], const Walk& walk) {
    int lane = threadIdx.x % WARP;
    __syncwarp(); // own's rows have been read
#pragma unroll
    for (int duo = 0; duo < DUOS; duo++)
      if (duo < walk.duos)
#pragma unroll
        for (int m = 0; m < 2; m++)
#pragma unroll
          for (int t = 0; t < TILES; t++)
#pragma unroll
            for (int i = 0; i < 4; i++)
              if (t * 8 + lane % 4 * 2 + i % 2 < a.n) store_shared(own + ((((duo * 2 + m) * TILES + t) * 4 + i) * WARP + lane) * 4, acc[duo][m][t][i]);
    // A thread has every so-many-th sum, of gates' duos or of panels.
    int sums = (gate ? walk.duos : min(panels - walk.first * 2, walk.duos * 2)) * TILES * 128;
    auto row = [&](int e) { return e / 128 % TILES * 8 + e % 4 * 2 + e / 32 % 2; };
    auto column = [&](int e) { return (panel + (gate ? walk.first : walk.first * 2) + e / (TILES * 128)) * 16 + e / 64 % 2 * 8 + e % 32 / 4; };
    auto old = [&](int e) { return a.form == 2 && e < sums && row(e) < a.n ? load_fresh((const float*)a.y + (size_t)row(e) * a.ld + column(e)) : 0.f; };
    float before = old(threadIdx.x); // on its way while all meet
    __syncthreads();
#pragma unroll 1
    for (int e = threadIdx.x; e < sums; e += WARPS * WARP) {
      int n = row(e);
      float next = old(e + WARPS * WARP), v[2] = {};
      if (n < a.n) {
        u32 at = own - warp * OWN + (gate ? e / (TILES * 128) * (TILES * 256) + e % (TILES * 128) : e) * 4;
        add_up(v[0], at);
        if (gate) add_up(v[1], at + TILES * 512);
        size_t to = (size_t)n * a.ld + column(e);
        if (gate) {
          ((bf16*)a.y)[to] = to_bf16(v[0] / (1.f + exp2_fast(-LOG2E * v[0])) * v[1]);
        } else if (a.form == 1) {
          ((bf16*)a.y)[to] = to_bf16(v[0]);
        } else {
          ((float*)a.y)[to] = before + v[0];
        }
      }
      before = next;
    }
    __syncthreads(); // all have read what this warp has
  }

  __device__ __forceinline__ void add_up(float& v, u32 at) const {
#pragma unroll
    for (int w = 0; w < WARPS; w++) v += __uint_as_float(load_shared4(at + w * OWN));
  }
};

template <int TILES, int GROUPS, int WARPS, int DUOS, int DEPTH>
__device__ __forceinline__ void rows(const Int4Args& a) {
  extern __shared__ __align__(128) u8 memory[];
  Rows<TILES, GROUPS, WARPS, DUOS, DEPTH> r(a, shared_address(memory));
  let_next_start(); // whose blocks come where there is room, and copy their weights
  r.begin();
  wait_for_previous();
  r.run();
}
