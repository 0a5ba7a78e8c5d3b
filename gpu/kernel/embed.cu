// embed: looks the rows of the embedding up.
//   tokens i32  [T]
//   table  bf16 [V, H]   H % 8 == 0
//   out    f32  [T, H]   out[t] = table[tokens[t]]
// Launch:  a block per token; T = grid
// Limit:   6·T·H bytes of memory traffic
// Checked: TestEmbed
struct EmbedArgs {
  const int* tokens;
  const bf16* table;
  float* out;
  int hidden;
};

extern "C" __global__ void __launch_bounds__(128) embed(const __grid_constant__ EmbedArgs a) {
  wait_for_previous();
  let_next_start();
  size_t t = blockIdx.x;
  const bf16* from = a.table + (size_t)a.tokens[t] * a.hidden;
  float* to = a.out + t * a.hidden;
  for (int i = threadIdx.x * 8; i < a.hidden; i += blockDim.x * 8) {
    Vec4 v = load16(from + i); // a bf16 is the upper half of its float
    store16(to + i, {v.x << 16, v.x & 0xffff0000u, v.y << 16, v.y & 0xffff0000u});
    store16(to + i + 4, {v.z << 16, v.z & 0xffff0000u, v.w << 16, v.w & 0xffff0000u});
  }
}
