// int4_bytes: products of weights of 4 bits with up to 4 rows, for sm_90a. The same
// arguments and layout as int4.cu's (int4.cuh), and in split the blocks of a cluster.
//   y = x·wᵀ  [N, M], or added to y, or bf16 [N, M/2] = silu(g)·u, where g|u = x·wᵀ
//   N ≤ 4, K % 128 == 0, M % 16 == 0, M % 32 == 0 with gates
// Math:    whole numbers: of 128 inputs of a row, each is rounded to 16 bits of the
//          largest, of which the tensor cores multiply upper and lower 8 as columns of
//          their own; int32 sums, exact, fp32 across groups
//
// That is for want of instructions: a word of 8 weights masked once is a register of
// bytes for the tensor cores, masked again another, 16 times as large, for the 8
// outputs behind: 5 instructions for 16 weights, where pairs of bf16 take 16.
//
// A cluster has some neighbouring panels of 16 outputs, of whose K each of its blocks has
// a part, and so x's: its warps share the blocks of weights out evenly, in their order
// in memory. What a warp has of a panel's sums it leaves in shared memory; a block adds
// those up, and sends each panel's to the block that stores it.
//
// A warp copies for itself, two blocks of weights at once, as far ahead as its ring holds.
// Weights are nobody's output: the ring is full before the kernel ahead has ended.
//
// Launch:  clusters of split blocks of WARPS warps, a block a multiprocessor
// Limit:   M·K/2 bytes of memory traffic, and 4 for each group
// Checked: TestInt4 against ref.Product; emulate_test.go, without a GPU
#define fact_bytes(GROUPS) ((GROUPS) == 4 ? 32 : 16) // of a row's 128 inputs: their unit, and each group's negative sum
#define WORDS 256                                     // bytes of a row's 128 inputs

// What a warp does, and from where on: pairs of blocks of weights, panel by panel.
struct Run {
  int left, panel, chunk;
};

template <int GROUPS, int WARPS, int DEPTH>
struct Bytes {
  static constexpr int BLOCK = block_bytes(GROUPS), STAGE = 2 * BLOCK, RING = DEPTH * STAGE, THREADS = WARPS * WARP;
  static constexpr int FACTS = fact_bytes(GROUPS), BATCH = 4; // of rows' chunks that a warp reads at once

  const Int4Args& a;
  bool gate;
  int rank, from, count, chunks;   // of K's chunks, those of this block
  u32 shift;                       // 2 to it are the blocks of a cluster
  int whole, first, sets, panels;  // panels (of gates); this cluster's, with those of ups
  int pairs, all;                  // of chunks, of a panel; of all of them
  int warp, lane;
  u32 ring, rows, facts, sums, spans, inbox, summed, barriers;

  __device__ __forceinline__ Bytes(const Int4Args& a, u32 shared) : a(a), gate(a.form == 3), chunks(a.in / 128), shift(31 - __clz(a.split)) {
    u32 cluster = blockIdx.x >> shift;
    rank = blockIdx.x & (a.split - 1), from = rank * chunks >> shift, count = ((rank + 1) * chunks >> shift) - from;
    whole = a.out / (gate ? 32 : 16), first = part(cluster), sets = part(cluster + 1) - first;
    panels = gate ? sets * 2 : sets, pairs = (count + 1) / 2, all = panels * pairs;
    warp = __shfl_sync(FULL, threadIdx.x / WARP, 0), lane = threadIdx.x % WARP;
    summed = shared, barriers = shared + 16 + warp * DEPTH * 8;
    ring = shared + (16 + WARPS * DEPTH * 8 + 127) / 128 * 128 + warp * RING;
    int most = (chunks + a.split - 1) >> shift; // so that all blocks of a cluster have the same places
    rows = ring + (WARPS - warp) * RING, facts = rows + most * a.n * WORDS, sums = facts + most * a.n * FACTS;
    spans = sums + (panels + WARPS - 1) * a.n * 64, inbox = spans + (panels * 8 + 15) / 16 * 16;
  }

  __device__ __forceinline__ int part(u32 cluster) const { return a.inverse ? __umulhi(cluster * whole, a.inverse) : cluster * whole; }

  // Sets, of a panel or of gates and their ups, are stored by one block of a cluster each.
  __device__ __forceinline__ int owned(int rank) const { return (sets - rank + a.split - 1) >> shift; }
  __device__ __forceinline__ int begins(int warp) const { return warp * all / WARPS; }
  __device__ __forceinline__ bool advance(Run& r) const { // to a panel's next; true: to the next panel
    r.left--, r.chunk += 2;
    if (r.chunk < count) return false;
    r.chunk = 0, r.panel++;
    return true;
  }

