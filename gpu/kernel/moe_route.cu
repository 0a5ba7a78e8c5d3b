// moe_route, moe_choose, moe_choose_scored, moe_group: which experts a token goes through, and the
// rows that the experts' products have, expert by expert.
//   x        f32  [T, H]   the residual stream; H % 64 == 0
//   norm     bf16 [H]
//   w        bf16 [E, H]   the router; k ≤ 16, k ≤ E ≤ 512
//   slots    i32  [T]      negative: padding, which goes nowhere
//   logits   f32  [T, E]   rms_norm(x)·wᵀ; moe_choose is given them
//   normed   bf16 [T, H]   x·norm; scales f32 [T] has 1/√(mean(x²)+ε)
//   choice   i32  [T, k]   the experts of largest logits, the first among equals, as
//                          numbers of those from first on that are here; −1: padding,
//                          and experts that are not, which get no entries
//   share    f32  [T, k]   softmax of the logits over E, or over the k (normalize)
//            in moe_choose_scored those of largest score, softmax or σ (sigmoid),
//            plus correction, f32 [E] or null, among experts of the groups_taken
//            of groups whose two largest add up to the most; the share is
//            scale·score, with normalize divided by the sum of the k
//   entries  Entry [T·k]   a token at one of its experts; they lie expert by
//                          expert, those of an expert in the order of tokens
//   place    i32  [T, k]   which entry it is; −1: none
//   tiles    Tile          at most `rows` entries of one expert; count of them
// moe_route does everything for up to 64 tokens at once. For more, moe_choose
// follows a product that makes logits, and moe_group follows that; their scales
// are 1.
// Math:    fp32. moe_route multiplies x·norm as the sum of two bf16: a choice
//          is not made by a rounding. Sums are in the same order every time.
//
// A block of moe_route has 16 experts and 8 tokens, as the tensor cores do; its
// warps split H. The last block to arrive chooses and groups. A block of
// moe_group has one expert and looks through all choices, once to count those
// of lower experts and its own, once to place its own: nothing is shared but,
// in the end, the counts, from which the last block makes the tiles.
//
// Launch:  moe_route (⌈E/16⌉, ⌈T/8⌉) of 256; moe_choose ⌈T/8⌉ of 256; moe_group
//          E of 1024; moe_choose_scored as moe_choose
// Limit:   launch; 2·E·H + 6·T·H bytes
// Checked: TestRoute against ref.Route, TestScoredRoute against ref.ScoredRoute
#define WARPS 8
#define MAX_EXPERTS 512
#define MAX_CHOSEN 16
#define MAX_ROUTED 64

struct RouteArgs {
  const float* x;
  const bf16* norm;
  const bf16* w;
  const int* slots;
  float* logits;
  bf16* normed;
  float* scales;
  int* choice;
  float* share;
  ExpertEntry* entries;
  int* place;
  int* counts; // of entries by expert
  ExpertTile* tiles;
  int* count;
  int* arrived; // zero before and after
  const float* correction;
  int tokens, hidden, experts, chosen, rows;
  int normalize;
  float eps, scale;
  int sigmoid, groups, groups_taken;
  int first, here; // of the experts, those whose entries there are
};

// local is an expert's number among those that are here; −1: it is not.
__device__ __forceinline__ int local(const RouteArgs& a, int expert) {
  expert -= a.first;
  return expert < 0 || expert >= a.here ? -1 : expert;
}

// What other blocks have just written is read past L1.
__device__ __forceinline__ float fresh(const float* p) {
  float v;
  asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(v) : "l"(p) : "memory");
  return v;
}

// in_order maps floats to integers of the same order, none to 0.
__device__ __forceinline__ u32 in_order(float v) {
  u32 bits = __float_as_uint(v + 0.f); // −0 ties with 0
  return bits ^ ((u32)((int)bits >> 31) | 0x80000000u);
}
__device__ __forceinline__ float from_order(u32 key) { return __uint_as_float(key ^ (key >> 31 ? 0x80000000u : 0xffffffffu)); }

