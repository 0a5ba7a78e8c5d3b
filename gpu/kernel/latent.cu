// latent_attention: attention of many query heads over one cached head whose
// values are the leading elements of its keys (arXiv:2405.04434), of decode rows
// and of prompts alike.
//   q         f32  [T, Hq, K]    rounded to bf16
//   kv        bf16 [P, S, K]     one layer's pages, read only
//   table     i32  [·, M]        table[slot][j] is the j-th page
//   positions i32  [T]
//   slots     i32  [T]           < 0: padding, nothing is written
//   out       f32  [T, Hq, V], or bf16
//   out[t,h] = Σ_p softmax_p(scale·q[t,h]·K_p) K_p[:V] over the last window p up to
//   the position of t
// Math:    fp32 accumulation; online softmax, arXiv:1805.02867
//
// A block has sixteen heads of a token, the rows of one tensor core operand, and
// passes 16 positions at a time through shared memory. Its four warps share the
// elements of keys over which scores are summed, and the columns of the values;
// what they know of scores is the same.
//
// It is written to be right: nothing is copied ahead, the history of a token is one
// block's, and tokens of a prompt do not share the keys that they read.
//
// Launch:  (T, ⌈Hq/16⌉) blocks of 128; K ≤ 576, V ≤ 512, multiples of 16
// Limit:   4·K·Hq·Σ (positions seen) FLOP, or the keys' memory traffic
// Checked: TestLatentAttention against ref.Windowed
#define TILE 16
#define ROWS 16
#define WARPS 4
#define MAX_KEY 576
#define MAX_VALUE 512
#define PITCH (MAX_KEY * 2 + 16) // bytes of a row in shared memory: no bank conflicts

struct LatentArgs {
  const float* q;
  const bf16* kv;
  const int* table;
  const int* positions;
  const int* slots;
  void* out;
  int heads, key_dim, value_dim, page_size, table_stride, window;
  int rounded; // out is bf16
  float scale; // the scores', in powers of 2
};

