// delta: the gated delta rule (arXiv:2412.06464), of rows of one token each. Rows of
// more are delta_spans.cu's.
//   query, key  View [·, key heads·K]   K % 8 == 0, up to 128
//   value, y    View [·, heads·V]       V % 4 == 0
//   a, b        View [·, heads]
//   decay, step_bias  f32 [heads]
//   state       f32 [slots, heads, K, V]
//   slots, positions  i32 [rows]   token i is all of row i; slot < 0: padding
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
// So a token costs one barrier.
//
// Blocks that do eight rows each, the states of the next two on their way by
// asynchronous copies, were no faster: 287 µs for 277 of 256 rows, 32 heads of
// 128 by 128, on an H200, whose limit is 242.
//
// Launch:  (heads·⌈V/32⌉, rows) of 128
// Limit:   8·heads·K·V bytes a row
// Checked: TestDelta against ref.Delta
#define ROWS 8 // of the state, of a thread
#define COLUMNS 32 // of a block
#define WARPS 4
#define SUMS 68 // of a warp: 8 for every 4 columns, and 3

extern "C" __global__ void __launch_bounds__(128, 5) delta(const __grid_constant__ DeltaArgs a) {
  __shared__ __align__(16) float sums[WARPS][SUMS];
  int slices = (a.value_dim + COLUMNS - 1) / COLUMNS, head = blockIdx.x / slices, t = blockIdx.y;
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, quad = threadIdx.x % 8, row = threadIdx.x / 8 * ROWS;
  int column = (int)(blockIdx.x % slices) * COLUMNS + quad * 4, key_column = head / (a.heads / a.key_heads) * a.key_dim + row;
  bool inside = column < a.value_dim && row < a.key_dim;
  float decay = expf(a.decay[head]), step = a.step_bias[head];
  wait_for_previous();
  int slot = a.slots[t];
  if (slot < 0) {
    let_next_start();
    return;
  }
  float* state = a.of(slot, head) + (size_t)row * a.value_dim + column;
  Vec4 held[ROWS] = {};
  if (inside && a.positions[t] > 0) {
#pragma unroll
    for (int i = 0; i < ROWS; i++) held[i] = load16(state + (size_t)i * a.value_dim);
  }
  let_next_start();
  float k[ROWS], q[ROWS], v[4];
  load8(a.key, t, key_column, a.key_dim - row, k);
  load8(a.query, t, key_column, a.key_dim - row, q);
#pragma unroll
  for (int j = 0; j < 4; j++) v[j] = column < a.value_dim ? load1(a.value, t, head * a.value_dim + column + j) : 0.f;
  float g = expf(log_decay(load1(a.a, t, head) + step, decay)), beta = sigmoid(load1(a.b, t, head));
  float S[ROWS][4];
#pragma unroll
  for (int i = 0; i < ROWS; i++) {
    S[i][0] = __uint_as_float(held[i].x), S[i][1] = __uint_as_float(held[i].y);
    S[i][2] = __uint_as_float(held[i].z), S[i][3] = __uint_as_float(held[i].w);
  }
  // Sᵀk and Sᵀq of four columns; k·k, q·q, k·q.
  float part[11] = {};
#pragma unroll
  for (int i = 0; i < ROWS; i++) {
#pragma unroll
    for (int j = 0; j < 4; j++) part[j] += S[i][j] * k[i], part[4 + j] += S[i][j] * q[i];
    part[8] += k[i] * k[i], part[9] += q[i] * q[i], part[10] += k[i] * q[i];
  }
#pragma unroll
  for (int i = 0; i < 11; i++) {
    part[i] += __shfl_xor_sync(FULL, part[i], 8);
    part[i] += __shfl_xor_sync(FULL, part[i], 16);
  }
  float* to = sums[warp];
  if (lane < 8) {
#pragma unroll
    for (int i = 0; i < 8; i++) to[quad * 8 + i] = part[i];
  }
  if (lane == 0) to[64] = part[8], to[65] = part[9], to[66] = part[10];
  __syncthreads();
  float sum[11] = {};
#pragma unroll
  for (int w = 0; w < WARPS; w++) {
#pragma unroll
    for (int i = 0; i < 8; i++) sum[i] += sums[w][quad * 8 + i];
#pragma unroll
    for (int i = 0; i < 3; i++) sum[8 + i] += sums[w][64 + i];
  }
  float to_k = 1.f / sqrtf(sum[8] + 1e-6f), to_q = 1.f / sqrtf((sum[9] + 1e-6f) * a.key_dim), kq = sum[10] * to_k;
  float d[4], y[4];
#pragma unroll
  for (int j = 0; j < 4; j++) {
    d[j] = beta * (v[j] - g * to_k * sum[j]);
    y[j] = to_q * (g * sum[4 + j] + d[j] * kq);
  }
  if (!inside) return;
  if (row == 0) {
#pragma unroll
    for (int j = 0; j < 4; j++) store1(a.y, t, head * a.value_dim + column + j, y[j]);
  }
#pragma unroll
  for (int i = 0; i < ROWS; i++) {
    float f = k[i] * to_k;
    store16(state + (size_t)i * a.value_dim, {__float_as_uint(g * S[i][0] + f * d[0]), __float_as_uint(g * S[i][1] + f * d[1]),
                                              __float_as_uint(g * S[i][2] + f * d[2]), __float_as_uint(g * S[i][3] + f * d[3])});
  }
}
