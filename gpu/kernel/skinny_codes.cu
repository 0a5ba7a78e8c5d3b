// skinny_*_codes: skinny.cu's products, of weights in E4M3.
//   x     f32 [·, K], the residual stream; bf16 in skinny_add_codes   K % 64 == 0
//   w     E4M3 [M, K]   read once
//   scales f32 [M], or (scale_stride) [M/128, scale_stride] for 128 × 128 each
//   the rest as there
// Math:    products of halves, fp32 sums. Codes are halves, exactly; x or x·norm a
//          sixteenth of what it is, which keeps bf16's 8 bits between 2^-13 and 2^20;
//          beyond it is cut off. The norm's factor multiplies the sum.
//
// The weights are the tensor cores' left operand, a pair of tiles of 8 outputs at a time,
// the tokens the right one, 8 or 16 columns. The order of k within a sum is free: a lane
// takes 16 neighbours of a row of each tile as its share of four products, and of x the
// same 16.
//
// A block has some neighbouring tiles and all K: 5,120 outputs share out evenly among
// 132 multiprocessors in tiles of 8, not of 16, so a block's last pair may be half of one.
// Its warps have every sixteenth 64 inputs. A warp has its part of x once for up to DUOS
// pairs (with gates a tile of g and the same of u), since it is x, made halves, that costs
// instructions, and bandwidth of L2 where rows are many. A lane copies the weights that
// it will need itself through shared memory, DEPTH pairs ahead and on into the next round,
// so no warp waits for another but to add up at a round's end.
//
// Weights are nobody's output: the first are on their way before the kernel ahead has
// ended, where there is room. Only one of these blocks fits on a multiprocessor: where two
// did, some had two and others none, and a step of Qwen3-14B took 7.2 ms for 5.9, with 8
// warps a block. With 16, whose instructions wait for each other less, it takes 4.3.
//
// Launch:  a block of 16 warps on each multiprocessor
// Limit:   M·K bytes of memory traffic
// Checked: TestSkinnyCodes against ref; TestEmulatedCodes, without a GPU
#define WARPS 16
#define SHRINK 0.0625f // of x in halves
__device__ __forceinline__ Vec4 halves8(const float* f) {
  Vec4 v;
  v.x = halves(f[0] * SHRINK, f[1] * SHRINK), v.y = halves(f[2] * SHRINK, f[3] * SHRINK);
  v.z = halves(f[4] * SHRINK, f[5] * SHRINK), v.w = halves(f[6] * SHRINK, f[7] * SHRINK);
  return v;
}

// What a block has of a product: some neighbouring tiles of 8 outputs, with gates g's and
// as many of u, in pairs, and these in rounds of as many or one more.
template <int DUOS>
struct Share {
  int row, rows; // the first; how many, of g
  int rounds, least, larger; // pairs of a round; rounds that have one more
  __device__ __forceinline__ Share(int out, bool gate) {
    int outputs = gate ? out / 2 : out, tiles = (outputs + 7) / 8, first = (u32)blockIdx.x * tiles / gridDim.x, mine = (u32)(blockIdx.x + 1) * tiles / gridDim.x - first;
    int all = gate ? mine : (mine + 1) / 2;
    row = first * 8, rows = min(mine * 8, outputs - row), rounds = (all + DUOS - 1) / DUOS, least = all / rounds, larger = all % rounds;
  }
  __device__ __forceinline__ int duos(int round) const { return least + (round < larger ? 1 : 0); }
};

// What a warp has to copy, in order: rounds of some pairs of tiles, in each its chunks
// of 64 inputs, of each all the round's pairs.
template <int DUOS>
struct Walk {
  int round, first, duos, chunk, duo;
  __device__ __forceinline__ Walk(const Share<DUOS>& share, int warp, int chunks) : round(warp < chunks ? 0 : share.rounds), first(0), duos(share.duos(0)), chunk(warp), duo(0) {}
  __device__ __forceinline__ void next(const Share<DUOS>& share, int warp, int chunks) {
    if (++duo < duos) return;
    duo = 0, chunk += WARPS;
    if (chunk >= chunks) first += duos, duos = share.duos(++round), chunk = warp;
  }
};

