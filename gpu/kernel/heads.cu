// head_product: each head of rows by a matrix of its own.
//   x  View bf16 [T, heads·in_stride], in columns of each head; strides, in and
//      where columns begin % 8 == 0
//   w  bf16 [heads, out, in]
//   y  View [T, heads·out_stride]: y_h = x_h·w[h]ᵀ
// Math:    bf16 products, fp32 sums
//
// A block has 64 tokens and 64 outputs of one head; 64 inputs at a time pass
// through shared memory, whose 16-byte chunks are permuted by the row's last 3
// bits, the next ones on their way. A warp has 16 of the tokens.
//
// Launch:  (⌈T/64⌉·⌈out/64⌉, heads) of 128
// Limit:   2·T·heads·out·in FLOP; 2·heads·out·in bytes
// Checked: TestHeadProduct against ref.Product
#define SIDE 64
#define ROW_BYTES (SIDE * 2)
#define STAGE (2 * SIDE * ROW_BYTES)

struct HeadProductArgs {
  View x, y;
  const bf16* w;
  int tokens, in, out, in_stride, out_stride;
};

extern "C" __global__ void __launch_bounds__(128) head_product(const __grid_constant__ HeadProductArgs a) {
  __shared__ __align__(128) u8 memory[2 * STAGE];
  u32 shared = shared_address(memory);
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, head = blockIdx.y, parts = (a.out + SIDE - 1) / SIDE;
  int token0 = (int)(blockIdx.x / parts) * SIDE, out0 = (int)(blockIdx.x % parts) * SIDE;
  const bf16* x = (const bf16*)a.x.at + (size_t)head * a.in_stride;
  const bf16* w = a.w + (size_t)head * a.out * a.in;
  int row = threadIdx.x / 8, chunk = threadIdx.x % 8, steps = (a.in + SIDE - 1) / SIDE;
  auto load = [&](int step) {
    int k = step * SIDE + chunk * 8;
    u32 to = shared + step % 2 * STAGE + row * ROW_BYTES + (chunk ^ row % 8) * 16;
#pragma unroll
    for (int i = 0; i < SIDE / 16; i++) {
      int token = token0 + row + i * 16, out = out0 + row + i * 16;
      bool there = k < a.in && token < a.tokens;
      copy16(to + i * 16 * ROW_BYTES, x + (there ? (size_t)token * a.x.stride + k : 0), there);
      there = k < a.in && out < a.out;
      copy16(to + (SIDE + i * 16) * ROW_BYTES, w + (there ? (size_t)out * a.in + k : 0), there);
    }
    copies_commit();
  };
  wait_for_previous();
  let_next_start();
  load(0);
  float c[8][4] = {};
  u32 a_at = (warp * 16 + lane % 16) * ROW_BYTES, b_at = (SIDE + lane / 16 * 8 + lane % 8) * ROW_BYTES, turn = lane % 8;
  for (int step = 0; step < steps; step++) {
    if (step + 1 < steps) {
      load(step + 1);
      copies_wait<1>();
    } else {
      copies_wait<0>();
    }
    __syncthreads();
    u32 base = shared + step % 2 * STAGE;
#pragma unroll
    for (int k = 0; k < SIDE / 16; k++) {
      u32 rows[4], outs[4];
      load_matrices(rows, base + a_at + ((k * 2 + lane / 16) ^ turn) * 16);
#pragma unroll
      for (int n = 0; n < 4; n++) {
        load_matrices(outs, base + b_at + n * 16 * ROW_BYTES + ((k * 2 + lane / 8 % 2) ^ turn) * 16);
        multiply_add(c[n * 2], rows, outs[0], outs[1]);
        multiply_add(c[n * 2 + 1], rows, outs[2], outs[3]);
      }
    }
    __syncthreads(); // this stage has been read
  }
#pragma unroll
  for (int n = 0; n < 8; n++)
#pragma unroll
    for (int i = 0; i < 4; i++) {
      int token = token0 + warp * 16 + lane / 4 + i / 2 * 8, out = out0 + n * 8 + lane % 4 * 2 + i % 2;
      if (token < a.tokens && out < a.out) store1(a.y, token, head * a.out_stride + out, c[n][i]);
    }
}
