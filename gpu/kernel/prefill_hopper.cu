// paged_prefill_hopper: paged_prefill (prefill.cu: the same arguments, tiles
// and result) for sm_90a, where warpgroups of 128 threads multiply matrices
// straight from shared memory.
// Defines: HEADS, KV_HEADS, HEAD_DIM (64 or 128), PAGE_SIZE, SPLIT_KEYS
// Math:    fp32 accumulation; arXiv:2407.08608
//
// Two warpgroups have 64 pairs of a tile each, a third copies for them: queries
// of the next tile while they work on this one, and keys and values, 128 at a
// time, each to a ring of its own. A warpgroup begins the scores of the next
// keys and the mixture of these keys' values before it turns to exponents, so
// that those run beneath products: its own and the other's.
//
// Blocks stay for many items, which are tiles for one key head. They take items
// in rounds, longest first, every other round from the far end: sums come out
// even.
//
// With SPLIT_KEYS a row's keys are added up in pieces of so many positions, each begun anew,
// and the pieces in order: by one block, which keeps the sums of those before in
// memory, or, of a token alone, by as many blocks as there are pieces, of which the
// last to end adds up. Either way a row gets the same bits.
//
// TFLOP/s on an H200: with pages of 16; paged_prefill's; those of cuDNN 9 in
// PyTorch 2.11, whose keys and values lie in one piece:
//   Hq:Hkv×D   16 of 512          4 of 2048         1 of 8192         2048 after 16384
//   16:8×128   290; 158; 253      507; 237; 427     649; 272; 554     661; 262; -
//   40:8×128   322; 164; 306      551; 243; 507     660; 271; 610     663; 272; -
//   32:8×64    235; 131; 206      365; 194; 344     444; 220; 427     447; 218; -
// Under a second of such work the chip takes its 700 W and slows: 574 for 652.
//
// Launch:  min(SMs, tiles · Hkv) blocks of 384
// Limit:   4·D·Hq·Σ (positions seen) FLOP of matrix products
// Checked: TestPagedPrefill against ref.Attention
#define ROWS 128 // pairs of a tile
#define KEYS 128 // in a block of keys
#define RING (HEAD_DIM == 128 ? 2 : 3)
#define CHUNKS (HEAD_DIM / 8)             // of 16 bytes in a row
#define QUERY_ROWS HEADS // rows of HEAD_DIM from token to token
#define NONE 0x80000000u                  // no row
#define LOWEST -1e30f                     // below all scores, and finite
// Of a warp's 32 keys, those behind one another that are surely in one page.
#define PAGE_RUN ((PAGE_SIZE & -PAGE_SIZE) < WARP ? PAGE_SIZE & -PAGE_SIZE : WARP)

// A matrix of 128 rows lies as the products read it: 64 columns by 64 columns,
// rows of 128 bytes whose 16-byte chunks are permuted by the row's last 3 bits.
#define HALF (128 * 128)
#define MATRIX (HEAD_DIM / 64 * HALF)

// What a block shares, from a multiple of 1024 on: matrices, barriers, tiles.
#define QUERIES_OF(i) ((i) * MATRIX)
#define KEYS_OF(i) ((2 + (i)) * MATRIX)
#define VALUES_OF(i) ((2 + RING + (i)) * MATRIX)
#define BARRIERS ((2 + 2 * RING) * MATRIX)
#define FULL_QUERIES(i) (BARRIERS + (i) * 8)
#define FREE_QUERIES(i) (BARRIERS + (2 + (i)) * 8)
#define FULL_KEYS(i) (BARRIERS + (4 + (i)) * 8)
#define FREE_KEYS(i) (BARRIERS + (4 + RING + (i)) * 8)
#define FULL_VALUES(i) (BARRIERS + (4 + 2 * RING + (i)) * 8)
#define FREE_VALUES(i) (BARRIERS + (4 + 3 * RING + (i)) * 8)
#define TILE_OF(i) (BARRIERS + 192 + (i) * 32)