// TOKENS / 8 tiles of x's rows.
template <int TOKENS, int DUOS, int DEPTH, bool BLOCKS, bool NORM, Epilogue EPILOGUE>
struct Codes8 {
  static constexpr int NT = TOKENS / 8, UNIT = 2 * WARP * 16; // bytes of a pair of tiles and 64 inputs
  static constexpr int STEP = EPILOGUE == GATE ? 8 : 16;      // rows of w from pair to pair
  static constexpr int TILE = TOKENS * 8 * 4, PART = DUOS * 2 * TILE; // bytes of a warp's sums
  static constexpr int SUMS = WARPS * DEPTH * UNIT, SQUARES = SUMS + WARPS * PART, BYTES = SQUARES + WARPS * TOKENS * 4;
  static constexpr int TOGETHER = BLOCKS ? 1 : NT > 1 ? 2 : 3;
  static constexpr int SIZE = NORM ? 4 : 2, PIECES = SIZE; // bytes of an element of x; 16-byte pieces of 16 of them

  const SkinnyArgs& a;
  u32 shared;
  int lane, warp, chunks;
  Share<DUOS> share;
  Walk<DUOS> ahead;
  const u8* w; // the lane's first
  size_t second; // bytes from a pair's first tile to its second
  u32 ring;
  int into, from;

  __device__ __forceinline__ Codes8(const SkinnyArgs& a, u32 shared) : a(a), shared(shared), lane(threadIdx.x % WARP), warp(threadIdx.x / WARP), chunks(a.in / 64), share(a.out, EPILOGUE == GATE), ahead(share, warp, chunks), into(0), from(0) {
    w = fresh((const u8*)a.w + (size_t)(share.row + lane / 4) * a.in + lane % 4 * 16);
    second = (size_t)(EPILOGUE == GATE ? a.out / 2 : 8) * a.in, ring = shared + warp * DEPTH * UNIT + lane * 16;
  }

  // load copies the next pair; a block's last may have no second tile.
  __device__ __forceinline__ void load() {
    if (ahead.round < share.rounds) {
      int r = (ahead.first + ahead.duo) * STEP;
      const u8* at = w + (size_t)r * a.in + ahead.chunk * 64;
      copy16(ring + into * UNIT, at, EPILOGUE == GATE || r + lane / 4 < share.rows);
      copy16(ring + into * UNIT + WARP * 16, at + second, EPILOGUE == GATE || r + 8 + lane / 4 < share.rows);
      ahead.next(share, warp, chunks);
    }
    copies_commit();
    into = into == DEPTH - 1 ? 0 : into + 1;
  }

  // multiply does a chunk's pairs, a few at a time whose products do not wait for each
  // other, and puts others in their place.
  template <int ALL>
  __device__ __forceinline__ void all_pairs(float (&acc)[DUOS][NT][4], const u32 (&v)[NT][8], int c, int row) {
    copies_wait<DEPTH - ALL>(); // the lane's own: nobody else reads them
#pragma unroll
    for (int some = 0; some < ALL; some += TOGETHER) {
      Vec4 codes[TOGETHER][2];
      float by[TOGETHER][2], sum[TOGETHER][NT][4] = {}; // with scales of blocks
#pragma unroll
      for (int i = 0; i < TOGETHER && some + i < ALL; i++)
#pragma unroll
        for (int m = 0; m < 2; m++) {
          codes[i][m] = load_shared16(ring + from * UNIT + m * WARP * 16);
          int r = fresh(row + (some + i) * STEP);
          if (BLOCKS) by[i][m] = a.scales[min(EPILOGUE == GATE ? r + m * (a.out / 2) : r + m * 8, a.out - 1) / 128 * a.scale_stride + c / 2];
          if (m == 1) from = from == DEPTH - 1 ? 0 : from + 1;
        }
      auto step = [&](int k, u32 Vec4::*word) {
#pragma unroll
        for (int i = 0; i < TOGETHER && some + i < ALL; i++) {
          u32 w[4];
          widen(codes[i][0].*word, w[0], w[2]);
          widen(codes[i][1].*word, w[1], w[3]);
#pragma unroll
          for (int t = 0; t < NT; t++) multiply_add_halves(BLOCKS ? sum[i][t] : acc[some + i][t], w, v[t][k * 2], v[t][k * 2 + 1]);
        }
      };
      step(0, &Vec4::x);
      step(1, &Vec4::y);
      step(2, &Vec4::z);
      step(3, &Vec4::w);
#pragma unroll
      for (int i = 0; i < TOGETHER && some + i < ALL; i++) {
#pragma unroll
        for (int t = 0; BLOCKS && t < NT; t++)
#pragma unroll
          for (int j = 0; j < 4; j++) acc[some + i][t][j] += sum[i][t][j] * by[i][j / 2];
        load();
      }
    }
  }
  template <int MOST>
  __device__ __forceinline__ void multiply(int duos, float (&acc)[DUOS][NT][4], const u32 (&v)[NT][8], int c, int row) {
    if (duos == MOST) {
      all_pairs<MOST>(acc, v, c, row);
    } else if constexpr (MOST > 1) {
      multiply<MOST - 1>(duos, acc, v, c, row);
    }
  }

