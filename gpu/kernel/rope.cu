// rope_write: prepares queries and enters keys and values into pages.
//   qkv       f32  [T, ·]            queries, keys, values [Hq+2·Hkv, D], stride
//                                    from row to row
//                                    or, with row_scales, bf16: a product's sums, which
//   row_scales f32 [T], column_scales f32 [(Hq+2·Hkv)·D]  are multiplied by first
//   q         bf16 [T, Hq, D]        written
//   bias      bf16 [Hq+2·Hkv, D]     added first; null: none
//   q_norm, k_norm  bf16 [D]         RMSNorm of every head; null: none
//   angles    f32  [·, N/2, 2]       cosine and sine by position, of the leading N
//   positions i32  [T]
//   slots     i32  [T]               < 0: padding, nothing is entered
//   table     i32  [·, M]            table[slot][p/S] is the page of position p
//   kv        bf16 [P, 2, Hkv, S, D] one layer's pages; written. With KV_CODES E4M3, and
//   kv_scales f32 [P, 2, Hkv, S]     their scales: key_scale and value_scale; 0: as each key
//                                    and value needs it
//   x'[i] = x[i]·cos − x[i+N/2]·sin,  x'[i+N/2] = x[i+N/2]·cos + x[i]·sin   i < N/2
// Defines: HEADS (Hq), KV_HEADS (Hkv), HEAD_DIM (D: 32 to 256, see Shape), PAGE_SIZE (S),
//          KV_CODES
// Math:    fp32, rounded once; arXiv:2104.09864
// Launch:  D/16 lanes a head, or the next power of 2, blocks of 128 over all heads
//          of all tokens; N is a multiple of 16
// Limit:   6·T·(Hq+2·Hkv)·D bytes of memory traffic
// Checked: TestReferences in package cuda, by every architecture
struct RopeArgs {
  const void* qkv;
  bf16* q;
  const float* row_scales;
  const float* column_scales;
  const bf16* bias;
  const bf16* q_norm;
  const bf16* k_norm;
  const float* angles;
  const int* positions;
  const int* slots;
  const int* table;
  void* kv;
  float* kv_scales;
  int tokens;
  int table_stride;
  float eps;
  int stride; // of qkv
  int dims;   // N
  float key_scale, value_scale;
};