  Run ahead;
  u32 next; // where its blocks are: int4_bytes.go sees to it that 32 bits do
  Place<DEPTH> into;
  __device__ __forceinline__ void seek() {
    int panel = gate ? first + ahead.panel / 2 + ahead.panel % 2 * whole : first + ahead.panel;
    next = ((u32)panel * chunks + from + ahead.chunk) * BLOCK;
  }
  __device__ __forceinline__ void fill() {
    if (ahead.left > 0) {
      if (elected()) {
        u32 bytes = ahead.chunk + 1 < count ? STAGE : BLOCK;
        barrier_expect(barriers + into.i * 8, bytes);
        copy_piece(ring + into.i * STAGE, a.w + next, bytes, barriers + into.i * 8);
      }
      next += STAGE;
      if (advance(ahead)) seek();
    }
    into.next();
  }

  __device__ __forceinline__ Run begin() {
    if (lane == 0) {
      for (int i = 0; i < DEPTH; i++) barrier_init(barriers + i * 8, 1);
      copies_visible();
    }
    __syncwarp();
    int begin = begins(warp);
    ahead.left = begins(warp + 1) - begin, ahead.panel = pairs > 0 ? begin / pairs : 0, ahead.chunk = (begin - ahead.panel * pairs) * 2;
    seek();
    Run r = ahead;
#pragma unroll 1
    for (int i = 0; i < DEPTH; i++) fill();
    if (threadIdx.x == 0) {
      barrier_init(summed, 1);
      barriers_visible();
      barrier_expect(summed, (a.split - 1) * owned(rank) * (gate ? 2 : 1) * a.n * 64);
    }
    cluster_arrive();
    return r;
  }

  // A warp makes bytes of some neighbouring chunks of rows, one row behind the other.
  u32 tasks, chunk, to, x_at; // how many; the first's chunk, where it goes, and where a lane finds its pairs
  __device__ __forceinline__ void find_rows() {
    u32 all = count * a.n, begin = warp * all / WARPS, row = count > 0 ? begin / count : 0;
    tasks = (warp + 1) * all / WARPS - begin, chunk = begin - row * count, to = chunk * a.n + row;
    x_at = row * (a.in / 2) + (from + chunk) * 64 + lane / 4 * 8 + lane % 4;
    keep(tasks), keep(chunk), keep(to), keep(x_at);
  }
  __device__ __forceinline__ void take_rows() {
    const u32* x = (const u32*)a.x;
#pragma unroll 1
    for (u32 task = 0; task < tasks; task += BATCH) {
      u32 v[BATCH][2], at[BATCH];
#pragma unroll
      for (int i = 0; i < BATCH; i++) {
        if (task + i < tasks) v[i][0] = x[x_at], v[i][1] = x[x_at + 4];
        at[i] = to;
        chunk++, to += a.n, x_at += 64;
        if (chunk == count) chunk = 0, to += 1 - count * a.n, x_at += a.in / 2 - count * 64;
      }
#pragma unroll
      for (int i = 0; i < BATCH; i++)
        if (task + i < tasks) take(at[i], v[i][0], v[i][1]);
    }
  }

  // take makes bytes of 128 inputs of a row, of which each lane has two pairs. Of each 64
  // lane 4·i+j of a product finds in 16 bytes the four words of column i % 2, upper bytes
  // or lower, one for 16 inputs each: of inputs 2j, 2j+8, 2j+1 and 2j+9, which is the
  // order of weights in a word.
  __device__ __forceinline__ void take(u32 place, u32 one, u32 two) {
    u32 most = max(max(one & 0x7fff, one >> 16 & 0x7fff), max(two & 0x7fff, two >> 16 & 0x7fff));
    float unit = __uint_as_float(warp_most(most) << 16) * (1.f / 32512.f), by = unit >= 1e-34f ? reciprocal(unit) : 0.f;
    // Behind 3·2²² a float's last bits are a whole number.
    u32 n[4] = {behind3(low(one), by), behind3(low(two), by), behind3(high(one), by), behind3(high(two), by)};
    u32 to = rows + place * WORDS + lane / 16 * 128 + lane % 4 * 16 + lane / 4 % 4 * 4, fact = facts + place * FACTS;
    store_shared(to, __uint_as_float(__byte_perm(__byte_perm(n[0] + 128, n[1] + 128, 0x51), __byte_perm(n[2] + 128, n[3] + 128, 0x51), 0x5410)));
    store_shared(to + 64, __uint_as_float(__byte_perm(__byte_perm(n[0], n[1], 0x40), __byte_perm(n[2], n[3], 0x40), 0x5410)));
    int sum = (int)(4 * 0x4b400000u - n[0] - n[1] - n[2] - n[3]);
    if (lane == 0) store_shared(fact, unit);
#pragma unroll
    for (int i = 0; i < GROUPS; i++) {
      int less = warp_total(lane * GROUPS / WARP == i ? sum : 0);
      if (lane == 0) store_shared(fact + 4 + i * 4, __uint_as_float((u32)less));
    }
  }
  __device__ __forceinline__ static u32 behind3(float x, float by) { return __float_as_uint(fmaf(x, by, 12582912.f)); }