  __device__ __forceinline__ void run() {
    int g = lane / 4, q = lane % 4, half = a.out / 2, row = share.row, rows = share.rows, rounds = share.rounds;
    let_next_start(); // whose blocks come as these end
#pragma unroll 1
    for (int i = 0; i < DEPTH; i++) load();
    if (!BLOCKS)
      for (int r = threadIdx.x * 32; r < rows; r += WARPS * WARP * 32) {
        bring_to_l2(a.scales + row + r);
        if (EPILOGUE == GATE) bring_to_l2(a.scales + half + row + r);
      }
    const bf16* norm = a.norm + q * 16;
    Vec4 b[NT][PIECES], scale[2]; // of the next chunk
    auto fetch_norm = [&](int c) {
      if (NORM) scale[0] = *(const Vec4*)(norm + c * 64), scale[1] = *(const Vec4*)(norm + c * 64 + 8);
    };
    if (NT == 1 && warp < chunks) fetch_norm(warp);
    wait_for_previous();

    const u8* x[NT];
#pragma unroll
    for (int t = 0; t < NT; t++) {
      int token = min(t * 8 + g, a.n - 1);
      x[t] = (const u8*)a.x + ((size_t)(a.rows ? a.rows[token] : token) * a.in + q * 16) * SIZE;
    }
    auto fetch = [&](int c) {
#pragma unroll
      for (int t = 0; t < NT; t++)
#pragma unroll
        for (int i = 0; i < PIECES; i++) b[t][i] = *(const Vec4*)(x[t] + c * 64 * SIZE + i * 16);
    };
    if (warp < chunks) fetch(warp);
    float square[NT] = {};

#pragma unroll 1
    for (int round = 0, first = 0, duos; round < rounds; round++, first += duos) {
      duos = share.duos(round);
      float acc[DUOS][NT][4] = {};
#pragma unroll 1
      for (int c = warp; c < chunks; c += WARPS) {
        u32 v[NT][8];
        if (NT > 1) fetch_norm(c); // not before, for want of registers
#pragma unroll
        for (int t = 0; t < NT; t++)
#pragma unroll
          for (int j = 0; j < 2; j++) {
            float f[8], s[8];
            if constexpr (NORM) {
              floats8(b[t][j * 2], b[t][j * 2 + 1], f);
              unpack(scale[j], s);
#pragma unroll
              for (int i = 0; i < 8; i++) {
                if (round == 0) square[t] += f[i] * f[i];
                f[i] *= s[i];
              }
            } else {
              unpack(b[t][j], f);
            }
            Vec4 h = halves8(f);
            v[t][j * 4] = h.x, v[t][j * 4 + 1] = h.y, v[t][j * 4 + 2] = h.z, v[t][j * 4 + 3] = h.w;
          }
        int next = c + WARPS < chunks ? c + WARPS : warp;
        fetch(next);
        if (NT == 1) fetch_norm(next);
        multiply<DUOS>(duos, acc, v, c, row + first * STEP);
      }

      u32 part = shared + SUMS + warp * PART + (g * TOKENS + q * 2) * 4;
#pragma unroll
      for (int duo = 0; duo < DUOS; duo++)
#pragma unroll
        for (int m = 0; m < 2; m++)
#pragma unroll
          for (int t = 0; t < NT; t++)
            if (duo < duos) store_shared_floats(part + (duo * 2 + m) * TILE + t * 32, make_float2(acc[duo][t][m * 2], acc[duo][t][m * 2 + 1]));
#pragma unroll
      for (int t = 0; NORM && t < NT; t++) {
        if (round > 0) break;
        square[t] += __shfl_xor_sync(FULL, square[t], 1);
        square[t] += __shfl_xor_sync(FULL, square[t], 2);
        if (q == 0) store_shared(shared + SQUARES + (warp * TOKENS + t * 8 + g) * 4, square[t]);
      }
      // A thread has every so-many-th of the round's results: eight outputs of each token
      // of each tile.
      int tiles = EPILOGUE == GATE ? duos : min(duos * 2, (rows + 7) / 8 - first * 2), results = tiles * 8 * a.n;
      auto token_of = [&](int e) { return e / 8 % a.n; };
      auto row_of = [&](int e) { return row + first * STEP + e / 8 / a.n * 8 + e % 8; };
      auto old = [&](int e) { return EPILOGUE == ADD && !a.rounded && e < results && row_of(e) < a.out ? ((const float*)a.y)[(size_t)token_of(e) * a.ld + row_of(e)] : 0.f; };
      float before = old(threadIdx.x); // on its way while all meet
      __syncthreads();
#pragma unroll 1
      for (int e = threadIdx.x; e < results; e += WARPS * WARP) {
        int token = token_of(e), r = row_of(e), tile = e / 8 / a.n * (EPILOGUE == GATE ? 2 : 1);
        float sum = before, scale = 1.f / SHRINK;
        before = old(e + WARPS * WARP);
        if (r >= a.out) continue;
        u32 at = shared + SUMS + tile * TILE + (e % 8 * TOKENS + token) * 4;
        float value = 0.f, up = 0.f;
#pragma unroll
        for (int k = 0; k < WARPS; k++) {
          value += load_shared_float(at + k * PART);
          if (EPILOGUE == GATE) up += load_shared_float(at + TILE + k * PART);
        }
        if (NORM) {
          float squares = 0.f;
#pragma unroll
          for (int k = 0; k < WARPS; k++) squares += load_shared_float(shared + SQUARES + (k * TOKENS + token) * 4);
          scale *= rsqrtf(squares / a.in + a.eps);
        }
        value *= scale * (BLOCKS ? 1.f : a.scales[r]);
        if (EPILOGUE == GATE) {
          up *= scale * (BLOCKS ? 1.f : a.scales[half + r]);
          ((bf16*)a.y)[(size_t)token * half + r] = to_bf16(value / (1.f + exp2_fast(-LOG2E * value)) * up);
        } else if (a.rounded) {
          ((bf16*)a.y)[(size_t)token * a.ld + r] = to_bf16(value);
        } else {
          ((float*)a.y)[(size_t)token * a.ld + r] = sum + value;
        }
      }
      if (round + 1 < rounds) __syncthreads(); // sums have been read
    }
    copies_wait<0>();
  }
};

