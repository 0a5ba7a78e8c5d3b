// skinny_*: products of matrices with few rows, which cost as much as reading
// the weights, together with what comes before and after them in a layer.
//   x     f32 [·, K], the residual stream; bf16 in skinny_add   K % 64 == 0
//   w     bf16 [M, K]   read once
//   norm  bf16 [K]      RMSNorm of x comes first; absent in skinny_add
//   rows  i32  [N]      which rows of x; null: 0, 1, 2, …
//   skinny_norm, skinny_wide  y f32, or (rounded) bf16, [N, ld] = rms_norm(x)·wᵀ
//   skinny_gate               y bf16 [N, M/2] = silu(g)·u, where g|u = rms_norm(x)·wᵀ
//   skinny_add                y f32  [N, M] += x·wᵀ, or (rounded) bf16 [N, ld] = x·wᵀ
// Math:    bf16 products, fp32 sums. The norm's factor 1/√(mean(x²)+ε) is the
//          same for a whole row and multiplies the sum; x·norm is rounded once.
//
// The weights are the tensor cores' left operand, 16 rows at a time, the tokens
// its right: 8 or 16 columns. The order of k within a sum is free, so a lane
// takes eight neighbours of a row as its share of two products: both operands
// come from memory in 16-byte pieces, in the place where they are needed. The
// warps of a block split K in chunks of 64.
//
// A lane copies what it will need itself through shared memory, several chunks
// ahead and on into the next rows, so no warp waits for another but to add up.
// Weights are nobody's output: the first of them are on their way before the
// kernel ahead has ended. Where no block has more than one tile, so are those of the
// kernels behind, as far as there is room: each lets the next start at once. Where some
// have two, blocks that come as others go would have them side by side: a step of
// Qwen3-14B took 7.80 ms for 7.73 on an H200.
//
// Launch:  blocks of 8 warps, two a multiprocessor or fewer; each takes every
//          so-many-th 16 rows of w; 32 in skinny_wide; 16 of g and the same 16
//          of u in skinny_gate
// Limit:   2·M·K bytes of memory traffic
// Checked: TestSkinny against ref.RMSNorm, ref.Product and ref.SiluMul
#define WARPS 8