// Of a matrix in shared memory, for products: groups of 8 rows are 1024 bytes
// apart, and, where columns are the products' outer dimension, groups of 64
// columns are a half apart.
__device__ __forceinline__ u64 describe(u32 at) {
  return (u64)(at >> 4) | (u64)(HALF >> 4) << 16 | (u64)(1024 >> 4) << 32 | (u64)1 << 62;
}

// item is the round-th of this block.
__device__ __forceinline__ int item_of(int round) {
  return round * gridDim.x + (round % 2 ? gridDim.x - 1 - blockIdx.x : blockIdx.x);
}
// length_of is how many keys a tile sees.
__device__ __forceinline__ int length_of(const Tile& t) {
  return t.position + (min(t.pair + ROWS, t.tokens * GROUP) - 1) / GROUP + 1;
}

#define SPLIT_BLOCKS (SPLIT_KEYS ? SPLIT_KEYS / KEYS : 1)

// Range is the blocks of keys that a tile looks at.
struct Range {
  int start, end;
  __device__ __forceinline__ Range(const Tile& t, int window) {
    start = first_key(t, window) / KEYS, end = (length_of(t) + KEYS - 1) / KEYS;
    if (SPLIT_KEYS && t.split > 0) start = max(start, (t.split - 1) * SPLIT_BLOCKS), end = min(end, t.split * SPLIT_BLOCKS);
  }
};

// copy_rows copies 32 rows of HEAD_DIM per warp. Each lane knows one: where it
// is from `from` on, in rows; the sign says that there is none, which gives
// zeros. When there are all, RUN of them lie behind one another.
template <int RUN>
__device__ __forceinline__ void copy_rows(u32 to, const bf16* from, u32 row, bool all) {
  constexpr int AT_ONCE = WARP / CHUNKS, KNOWN = RUN < AT_ONCE ? AT_ONCE : RUN;
  int lane = threadIdx.x % WARP, warp = threadIdx.x % 128 / WARP, chunk = lane % CHUNKS, sub = lane / CHUNKS;
  to += chunk / 8 * HALF + (warp * WARP + sub) * 128;
  from += chunk * 8;
  auto at = [&](int i) { return to + i * 128 + ((chunk ^ sub ^ i) % 8) * 16; };
  if (all) {
    if (RUN >= AT_ONCE) from += sub * HEAD_DIM;
#pragma unroll
    for (int i = 0; i < WARP; i += KNOWN) {
      const bf16* first = from + (size_t)__shfl_sync(FULL, row, RUN < AT_ONCE ? i + sub : i) * HEAD_DIM;
#pragma unroll
      for (int j = 0; j < KNOWN; j += AT_ONCE)
        asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(at(i + j)), "l"(first + j * HEAD_DIM) : "memory");
    }
  } else {
#pragma unroll
    for (int i = 0; i < WARP; i += AT_ONCE) {
      u32 r = __shfl_sync(FULL, row, i + sub);
      copy16(at(i), from + (size_t)(r & ~NONE) * HEAD_DIM, !(r & NONE));
    }
  }
}

