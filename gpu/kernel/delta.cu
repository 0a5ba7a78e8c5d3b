// delta, delta_steps: the gated delta rule (arXiv:2412.06464), token by token. delta is of
// rows of one token each; rows of more are delta_spans.cu's, or delta_steps' where a token
// is to be the same to the bit however its row is cut.
//   query, key  View [·, key heads·K]   K % 8 == 0, up to 128
//   value, y    View [·, heads·V]       V % 4 == 0
//   a, b        View [·, heads]
//   decay, step_bias  f32 [heads]
//   state       f32 [slots, heads, K, V]
//   slots, positions  i32 [rows]   token i is all of row i; slot < 0: padding
//   spans       Span [rows]   of delta_steps, in place of both; count  i32, how many there are
// For each token, of head h with its key head's k and q scaled to length 1, q by
// 1/√K more; S is zero at position 0:
//   S  = S·exp(−exp(decay)·softplus(a + step_bias))
//   S += k ⊗ σ(b)·(v − Sᵀk)
//   y  = Sᵀq
// Math:    fp32, sums in the same order every time
//
// A block has 32 columns of one head's state, all its rows, in registers: it is
// read once and written once. Columns need nothing of each other but k's and q's
// lengths, which every block sums up for itself.
// What has to be summed over rows before S changes, Sᵀk and Sᵀq and three
// products of k and q, is summed at once:
//   y = (g·Sᵀq + δ·(k·q))    S of before, g the decay, δ = σ(b)·(v − g·Sᵀk)
// So a token costs one barrier. delta_steps has a state in registers from a row's first
// token to its last, the next token's numbers on their way meanwhile.
//
// Blocks that do eight rows each, the states of the next two on their way by
// asynchronous copies, were no faster: 287 µs for 277 of 256 rows, 32 heads of
// 128 by 128, on an H200, whose limit is 242.
//
// Launch:  (heads·⌈V/32⌉, rows) of 128
// Limit:   8·heads·K·V bytes a row; delta_steps: the latency of a token after the other
// Checked: TestDelta against ref.Delta
#define ROWS 8 // of the state, of a thread
#define COLUMNS 32 // of a block
#define WARPS 4
#define SUMS 68 // of a warp: 8 for every 4 columns, and 3

// Part is a thread's part of a head's state: ROWS rows from row on, four columns.
struct Part {
  int head, row, column, key_column, quad;
  bool inside;
  float decay, step;
};

__device__ __forceinline__ Part part_of(const DeltaArgs& a) {
  int slices = (a.value_dim + COLUMNS - 1) / COLUMNS;
  Part p;
  p.head = blockIdx.x / slices, p.quad = threadIdx.x % 8, p.row = threadIdx.x / 8 * ROWS;
  p.column = (int)(blockIdx.x % slices) * COLUMNS + p.quad * 4;
  p.key_column = p.head / (a.heads / a.key_heads) * a.key_dim + p.row;
  p.inside = p.column < a.value_dim && p.row < a.key_dim;
  p.decay = expf(a.decay[p.head]), p.step = a.step_bias[p.head];
  return p;
}

__device__ __forceinline__ float* state_of(const DeltaArgs& a, const Part& p, int slot) {
  return a.of(slot, p.head) + (size_t)p.row * a.value_dim + p.column;
}

__device__ __forceinline__ void load_state(const DeltaArgs& a, const Part& p, const float* state, float (&S)[ROWS][4]) {
#pragma unroll
  for (int i = 0; i < ROWS; i++) {
    Vec4 held = p.inside ? load16(state + (size_t)i * a.value_dim) : Vec4{};
    S[i][0] = __uint_as_float(held.x), S[i][1] = __uint_as_float(held.y);
    S[i][2] = __uint_as_float(held.z), S[i][3] = __uint_as_float(held.w);
  }
}

__device__ __forceinline__ void store_state(const DeltaArgs& a, float* state, const float (&S)[ROWS][4]) {
#pragma unroll
  for (int i = 0; i < ROWS; i++) {
    store16(state + (size_t)i * a.value_dim, {__float_as_uint(S[i][0]), __float_as_uint(S[i][1]), __float_as_uint(S[i][2]), __float_as_uint(S[i][3])});
  }
}

// Token is what a thread needs of one.
struct Token {
  float k[ROWS], q[ROWS], v[4], a, b;
};

