// silu_mul: the gate of a SwiGLU block.
//   gate_up  bf16 [T, 2I]   gates, then ups; I % 8 == 0
//   out      bf16 [T, I]    out = gate/(1+e^−gate) · up
// Math:    fp32; arXiv:2002.05202
// Launch:  (⌈I/2048⌉, T) blocks of 256
// Limit:   6·T·I bytes of memory traffic
// Checked: TestSiluMul against ref.SiluMul
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
