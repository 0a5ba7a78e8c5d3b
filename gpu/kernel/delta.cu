// delta, delta_spans: the gated delta rule (arXiv:2412.06464), over the new tokens of requests.
//   query, key  View [·, key heads·K]   K % 8 == 0, up to 128
//   value, y    View [·, heads·V]       V % 4 == 0
//   a, b        View [·, heads]
//   decay, step_bias  bf16 [heads]
//   state       f32 [slots, heads, K, V]
//   spans       Span: whose tokens, of delta_spans; of delta token i is all of row
//               i, of slots[i] at positions[i]; slot < 0: padding
// For each token, of head h with its key head's k and q scaled to length 1, q by
// 1/√K more; S is zero at position 0:
//   S  = S·exp(−exp(decay)·softplus(a + step_bias))
//   S += k ⊗ σ(b)·(v − Sᵀk)
//   y  = Sᵀq
// Math:    fp32, sums in the same order every time
//
// A block has 32 columns of one head's state, all its rows, in registers from the
// first token to the last: it is read once and written once. Columns need nothing
// of each other but k's and q's lengths, which every block sums up for itself.
// What has to be summed over rows before S changes, Sᵀk and Sᵀq and three
// products of k and q, is summed at once:
//   y = (g·Sᵀq + δ·(k·q))    S of before, g the decay, δ = σ(b)·(v − g·Sᵀk)
// So a token costs one barrier. The next token's rows are on their way.
//
// Launch:  (heads·⌈V/32⌉, rows) of 128
// Limit:   8·heads·K·V bytes a row of one token
// Checked: TestDelta against ref.Delta
#define ROWS 8 // of the state, of a thread
#define COLUMNS 32 // of a block
#define WARPS 4
#define SUMS 68 // of a warp: 8 for every 4 columns, and 3

struct DeltaArgs {
  View query, key, value, a, b, y;
  const bf16* decay;
  const bf16* step_bias;
  float* state;
  const int* slots;
  const int* positions;
  const Span* spans;
  int heads, key_heads, key_dim, value_dim;
};

__device__ __forceinline__ float load1(const View& v, size_t row, int column) {
  size_t i = row * v.stride + column;
  return v.half ? from_bf16(((const bf16*)v.at)[i]) : ((const float*)v.at)[i];
}

// Token is a thread's share of one.
struct Token { float k[ROWS], q[ROWS], v[4], a, b; };

template <bool SPANS>
__device__ __forceinline__ void delta_rule(const DeltaArgs& a) {
  __shared__ __align__(16) float sums[2][WARPS][SUMS];
  int slices = (a.value_dim + COLUMNS - 1) / COLUMNS, head = blockIdx.x / slices;
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, quad = threadIdx.x % 8, row = threadIdx.x / 8 * ROWS;
  int column = (int)(blockIdx.x % slices) * COLUMNS + quad * 4, key_column = head / (a.heads / a.key_heads) * a.key_dim + row;
  bool inside = column < a.value_dim && row < a.key_dim;
  float decay = expf(from_bf16(a.decay[head])), step = from_bf16(a.step_bias[head]);
  wait_for_previous();
  Span s;
  if (SPANS) {
    s = a.spans[blockIdx.y];
  } else {
    s = {(int)blockIdx.y, 1, a.slots[blockIdx.y], a.positions[blockIdx.y]};
  }
  if (s.slot < 0) {
    let_next_start();
    return;
  }
  float* state = a.state + (((size_t)s.slot * a.heads + head) * a.key_dim + row) * a.value_dim + column;
  Vec4 held[ROWS] = {};
  if (inside && s.start > 0) {
#pragma unroll
    for (int i = 0; i < ROWS; i++) held[i] = load16(state + (size_t)i * a.value_dim);
  }
  let_next_start();
  auto load = [&](int t, Token& to) {
    load8(a.key, t, key_column, a.key_dim - row, to.k);
    load8(a.query, t, key_column, a.key_dim - row, to.q);
#pragma unroll
    for (int j = 0; j < 4; j++) to.v[j] = column < a.value_dim ? load1(a.value, t, head * a.value_dim + column + j) : 0.f;
    to.a = load1(a.a, t, head), to.b = load1(a.b, t, head);
  };
  Token next;
  load(s.first, next);
  float S[ROWS][4];
#pragma unroll
  for (int i = 0; i < ROWS; i++) {
    S[i][0] = __uint_as_float(held[i].x), S[i][1] = __uint_as_float(held[i].y);
    S[i][2] = __uint_as_float(held[i].z), S[i][3] = __uint_as_float(held[i].w);
  }
  for (int n = 0; n < (SPANS ? s.count : 1); n++) {
    Token now = next;
    if (SPANS && n + 1 < s.count) load(s.first + n + 1, next);
    // Sᵀk and Sᵀq of four columns; k·k, q·q, k·q.
    float part[11] = {};
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
#pragma unroll
      for (int j = 0; j < 4; j++) part[j] += S[i][j] * now.k[i], part[4 + j] += S[i][j] * now.q[i];
      part[8] += now.k[i] * now.k[i], part[9] += now.q[i] * now.q[i], part[10] += now.k[i] * now.q[i];
    }
#pragma unroll
    for (int i = 0; i < 11; i++) {
      part[i] += __shfl_xor_sync(FULL, part[i], 8);
      part[i] += __shfl_xor_sync(FULL, part[i], 16);
    }
    float* to = sums[n % 2][warp];
    if (lane < 8) {
#pragma unroll
      for (int i = 0; i < 8; i++) to[quad * 8 + i] = part[i];
    }
    if (lane == 0) to[64] = part[8], to[65] = part[9], to[66] = part[10];
    __syncthreads(); // the other half is written when all have read this one
    float sum[11] = {};
#pragma unroll
    for (int w = 0; w < WARPS; w++) {
      const float* from = sums[n % 2][w];
#pragma unroll
      for (int i = 0; i < 8; i++) sum[i] += from[quad * 8 + i];
#pragma unroll
      for (int i = 0; i < 3; i++) sum[8 + i] += from[64 + i];
    }
    float x = now.a + step, g = expf(-decay * (x > 20.f ? x : log1pf(expf(x)))), beta = sigmoid(now.b);
    float to_k = 1.f / sqrtf(sum[8] + 1e-6f), to_q = 1.f / sqrtf((sum[9] + 1e-6f) * a.key_dim), kq = sum[10] * to_k;
    float d[4], y[4];
#pragma unroll
    for (int j = 0; j < 4; j++) {
      d[j] = beta * (now.v[j] - g * to_k * sum[j]);
      y[j] = to_q * (g * sum[4 + j] + d[j] * kq);
    }
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
      float k = now.k[i] * to_k;
#pragma unroll
      for (int j = 0; j < 4; j++) S[i][j] = g * S[i][j] + k * d[j];
    }
    if (row == 0 && inside) {
#pragma unroll
      for (int j = 0; j < 4; j++) store1(a.y, s.first + n, head * a.value_dim + column + j, y[j]);
    }
  }
  if (!inside) return;
#pragma unroll
  for (int i = 0; i < ROWS; i++)
    store16(state + (size_t)i * a.value_dim, {__float_as_uint(S[i][0]), __float_as_uint(S[i][1]), __float_as_uint(S[i][2]), __float_as_uint(S[i][3])});
}

extern "C" __global__ void __launch_bounds__(128, 5) delta(const __grid_constant__ DeltaArgs a) { delta_rule<false>(a); }
extern "C" __global__ void __launch_bounds__(128, 4) delta_spans(const __grid_constant__ DeltaArgs a) { delta_rule<true>(a); }
