// add_bias, add_rows, scale_rows, multiply_rows, copy_rows: what goes over the
// elements of rows and is done with no other op. Values are Views: columns of
// rows, of bf16 or float32.
//   add_bias       x[r] += bias, bf16 [width]; with entries that of the entry's
//                  expert, bf16 [experts, width]
//   add_rows       x[r] += scale·y[r]
//   scale_rows     x[r] *= by; with positions by 1 + by·ln(1 + ⌊positions[r]/original⌋)
//   multiply_rows  x[r] *= act(by[r]), σ or (silu) SiLU; by is one number a row
//                  (one) or as wide as x
//   copy_rows      to[r] = from[which[r]], each of heads columns of width, strides
//                  apart; which null: 0, 1, 2, …
// Math:    fp32
// Launch:  256 threads, each 8 columns
// Limit:   memory traffic: what is read and written
// Checked: TestAddBias, TestAddRows, TestScaleRows, TestMultiplyRows, TestCopyRows
struct AddBiasArgs {
  View x;
  const bf16* bias;
  const ExpertEntry* entries;
  int rows, width, experts;
};
struct AddRowsArgs {
  View x, y;
  int rows, width;
  float scale;
};
struct ScaleArgs {
  View x;
  const int* positions;
  int rows, width, original;
  float by;
};
struct MultiplyArgs {
  View x, by;
  int rows, width, one, silu;
};
struct CopyArgs {
  View from, to;
  const int* which;
  int rows, heads, width, from_stride, to_stride;
};

extern "C" __global__ void __launch_bounds__(256) add_bias(const __grid_constant__ AddBiasArgs a) {
  Piece p = piece(a.rows, a.width);
  wait_for_previous();
  let_next_start();
  if (p.n <= 0) return;
  const bf16* bias = a.bias + p.column;
  if (a.entries) {
    int expert = a.entries[p.row].expert;
    if ((u32)expert >= (u32)a.experts) return; // a row of padding, which nobody wrote
    bias += (size_t)expert * a.width;
  }
  float x[8], b[8];
  load8(a.x, p.row, p.column, p.n, x);
  weights8(bias, p.n, b);
#pragma unroll
  for (int j = 0; j < 8; j++) x[j] += b[j];
  store8(a.x, p.row, p.column, p.n, x);
}

extern "C" __global__ void __launch_bounds__(256) add_rows(const __grid_constant__ AddRowsArgs a) {
  Piece p = piece(a.rows, a.width);
  wait_for_previous();
  let_next_start();
  if (p.n <= 0) return;
  float x[8], y[8];
  load8(a.x, p.row, p.column, p.n, x);
  load8(a.y, p.row, p.column, p.n, y);
#pragma unroll
  for (int j = 0; j < 8; j++) x[j] += a.scale * y[j];
  store8(a.x, p.row, p.column, p.n, x);
}

extern "C" __global__ void __launch_bounds__(256) scale_rows(const __grid_constant__ ScaleArgs a) {
  Piece p = piece(a.rows, a.width);
  wait_for_previous();
  let_next_start();
  if (p.n <= 0) return;
  float x[8], by = a.by;
  if (a.positions) by = 1.f + by * logf((float)(1 + a.positions[p.row] / a.original));
  load8(a.x, p.row, p.column, p.n, x);
#pragma unroll
  for (int j = 0; j < 8; j++) x[j] *= by;
  store8(a.x, p.row, p.column, p.n, x);
}

extern "C" __global__ void __launch_bounds__(256) multiply_rows(const __grid_constant__ MultiplyArgs a) {
  Piece p = piece(a.rows, a.width);
  wait_for_previous();
  let_next_start();
  if (p.n <= 0) return;
  float x[8], by[8];
  load8(a.x, p.row, p.column, p.n, x);
  load8(a.by, p.row, a.one ? 0 : p.column, a.one ? 1 : p.n, by);
#pragma unroll
  for (int j = 0; j < 8; j++) {
    float v = a.one ? by[0] : by[j], s = sigmoid(v);
    x[j] *= a.silu ? v * s : s;
  }
  store8(a.x, p.row, p.column, p.n, x);
}

extern "C" __global__ void __launch_bounds__(256) copy_rows(const __grid_constant__ CopyArgs a) {
  int each = (a.width + 7) / 8;
  size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x, head = i / each;
  wait_for_previous();
  let_next_start();
  size_t row = head / a.heads;
  if (row >= (size_t)a.rows) return;
  int h = head % a.heads, column = (int)(i % each) * 8, n = min(8, a.width - column);
  float f[8];
  load8(a.from, a.which ? a.which[row] : row, h * a.from_stride + column, n, f);
  store8(a.to, row, h * a.to_stride + column, n, f);
}