// take_best finds the largest key of a warp and which it is, the first among
// equals, and clears it. Key r of a lane is number 32·r + lane.
template <int PER>
__device__ __forceinline__ u32 take_best(u32 (&key)[PER], int& which) {
  int lane = threadIdx.x % WARP, at = 0;
  u32 best = 0;
#pragma unroll
  for (int r = 0; r < PER; r++)
    if (key[r] > best) best = key[r], at = r * WARP + lane;
  u32 most = __reduce_max_sync(FULL, best);
  which = (int)__reduce_min_sync(FULL, best == most ? (u32)at : 0x7fffffffu);
#pragma unroll
  for (int r = 0; r < PER; r++)
    if (r * WARP + lane == which) key[r] = 0;
  return most;
}

// choose finds a token's experts and their shares; a warp does it, each lane
// with so many of the logits. Lane j returns the j-th.
template <int PER>
__device__ __forceinline__ void choose(const RouteArgs& a, int token, int& expert, float& share) {
  int lane = threadIdx.x % WARP;
  const float* logits = a.logits + (size_t)token * a.experts;
  u32 key[PER]; // in the order of logits; 0: taken
  float v[PER], top = NEGATIVE_INFINITY, total = 0.f, p = 0.f;
#pragma unroll
  for (int r = 0; r < PER; r++) {
    v[r] = r * WARP + lane < a.experts ? fresh(logits + r * WARP + lane) : NEGATIVE_INFINITY;
    top = fmaxf(top, v[r]);
  }
  top = warp_max(top);
#pragma unroll
  for (int r = 0; r < PER; r++) {
    key[r] = r * WARP + lane < a.experts ? in_order(v[r]) : 0;
    total += exp2_fast((v[r] - top) * LOG2E); // 0 beyond the experts
  }
  expert = 0;
  for (int j = 0; j < a.chosen; j++) {
    int which;
    u32 most = take_best(key, which);
    if (lane == j) {
      expert = which;
      p = exp2_fast((from_order(most) - top) * LOG2E);
    }
  }
  total = warp_sum(a.normalize ? p : total);
  if (a.slots && a.slots[token] < 0) expert = -1;
  share = p / total;
}
__device__ __forceinline__ void choose(const RouteArgs& a, int token, int& expert, float& share) {
  if (a.experts <= 4 * WARP) {
    choose<4>(a, token, expert, share);
  } else {
    choose<MAX_EXPERTS / WARP>(a, token, expert, share);
  }
}

// best_groups clears the keys of experts whose group's two largest do not add up
// to enough.
template <int PER>
__device__ __forceinline__ void best_groups(const RouteArgs& a, u32 (&key)[PER]) {
  int lane = threadIdx.x % WARP, size = a.experts / a.groups;
  u32 sum[1] = {0}; // of group `lane`
  for (int g = 0; g < a.groups; g++) {
    u32 own[PER];
#pragma unroll
    for (int r = 0; r < PER; r++) own[r] = (r * WARP + lane) / size == g ? key[r] : 0;
    int which;
    float first = from_order(take_best(own, which)), second = from_order(take_best(own, which));
    if (lane == g) sum[0] = in_order(first + second);
  }
  u32 taken = 0;
  for (int i = 0; i < a.groups_taken; i++) {
    int which;
    take_best(sum, which);
    taken |= 1u << which % WARP;
  }
#pragma unroll
  for (int r = 0; r < PER; r++) {
    int expert = r * WARP + lane;
    if (expert < a.experts && !(taken >> expert / size & 1)) key[r] = 0;
  }
}