__device__ __forceinline__ void produce(const PrefillArgs& a, u32 shared) {
  int thread = threadIdx.x % 128, items = *a.count * KV_HEADS;
  Place<2> q;
  Place<RING> k, v;
  Tile next_tile;
  if (item_of(0) < items) next_tile = a.tiles[item_of(0) / KV_HEADS];
  for (int round = 0, item; (item = item_of(round)) < items; round++) {
    Tile tile = next_tile;
    int after = item_of(round + 1);
    if (after < items) next_tile = a.tiles[after / KV_HEADS];
    Range range(tile, a.window);
    int head = item % KV_HEADS, pairs = tile.tokens * GROUP, length = length_of(tile), start = range.start, blocks = range.end;
    int from = first_key(tile, a.window);
    const int* pages = a.table + (size_t)tile.slot * a.table_stride;
    auto find = [&](int block) -> u32 { // the row of this thread's key
      int p = block * KEYS + thread;
      return p >= from && p < length ? (u32)pages[p / PAGE_SIZE] * (2 * KV_HEADS * PAGE_SIZE) + p % PAGE_SIZE : NONE;
    };
    const bf16* keys = a.kv + (size_t)head * PAGE_SIZE * HEAD_DIM;
    const bf16* values = keys + (size_t)KV_HEADS * PAGE_SIZE * HEAD_DIM;

    u32 next = find(start);
    int pair = tile.pair + thread;
    u32 query = pair < pairs ? (tile.token + pair / GROUP) * QUERY_ROWS + head * GROUP + pair % GROUP : NONE;
    barrier_wait(shared + FREE_QUERIES(q.i), q.phase ^ 1);
    copy_rows<1>(shared + QUERIES_OF(q.i), a.q, query, false);
    if (thread < sizeof(Tile) / 4)
      asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(shared + TILE_OF(q.i) + thread * 4), "l"((const int*)(a.tiles + item / KV_HEADS) + thread) : "memory");
    barrier_arrive_copied(shared + FULL_QUERIES(q.i));
    q.next();

    u32 before = NONE;
    for (int block = start; block <= blocks; block++) {
      u32 now = next;
      next = find(block + 1);
      if (block < blocks) {
        barrier_wait(shared + FREE_KEYS(k.i), k.phase ^ 1);
        copy_rows<PAGE_RUN>(shared + KEYS_OF(k.i), keys, now, block * KEYS >= from && (block + 1) * KEYS <= length);
        barrier_arrive_copied(shared + FULL_KEYS(k.i));
        k.next();
      }
      if (block > start) {
        barrier_wait(shared + FREE_VALUES(v.i), v.phase ^ 1);
        copy_rows<PAGE_RUN>(shared + VALUES_OF(v.i), values, before, (block - 1) * KEYS >= from && block * KEYS <= length);
        barrier_arrive_copied(shared + FULL_VALUES(v.i));
        v.next();
      }
      before = now;
    }
  }
  copies_commit();
  copies_wait<0>();
}

// gather makes whole rows of what a warp's lanes hold of o, times a factor for
// each of their two rows: of all 16-byte chunks in order, lane l gets every 32nd
// from the l-th. It goes by way of 16 rows of shared memory.
__device__ __forceinline__ void gather(Vec4 (&rows)[HEAD_DIM / 16], const float (&o)[HEAD_DIM / 2], const float (&factor)[2], u32 shared) {
  int lane = threadIdx.x % WARP, chunk = lane % CHUNKS, sub = lane / CHUNKS;
#pragma unroll
  for (int n = 0; n < CHUNKS; n += 2) {
    const float* c = o + n * 4;
    u32 to = shared + n / 8 * HALF + lane % 16 * 128 + ((n + lane / 16) ^ lane) % 8 * 16;
    u32 m[4] = {pack(c[0] * factor[0], c[1] * factor[0]), pack(c[2] * factor[1], c[3] * factor[1]),
                pack(c[4] * factor[0], c[5] * factor[0]), pack(c[6] * factor[1], c[7] * factor[1])};
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(to), "r"(m[0]), "r"(m[1]), "r"(m[2]), "r"(m[3]) : "memory");
  }
  __syncwarp();
#pragma unroll
  for (int i = 0; i < HEAD_DIM / 16; i++) {
    int row = i * (WARP / CHUNKS) + sub;
    u32 from = shared + chunk / 8 * HALF + row * 128 + (chunk ^ row) % 8 * 16;
    asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(rows[i].x), "=r"(rows[i].y), "=r"(rows[i].z), "=r"(rows[i].w) : "r"(from) : "memory");
  }
  __syncwarp();
}

#if SPLIT_KEYS
// Weights are what sums of earlier keys and of later ones, relative to the highest score of
// each, count in the sum of both.
struct Weights {
  float top, before, after;
  __device__ __forceinline__ Weights(float earlier, float later, float scale) {
    top = fmaxf(earlier, later);
    before = exp2_fast((earlier - top) * scale), after = exp2_fast((later - top) * scale);
  }
  __device__ __forceinline__ float sum(float earlier, float later) const { return __fmaf_rn(earlier, before, __fmul_rn(later, after)); }
};