template <int TOKENS, int DUOS, int DEPTH, bool BLOCKS, bool NORM, Epilogue EPILOGUE>
__device__ __forceinline__ void skinny_codes(const SkinnyArgs& a) {
  extern __shared__ __align__(16) u8 memory[];
  Codes8<TOKENS, DUOS, DEPTH, BLOCKS, NORM, EPILOGUE>(a, shared_address(memory)).run();
}

// With these numbers, or fewer pairs at a time, skinny_codes.go sizes shared memory, of
// which other devices have less.
#if CODES_WIDE
#define EIGHT 6, 8
#define SIXTEEN 3, 8
#define EIGHT_BLOCKS 4, 8
#else
#define EIGHT 3, 3
#define SIXTEEN 2, 2
#define EIGHT_BLOCKS 3, 3
#endif
#define SIXTEEN_BLOCKS 1, (CODES_WIDE ? 8 : 2)
#define KERNEL(NAME, NORM, EPILOGUE) \
  extern "C" __global__ void __launch_bounds__(512, 1) NAME##_8_codes(const __grid_constant__ SkinnyArgs a) { skinny_codes<8, EIGHT, false, NORM, EPILOGUE>(a); } \
  extern "C" __global__ void __launch_bounds__(512, 1) NAME##_16_codes(const __grid_constant__ SkinnyArgs a) { skinny_codes<16, SIXTEEN, false, NORM, EPILOGUE>(a); } \
  extern "C" __global__ void __launch_bounds__(512, 1) NAME##_8_blocks(const __grid_constant__ SkinnyArgs a) { skinny_codes<8, EIGHT_BLOCKS, true, NORM, EPILOGUE>(a); } \
  extern "C" __global__ void __launch_bounds__(512, 1) NAME##_16_blocks(const __grid_constant__ SkinnyArgs a) { skinny_codes<16, SIXTEEN_BLOCKS, true, NORM, EPILOGUE>(a); }
KERNEL(skinny_norm, true, FLOATS)
KERNEL(skinny_gate, true, GATE)
KERNEL(skinny_add, false, ADD)
