// survey, draw_tokens: from logits to tokens, in this order. What is computed is
// told by batch.Sampling; the random number is batch.Uniform(seed, position), so
// no state is kept.
//   logits  f32 [N, ld]   a row per token to draw, read only; ld % 4 == 0
//   shaped  f32 [N, ld]   rows that bias, penalties or masks change; written
//   draws   Draw [N]      row < 0: padding
//   slots   Slot [·]      sampling parameters
//   counts  u32 [·, V]    per slot: occurrences in the output; bit 31: in the prompt
//   parts   Part [N, 32]  maximum and sum of each 1/32 of a row
//   last    i32 [·]       per slot: the token drawn last, NO_TOKEN if nothing may be
//   tokens, draw_tokens   the step's tokens; those that draws follow
//   drawn   i32 [N]       the tokens drawn, NO_TOKEN behind a rejected draft
//   arrived u32 [·]       per slot, zero between launches
//   result  Result*       in host memory
// Nothing sorts a vocabulary. A row without top-k, top-p and min-p is read
// once more over 1/32 of it: sums of parts say in which part the drawn token
// lies. With them, a histogram of 512 buckets of 1/16 nat finds the bucket of
// the last token kept, and only its members are compared with each other.
// Masses are added as integers (2⁻²⁸ of the likeliest token's): any order of
// adding gives the same bits.
// The draws of a row with drafts take all drafts before them for accepted, so they need
// not wait for each other; the last of them to be done keeps those of which that is true.
// Launch:  (32, N) blocks of 256, or as many up to 512 as keep all of 1/32 of a row,
//          8 vectors a thread; N of 512
// Limit:   4·N·V bytes of memory traffic
// Checked: TestSamplingAgainstCPU in package cuda
#define PARTS SAMPLE_PARTS
#define IN_PROMPT 0x80000000u

struct Part { float top; int token; float sum; int unused; };

struct SampleArgs {
  const float* logits;
  float* shaped;
  const Draw* draws;
  const Slot* slots;
  u32* counts;
  Part* parts;
  int* last;
  u64* result; // address of: i32 tokens[R], f32 logprobs[R], Alternative top[R][MAX_TOP]
  const int* tokens;
  const int* draw_tokens;
  int* drawn;
  u32* arrived;
  int vocab, ld;
  int rows; // R, that results have room for
};

__device__ __forceinline__ bool is_shaped(const Draw& d, const Slot& s) {
  return d.allow || s.biases || s.penalized || (s.suppressed && d.position < s.suppress_below);
}
__device__ __forceinline__ const float* logits_of(const SampleArgs& a, const Draw& d, const Slot& s, int n) {
  return (is_shaped(d, s) ? a.shaped : a.logits) + (size_t)n * a.ld;
}
// A part's tokens are [p·part_size, (p+1)·part_size).
__device__ __forceinline__ int part_size(int vocab) { return (vocab + PARTS * 4 - 1) / (PARTS * 4) * 4; }

__device__ __forceinline__ float scale_of(const Slot& s) { return LOG2E / fmaxf(s.temperature, 1e-6f); }

// shape writes a part of a shaped row. All threads of a block call it.
__device__ __forceinline__ void shape(const SampleArgs& a, const Draw& d, const Slot& s, int begin, int end) {
  const float* z = a.logits + (size_t)blockIdx.y * a.ld;
  float* y = a.shaped + (size_t)blockIdx.y * a.ld;
  for (int t = begin + threadIdx.x; t < end; t += blockDim.x) y[t] = z[t];
  __syncthreads();
  for (int i = threadIdx.x; i < s.biases; i += blockDim.x) {
    Bias b = s.bias[i];
    if (b.token >= begin && b.token < end) atomicAdd(y + b.token, b.bias);
  }
  __syncthreads();
  if (d.position < s.suppress_below)
    for (int i = threadIdx.x; i < s.suppressed; i += blockDim.x) {
      int t = s.suppress[i];
      if (t >= begin && t < end) y[t] = NEGATIVE_INFINITY;
    }
  __syncthreads();
  if (!s.penalized && !d.allow) return;
  const u32* counts = a.counts + (size_t)d.slot * a.vocab;
  const int* accepted = d.ahead > 0 ? a.tokens + a.draw_tokens[blockIdx.y] + 1 - d.ahead : nullptr; // as far as this draw goes
  for (int t = begin + threadIdx.x; t < end; t += blockDim.x) {
    float v = y[t];
    u32 seen = s.penalized ? counts[t] : 0;
    for (int i = 0; i < d.ahead && s.penalized; i++) seen += accepted[i] == t;
    if (seen) {
      if (s.repetition != 0.f && s.repetition != 1.f) v = v > 0.f ? v / s.repetition : v * s.repetition;
      if (seen & ~IN_PROMPT) v = v - __fmul_rn(s.frequency, (float)(seen & ~IN_PROMPT)) - s.presence;
    }
    if (d.allow && !(d.allow[t / 32] >> (t % 32) & 1)) v = NEGATIVE_INFINITY;
    y[t] = v;
  }
}