// choose_scored is choose by scores, corrected, of some groups' experts.
template <int PER>
__device__ __forceinline__ void choose_scored(const RouteArgs& a, int token, int& expert, float& share) {
  int lane = threadIdx.x % WARP;
  const float* logits = a.logits + (size_t)token * a.experts;
  u32 key[PER];
  float score[PER], top = NEGATIVE_INFINITY, total = 0.f, p = 0.f;
#pragma unroll
  for (int r = 0; r < PER; r++) {
    score[r] = r * WARP + lane < a.experts ? fresh(logits + r * WARP + lane) : NEGATIVE_INFINITY;
    top = fmaxf(top, score[r]);
  }
  top = warp_max(top);
#pragma unroll
  for (int r = 0; r < PER; r++) { // 0 beyond the experts
    score[r] = a.sigmoid ? 1.f / (1.f + expf(-score[r])) : expf(score[r] - top);
    total += score[r];
  }
  total = a.sigmoid ? 1.f : warp_sum(total);
#pragma unroll
  for (int r = 0; r < PER; r++) {
    int i = r * WARP + lane;
    score[r] /= total;
    key[r] = i < a.experts ? in_order(score[r] + (a.correction ? a.correction[i] : 0.f)) : 0;
  }
  if (a.groups > 1) best_groups(a, key);
  expert = 0;
  for (int j = 0; j < a.chosen; j++) {
    int which;
    take_best(key, which);
    float mine = 0.f;
#pragma unroll
    for (int r = 0; r < PER; r++)
      if (r * WARP + lane == which) mine = score[r];
    mine = __shfl_sync(FULL, mine, which % WARP);
    if (lane == j) expert = which, p = mine;
  }
  total = a.normalize ? warp_sum(p) : 1.f;
  if (a.slots && a.slots[token] < 0) expert = -1;
  share = p / total * a.scale;
}

// lay_out says where each expert's entries begin, given how many it has, and
// lists the tiles; a warp does it.
template <typename Count>
__device__ __forceinline__ void lay_out(const RouteArgs& a, Count count, int* first) {
  int lane = threadIdx.x % WARP, entries = 0, tiles = 0;
  for (int from = 0; from < a.here; from += WARP) {
    int expert = from + lane, n = expert < a.here ? count(expert) : 0, t = (n + a.rows - 1) / a.rows;
    int begin = n, tile = t;
#pragma unroll
    for (int i = 1; i < WARP; i *= 2) {
      int before = __shfl_up_sync(FULL, begin, i), tiles_before = __shfl_up_sync(FULL, tile, i);
      if (lane >= i) begin += before, tile += tiles_before;
    }
    int all = __shfl_sync(FULL, begin, WARP - 1), all_tiles = __shfl_sync(FULL, tile, WARP - 1);
    begin += entries - n, tile += tiles - t;
    if (first && expert < a.here) first[expert] = begin;
    for (int i = 0; i < t; i++) a.tiles[tile + i] = {expert, begin + i * a.rows, min(a.rows, n - i * a.rows), 0};
    entries += all, tiles += all_tiles;
  }
  if (lane == 0) *a.count = tiles;
}

// last_block says, to all threads, whether all other blocks have come this far;
// what they wrote before can be read.
__device__ __forceinline__ bool last_block(int* arrived) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicAdd(arrived, 1) == (int)(gridDim.x * gridDim.y) - 1;
    if (last) *arrived = 0;
  }
  __syncthreads();
  __threadfence();
  return last;
}

