// embed: looks the rows of the embedding up.
//   tokens i32  [T]
//   table  bf16 [V, H]   H % 8 == 0
//   out    f32  [T, H]   out[t] = scale·table[tokens[t]−first]; 0 where the table has not
//                        that token: another rank has
// Launch:  a block per token; T = grid
// Limit:   6·T·H bytes of memory traffic
// Checked: TestEmbed
struct EmbedArgs {
  const int* tokens;
  const bf16* table;
  float* out;
  int hidden;
  float scale;
  int first, rows;
};

extern "C" __global__ void __launch_bounds__(128) embed(const __grid_constant__ EmbedArgs a) {
  wait_for_previous();
  let_next_start();
  size_t t = blockIdx.x;
  int row = a.tokens[t] - a.first;
  bool here = row >= 0 && row < a.rows;
  const bf16* from = a.table + (size_t)(here ? row : 0) * a.hidden;
  float scale = here ? a.scale : 0.f;
  float* to = a.out + t * a.hidden;
  for (int i = threadIdx.x * 8; i < a.hidden; i += blockDim.x * 8) {
    float f[8];
    unpack(load16(from + i), f);
#pragma unroll
    for (int j = 0; j < 8; j++) f[j] = here ? f[j] * scale : 0.f;
    store16(to + i, {__float_as_uint(f[0]), __float_as_uint(f[1]), __float_as_uint(f[2]), __float_as_uint(f[3])});
    store16(to + i + 4, {__float_as_uint(f[4]), __float_as_uint(f[5]), __float_as_uint(f[6]), __float_as_uint(f[7])});
  }
}