// better orders tokens: by logit, then by lower id.
__device__ __forceinline__ bool better(float z, int t, float than, int other) { return z > than || (z == than && (u32)t < (u32)other); }

extern "C" __global__ void __launch_bounds__(SURVEY_THREADS) survey(const __grid_constant__ SampleArgs a) {
  constexpr int MOST = SURVEY_VECTORS, WARPS = SURVEY_THREADS / WARP;
  __shared__ float tops[WARPS];
  __shared__ int tokens[WARPS];
  __shared__ float scratch[WARPS];
  wait_for_previous();
  let_next_start();
  Draw d = a.draws[blockIdx.y];
  if (d.row < 0) return;
  const Slot& s = a.slots[d.slot];
  const float* z = logits_of(a, d, s, blockIdx.y);
  int size = part_size(a.vocab), begin = blockIdx.x * size, end = min(a.vocab, begin + size);
  if (is_shaped(d, s)) {
    shape(a, d, s, begin, end);
    __syncthreads();
  }
  float v[MOST][4], top = NEGATIVE_INFINITY;
  int token = NO_TOKEN;
#pragma unroll
  for (int i = 0; i < MOST; i++) {
    int t = begin + (i * blockDim.x + threadIdx.x) * 4;
    if (t < end) { // the row is ld long: a vector is inside even where it passes the end
      Vec4 r = load16(z + t);
      v[i][0] = __uint_as_float(r.x), v[i][1] = __uint_as_float(r.y), v[i][2] = __uint_as_float(r.z), v[i][3] = __uint_as_float(r.w);
    }
#pragma unroll
    for (int j = 0; j < 4; j++) {
      if (t + j >= end) v[i][j] = NEGATIVE_INFINITY;
      if (v[i][j] > top) top = v[i][j], token = t + j;
    }
  }
#pragma unroll
  for (int i = 16; i > 0; i /= 2) {
    float z2 = __shfl_xor_sync(FULL, top, i);
    int t2 = __shfl_xor_sync(FULL, token, i);
    if (better(z2, t2, top, token)) top = z2, token = t2;
  }
  if (threadIdx.x % WARP == 0) tops[threadIdx.x / WARP] = top, tokens[threadIdx.x / WARP] = token;
  __syncthreads();
  for (int w = 0; w < blockDim.x / WARP; w++)
    if (better(tops[w], tokens[w], top, token)) top = tops[w], token = tokens[w];
  float sum = 0.f;
  if (s.temperature > 0.f && top > NEGATIVE_INFINITY) {
    float scale = scale_of(s);
#pragma unroll
    for (int i = 0; i < MOST; i++)
#pragma unroll
      for (int j = 0; j < 4; j++) sum += exp2_fast((v[i][j] - top) * scale);
    sum = block_sum(sum, scratch);
  }
  if (threadIdx.x == 0) a.parts[blockIdx.y * PARTS + blockIdx.x] = Part{top, token, sum, 0};
}