extern "C" __global__ void __launch_bounds__(128) latent_attention(const __grid_constant__ LatentArgs a) {
  __shared__ __align__(16) u8 memory[(ROWS + TILE) * PITCH];
  __shared__ float sums[WARPS][ROWS][TILE + 1];
  constexpr int PAIRS = MAX_VALUE / 16 / WARPS; // of eight columns each, by a warp
  wait_for_previous();
  let_next_start();
  int t = blockIdx.x, head = blockIdx.y * ROWS, slot = a.slots[t];
  if (slot < 0) return;
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, g = lane / 4, column = lane % 4 * 2;
  int position = a.positions[t], from = max(0, position + 1 - a.window), chunks = a.key_dim / 8;
  const int* pages = a.table + (size_t)slot * a.table_stride;
  u32 queries = shared_address(memory), keys = queries + ROWS * PITCH;
  u32 queries_at = queries + (lane / 8 % 2 * 8 + lane % 8) * PITCH + lane / 16 * 16;
  u32 keys_at = keys + (lane / 16 * 8 + lane % 8) * PITCH + lane / 8 % 2 * 16;
  u32 values_at = keys + (lane / 8 % 2 * 8 + lane % 8) * PITCH + lane / 16 * 16;

  for (int i = threadIdx.x; i < ROWS * chunks; i += 128) {
    int row = i / chunks, chunk = i % chunks;
    float x[8] = {};
    if (head + row < a.heads) {
      const float* q = a.q + ((size_t)t * a.heads + head + row) * a.key_dim + chunk * 8;
      floats8(load16(q), load16(q + 4), x);
    }
    *(Vec4*)(memory + row * PITCH + chunk * 16) = pack8(x);
  }

  float o[PAIRS][2][4], top[2] = {NEGATIVE_INFINITY, NEGATIVE_INFINITY}, sum[2] = {0.f, 0.f};
#pragma unroll
  for (int n = 0; n < PAIRS; n++)
#pragma unroll
    for (int j = 0; j < 8; j++) o[n][j / 4][j % 4] = 0.f;

  for (int first = from / TILE * TILE; first <= position; first += TILE) {
    __syncthreads(); // the tile before has been read
    for (int i = threadIdx.x; i < TILE * chunks; i += 128) {
      int row = i / chunks, chunk = i % chunks, p = first + row;
      bool seen = p >= from && p <= position;
      size_t page = seen ? pages[p / a.page_size] : 0;
      copy16(keys + row * PITCH + chunk * 16, a.kv + (page * a.page_size + p % a.page_size) * a.key_dim + chunk * 8, seen);
    }
    copies_commit();
    copies_wait<0>();
    __syncthreads();

    u32 r[4], x[4];
    float s[2][4] = {};
    for (int k = warp; k < a.key_dim / 16; k += WARPS) {
      load_matrices(x, queries_at + k * 32);
      load_matrices(r, keys_at + k * 32);
      multiply_add(s[0], x, r[0], r[1]);
      multiply_add(s[1], x, r[2], r[3]);
    }
#pragma unroll
    for (int j = 0; j < 8; j++) sums[warp][g + j % 4 / 2 * 8][j / 4 * 8 + column + j % 2] = s[j / 4][j % 4];
    __syncthreads();
#pragma unroll
    for (int j = 0; j < 8; j++) {
      float z = 0.f;
#pragma unroll
      for (int w = 0; w < WARPS; w++) z += sums[w][g + j % 4 / 2 * 8][j / 4 * 8 + column + j % 2];
      bool seen = (u32)(position - (first + j / 4 * 8 + column + j % 2)) < (u32)a.window;
      s[j / 4][j % 4] = seen ? z * a.scale : NEGATIVE_INFINITY;
    }

    float shrink[2];
#pragma unroll
    for (int h = 0; h < 2; h++) { // rows l/4, then l/4 + 8
      float highest = fmaxf(fmaxf(s[0][h * 2], s[0][h * 2 + 1]), fmaxf(s[1][h * 2], s[1][h * 2 + 1]));
      highest = fmaxf(highest, __shfl_xor_sync(FULL, highest, 1));
      highest = fmaxf(highest, __shfl_xor_sync(FULL, highest, 2));
      highest = fmaxf(highest, top[h]); // finite: every tile has a position that is seen
      shrink[h] = exp2_fast(top[h] - highest);
      top[h] = highest;
      sum[h] *= shrink[h];
#pragma unroll
      for (int j = 0; j < 4; j++) {
        float& z = s[j / 2][h * 2 + j % 2];
        z = exp2_fast(z - highest);
        sum[h] += z;
      }
    }
    u32 p[4] = {pack(s[0][0], s[0][1]), pack(s[0][2], s[0][3]), pack(s[1][0], s[1][1]), pack(s[1][2], s[1][3])};
#pragma unroll
    for (int n = 0; n < PAIRS; n++) {
      int pair = n * WARPS + warp;
      if (pair * 16 >= a.value_dim) continue;
#pragma unroll
      for (int j = 0; j < 8; j++) o[n][j / 4][j % 4] *= shrink[j % 4 / 2];
      load_matrices_transposed(r, values_at + pair * 32);
      multiply_add(o[n][0], p, r[0], r[1]);
      multiply_add(o[n][1], p, r[2], r[3]);
    }
  }

#pragma unroll
  for (int h = 0; h < 2; h++) {
    sum[h] += __shfl_xor_sync(FULL, sum[h], 1);
    sum[h] += __shfl_xor_sync(FULL, sum[h], 2);
    int row = head + g + h * 8;
    if (row >= a.heads) continue;
    float scale = 1.f / sum[h];
    size_t to = ((size_t)t * a.heads + row) * a.value_dim + column;
#pragma unroll
    for (int n = 0; n < PAIRS; n++) {
      int pair = n * WARPS + warp;
      if (pair * 16 >= a.value_dim) continue;
#pragma unroll
      for (int i = 0; i < 2; i++) {
        float lo = o[n][i][h * 2] * scale, hi = o[n][i][h * 2 + 1] * scale;
        if (a.rounded) *(u32*)((bf16*)a.out + to + pair * 16 + i * 8) = pack(lo, hi);
        else *(float2*)((float*)a.out + to + pair * 16 + i * 8) = make_float2(lo, hi);
      }
    }
  }
}