extern "C" __global__ void __launch_bounds__(256, 1) moe_route(const __grid_constant__ RouteArgs a) {
  constexpr int AT_ONCE = 4; // chunks of 64 inputs that a warp has under way
  __shared__ float sums[WARPS][8 * 17], squares[WARPS][8];
  __shared__ u32 takers[2 * MAX_EXPERTS]; // two words of an expert: a bit for each token
  __shared__ int first[MAX_EXPERTS], choices[MAX_ROUTED * MAX_CHOSEN];
  __shared__ float shares[MAX_ROUTED * MAX_CHOSEN];
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, g = lane / 4, chunks = a.hidden / 64;
  int expert0 = blockIdx.x * 16, token0 = blockIdx.y * 8;
  const bf16* w[2] = {a.w + (size_t)min(expert0 + g, a.experts - 1) * a.hidden + lane % 4 * 8,
                      a.w + (size_t)min(expert0 + g + 8, a.experts - 1) * a.hidden + lane % 4 * 8};
  const bf16* norm = a.norm + lane % 4 * 8;
  size_t row = (size_t)min(token0 + g, a.tokens - 1) * a.hidden + lane % 4 * 8;
  bool store = blockIdx.x == 0 && token0 + g < a.tokens;

  float acc[4] = {}, square = 0.f;
  for (int from = warp; from < chunks; from += AT_ONCE * WARPS) {
    Vec4 weights[AT_ONCE][2][2], factors[AT_ONCE][2], x[AT_ONCE][2][2];
#pragma unroll
    for (int i = 0; i < AT_ONCE; i++)
      if (from + i * WARPS < chunks)
#pragma unroll
        for (int j = 0; j < 2; j++) {
          int k = (from + i * WARPS) * 64 + j * 32;
          weights[i][0][j] = load16(w[0] + k);
          weights[i][1][j] = load16(w[1] + k);
          factors[i][j] = load16(norm + k);
        }
    if (from == warp) wait_for_previous(); // those were nobody's output
#pragma unroll
    for (int i = 0; i < AT_ONCE; i++)
      if (from + i * WARPS < chunks)
#pragma unroll
        for (int j = 0; j < 2; j++) {
          const float* p = a.x + row + (from + i * WARPS) * 64 + j * 32;
          x[i][j][0] = load16(p);
          x[i][j][1] = load16(p + 4);
        }
#pragma unroll
    for (int i = 0; i < AT_ONCE; i++)
      if (from + i * WARPS < chunks)
#pragma unroll
        for (int j = 0; j < 2; j++) {
          float f[8], s[8];
          floats8(x[i][j][0], x[i][j][1], f);
          unpack(factors[i][j], s);
#pragma unroll
          for (int n = 0; n < 8; n++) square += f[n] * f[n], f[n] *= s[n];
          Vec4 high = pack8(f);
          unpack(high, s);
#pragma unroll
          for (int n = 0; n < 8; n++) f[n] -= s[n];
          Vec4 low = pack8(f), *m = weights[i][0], *n = weights[i][1];
          if (store) store16(a.normed + row + (from + i * WARPS) * 64 + j * 32, high);
          u32 one[4] = {m[j].x, n[j].x, m[j].y, n[j].y}, two[4] = {m[j].z, n[j].z, m[j].w, n[j].w};
          multiply_add(acc, one, high.x, high.y);
          multiply_add(acc, two, high.z, high.w);
          multiply_add(acc, one, low.x, low.y);
          multiply_add(acc, two, low.z, low.w);
        }
  }
  if (warp >= chunks) wait_for_previous();
  let_next_start();
#pragma unroll
  for (int i = 0; i < 4; i++) sums[warp][(lane % 4 * 2 + i % 2) * 17 + g + i / 2 * 8] = acc[i];
  square += __shfl_xor_sync(FULL, square, 1);
  square += __shfl_xor_sync(FULL, square, 2);
  if (lane % 4 == 0) squares[warp][g] = square;
  __syncthreads();
  if (threadIdx.x < 128) {
    int t = threadIdx.x / 16, r = threadIdx.x % 16, token = token0 + t;
    float v = 0.f, sum = 0.f;
#pragma unroll
    for (int i = 0; i < WARPS; i++) v += sums[i][t * 17 + r], sum += squares[i][t];
    float scale = rsqrtf(sum / a.hidden + a.eps);
    if (token < a.tokens) {
      if (expert0 + r < a.experts) a.logits[(size_t)token * a.experts + expert0 + r] = v * scale;
      if (blockIdx.x == 0 && r == 0) a.scales[token] = scale;
    }
  }
  if (!last_block(a.arrived)) return;

  for (int i = threadIdx.x; i < 2 * a.here; i += WARPS * WARP) takers[i] = 0;
  __syncthreads();
  for (int token = warp; token < a.tokens; token += WARPS) {
    int expert;
    float share;
    choose(a, token, expert, share);
    expert = local(a, expert);
    if (lane < a.chosen) {
      choices[token * a.chosen + lane] = expert;
      shares[token * a.chosen + lane] = share;
      if (expert >= 0) atomicOr(&takers[2 * expert + token / 32], 1u << token % 32);
    }
  }
  __syncthreads();
  if (warp == 0) lay_out(a, [&](int expert) { return __popc(takers[2 * expert]) + __popc(takers[2 * expert + 1]); }, first);
  __syncthreads();
  for (int i = threadIdx.x; i < a.tokens * a.chosen; i += WARPS * WARP) {
    int expert = choices[i], token = i / a.chosen, entry = -1;
    if (expert >= 0) {
      u32 below = (1u << token % 32) - 1;
      entry = first[expert] + __popc(takers[2 * expert + token / 32] & below) + (token < 32 ? 0 : __popc(takers[2 * expert]));
      a.entries[entry] = {token, shares[i], fresh(a.scales + token), expert};
    }
    a.choice[i] = expert;
    a.share[i] = shares[i];
    a.place[i] = entry;
  }
}