__device__ float uniform(u64 seed, int position) {
  u32 c0 = position, c1 = 0, c2 = 0, c3 = 0, k0 = (u32)seed, k1 = (u32)(seed >> 32);
#pragma unroll
  for (int i = 0; i < 10; i++) {
    u32 h0 = __umulhi(0xD2511F53u, c0), l0 = 0xD2511F53u * c0;
    u32 h1 = __umulhi(0xCD9E8D57u, c2), l1 = 0xCD9E8D57u * c2;
    c0 = h1 ^ c1 ^ k0, c1 = l1, c2 = h0 ^ c3 ^ k1, c3 = l0;
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  return (float)(c0 >> 8) / 16777216.f;
}

#define BUCKETS 512
#define PER_BUCKET 16.f
#define MEMBERS 2048
#define UNIT 268435456.f // 2²⁸: a mass in integers

// Filter finds which tokens top-k, top-p and min-p keep. All threads of a
// block of BUCKETS call its functions together.
struct Filter {
  const float* z;
  int vocab;
  float top, scale; // scale is of base 2
  float min_weight;
  u64 worst; // the worst token kept, as a rank

  __device__ __forceinline__ float weight(float logit) const { return exp2_fast((logit - top) * scale); }
  __device__ __forceinline__ u32 mass(float logit) const { return (u32)(weight(logit) * UNIT + 0.5f); }
  __device__ __forceinline__ int bucket(float logit) const {
    float distance = (top - logit) * scale * (PER_BUCKET / LOG2E);
    return distance < BUCKETS - 1 ? (int)distance : BUCKETS - 1;
  }
  __device__ __forceinline__ float kept(int t) const {
    float w = weight(z[t]);
    return w >= min_weight && rank(z[t], t) >= worst ? w : 0.f;
  }
};

struct Workspace {
  u32 count[BUCKETS], low[BUCKETS], high[BUCKETS]; // masses in two parts of 14 bits and the rest
  u64 members[MEMBERS];
  u32 masses[MEMBERS];
  u64 scan_mass[WARP];
  u32 scan_count[WARP];
  float sums[WARP];
  u64 cut, cut_mass, before_mass, total;
  u32 bucket, before_count, n;
};

// scan adds up over the block's threads up to and with this one.
__device__ __forceinline__ void scan(u32& n, u64& m, Workspace& w) {
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
#pragma unroll
  for (int d = 1; d < WARP; d *= 2) {
    u32 n2 = __shfl_up_sync(FULL, n, d);
    u64 m2 = __shfl_up_sync(FULL, m, d);
    if (lane >= d) n += n2, m += m2;
  }
  if (lane == WARP - 1) w.scan_count[warp] = n, w.scan_mass[warp] = m;
  __syncthreads();
  for (int i = 0; i < warp; i++) n += w.scan_count[i], m += w.scan_mass[i];
  __syncthreads();
}

__device__ __forceinline__ void histogram(const Filter& f, Workspace& w) {
  w.count[threadIdx.x] = w.low[threadIdx.x] = w.high[threadIdx.x] = 0;
  __syncthreads();
  u32 far = 0; // in the last bucket, whose mass is nothing
  for (int t = threadIdx.x; t < f.vocab; t += blockDim.x) {
    float z = f.z[t];
    if (!(f.weight(z) > 0.f)) continue;
    int b = f.bucket(z);
    if (b == BUCKETS - 1) { far++; continue; }
    u32 m = f.mass(z);
    atomicAdd(&w.count[b], 1u);
    atomicAdd(&w.low[b], m & 0x3fff);
    atomicAdd(&w.high[b], m >> 14);
  }
#pragma unroll
  for (int i = 16; i > 0; i /= 2) far += __shfl_xor_sync(FULL, far, i);
  if (threadIdx.x % WARP == 0 && far) atomicAdd(&w.count[BUCKETS - 1], far);
  __syncthreads();
}

// find_cut returns the rank of the last token of the fewest that are at least
// count or weigh at least mass, and what they weigh; 0 if all are fewer.
__device__ __forceinline__ u64 find_cut(const Filter& f, Workspace& w, u32 count, u64 mass, u64* weighs) {
  u32 n = w.count[threadIdx.x], own = n;
  u64 m = w.low[threadIdx.x] + ((u64)w.high[threadIdx.x] << 14), own_mass = m;
  if (threadIdx.x == 0) w.bucket = BUCKETS, w.n = 0, w.cut = 0;
  __syncthreads();
  scan(n, m, w);
  bool enough = n >= count || m >= mass;
  if (enough) atomicMin(&w.bucket, threadIdx.x);
  if (threadIdx.x == BUCKETS - 1) w.total = m;
  __syncthreads();
  u32 bucket = w.bucket;
  if (bucket == BUCKETS) {
    *weighs = w.total;
    __syncthreads();
    return 0;
  }
  if (threadIdx.x == bucket) w.before_count = n - own, w.before_mass = m - own_mass;
  for (int t = threadIdx.x; t < f.vocab; t += blockDim.x) {
    float z = f.z[t];
    if (f.weight(z) > 0.f && (u32)f.bucket(z) == bucket) {
      u32 i = atomicAdd(&w.n, 1u);
      if (i < MEMBERS) w.members[i] = rank(z, t), w.masses[i] = f.mass(z);
    }
  }
  __syncthreads();
  u32 members = w.n;
  if (members <= MEMBERS) {
    u64 best = 0, best_mass = 0;
    for (u32 i = threadIdx.x; i < members; i += blockDim.x) {
      u64 mine = w.members[i], sum = w.before_mass;
      u32 place = w.before_count;
      for (u32 j = 0; j < members; j++) {
        if (w.members[j] >= mine) place++, sum += w.masses[j];
      }
      if ((place >= count || sum >= mass) && mine > best) best = mine, best_mass = sum;
    }
    if (best) atomicMax(&w.cut, best);
    __syncthreads();
    if (best && w.cut == best) w.cut_mass = best_mass;
  } else {
    // Too many alike: the largest rank at which enough are as good, bit by bit.
    u64 cut = 0;
    for (int bit = 63; bit >= 0; bit--) {
      u64 next = cut | 1ull << bit, sum = 0;
      u32 place = 0;
      for (int t = threadIdx.x; t < f.vocab; t += blockDim.x) {
        float z = f.z[t];
        if (f.weight(z) > 0.f && rank(z, t) >= next) place++, sum += f.mass(z);
      }
      scan(place, sum, w);
      if (threadIdx.x == blockDim.x - 1) {
        w.n = place >= count || sum >= mass;
        if (w.n) w.cut_mass = sum;
      }
      __syncthreads();
      if (w.n) cut = next;
      __syncthreads();
    }
    if (threadIdx.x == 0) w.cut = cut;
  }
  __syncthreads();
  u64 cut = w.cut;
  *weighs = w.cut_mass;
  __syncthreads();
  return cut;
}

// walk finds the token of [begin, end) at which the sum of kept weights exceeds
// target: the block's warps add up a slice each, and it goes on in one slice.
// A negative target is a share of the sum: −1−share.
__device__ __forceinline__ int walk(const Filter& f, Workspace& w, int begin, int end, float target) {
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
  bool first = target < 0.f;
  do {
    int size = (end - begin + warps - 1) / warps, from = begin + warp * size, to = min(end, from + size);
    float sum = 0.f;
    for (int t = from + lane; t < to; t += WARP) sum += f.kept(t);
    sum = warp_sum(sum);
    if (lane == 0) w.sums[warp] = sum;
    __syncthreads();
    if (first) {
      float total = 0.f;
      for (int i = 0; i < warps; i++) total += w.sums[i];
      target = (-1.f - target) * total;
      first = false;
    }
    float before = 0.f;
    int at = -1;
    float at_before = 0.f;
    for (int i = 0; i < warps; i++) {
      if (w.sums[i] > 0.f) { // the last with any weight, when rounding lets none exceed
        at = i, at_before = before;
        if (before + w.sums[i] > target) break;
      }
      before += w.sums[i];
    }
    __syncthreads();
    if (at < 0) return NO_TOKEN;
    target -= at_before;
    begin += at * size;
    end = min(end, begin + size);
  } while (end - begin > WARP);
  int t = begin + lane;
  float own = t < end ? f.kept(t) : 0.f, sum = own;
#pragma unroll
  for (int d = 1; d < WARP; d *= 2) {
    float other = __shfl_up_sync(FULL, sum, d);
    if (lane >= d) sum += other;
  }
  u32 over = __ballot_sync(FULL, own > 0.f && sum > target), any = __ballot_sync(FULL, own > 0.f);
  if (over) return begin + __ffs(over) - 1;
  return any ? begin + 31 - __clz(any) : NO_TOKEN;
}

// keep reports what a row drew: a token, and as long as that is the next draft another.
__device__ __forceinline__ void keep(const SampleArgs& a, const Draw& d, const Slot& s, int own) {
  int first = blockIdx.x - d.ahead;
  int* result = (int*)*a.result + d.row - d.ahead;
  bool accepted = true;
  for (int i = 0; i <= d.drafts; i++) {
    int token = !accepted ? NO_TOKEN : i == d.ahead ? own : __ldcg(a.drawn + first + i);
    result[i] = token;
    if (!accepted) {
      a.drawn[first + i] = NO_TOKEN;
      continue;
    }
    a.last[d.slot] = token;
    if (s.penalized && token != NO_TOKEN) a.counts[(size_t)d.slot * a.vocab + token]++;
    accepted = i < d.drafts && token == a.tokens[a.draw_tokens[first] + 1 + i];
  }
}

extern "C" __global__ void __launch_bounds__(BUCKETS) draw_tokens(const __grid_constant__ SampleArgs a) {
  __shared__ Workspace w;
  __shared__ Filter f; // shared by all to leave them their registers
  __shared__ Part parts[PARTS];
  wait_for_previous();
  let_next_start();
  Draw d = a.draws[blockIdx.x];
  if (d.row < 0) return;
  const Slot& s = a.slots[d.slot];
  if (threadIdx.x < PARTS) parts[threadIdx.x] = a.parts[blockIdx.x * PARTS + threadIdx.x];
  __syncthreads();
  float top = parts[0].top;
  int token = parts[0].token;
  for (int p = 1; p < PARTS; p++)
    if (better(parts[p].top, parts[p].token, top, token)) top = parts[p].top, token = parts[p].token;
  if (s.temperature > 0.f && token != NO_TOKEN) {
    if (threadIdx.x == 0) f = Filter{logits_of(a, d, s, blockIdx.x), a.vocab, top, scale_of(s), s.min_p, 0};
    __syncthreads();
    float u = uniform(s.seed, d.position);
    bool top_k = s.top_k > 0 && s.top_k < a.vocab, top_p = s.top_p > 0.f && s.top_p < 1.f;
    int begin = 0, end = a.vocab;
    float target = -1.f - u;
    if (!top_k && !top_p && !(s.min_p > 0.f)) {
      float total = 0.f;
#pragma unroll 1
      for (int p = 0; p < PARTS; p++)
        if (parts[p].sum > 0.f) total += parts[p].sum * exp2_fast((parts[p].top - top) * f.scale);
      float share = u * total, before = 0.f;
#pragma unroll 1
      for (int p = 0; p < PARTS; p++) {
        float sum = parts[p].sum > 0.f ? parts[p].sum * exp2_fast((parts[p].top - top) * f.scale) : 0.f;
        if (sum > 0.f) {
          begin = p * part_size(a.vocab), target = share - before;
          if (before + sum > share) break;
        }
        before += sum;
      }
      end = min(a.vocab, begin + part_size(a.vocab));
    } else if (top_k || top_p) {
      histogram(f, w);
      u64 cut = 0, weighs = 0;
#pragma unroll 1
      for (int pass = 0; pass < 2; pass++) { // top-k, then top-p of what it leaves
        if (pass == 1 && !top_p) break;
        u32 count = pass == 0 && top_k ? (u32)s.top_k : 0xffffffffu;
        u64 mass = pass == 0 ? ~0ull : (u64)ceil((double)s.top_p * (double)weighs), c = find_cut(f, w, count, mass, &weighs);
        if (c > cut) cut = c;
      }
      if (threadIdx.x == 0) f.worst = cut;
      __syncthreads();
    }
    token = walk(f, w, begin, end, target);
  }
  if (threadIdx.x > 0) return;
  a.drawn[blockIdx.x] = token;
  if (d.drafts > 0) {
    __threadfence();
    if (atomicAdd(a.arrived + d.slot, 1u) < (u32)d.drafts) return; // others of the row are drawing
    a.arrived[d.slot] = 0;
    __threadfence();
  }
  keep(a, d, s, token);
}

// count_tokens enters a request's tokens into its slot's cleared counts.
//   Launch: grid-stride
struct CountArgs {
  u32* counts; // [V] of the slot
  const int* prompt;
  const int* output;
  int prompts, outputs;
};

extern "C" __global__ void __launch_bounds__(256) count_tokens(const __grid_constant__ CountArgs a) {
  wait_for_previous();
  int stride = gridDim.x * blockDim.x, first = blockIdx.x * blockDim.x + threadIdx.x;
  for (int i = first; i < a.prompts; i += stride) atomicOr(a.counts + a.prompt[i], IN_PROMPT);
  for (int i = first; i < a.outputs; i += stride) atomicAdd(a.counts + a.output[i], 1u);
}