  // multiply adds the products of 16 outputs and 128 inputs. Those of outputs behind the
  // first 8 are 16 times as large.
  __device__ __forceinline__ void multiply(float (&acc)[2], u32 words, u32 scales, u32 row, u32 fact) {
    u32 w[8], x[8];
#pragma unroll
    for (int i = 0; i < 2; i++) {
      Vec4 v = load_shared16(words + i * 512), u = load_shared16(row + i * 128);
      w[i * 4] = v.x, w[i * 4 + 1] = v.y, w[i * 4 + 2] = v.z, w[i * 4 + 3] = v.w;
      x[i * 4] = u.x, x[i * 4 + 1] = u.y, x[i * 4 + 2] = u.z, x[i * 4 + 3] = u.w;
    }
    Vec4 known = load_shared16(fact);
    float unit = __uint_as_float(known.x);
#pragma unroll
    for (int group = 0; group < GROUPS; group++) {
      int less = group == 0 ? known.y : group == 1 ? known.z : group == 2 ? known.w : load_shared4(fact + 16);
      u32 scale[2] = {load_shared4(scales + group * 64), load_shared4(scales + group * 64 + 32)};
      int c[4] = {0, (int)(scale[0] & 0xff) * less, 0, (int)(scale[1] & 0xff) * 16 * less};
#pragma unroll
      for (int s = group * 8 / GROUPS; s < (group + 1) * 8 / GROUPS; s += 2) {
        u32 bytes[4] = {w[s] & 0x0f0f0f0f, w[s] & 0xf0f0f0f0, w[s + 1] & 0x0f0f0f0f, w[s + 1] & 0xf0f0f0f0};
        multiply_add_bytes(c, bytes, x[s], x[s + 1]);
      }
#pragma unroll
      for (int h = 0; h < 2; h++) acc[h] += (float)(c[h * 2] * 256 + c[h * 2 + 1]) * (scale4(scale[h]) * unit);
    }
  }

  __device__ __forceinline__ void run(Run r) {
    float acc[2] = {};
    Place<DEPTH> p;
    bool begun = r.chunk == 0;
    u32 words = ring + lane * 16, scales = ring + SIXTEEN_ROWS + lane / 4 * 4;
    u32 row = rows + min(lane / 8, a.n - 1) * WORDS + lane % 8 * 16; // columns 2r and 2r+1 are row r's
    u32 fact = facts + min(lane % 4, a.n - 1) * FACTS, row_on = r.chunk * a.n * WORDS, fact_on = r.chunk * a.n * FACTS;
    keep(words), keep(scales), keep(row), keep(fact);
#pragma unroll 1
    while (r.left > 0) {
      int panel = r.panel;
      u32 stage = p.i * STAGE;
      barrier_wait(barriers + p.i * 8, p.phase);
      multiply(acc, words + stage, scales + stage, row + row_on, fact + fact_on);
      if (r.chunk + 1 < count) multiply(acc, words + stage + BLOCK, scales + stage + BLOCK, row + row_on + a.n * WORDS, fact + fact_on + a.n * FACTS);
      p.next();
      __syncwarp();
      fill(); // where these were
      row_on += 2 * a.n * WORDS, fact_on += 2 * a.n * FACTS;
      bool ended = advance(r);
      if (ended || r.left == 0) leave(acc, panel, begun, ended), begun = true;
      if (ended) row_on = fact_on = 0;
    }
  }

