// top_logprobs, score_tokens: log-probabilities of the model itself, before bias,
// penalties and temperature: of the token that a row drew, or of one that is
// given, and of the k likeliest.
//   logits   f32 [N, ld]   a row per token, read only
//   draws    Draw [N]      tokens drawn; row < 0: padding
//   drawn    i32 [N]       the tokens drawn
//   result   as draw_tokens has it
//   targets  Target [N]    tokens to score
//   scores   Score [N]     in host memory
//   slots    Slot [·]      logprobs is 1 + k; draws with 0 report nothing
// A row is read twice, whatever k is: for the best token of each thread, and for
// Σ exp. The k-th of the threads' best is no better than the k-th of all tokens,
// so those that the second pass finds as good are all there is to sort, and k
// threads alone have such: no more than MEMBERS.
// Launch:  N blocks of 1024
// Limit:   4·N·V bytes of memory traffic, and as much again where L2 holds no rows
// Checked: TestLogprobs against ref.Logprobs
#define THREADS 1024
#define MEMBERS (MAX_TOP * MAX_VOCAB / THREADS)

struct LogprobArgs {
  const float* logits;
  const Draw* draws;
  const Slot* slots;
  const int* drawn;
  u64* result; // address of: i32 tokens[R], f32 logprobs[R], Alternative top[R][MAX_TOP]
  int vocab, ld;
  int rows; // R, that results have room for
};

struct Target { int token, slot; };

struct Score {
  float logprob;
  int unused;
  Alternative top[MAX_TOP];
};

struct ScoreArgs {
  const float* logits;
  const Target* targets;
  const Slot* slots;
  Score* scores;
  int vocab, ld;
};

struct Candidates {
  u64 ranks[WARP];
  float sums[WARP];
  u32 n;
  int tokens[MEMBERS];
};

__device__ __forceinline__ u64 warp_best(u64 v) {
  u32 high = __reduce_max_sync(FULL, (u32)(v >> 32));
  return (u64)high << 32 | __reduce_max_sync(FULL, (u32)(v >> 32) == high ? (u32)v : 0u);
}

// block_best is the highest rank of a block's threads. All get it.
__device__ __forceinline__ u64 block_best(u64 v, u64* scratch) {
  v = warp_best(v);
  if (threadIdx.x % WARP == 0) scratch[threadIdx.x / WARP] = v;
  __syncthreads();
  v = warp_best(scratch[threadIdx.x % WARP]);
  __syncthreads();
  return v;
}

// likely reports the k likeliest tokens, best first, and returns log Σ exp(z).
__device__ __forceinline__ float likely(const float* z, int vocab, int k, Alternative* to, Candidates& c) {
  u64 own = 0;
#pragma unroll 4
  for (int t = threadIdx.x; t < vocab; t += THREADS) {
    u64 r = rank(z[t], t);
    if (r > own) own = r;
  }
  if (threadIdx.x == 0) c.n = 0;
  u64 best = block_best(own, c.ranks), bound = best;
  for (int i = 1; i < k; i++) bound = block_best(own < bound ? own : 0, c.ranks);
  float top = z[(int)~(u32)best], sum = 0.f;
#pragma unroll 4
  for (int t = threadIdx.x; t < vocab; t += THREADS) {
    float v = z[t];
    sum += expf(v - top);
    if (k > 0 && rank(v, t) >= bound) c.tokens[atomicAdd(&c.n, 1u)] = t;
  }
  float total = top + logf(block_sum(sum, c.sums));
  int n = c.n;
  for (int i = threadIdx.x; i < n; i += THREADS) {
    int token = c.tokens[i], place = 0;
    u64 mine = rank(z[token], token);
    for (int j = 0; j < n && place < k; j++) place += rank(z[c.tokens[j]], c.tokens[j]) > mine;
    if (place < k) to[place] = Alternative{token, z[token] - total};
  }
  return total;
}

extern "C" __global__ void __launch_bounds__(THREADS) top_logprobs(const __grid_constant__ LogprobArgs a) {
  __shared__ Candidates c;
  wait_for_previous();
  let_next_start();
  Draw d = a.draws[blockIdx.x];
  if (d.row < 0) return;
  int k = min(a.slots[d.slot].logprobs - 1, min(MAX_TOP, a.vocab));
  int drawn = a.drawn[blockIdx.x];
  if (k < 0 || (d.ahead > 0 && drawn == NO_TOKEN)) return; // a draft before it was rejected
  const float* z = a.logits + (size_t)blockIdx.x * a.ld;
  u8* result = (u8*)*a.result;
  float total = likely(z, a.vocab, k, (Alternative*)(result + (size_t)a.rows * 8) + (size_t)d.row * MAX_TOP, c);
  if (threadIdx.x == 0 && drawn != NO_TOKEN) ((float*)(result + (size_t)a.rows * 4))[d.row] = z[drawn] - total;
}

extern "C" __global__ void __launch_bounds__(THREADS) score_tokens(const __grid_constant__ ScoreArgs a) {
  __shared__ Candidates c;
  wait_for_previous();
  let_next_start();
  Target t = a.targets[blockIdx.x];
  Score* s = a.scores + blockIdx.x;
  const float* z = a.logits + (size_t)blockIdx.x * a.ld;
  int k = max(0, min(a.slots[t.slot].logprobs - 1, min(MAX_TOP, a.vocab)));
  float total = likely(z, a.vocab, k, s->top, c);
  if (threadIdx.x == 0) s->logprob = z[t.token] - total;
}
