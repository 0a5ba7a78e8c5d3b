// embed: looks the rows of the embedding up.
//   tokens i32  [T]
//   table  bf16 [V, H]   H % 8 == 0
//   out    bf16 [T, H]   out[t] = table[tokens[t]]
// Launch:  a block per token; T = grid
// Limit:   4·T·H bytes of memory traffic
// Checked: TestEmbed
struct EmbedArgs {
  const int* tokens;
  const bf16* table;
  bf16* out;
  int hidden;
};

extern "C" __global__ void __launch_bounds__(128) embed(const __grid_constant__ EmbedArgs a) {
  wait_for_previous();
  let_next_start();
  size_t t = blockIdx.x;
  const bf16* from = a.table + (size_t)a.tokens[t] * a.hidden;
  bf16* to = a.out + t * a.hidden;
  for (int i = threadIdx.x * 8; i < a.hidden; i += blockDim.x * 8) store16(to + i, load16(from + i));
}