extern "C" __global__ void __launch_bounds__(256) moe_choose_scored(const __grid_constant__ RouteArgs a) {
  wait_for_previous();
  let_next_start();
  int lane = threadIdx.x % WARP, token = blockIdx.x * WARPS + threadIdx.x / WARP, expert;
  if (token >= a.tokens) return;
  float share;
  if (a.experts <= 4 * WARP) {
    choose_scored<4>(a, token, expert, share);
  } else {
    choose_scored<MAX_EXPERTS / WARP>(a, token, expert, share);
  }
  if (lane >= a.chosen) return;
  a.choice[(size_t)token * a.chosen + lane] = local(a, expert);
  a.share[(size_t)token * a.chosen + lane] = share;
}

extern "C" __global__ void __launch_bounds__(256) moe_choose(const __grid_constant__ RouteArgs a) {
  wait_for_previous();
  let_next_start();
  int lane = threadIdx.x % WARP, token = blockIdx.x * WARPS + threadIdx.x / WARP, expert;
  if (token >= a.tokens) return;
  float share;
  choose(a, token, expert, share);
  if (lane >= a.chosen) return;
  a.choice[(size_t)token * a.chosen + lane] = local(a, expert);
  a.share[(size_t)token * a.chosen + lane] = share;
}

extern "C" __global__ void __launch_bounds__(1024) moe_group(const __grid_constant__ RouteArgs a) {
  __shared__ int lower[32], own[32];
  wait_for_previous();
  let_next_start();
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, expert = blockIdx.x, n = a.tokens * a.chosen;
  // Each warp has a piece of the choices, four a lane at a time.
  int piece = (n + 32 * 128 - 1) / (32 * 128) * 128, from = warp * piece, to = min(from + piece, n);
  auto load = [&](int i, int* four) {
    if (i + 4 <= to) {
      Vec4 v = load16(a.choice + i);
      four[0] = v.x, four[1] = v.y, four[2] = v.z, four[3] = v.w;
    } else {
#pragma unroll
      for (int j = 0; j < 4; j++) four[j] = i + j < to ? a.choice[i + j] : a.here;
    }
  };
  int less = 0, equal = 0;
#pragma unroll 4
  for (int i = from + lane * 4; i < to; i += 128) {
    int four[4];
    load(i, four);
#pragma unroll
    for (int j = 0; j < 4; j++) less += four[j] >= 0 && four[j] < expert, equal += four[j] == expert;
  }
  less = (int)__reduce_add_sync(FULL, (u32)less);
  equal = (int)__reduce_add_sync(FULL, (u32)equal);
  if (lane == 0) lower[warp] = less, own[warp] = equal;
  __syncthreads();
  int mine = own[lane], entry = (int)__reduce_add_sync(FULL, (u32)(lower[lane] + (lane < warp ? mine : 0)));
  if (warp == 0) {
    mine = (int)__reduce_add_sync(FULL, (u32)mine);
    if (lane == 0) a.counts[expert] = mine;
  }
  for (int i = from; i < to; i += 128) {
    int four[4], before = 0;
    u32 takers[4];
    load(i + lane * 4, four);
#pragma unroll
    for (int j = 0; j < 4; j++) takers[j] = __ballot_sync(FULL, four[j] == expert);
#pragma unroll
    for (int j = 0; j < 4; j++) before += __popc(takers[j] & ((1u << lane) - 1));
#pragma unroll
    for (int j = 0; j < 4; j++) {
      int at = i + lane * 4 + j;
      if (four[j] == expert) {
        a.entries[entry + before] = {at / a.chosen, a.share[at], 1.f, expert};
        a.place[at] = entry + before++;
      } else if (expert == 0 && four[j] < 0) {
        a.place[at] = -1;
      }
    }
#pragma unroll
    for (int j = 0; j < 4; j++) entry += __popc(takers[j]);
  }
  if (last_block(a.arrived) && warp == 0) lay_out(a, [&](int expert) { return fresh(a.counts + expert); }, nullptr);
}
