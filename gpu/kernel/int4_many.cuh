// int4_many: the products of weights of 4 bits, widened in registers, with many rows in
// shared memory, for sm_90a. It comes after int4.cuh and hopper.cuh.

// Of a matrix in shared memory, for products: rows of 128 bytes whose 16-byte
// chunks are permuted by the row's last 3 bits; groups of 8 are 1024 bytes apart.
__device__ __forceinline__ u64 describe(u32 at) {
  return (u64)(at >> 4) | (u64)1 << 16 | (u64)(1024 >> 4) << 32 | (u64)1 << 62;
}

// widen4 makes of 32 inputs' words what the tensor cores multiply.
__device__ __forceinline__ void widen4(u32* v, u32 first, u32 second, const u32* zero, const u32* by) {
#pragma unroll
  for (int i = 0; i < 8; i++) v[i] = times2(pair4(i / 4 ? second : first, i % 4, zero[i % 2]), by[i % 2]);
}

// multiply_widened adds the products of 128 inputs, of a warp's two panels, whose blocks
// are so far from each other, and TOKENS rows; give is called when those before are done.
template <int TOKENS, class Give>
__device__ __forceinline__ void multiply_widened(float (&c)[2][TOKENS / 2], u32 rows, u32 blocks, u32 apart, int groups, Give give) {
  int lane = threadIdx.x % WARP;
  u32 v[2][2][8], zero[2][2], by[2][2];
  Vec4 word[2];
#pragma unroll
  for (int s = 0; s < 8; s += 2) { // some are widened while those before are multiplied
#pragma unroll
    for (int m = 0; m < 2; m++) {
      u32 block = blocks + m * apart;
      if (s % 4 == 0) word[m] = load_shared16(block + s / 4 * 512 + lane * 16);
      if (s == 0 || s * groups % 8 == 0) // another group
#pragma unroll
        for (int h = 0; h < 2; h++) {
          u32 scale = load_shared4(block + SIXTEEN_ROWS + s * groups / 8 * 64 + (lane / 4 + h * 8) * 4);
          zero[m][h] = less_zero(scale), by[m][h] = pack(scale4(scale), scale4(scale));
        }
      widen4(v[s / 2 % 2][m], s % 4 ? word[m].z : word[m].x, s % 4 ? word[m].w : word[m].y, zero[m], by[m]);
    }
#pragma unroll
    for (int m = 0; m < 2; m++) pin(c[m]);
    products_begin();
#pragma unroll
    for (int j = 0; j < 2; j++)
#pragma unroll
      for (int m = 0; m < 2; m++)
        product_rows(c[m], v[s / 2 % 2][m] + j * 4, describe(rows + (s + j) / 4 * (TOKENS * 128)) + (s + j) % 4 * 2);
    products_commit();
    products_wait<1>();
    if (s == 0) give();
  }
}