__device__ __forceinline__ void load_token(const DeltaArgs& a, const Part& p, int t, Token& x) {
  load8(a.key, t, p.key_column, a.key_dim - p.row, x.k);
  load8(a.query, t, p.key_column, a.key_dim - p.row, x.q);
#pragma unroll
  for (int j = 0; j < 4; j++) x.v[j] = p.column < a.value_dim ? load1(a.value, t, p.head * a.value_dim + p.column + j) : 0.f;
  x.a = load1(a.a, t, p.head), x.b = load1(a.b, t, p.head);
}

// advance moves S on by a token t, and writes its y. All threads of a block meet in it once.
__device__ __forceinline__ void advance(const DeltaArgs& a, const Part& p, int t, const Token& x, float (&sums)[WARPS][SUMS], float (&S)[ROWS][4]) {
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  float g = expf(log_decay(x.a + p.step, p.decay)), beta = sigmoid(x.b);
  // Sᵀk and Sᵀq of four columns; k·k, q·q, k·q.
  float part[11] = {};
#pragma unroll
  for (int i = 0; i < ROWS; i++) {
#pragma unroll
    for (int j = 0; j < 4; j++) part[j] += S[i][j] * x.k[i], part[4 + j] += S[i][j] * x.q[i];
    part[8] += x.k[i] * x.k[i], part[9] += x.q[i] * x.q[i], part[10] += x.k[i] * x.q[i];
  }
#pragma unroll
  for (int i = 0; i < 11; i++) {
    part[i] += __shfl_xor_sync(FULL, part[i], 8);
    part[i] += __shfl_xor_sync(FULL, part[i], 16);
  }
  float* to = sums[warp];
  if (lane < 8) {
#pragma unroll
    for (int i = 0; i < 8; i++) to[p.quad * 8 + i] = part[i];
  }
  if (lane == 0) to[64] = part[8], to[65] = part[9], to[66] = part[10];
  __syncthreads();
  float sum[11] = {};
#pragma unroll
  for (int w = 0; w < WARPS; w++) {
#pragma unroll
    for (int i = 0; i < 8; i++) sum[i] += sums[w][p.quad * 8 + i];
#pragma unroll
    for (int i = 0; i < 3; i++) sum[8 + i] += sums[w][64 + i];
  }
  float to_k = 1.f / sqrtf(sum[8] + 1e-6f), to_q = 1.f / sqrtf((sum[9] + 1e-6f) * a.key_dim), kq = sum[10] * to_k;
  float d[4];
#pragma unroll
  for (int j = 0; j < 4; j++) {
    d[j] = beta * (x.v[j] - g * to_k * sum[j]);
    float y = to_q * (g * sum[4 + j] + d[j] * kq);
    if (p.inside && p.row == 0) store1(a.y, t, p.head * a.value_dim + p.column + j, y);
  }
#pragma unroll
  for (int i = 0; i < ROWS; i++) {
    float f = x.k[i] * to_k;
#pragma unroll
    for (int j = 0; j < 4; j++) S[i][j] = g * S[i][j] + f * d[j];
  }
}

extern "C" __global__ void __launch_bounds__(128, 5) delta(const __grid_constant__ DeltaArgs a) {
  __shared__ __align__(16) float sums[WARPS][SUMS];
  Part p = part_of(a);
  int t = blockIdx.y;
  wait_for_previous();
  int slot = a.slots[t];
  if (slot < 0) {
    let_next_start();
    return;
  }
  float S[ROWS][4] = {};
  if (a.positions[t] > 0) load_state(a, p, state_of(a, p, slot), S);
  let_next_start();
  Token x;
  load_token(a, p, t, x);
  advance(a, p, t, x, sums, S);
  if (p.inside) store_state(a, state_of(a, p, slot), S);
}

extern "C" __global__ void __launch_bounds__(128, 3) delta_steps(const __grid_constant__ DeltaArgs a) {
  __shared__ __align__(16) float sums[2][WARPS][SUMS]; // of even tokens, of odd ones: none waits for who reads the last
  Part p = part_of(a);
  wait_for_previous();
  let_next_start();
  if (a.count && (int)blockIdx.y >= *a.count) return;
  Span s = a.spans[blockIdx.y];
  float S[ROWS][4] = {};
  if (s.start > 0) load_state(a, p, state_of(a, p, s.slot), S);
  Token x, next;
  load_token(a, p, s.first, x);
#pragma unroll 2
  for (int i = 0; i < s.count; i++) {
    load_token(a, p, s.first + min(i + 1, s.count - 1), next);
    advance(a, p, s.first + i, x, sums[i % 2], S);
    x = next;
  }
  if (p.inside) store_state(a, state_of(a, p, s.slot), S);
}