extern "C" __global__ void __launch_bounds__(128) rope_write(const __grid_constant__ RopeArgs a) {
  constexpr int LANES = HEAD_DIM <= 32 ? 2 : HEAD_DIM <= 64 ? 4 : HEAD_DIM <= 128 ? 8 : 16, ALL = HEADS + 2 * KV_HEADS;
  wait_for_previous();
  let_next_start();
  int i = (blockIdx.x * blockDim.x + threadIdx.x) / LANES, lane = threadIdx.x % LANES;
  // Lanes past the end stay for the shuffles, on the last head, and store nothing;
  // those past a head are on its last elements.
  bool has = LANES * 16 == HEAD_DIM || lane * 16 < HEAD_DIM, inside = i < a.tokens * ALL && has;
  lane = min(lane, HEAD_DIM / 16 - 1);
  i = min(i, a.tokens * ALL - 1);
  int t = i / ALL, head = i % ALL;
  // Eight elements of the first half of what is turned, and their partners; or
  // sixteen behind one another that are not.
  bool turned = lane * 16 < a.dims;
  int first = turned ? lane * 8 : lane * 16, second = first + (turned ? a.dims / 2 : 8);
  size_t at = (size_t)t * a.stride + head * HEAD_DIM;
  float x[8], y[8], w[8];
  if (!a.row_scales) {
    const float* qkv = (const float*)a.qkv + at;
    floats8(load16(qkv + first), load16(qkv + first + 4), x);
    floats8(load16(qkv + second), load16(qkv + second + 4), y);
  } else {
    const bf16* qkv = (const bf16*)a.qkv + at;
    unpack(load16(qkv + first), x);
    unpack(load16(qkv + second), y);
    const float* scales = a.column_scales + head * HEAD_DIM;
    float by = a.row_scales[t];
    floats8(load16(scales + first), load16(scales + first + 4), w);
#pragma unroll
    for (int j = 0; j < 8; j++) x[j] *= by * w[j];
    floats8(load16(scales + second), load16(scales + second + 4), w);
#pragma unroll
    for (int j = 0; j < 8; j++) y[j] *= by * w[j];
  }
  if (a.bias) {
    const bf16* b = a.bias + head * HEAD_DIM;
    unpack(load16(b + first), w);
#pragma unroll
    for (int j = 0; j < 8; j++) x[j] += w[j];
    unpack(load16(b + second), w);
#pragma unroll
    for (int j = 0; j < 8; j++) y[j] += w[j];
  }
  const bf16* norm = head < HEADS ? a.q_norm : a.k_norm;
  float sum = 0.f;
#pragma unroll
  for (int j = 0; j < 8; j++) sum += x[j] * x[j] + y[j] * y[j];
  if (!has) sum = 0.f;
#pragma unroll
  for (int d = LANES / 2; d > 0; d /= 2) sum += __shfl_xor_sync(FULL, sum, d);
  bool value = head >= HEADS + KV_HEADS;
  int position = a.positions[t];
  if (!value) {
    if (norm) {
      float scale = rsqrtf(sum / HEAD_DIM + a.eps);
      unpack(load16(norm + first), w);
#pragma unroll
      for (int j = 0; j < 8; j++) x[j] = x[j] * scale * w[j];
      unpack(load16(norm + second), w);
#pragma unroll
      for (int j = 0; j < 8; j++) y[j] = y[j] * scale * w[j];
    }
  }
  if (!value && turned) {
    const float* angles = a.angles + (size_t)position * a.dims + first * 2;
#pragma unroll
    for (int j = 0; j < 8; j += 2) {
      Vec4 v = load16(angles + j * 2);
      float cos0 = __uint_as_float(v.x), sin0 = __uint_as_float(v.y), cos1 = __uint_as_float(v.z), sin1 = __uint_as_float(v.w);
      float x0 = x[j], x1 = x[j + 1];
      x[j] = x0 * cos0 - y[j] * sin0;
      y[j] = y[j] * cos0 + x0 * sin0;
      x[j + 1] = x1 * cos1 - y[j + 1] * sin1;
      y[j + 1] = y[j + 1] * cos1 + x1 * sin1;
    }
  }
  float most = 0.f;
  if (KV_CODES) {
#pragma unroll
    for (int j = 0; j < 8; j++) most = fmaxf(most, fmaxf(fabsf(x[j]), fabsf(y[j])));
#pragma unroll
    for (int d = LANES / 2; d > 0; d /= 2) most = fmaxf(most, __shfl_xor_sync(FULL, most, d));
  }
  if (!inside) return;
  bf16* to = a.q + ((size_t)t * HEADS + head) * HEAD_DIM;
  if (head >= HEADS) {
    int slot = a.slots[t];
    if (slot < 0) return;
    size_t page = a.table[(size_t)slot * a.table_stride + position / PAGE_SIZE];
    // Keys' heads, then values', are in order behind the queries'.
    size_t row = (page * 2 * KV_HEADS + (head - HEADS)) * PAGE_SIZE + position % PAGE_SIZE;
    if (KV_CODES) {
      float scale = cache_scale(most, value ? a.value_scale : a.key_scale);
      u8* codes = (u8*)a.kv + row * HEAD_DIM;
      store_codes(codes + first, x, 1.f / scale);
      store_codes(codes + second, y, 1.f / scale);
      if (lane == 0) a.kv_scales[row] = scale;
      return;
    }
    to = (bf16*)a.kv + row * HEAD_DIM;
  }
  store16(to + first, pack8(x));
  store16(to + second, pack8(y));
}
