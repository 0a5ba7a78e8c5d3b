// moe_one: the second product of experts for a token at a time, which goes
// straight to the residual stream.
//   choice  i32  [T, k]      a token's experts, from moe_route; negative: none
//   place   i32  [T, k]      their rows of y
//   y       bf16 [N, I]      what the first product made, shares in it; I % 64 == 0
//   w       bf16 [E, H, I]   H % 8 == 0
//   x       f32  [T, H]
//   x[t] += Σ_j y[place[t, j]]·w[choice[t, j]]ᵀ
// Math:    bf16 products, fp32 sums, in the same order every time
//
// An item is 8 neighbouring outputs of one token. Their weights in 8 of its
// experts are 64 rows for the tensor cores, whose right operand is the 8 experts'
// y: of all products of rows of one expert with the y of another those of an
// expert with its own are taken, which one lane in four has.
//
// As in moe_tiles.cu, weights are on their way before the first product has
// ended: all of them where a row has no more than 576 inputs.
//
// Launch:  two blocks of 128 a multiprocessor; each takes every so-many-th item
// Limit:   2·k·H·I bytes for each token
// Checked: TestExpertsOfOne against ref.Experts
#define BLOCK_ROWS 64
#define AT_ONCE 8 // experts
#define ROW_BYTES 128
#define STAGE ((BLOCK_ROWS + AT_ONCE) * ROW_BYTES)
#define DEPTH 10

struct ExpertOneArgs {
  const bf16* y;
  const bf16* w;
  const int* choice;
  const int* place;
  float* x;
  int in, out, chosen, tokens;
};

extern "C" __global__ void __launch_bounds__(128, 2) moe_one(const __grid_constant__ ExpertOneArgs a) {
  extern __shared__ __align__(128) u8 memory[];
  __shared__ float sums[2][4][8];
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  u32 shared = shared_address(memory);
  int parts = a.out / 8, items = a.tokens * parts, row_steps = a.in / 64, steps = (a.chosen + AT_ONCE - 1) / AT_ONCE * row_steps;

  // What is copied next: an item, a piece of its experts' rows, a stage. A
  // thread copies a row of every second expert, or a row of y.
  int item, step, into, copy_row = threadIdx.x / 8, copy_chunk = threadIdx.x % 8;
  u32 copy_to = shared + copy_row * ROW_BYTES + (copy_chunk ^ copy_row % 8) * 16;
  const bf16 *w[4], *y;
  auto find = [&] {
    int first = item / parts * a.chosen, from = step / row_steps * AT_ONCE;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      int j = from + i * 2 + copy_row / 8, expert = j < a.chosen ? fresh(a.choice + first + j) : -1;
      w[i] = expert < 0 ? nullptr : a.w + ((size_t)expert * a.out + item % parts * 8 + copy_row % 8) * a.in + copy_chunk * 8;
    }
    int j = from + copy_row, place = copy_row < AT_ONCE && j < a.chosen ? fresh(a.place + first + j) : -1;
    y = place < 0 ? nullptr : a.y + (size_t)place * a.in + copy_chunk * 8;
  };
  auto begin = [&] {
    item = blockIdx.x, step = 0, into = 0;
    if (item < items) find();
  };
  auto load = [&](bool weights, bool rows) {
    if (item < items) {
      u32 to = copy_to + into * STAGE;
      int k = step % row_steps * 64;
#pragma unroll
      for (int i = 0; i < 4; i++)
        if (weights) copy16(to + i * 16 * ROW_BYTES, w[i] ? w[i] + k : a.w, w[i] != nullptr);
      if (rows && copy_row < AT_ONCE) copy16(to + BLOCK_ROWS * ROW_BYTES, y ? y + k : a.w, y != nullptr);
      if (++step == steps) step = 0, item += gridDim.x;
      if (step % row_steps == 0 && item < items) find();
    }
    if (rows) copies_commit();
    into = into == DEPTH - 1 ? 0 : into + 1;
  };
  begin();
#pragma unroll 1
  for (int s = 0; s < DEPTH - 1; s++) load(true, false);
  wait_for_previous();
  let_next_start();
  begin();
#pragma unroll 1
  for (int s = 0; s < DEPTH - 1; s++) load(false, true);

  u32 a_at = (warp * 16 + lane % 16) * ROW_BYTES, a_chunk = lane / 16;
  u32 b_at = (BLOCK_ROWS + lane % 8) * ROW_BYTES, b_chunk = lane / 8, turn = lane % 8;
  int stage = 0, half = 0;
  for (int i = blockIdx.x; i < items; i += gridDim.x, half ^= 1) {
    float* x = a.x + (size_t)(i / parts) * a.out + i % parts * 8 + threadIdx.x;
    float c[4] = {}, was = threadIdx.x < 8 ? *x : 0.f;
    for (int s = 0; s < steps; s++) {
      copies_wait<DEPTH - 2>();
      __syncthreads(); // this stage is here for all, and the one before it has been read by all
      load(true, true);
      u32 base = shared + stage * STAGE;
#pragma unroll
      for (int k = 0; k < 2; k++) {
        u32 y[4], w[2][4];
        load_matrices(y, base + b_at + ((k * 4 + b_chunk) ^ turn) * 16);
#pragma unroll
        for (int n = 0; n < 2; n++) {
          load_matrices(w[n], base + a_at + ((k * 4 + n * 2 + a_chunk) ^ turn) * 16);
          multiply_add(c, w[n], y[n * 2], y[n * 2 + 1]);
        }
      }
      stage = stage == DEPTH - 1 ? 0 : stage + 1;
    }
    // The warp has experts 2·warp, in rows up to 8, and the one after.
    if (lane % 4 == warp) sums[half][warp][lane / 4] = c[0] + c[3];
    __syncthreads(); // the other half has been read before the one behind this
    if (threadIdx.x < 8) *x = was + ((sums[half][0][lane] + sums[half][1][lane]) + (sums[half][2][lane] + sums[half][3][lane]));
  }
  copies_wait<0>();
}