  // What warps leave: a panel's sums, row by row, and who was the first there, and the
  // last. A warp begins where the one before it ends, in the same panel at most.
  __device__ __forceinline__ u32 left(int panel, int warp, int row) const { return sums + ((panel + warp) * a.n + row) * 64; }
  __device__ __forceinline__ void leave(float (&acc)[2], int panel, bool begun, bool ended) {
    u32 to = left(panel, warp, lane % 4) + lane / 4 * 4;
    if (lane % 4 < a.n) store_shared(to, acc[0]), store_shared(to + 32, acc[1] * 0.0625f);
    acc[0] = acc[1] = 0.f;
    if (begun && lane == 0) store_shared(spans + panel * 8, __uint_as_float(warp));
    if (ended && lane == 0) store_shared(spans + panel * 8 + 4, __uint_as_float(warp));
  }

  // Two sums of all that warps left of a panel, in their order.
  __device__ __forceinline__ float2 sum(int panel, int row, int pair) const {
    float2 v = {0.f, 0.f};
    if (count == 0) return v;
    int last = load_shared4(spans + panel * 8 + 4);
#pragma unroll 1
    for (int w = load_shared4(spans + panel * 8); w <= last; w++) {
      if (all < WARPS && begins(w) == begins(w + 1)) continue; // which had nothing to do
      float2 u = load_shared_floats(left(panel, w, row) + pair * 8);
      v.x += u.x, v.y += u.y;
    }
    return v;
  }
  // letter is where such sums come from another block: of a panel of those that this one has.
  __device__ __forceinline__ u32 letter(int from, int panel, int row, int pair) const {
    return ((from * (gate ? 2 : 1) * owned(0) + panel) * a.n + row) * 64 + pair * 8;
  }

  __device__ __forceinline__ void send() {
    int pair = threadIdx.x % 8; // of sums, of 16 in a panel's row
#pragma unroll 1
    for (int e = threadIdx.x / 8; e < panels * a.n; e += THREADS / 8) {
      int panel = e / a.n, row = e - panel * a.n, set = gate ? panel / 2 : panel, owner = set & (a.split - 1);
      if (owner == rank) continue;
      float2 v = sum(panel, row, pair);
      u32 there = inbox + letter(rank - (rank > owner), gate ? (set >> shift) * 2 + panel % 2 : set >> shift, row, pair);
      store_there(shared_of(there, owner), v.x, v.y, shared_of(summed, owner));
    }
  }

  // total is the sum of all blocks, in their order but for this one, which is the first.
  __device__ __forceinline__ float2 total(int panel, int mine, int row, int pair) const {
    float2 v = sum(panel, row, pair);
    barrier_wait(summed, 0);
#pragma unroll 1
    for (int other = 0; other < a.split - 1; other++) {
      float2 u = load_shared_floats(inbox + letter(other, mine, row, pair));
      v.x += u.x, v.y += u.y;
    }
    return v;
  }
  __device__ __forceinline__ void store() {
    int pair = threadIdx.x % 8;
#pragma unroll 1
    for (int e = threadIdx.x / 8; e < owned(rank) * a.n; e += THREADS / 8) {
      int mine = e / a.n, row = e - mine * a.n, set = (mine << shift) + rank;
      size_t to = (size_t)row * a.ld + (first + set) * 16 + pair * 2;
      if (gate) {
        float2 g = total(set * 2, mine * 2, row, pair), u = total(set * 2 + 1, mine * 2 + 1, row, pair);
        ((bf16*)a.y)[to] = to_bf16(gated(g.x, u.x)), ((bf16*)a.y)[to + 1] = to_bf16(gated(g.y, u.y));
        continue;
      }
      float2 before = {0.f, 0.f};
      if (a.form == 2) before.x = load_fresh((const float*)a.y + to), before.y = load_fresh((const float*)a.y + to + 1);
      float2 v = total(set, mine, row, pair);
      if (a.form == 1) {
        ((bf16*)a.y)[to] = to_bf16(v.x), ((bf16*)a.y)[to + 1] = to_bf16(v.y);
      } else {
        ((float*)a.y)[to] = before.x + v.x, ((float*)a.y)[to + 1] = before.y + v.y;
      }
    }
  }
  __device__ __forceinline__ static float gated(float g, float u) { return g / (1.f + exp2_fast(-LOG2E * g)) * u; }
};

template <int GROUPS, int WARPS, int DEPTH>
__device__ __forceinline__ void bytes(const Int4Args& a) {
  extern __shared__ __align__(128) u8 memory[];
  let_next_start(); // whose blocks come where there is room, and copy their weights
  Bytes<GROUPS, WARPS, DEPTH> b(a, shared_address(memory));
  Run r = b.begin();
  b.find_rows();
  wait_for_previous();
  b.take_rows();
  __syncthreads();
  b.run(r);
  __syncthreads();
  cluster_wait(); // all blocks have begun
  b.send();
  b.store();
}
