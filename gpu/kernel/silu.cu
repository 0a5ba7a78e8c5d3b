// silu_mul, silu_mul_entries, gelu_mul, clamped_mul: the gates of gated MLPs.
//   gate_up  bf16 [T, 2I]   gates, then ups; I % 8 == 0
//   out      bf16 [T, I]
//   silu_mul, silu_mul_entries
//                out = gate·σ(gate) · up
//   gelu_mul     out = gate·(1 + tanh(√(2/π)·(gate + 0.044715·gate³)))/2 · up
//   clamped_mul  out = g·σ(1.702·g) · (u + 1), g = min(gate, 7), u = up between ±7
// Math:    fp32; arXiv:2002.05202, arXiv:1606.08415
// Launch:  silu_mul (⌈I/2048⌉, T) blocks of 256; the others T·⌈I/2048⌉, since T
//          may be entries of experts, of which there are more
// Limit:   6·T·I bytes of memory traffic
// Checked: TestSiluMul against ref.SiluMul, TestGates against ref.Gate
struct SiluArgs {
  const bf16* gate_up;
  bf16* out;
  int intermediate;
};

extern "C" __global__ void __launch_bounds__(256) silu_mul(const __grid_constant__ SiluArgs a) {
  wait_for_previous();
  let_next_start();
  int i = (blockIdx.x * blockDim.x + threadIdx.x) * 8;
  if (i >= a.intermediate) return;
  const bf16* row = a.gate_up + (size_t)blockIdx.y * 2 * a.intermediate;
  float g[8], u[8];
  Vec4 gates = load16(row + i), ups = load16(row + a.intermediate + i);
  unpack(gates, g);
  unpack(ups, u);
#pragma unroll
  for (int j = 0; j < 8; j++) g[j] = g[j] / (1.f + exp2_fast(-LOG2E * g[j])) * u[j];
  store16(a.out + (size_t)blockIdx.y * a.intermediate + i, pack8(g));
}

struct Silu {
  __device__ static float of(float g, float u) { return g * sigmoid(g) * u; }
};
struct Gelu {
  __device__ static float of(float g, float u) {
    float t = 0.7978845608f * (g + 0.044715f * g * g * g);
    return g * sigmoid(2.f * t) * u; // (1 + tanh t)/2 = σ(2t)
  }
};
struct Clamped {
  __device__ static float of(float g, float u) {
    g = fminf(g, 7.f);
    return g * sigmoid(1.702f * g) * (fmaxf(-7.f, fminf(u, 7.f)) + 1.f);
  }
};

template <typename Activation>
__device__ __forceinline__ void gate(const SiluArgs& a) {
  wait_for_previous();
  let_next_start();
  int each = (a.intermediate + 2047) / 2048, i = (blockIdx.x % each * blockDim.x + threadIdx.x) * 8;
  size_t t = blockIdx.x / each;
  if (i >= a.intermediate) return;
  const bf16* row = a.gate_up + t * 2 * a.intermediate;
  float g[8], u[8];
  unpack(load16(row + i), g);
  unpack(load16(row + a.intermediate + i), u);
#pragma unroll
  for (int j = 0; j < 8; j++) g[j] = Activation::of(g[j], u[j]);
  store16(a.out + t * a.intermediate + i, pack8(g));
}

extern "C" __global__ void __launch_bounds__(256) gelu_mul(const __grid_constant__ SiluArgs a) { gate<Gelu>(a); }
extern "C" __global__ void __launch_bounds__(256) clamped_mul(const __grid_constant__ SiluArgs a) { gate<Clamped>(a); }
extern "C" __global__ void __launch_bounds__(256) silu_mul_entries(const __grid_constant__ SiluArgs a) { gate<Silu>(a); }