// Kept is where a block keeps what it has added up of an item, each thread by itself.
struct Kept {
  float* at;
  __device__ __forceinline__ Kept(const PrefillArgs& a) { at = a.kept + (size_t)blockIdx.x * (HEAD_DIM / 2 + 4) * 256 + threadIdx.x; }
  __device__ __forceinline__ float& operator[](int i) { return at[i * 256]; }
  __device__ __forceinline__ void store(const float (&o)[HEAD_DIM / 2], const float (&top)[2], const float (&sum)[2]) {
#pragma unroll
    for (int i = 0; i < HEAD_DIM / 2; i++) (*this)[i] = o[i];
#pragma unroll
    for (int h = 0; h < 2; h++) (*this)[HEAD_DIM / 2 + h] = top[h], (*this)[HEAD_DIM / 2 + 2 + h] = sum[h];
  }
  // add puts what is kept before what was added up since.
  __device__ __forceinline__ void add(float (&o)[HEAD_DIM / 2], float (&top)[2], float (&sum)[2]) {
    float before[2], after[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
      Weights w((*this)[HEAD_DIM / 2 + h], top[h], scale);
      sum[h] = w.sum((*this)[HEAD_DIM / 2 + 2 + h], sum[h]);
      top[h] = w.top, before[h] = w.before, after[h] = w.after;
    }
#pragma unroll
    for (int i = 0; i < HEAD_DIM / 2; i++) o[i] = __fmaf_rn((*this)[i], before[i / 2 % 2], __fmul_rn(o[i], after[i / 2 % 2]));
  }
  float scale;
};

// Parts are the sums of a token's splits for a key head, [GROUP, HEAD_DIM] each, and behind them of
// each head and of the four lanes that have it the highest score and the lane's sum.
#define PART (GROUP * (HEAD_DIM + 8))
struct Parts {
  float* at; // of the first split
  float scale;
  int row, column;
  __device__ __forceinline__ Parts(const PrefillArgs& a, const Tile& t, int head) {
    at = a.parts + ((size_t)(t.part - (t.split - 1)) * KV_HEADS + head) * PART;
    scale = a.scale, row = threadIdx.x % WARP / 4, column = threadIdx.x % 4 * 2;
  }
  __device__ __forceinline__ float* split(int i) { return at + (size_t)i * KV_HEADS * PART; }
  __device__ __forceinline__ void store(int i, const float (&o)[HEAD_DIM / 2], const float (&top)[2], const float (&sum)[2]) {
    float* to = split(i);
#pragma unroll
    for (int h = 0; h < 2; h++) {
      if (row + h * 8 >= GROUP) continue;
#pragma unroll
      for (int n = 0; n < HEAD_DIM / 8; n++) *(float2*)(to + (row + h * 8) * HEAD_DIM + n * 8 + column) = make_float2(o[n * 4 + h * 2], o[n * 4 + h * 2 + 1]);
      *(float2*)(to + GROUP * HEAD_DIM + (row + h * 8) * 8 + column) = make_float2(top[h], sum[h]);
    }
  }
  // add_up makes sums of splits from the first to the last.
  __device__ __forceinline__ void add_up(int first, int last, float (&o)[HEAD_DIM / 2], float (&top)[2], float (&sum)[2]) {
#pragma unroll 1
    for (int i = first; i <= last; i++) {
      const float* from = split(i);
#pragma unroll
      for (int h = 0; h < 2; h++) {
        if (row + h * 8 >= GROUP) continue;
        float2 one = __ldcg((const float2*)(from + GROUP * HEAD_DIM + (row + h * 8) * 8 + column));
        if (i == first) top[h] = one.x, sum[h] = 0.f;
        Weights w(top[h], one.x, scale);
        sum[h] = i == first ? one.y : w.sum(sum[h], one.y);
        top[h] = w.top;
#pragma unroll
        for (int n = 0; n < HEAD_DIM / 8; n++) {
          float2 v = __ldcg((const float2*)(from + (row + h * 8) * HEAD_DIM + n * 8 + column));
          float &x = o[n * 4 + h * 2], &y = o[n * 4 + h * 2 + 1];
          x = i == first ? v.x : w.sum(x, v.x);
          y = i == first ? v.y : w.sum(y, v.y);
        }
      }
    }
  }
};

