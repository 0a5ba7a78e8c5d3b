// conv, conv_keep: a causal convolution of each channel by itself, and SiLU, over
// the new tokens of requests and the inputs before them.
//   x, y       View [·, C]
//   w          bf16 [C, K]
//   slots, positions  i32 [·]   of each token; a request's tokens lie behind one
//              another; slot < 0: padding
//   state      f32 [slots, K−1, C]   the inputs before, the oldest first
//   y[t] = silu(Σ_j w[j]·x[t−K+1+j])   what is before position 0 is 0
// conv is for tokens [first, first + tokens), with keep each a request's only one,
// whose state it moves on. Where requests have more, conv_keep does so for all of
// a span behind it.
// Math:    fp32
// Launch:  256 threads, each 8 channels: conv of a token, conv_keep of a span
// Limit:   memory traffic: x and y once, states twice
// Checked: TestConv against ref.Conv
struct ConvArgs {
  View x, y;
  const bf16* w;
  const int* slots;
  const int* positions;
  float* state;
  const Span* spans; // of conv_keep
  int first, tokens, channels, k, keep;
};

__device__ __forceinline__ View state_of(const ConvArgs& a, int slot) {
  return {(u8*)(a.state + (size_t)slot * (a.k - 1) * a.channels), a.channels, 0};
}

// input loads what came `back` tokens before token t, of whose request `m` tokens
// of this pass precede it.
__device__ __forceinline__ void input(const ConvArgs& a, const View& state, const Piece& p, int t, int m, int back, int position, float* f) {
  if (back <= m) {
    load8(a.x, t - back, p.column, p.n, f);
  } else {
    load8(state, a.k - 1 - (back - m), p.column, position < back ? 0 : p.n, f);
  }
}

extern "C" __global__ void __launch_bounds__(256) conv(const __grid_constant__ ConvArgs a) {
  Piece p = piece(a.tokens, a.channels);
  wait_for_previous();
  let_next_start();
  if (p.n <= 0) return;
  int t = a.first + (int)p.row, slot = a.slots[t];
  if (slot < 0) return;
  int position = a.positions[t], m = 0;
  while (!a.keep && m < a.k - 1 && t - m > a.first && a.slots[t - m - 1] == slot) m++;
  View state = state_of(a, slot);
  float sum[8] = {};
  for (int j = 0; j < a.k; j++) {
    float f[8];
    input(a, state, p, t, m, a.k - 1 - j, position, f);
    if (a.keep && j > 0) store8(state, j - 1, p.column, p.n, f); // what was there has been read
#pragma unroll
    for (int i = 0; i < 8; i++)
      if (i < p.n) sum[i] += from_bf16(a.w[(size_t)(p.column + i) * a.k + j]) * f[i];
  }
#pragma unroll
  for (int i = 0; i < 8; i++) sum[i] *= sigmoid(sum[i]);
  store8(a.y, t, p.column, p.n, sum);
}

extern "C" __global__ void __launch_bounds__(256) conv_keep(const __grid_constant__ ConvArgs a) {
  Piece p = piece(a.tokens, a.channels); // of spans
  wait_for_previous();
  let_next_start();
  if (p.n <= 0) return;
  Span s = a.spans[p.row];
  View state = state_of(a, s.slot);
  for (int j = 0; j < a.k - 1; j++) { // in order: none is read that was written
    float f[8];
    input(a, state, p, s.first + s.count - 1, s.count - 1, a.k - 2 - j, s.start + s.count - 1, f);
    store8(state, j, p.column, p.n, f);
  }
}
