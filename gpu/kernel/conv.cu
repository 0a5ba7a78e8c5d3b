// conv, conv_spans, conv_keep: a causal convolution of each channel by itself, and SiLU, over
// the new tokens of requests and the inputs before them.
//   x, y       View [·, C]
//   w          bf16 [C, K], K from 2 to 4
//   slots, positions  i32 [·]   of each token; a request's tokens lie behind one
//              another; slot < 0: padding
//   state      f32 [slots, K−1, C]   the inputs before, the oldest first
//   y[t] = silu(Σ_j w[j]·x[t−K+1+j])   what is before position 0 is 0
// conv is for tokens [first, first + tokens), each a request's only one, whose state
// it moves on. Where requests have more conv_spans is, whose threads do CONV_RUN
// tokens one behind the other, and conv_keep, which moves states on behind it.
// Math:    fp32
// Launch:  256 threads, each 4 channels: conv of a token, conv_spans of a run of
//          tokens, conv_keep of a span
// Limit:   memory traffic: x and y once, states twice
// Checked: TestConv against ref.Conv
struct ConvArgs {
  View x, y;
  const bf16* w;
  const int* slots;
  const int* positions;
  float* state;
  const Span* spans; // of conv_keep
  const int* count;  // of spans; null: as many as were launched for
  int first, tokens, channels, k;
};

__device__ __forceinline__ View state_of(const ConvArgs& a, int slot) {
  return {(u8*)(a.state + (size_t)slot * (a.k - 1) * a.channels), a.channels, 0};
}

// input loads what came `back` tokens before token t, of whose request `m` tokens
// of this pass precede it.
__device__ __forceinline__ void input(const ConvArgs& a, const View& state, const Piece& p, int t, int m, int back, int position, float* f) {
  if (back <= m) {
    load4(a.x, t - back, p.column, p.n, f);
  } else {
    load4(state, a.k - 1 - (back - m), p.column, position < back ? 0 : p.n, f);
  }
}

// convolve does a run of tokens, of which each input is loaded once. KEEP: each is
// its request's only one, whose state it moves on.
template <int K, bool KEEP>
__device__ __forceinline__ void convolve(const ConvArgs& a, const Piece& p, int t, int end) {
  float x[K][4], w[(K + 1) / 2 * 8]; // x: the inputs that a token sees, its own the last
#pragma unroll
  for (int j = 0; j < 4 * K; j += 8) weights8(a.w + (size_t)p.column * K + j, p.n * K - j, w + j);
  int had = -1; // whose inputs x has
  for (; t < end; t++) {
    int slot = a.slots[t];
    if (slot < 0) {
      had = -1;
      continue;
    }
    View state = state_of(a, slot);
    if (slot != had) {
      int position = a.positions[t], m = 0;
      while (!KEEP && m < K - 1 && t - m > a.first && a.slots[t - m - 1] == slot) m++;
#pragma unroll
      for (int j = 0; j < K - 1; j++) input(a, state, p, t, m, K - 1 - j, position, x[j]);
      had = slot;
    }
    load4(a.x, t, p.column, p.n, x[K - 1]);
    float sum[4] = {};
#pragma unroll
    for (int j = 0; j < K; j++) {
      if (KEEP && j > 0) store4(state, j - 1, p.column, p.n, x[j]); // what was there has been read
#pragma unroll
      for (int i = 0; i < 4; i++) sum[i] += w[i * K + j] * x[j][i];
    }
#pragma unroll
    for (int i = 0; i < 4; i++) sum[i] *= sigmoid(sum[i]);
    store4(a.y, t, p.column, p.n, sum);
#pragma unroll
    for (int j = 0; j < K - 1; j++)
#pragma unroll
      for (int i = 0; i < 4; i++) x[j][i] = x[j + 1][i];
  }
}

template <bool KEEP>
__device__ __forceinline__ void convolve(const ConvArgs& a) {
  int run = KEEP ? 1 : CONV_RUN;
  Piece p = piece<4>((a.tokens + run - 1) / run, a.channels); // of runs
  wait_for_previous();
  let_next_start();
  if (p.n <= 0) return;
  int t = a.first + (int)p.row * run, end = min(t + run, a.first + a.tokens);
  if (a.k == 4) {
    convolve<4, KEEP>(a, p, t, end);
  } else if (a.k == 3) {
    convolve<3, KEEP>(a, p, t, end);
  } else {
    convolve<2, KEEP>(a, p, t, end);
  }
}

extern "C" __global__ void __launch_bounds__(256) conv(const __grid_constant__ ConvArgs a) { convolve<true>(a); }
extern "C" __global__ void __launch_bounds__(256) conv_spans(const __grid_constant__ ConvArgs a) { convolve<false>(a); }

extern "C" __global__ void __launch_bounds__(256) conv_keep(const __grid_constant__ ConvArgs a) {
  Piece p = piece<4>(a.tokens, a.channels); // of spans
  wait_for_previous();
  let_next_start();
  if (p.n <= 0 || a.count && (int)p.row >= *a.count) return;
  Span s = a.spans[p.row];
  View state = state_of(a, s.slot);
  for (int j = 0; j < a.k - 1; j++) { // in order: none is read that was written
    float f[4];
    input(a, state, p, s.first + s.count - 1, s.count - 1, a.k - 2 - j, s.start + s.count - 1, f);
    store4(state, j, p.column, p.n, f);
  }
}