// join enters a split's sums among the others' and says whether they all are there: then
// they are what is in o, top and sum. It is of the warp that has the token's heads.
__device__ __forceinline__ bool join(const PrefillArgs& a, const Tile& t, int head, float (&o)[HEAD_DIM / 2], float (&top)[2], float (&sum)[2]) {
  Parts parts(a, t, head);
  int first = first_key(t, a.window) / SPLIT_KEYS, last = (length_of(t) - 1) / SPLIT_KEYS;
  parts.store(t.split - 1, o, top, sum);
  __threadfence();
  __syncwarp();
  u32 *counter = a.arrived + (size_t)(t.part - (t.split - 1)) * KV_HEADS + head, earlier = 0;
  if (threadIdx.x % WARP == 0) {
    earlier = atomicAdd(counter, 1u);
    if (earlier == (u32)(last - first)) *counter = 0;
  }
  if (__shfl_sync(FULL, earlier, 0) != (u32)(last - first)) return false;
  __threadfence();
  parts.add_up(first, last, o, top, sum);
  return true;
}
#endif

__device__ __forceinline__ void consume(const PrefillArgs& a, u32 shared) {
  constexpr int KS = HEAD_DIM / 16;
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, items = *a.count * KV_HEADS;
  int group = __shfl_sync(FULL, threadIdx.x / 128, 0); // so that the compiler knows it is a warp's
  int row = warp * 16 + lane / 4, column = lane % 4 * 2; // and 8 rows on
  float s[64], o[HEAD_DIM / 2], top[2], sum[2], shrink[2];
  u32 p[32];
  int sees[2]; // the last key that a row sees
  bool moved;
  Place<2> q;
  Place<RING> k, v;
#pragma unroll
  for (int i = 0; i < 64; i++) s[i] = 0.f;
  // With heads of 64 exponents take as long as products, and warpgroups take
  // turns in beginning products: 2 % faster. With 128 that is 1 to 7 % slower.
  auto turn_wait = [&]() {
    if (HEAD_DIM == 64) asm volatile("bar.sync %0, 256;" ::"r"(1 + group) : "memory");
  };
  auto turn_give = [&]() {
    if (HEAD_DIM == 64) asm volatile("bar.arrive %0, 256;" ::"r"(2 - group) : "memory");
  };
  if (group == 1) turn_give(); // the first warpgroup begins

  auto give = [&](u32 barrier) { // a matrix that the warp has read
    if (lane == 0) barrier_arrive(barrier);
  };
  auto scores = [&]() { // begins s = queries · keysᵀ
    u64 qs = describe(shared + QUERIES_OF(q.i) + group * 64 * 128), ks = describe(shared + KEYS_OF(k.i));
    product<false>(s, qs, ks);
#pragma unroll
    for (int i = 1; i < KS; i++) {
      int on = (i / 4 * HALF + i % 4 * 32) >> 4;
      product<true>(s, qs + on, ks + on);
    }
    products_commit();
  };
  auto mix = [&]() { // begins o += p · values
    u64 vs = describe(shared + VALUES_OF(v.i));
#pragma unroll
    for (int i = 0; i < KEYS / 16; i++) product(o, p + i * 4, vs + (i * 16 * 128 >> 4));
    products_commit();
  };
  auto mask = [&](int block) {
#pragma unroll
    for (int i = 0; i < 64; i++)
      if ((u32)(sees[i / 2 % 2] - (block * KEYS + column + i / 4 * 8 + i % 2)) >= (u32)a.window) s[i] = NEGATIVE_INFINITY;
  };
  // exponents makes probabilities of s. What they are relative to follows the
  // highest score only when that has risen by 8 bits: it cancels in the end,
  // and o is seldom scaled. Each row's by itself: what a row is computed as depends
  // on no other's (the rest of a warp's o is multiplied by 1).
  auto exponents = [&](bool first) {
    float highest[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
      float m0 = fmaxf(s[h * 2], s[h * 2 + 1]), m1 = fmaxf(s[h * 2 + 4], s[h * 2 + 5]);
#pragma unroll
      for (int i = 8; i < 64; i += 8) {
        m0 = fmaxf(m0, fmaxf(s[i + h * 2], s[i + h * 2 + 1]));
        m1 = fmaxf(m1, fmaxf(s[i + h * 2 + 4], s[i + h * 2 + 5]));
      }
      m0 = fmaxf(m0, m1);
      m0 = fmaxf(m0, __shfl_xor_sync(FULL, m0, 1));
      highest[h] = fmaxf(m0, __shfl_xor_sync(FULL, m0, 2));
    }
    if (first) {
      // Of a row whose window begins further on nothing is seen yet.
      top[0] = fmaxf(highest[0], LOWEST), top[1] = fmaxf(highest[1], LOWEST);
      moved = false;
    } else {
      bool rises[2];
#pragma unroll
      for (int h = 0; h < 2; h++) rises[h] = (highest[h] - top[h]) * a.scale > 8.f;
      moved = __any_sync(FULL, rises[0] || rises[1]);
#pragma unroll
      for (int h = 0; h < 2; h++) {
        float to = rises[h] ? highest[h] : top[h];
        shrink[h] = exp2_fast((top[h] - to) * a.scale);
        top[h] = to;
        sum[h] *= shrink[h];
      }
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
      float offset = top[h] * a.scale, sum0 = 0.f, sum1 = 0.f;
#pragma unroll
      for (int i = 0; i < 64; i += 4) {
        s[i + h * 2] = exp2_fast(s[i + h * 2] * a.scale - offset);
        s[i + h * 2 + 1] = exp2_fast(s[i + h * 2 + 1] * a.scale - offset);
        sum0 += s[i + h * 2], sum1 += s[i + h * 2 + 1];
      }
      sum[h] += sum0 + sum1;
    }
  };
  auto round_probabilities = [&]() {
#pragma unroll
    for (int i = 0; i < 32; i++) p[i] = pack(s[i * 2], s[i * 2 + 1]);
  };
  auto step = [&](int block, bool masked) {
    barrier_wait(shared + FULL_KEYS(k.i), k.phase);
    barrier_wait(shared + FULL_VALUES(v.i), v.phase);
    copies_visible();
    turn_wait();
    pin(s);
    pin(o);
    products_begin();
    scores();
    mix();
    turn_give();
    products_wait<1>();
    pin(s);
    give(shared + FREE_KEYS(k.i));
    k.next();
    if (masked) mask(block);
    exponents(false);
    // Sums are positive: nothing is stored. But the assembler has to finish the
    // exponents before it lets the warp wait; else it puts them behind.
    asm volatile("{.reg .pred p; setp.lt.f32 p, %0, 0f00000000; @p st.shared.f32 [%1], %0;}" ::"f"(sum[0] + sum[1]), "r"(shared) : "memory");
    products_wait<0>();
    pin(o);
    give(shared + FREE_VALUES(v.i));
    v.next();
    round_probabilities();
    if (moved) {
#pragma unroll
      for (int i = 0; i < HEAD_DIM / 2; i++) o[i] *= shrink[i / 2 % 2];
    }
  };

  for (int round = 0, item; (item = item_of(round)) < items; round++) {
    barrier_wait(shared + FULL_QUERIES(q.i), q.phase);
    int field;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(field) : "r"(shared + TILE_OF(q.i) + lane % 8 * 4) : "memory");
    Tile tile = {__shfl_sync(FULL, field, 0), __shfl_sync(FULL, field, 1), __shfl_sync(FULL, field, 2), __shfl_sync(FULL, field, 3), __shfl_sync(FULL, field, 4),
                 __shfl_sync(FULL, field, 5), __shfl_sync(FULL, field, 6)};
    int head = item % KV_HEADS, pairs = tile.tokens * GROUP;
    Range range(tile, a.window);
    // Rows past the run see what its last one does; they are not stored.
    sees[0] = tile.position + min(tile.pair + row, pairs - 1) / GROUP;
    sees[1] = tile.position + min(tile.pair + row + 8, pairs - 1) / GROUP;
    // Blocks that all of the warpgroup's rows see.
    int whole = (tile.position + min(tile.pair + group * 64, pairs - 1) / GROUP + 1) / KEYS;
    // Blocks before which some row's window begins further on.
    int edge = max(0, tile.position + min(tile.pair + group * 64 + 63, pairs - 1) / GROUP + KEYS - a.window) / KEYS;
    bool stores = true;
    if (SPLIT_KEYS && range.start >= range.end) { // the split is before the window
      give(shared + FREE_QUERIES(q.i));
      q.next();
      continue;
    }
    int start = range.start, blocks;
    do {
      blocks = SPLIT_KEYS ? min(range.end, (start / SPLIT_BLOCKS + 1) * SPLIT_BLOCKS) : range.end;
#pragma unroll
      for (int i = 0; i < HEAD_DIM / 2; i++) o[i] = 0.f;
      sum[0] = sum[1] = 0.f;

      barrier_wait(shared + FULL_KEYS(k.i), k.phase);
      copies_visible();
      pin(s);
      products_begin();
      scores();
      products_wait<0>();
      pin(s);
      give(shared + FREE_KEYS(k.i));
      k.next();
      if (start >= whole || start < edge) mask(start);
      exponents(true);
      round_probabilities();
      for (int block = start + 1, until = min(edge, blocks); block < blocks; until = blocks) {
        for (; block < until; block++) step(block, true);
        for (; block < min(whole, blocks); block++) step(block, false);
      }

      barrier_wait(shared + FULL_VALUES(v.i), v.phase);
      copies_visible();
      pin(o);
      products_begin();
      mix();
      products_wait<0>();
      pin(o);
      give(shared + FREE_VALUES(v.i));
      v.next();
#if SPLIT_KEYS
      Kept kept(a);
      kept.scale = a.scale;
      if (start > range.start) kept.add(o, top, sum);
      if (blocks < range.end) kept.store(o, top, sum);
      start = blocks;
#endif
    } while (SPLIT_KEYS && start < range.end);
#if SPLIT_KEYS
    if (tile.split > 0) stores = warp == 0 && join(a, tile, head, o, top, sum);
#endif

#pragma unroll
    for (int h = 0; h < 2; h++) {
      sum[h] += __shfl_xor_sync(FULL, sum[h], 1);
      sum[h] += __shfl_xor_sync(FULL, sum[h], 2);
      if (a.sinks) sum[h] += exp2_fast(from_bf16(a.sinks[head * GROUP + (tile.pair + row + h * 8) % GROUP]) * LOG2E - top[h] * a.scale);
      asm("rcp.approx.ftz.f32 %0, %0;" : "+f"(sum[h]));
    }
    // The place of the warp's queries, which nothing reads any more.
    Vec4 rows[HEAD_DIM / 16];
    gather(rows, o, sum, shared + QUERIES_OF(q.i) + warp * 16 * 128);
    give(shared + FREE_QUERIES(q.i));
    q.next();
#pragma unroll
    for (int i = 0; i < HEAD_DIM / 16; i++) {
      int pair = tile.pair + warp * 16 + i * (WARP / CHUNKS) + lane / CHUNKS;
      if (stores && pair < pairs) store16(a.out + ((size_t)(tile.token + pair / GROUP) * HEADS + head * GROUP + pair % GROUP) * HEAD_DIM + lane % CHUNKS * 8, rows[i]);
    }
  }
}

extern "C" __global__ void __launch_bounds__(384, 1) paged_prefill_hopper(const __grid_constant__ PrefillArgs a) {
  extern __shared__ __align__(128) u8 memory[];
  u32 shared = (shared_address(memory) + 1023) & ~1023u;
  if (threadIdx.x == 0) {
    for (int i = 0; i < 2; i++) barrier_init(shared + FULL_QUERIES(i), 128), barrier_init(shared + FREE_QUERIES(i), 8);
    for (int i = 0; i < RING; i++) {
      barrier_init(shared + FULL_KEYS(i), 128), barrier_init(shared + FREE_KEYS(i), 8);
      barrier_init(shared + FULL_VALUES(i), 128), barrier_init(shared + FREE_VALUES(i), 8);
    }
  }
  __syncthreads();
  wait_for_previous();
  let_next_start();
  if (threadIdx.x / 128 == 2) {
    registers_lower<40>();
    produce(a, shared);
  } else {
    registers_raise<232>();
    consume(a, shared);
  }
}