// NT tiles of 8 tokens, MT of 16 rows of w.
template <int NT, int MT, bool NORM, Epilogue EPILOGUE>
__device__ __forceinline__ void skinny(const SkinnyArgs& a) {
  extern __shared__ __align__(16) u8 memory[];
  constexpr int AHEAD = MT == 1 ? 5 : NT == 1 ? 3 : 2; // chunks in shared memory; newSkinny in skinny.go makes room for them
  constexpr int PIECE = WARP * 16, CHUNK = MT * 4 * PIECE;
  constexpr int TOKENS = 8 * NT, VALUES = 16 * TOKENS, PITCH = 17 * TOKENS;
  __shared__ float sums[WARPS][MT][PITCH];
  __shared__ float squares[WARPS][TOKENS];
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, g = lane / 4, chunks = a.in / 64;
  int half = a.out / 2; // of g|u
  int tiles = EPILOGUE == GATE ? half / 16 : (a.out + 16 * MT - 1) / (16 * MT);
  u32 shared = shared_address(memory) + warp * AHEAD * CHUNK + lane * 16;

  // The chunk copied next, and the place it goes to.
  int load_tile = warp < chunks ? (int)blockIdx.x : tiles, load_chunk = warp, into = 0;
  auto load = [&] {
    if (load_tile < tiles) {
#pragma unroll
      for (int m = 0; m < MT; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
          int row = (EPILOGUE == GATE ? load_tile * 16 + m * half : (load_tile * MT + m) * 16) + g + h * 8;
          const bf16* w = a.w + (size_t)min(row, a.out - 1) * a.in + load_chunk * 64 + lane % 4 * 8;
#pragma unroll
          for (int j = 0; j < 2; j++) copy16(shared + into * CHUNK + ((m * 2 + h) * 2 + j) * PIECE, w + j * 32, true);
        }
      load_chunk += WARPS;
      if (load_chunk >= chunks) load_chunk = warp, load_tile += gridDim.x;
    }
    copies_commit();
    into = into == AHEAD - 1 ? 0 : into + 1;
  };
  bool once = tiles <= (int)gridDim.x;
  if (once) let_next_start();
#pragma unroll
  for (int i = 0; i < AHEAD - 1; i++) load();
  wait_for_previous();

  // Of x a lane has two times eight elements of a chunk, as of a row of w.
  constexpr int SIZE = NORM ? 4 : 2; // bytes of an element
  const u8* x[NT];
  const bf16* norm = a.norm + lane % 4 * 8;
#pragma unroll
  for (int t = 0; t < NT; t++) {
    int token = min(t * 8 + g, a.n - 1);
    x[t] = (const u8*)a.x + ((size_t)(a.rows ? a.rows[token] : token) * a.in + lane % 4 * 8) * SIZE;
  }
  Vec4 b[NT][2][SIZE / 2], scale[2]; // of the next chunk
  auto fetch = [&](int c) {
#pragma unroll
    for (int j = 0; j < 2; j++) {
#pragma unroll
      for (int t = 0; t < NT; t++)
#pragma unroll
        for (int i = 0; i < SIZE / 2; i++) b[t][j][i] = *(const Vec4*)(x[t] + (c * 64 + j * 32) * SIZE + i * 16);
      if (NORM) scale[j] = *(const Vec4*)(norm + c * 64 + j * 32);
    }
  };
  if (warp < chunks) fetch(warp);

  int from = 0;
  for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    float acc[MT][NT][4] = {}, square[NT] = {};
    for (int c = warp; c < chunks; c += WARPS) {
      Vec4 v[NT][2];
#pragma unroll
      for (int j = 0; j < 2; j++)
#pragma unroll
        for (int t = 0; t < NT; t++) {
          float f[8], s[8];
          if (NORM) {
            floats8(b[t][j][0], b[t][j][SIZE / 2 - 1], f);
            unpack(scale[j], s);
#pragma unroll
            for (int i = 0; i < 8; i++) square[t] += f[i] * f[i], f[i] *= s[i];
            v[t][j] = pack8(f);
          } else {
            v[t][j] = b[t][j][0];
          }
        }
      fetch(c + WARPS < chunks ? c + WARPS : warp);
      copies_wait<AHEAD - 2>(); // the lane's own: nobody else reads them
#pragma unroll
      for (int j = 0; j < 2; j++)
#pragma unroll
        for (int m = 0; m < MT; m++) {
          Vec4 w[2];
#pragma unroll
          for (int h = 0; h < 2; h++) w[h] = load_shared16(shared + from * CHUNK + ((m * 2 + h) * 2 + j) * PIECE);
          u32 first[4] = {w[0].x, w[1].x, w[0].y, w[1].y}, second[4] = {w[0].z, w[1].z, w[0].w, w[1].w};
#pragma unroll
          for (int t = 0; t < NT; t++) {
            multiply_add(acc[m][t], first, v[t][j].x, v[t][j].y);
            multiply_add(acc[m][t], second, v[t][j].z, v[t][j].w);
          }
        }
      load(); // to where the chunk before this one was
      from = from == AHEAD - 1 ? 0 : from + 1;
    }
    if (!once && tile + gridDim.x >= tiles) let_next_start();

#pragma unroll
    for (int t = 0; t < NT; t++) {
#pragma unroll
      for (int m = 0; m < MT; m++)
#pragma unroll
        for (int i = 0; i < 4; i++) sums[warp][m][(t * 8 + lane % 4 * 2 + i % 2) * 17 + g + i / 2 * 8] = acc[m][t][i];
      if (NORM && tile == blockIdx.x) {
        square[t] += __shfl_xor_sync(FULL, square[t], 1);
        square[t] += __shfl_xor_sync(FULL, square[t], 2);
        if (lane % 4 == 0) squares[warp][t * 8 + g] = square[t];
      }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < (EPILOGUE == GATE ? 1 : MT) * VALUES; i += WARPS * WARP) {
      int m = i / VALUES, token = i % VALUES / 16, r = i % 16;
      if (token >= a.n) continue;
      float v = 0.f, up = 0.f, scale = 1.f;
#pragma unroll
      for (int k = 0; k < WARPS; k++) v += sums[k][m][token * 17 + r];
      if (EPILOGUE == GATE)
#pragma unroll
        for (int k = 0; k < WARPS; k++) up += sums[k][MT - 1][token * 17 + r];
      if (NORM) {
        float sum = 0.f;
#pragma unroll
        for (int k = 0; k < WARPS; k++) sum += squares[k][token];
        scale = rsqrtf(sum / a.in + a.eps);
      }
      v *= scale;
      if (EPILOGUE == GATE) {
        ((bf16*)a.y)[(size_t)token * half + tile * 16 + r] = to_bf16(v / (1.f + exp2_fast(-LOG2E * v)) * up * scale);
        continue;
      }
      int row = (tile * MT + m) * 16 + r;
      if (row >= a.out) continue;
      if (a.rounded) {
        ((bf16*)a.y)[(size_t)token * a.ld + row] = to_bf16(v);
      } else if (EPILOGUE == FLOATS) {
        ((float*)a.y)[(size_t)token * a.ld + row] = v;
      } else {
        ((float*)a.y)[(size_t)token * a.ld + row] += v;
      }
    }
    __syncthreads(); // sums have been read
  }
  copies_wait<0>();
}

#define KERNEL(NAME, NT, MT, NORM, EPILOGUE) \
  extern "C" __global__ void __launch_bounds__(256, 2) NAME(const __grid_constant__ SkinnyArgs a) { skinny<NT, MT, NORM, EPILOGUE>(a); }
KERNEL(skinny_norm_8, 1, 1, true, FLOATS)
KERNEL(skinny_norm_16, 2, 1, true, FLOATS)
KERNEL(skinny_wide_8, 1, 2, true, FLOATS)
KERNEL(skinny_wide_16, 2, 2, true, FLOATS)
KERNEL(skinny_gate_8, 1, 2, true, GATE)
KERNEL(skinny_gate_16, 2, 2, true, GATE)
KERNEL(skinny_add_8, 1, 1, false, ADD)
KERNEL(skinny_add_16, 2, 1, false, ADD)
