// skinny_*: products of matrices with few rows, which cost as much as reading
// the weights, together with what comes before and after them in a layer.
//   x     f32 [·, K], the residual stream; bf16 in skinny_add   K % 64 == 0
//   w     bf16 [M, K]   read once; in the kernels of codes E4M3 [M, K], with
//   scales f32 [M], or (scale_stride) [M/128, scale_stride] for 128 × 128 each
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
// warps of a block split K in chunks of 64. Of codes sixteen neighbours are a
// piece, which becomes halves, exactly, in registers: that takes a fifth of the
// instructions that bf16 would, which bounded it. x becomes halves, too, a
// sixteenth of what it is, which keep bf16's 8 bits between 2^-13 and 2^20; beyond
// it is cut off.
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
// Limit:   2·M·K bytes of memory traffic, of codes M·K
// Checked: TestSkinny against ref.RMSNorm, ref.Product and ref.SiluMul
#define WARPS 8

struct SkinnyArgs {
  const void* x;
  const bf16* w;
  const bf16* norm;
  const int* rows;
  void* y;
  const float* scales;
  int n, in, out, ld, scale_stride;
  float eps;
  int rounded;
};

enum Epilogue { FLOATS, GATE, ADD };

#define SHRINK 0.0625f // of x in halves
__device__ __forceinline__ Vec4 halves8(const float* f) {
  Vec4 v;
  v.x = halves(f[0] * SHRINK, f[1] * SHRINK), v.y = halves(f[2] * SHRINK, f[3] * SHRINK);
  v.z = halves(f[4] * SHRINK, f[5] * SHRINK), v.w = halves(f[6] * SHRINK, f[7] * SHRINK);
  return v;
}

// NT tiles of 8 tokens, MT of 16 rows of w.
template <int NT, int MT, bool NORM, Epilogue EPILOGUE, bool CODES>
__device__ __forceinline__ void skinny(const SkinnyArgs& a) {
  extern __shared__ __align__(16) u8 memory[];
  constexpr int J = CODES ? 1 : 2; // pieces of a row in a chunk
  constexpr int AHEAD = (MT == 1 ? 5 : NT == 1 ? 3 : 2) * 2 / J; // chunks in shared memory; newSkinny in skinny.go makes room for them
  constexpr int PIECE = WARP * 16, CHUNK = MT * 2 * J * PIECE, WIDTH = CODES ? 1 : 2; // bytes of a weight
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
          const u8* w = (const u8*)a.w + ((size_t)min(row, a.out - 1) * a.in + load_chunk * 64) * WIDTH + lane % 4 * 16;
#pragma unroll
          for (int j = 0; j < J; j++) copy16(shared + into * CHUNK + ((m * 2 + h) * J + j) * PIECE, w + j * 64, true);
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
  constexpr int SIZE = NORM ? 4 : 2, FIRST = CODES ? 16 : 8, NEXT = CODES ? 8 : 32; // bytes of an element; elements from lane to lane, and on
  const u8* x[NT];
  const bf16* norm = a.norm + lane % 4 * FIRST;
#pragma unroll
  for (int t = 0; t < NT; t++) {
    int token = min(t * 8 + g, a.n - 1);
    x[t] = (const u8*)a.x + ((size_t)(a.rows ? a.rows[token] : token) * a.in + lane % 4 * FIRST) * SIZE;
  }
  Vec4 b[NT][2][SIZE / 2], scale[2]; // of the next chunk
  float by[MT]; // the scales of its weights, where they change on the way
  auto fetch = [&](int c, int tile) {
#pragma unroll
    for (int j = 0; j < 2; j++) {
#pragma unroll
      for (int t = 0; t < NT; t++)
#pragma unroll
        for (int i = 0; i < SIZE / 2; i++) b[t][j][i] = *(const Vec4*)(x[t] + (c * 64 + j * NEXT) * SIZE + i * 16);
      if (NORM) scale[j] = *(const Vec4*)(norm + c * 64 + j * NEXT);
    }
#pragma unroll
    for (int m = 0; CODES && m < MT; m++) {
      int row = EPILOGUE == GATE ? tile * 16 + m * half : (tile * MT + m) * 16;
      by[m] = a.scale_stride ? a.scales[(size_t)(min(row, a.out - 1) / 128) * a.scale_stride + c / 2] : 1.f;
    }
  };
  if (warp < chunks) fetch(warp, min((int)blockIdx.x, tiles - 1));

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
            v[t][j] = CODES ? halves8(f) : pack8(f);
          } else if (CODES) {
            unpack(b[t][j][0], f);
            v[t][j] = halves8(f);
          } else {
            v[t][j] = b[t][j][0];
          }
        }
      float scales[MT];
#pragma unroll
      for (int m = 0; CODES && m < MT; m++) scales[m] = by[m];
      fetch(c + WARPS < chunks ? c + WARPS : warp, min(c + WARPS < chunks ? tile : tile + (int)gridDim.x, tiles - 1));
      copies_wait<AHEAD - 2>(); // the lane's own: nobody else reads them
      if constexpr (CODES) {
#pragma unroll
        for (int m = 0; m < MT; m++) {
          float sum[NT][4] = {};
          Vec4 w0 = load_shared16(shared + from * CHUNK + m * 2 * PIECE), w1 = load_shared16(shared + from * CHUNK + (m * 2 + 1) * PIECE);
          auto multiply = [&](u32 p, u32 q, u32 Vec4::*first, u32 Vec4::*second, int j) {
            u32 w[4];
            widen(p, w[0], w[2]);
            widen(q, w[1], w[3]);
#pragma unroll
            for (int t = 0; t < NT; t++) multiply_add_halves(sum[t], w, v[t][j].*first, v[t][j].*second);
          };
          multiply(w0.x, w1.x, &Vec4::x, &Vec4::y, 0);
          multiply(w0.y, w1.y, &Vec4::z, &Vec4::w, 0);
          multiply(w0.z, w1.z, &Vec4::x, &Vec4::y, 1);
          multiply(w0.w, w1.w, &Vec4::z, &Vec4::w, 1);
#pragma unroll
          for (int t = 0; t < NT; t++)
#pragma unroll
            for (int i = 0; i < 4; i++) acc[m][t][i] += sum[t][i] * scales[m];
        }
      }
#pragma unroll
      for (int j = 0; !CODES && j < 2; j++)
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
      float v = 0.f, up = 0.f, scale = CODES ? 1.f / SHRINK : 1.f;
#pragma unroll
      for (int k = 0; k < WARPS; k++) v += sums[k][m][token * 17 + r];
      if (EPILOGUE == GATE)
#pragma unroll
        for (int k = 0; k < WARPS; k++) up += sums[k][MT - 1][token * 17 + r];
      if (NORM) {
        float sum = 0.f;
#pragma unroll
        for (int k = 0; k < WARPS; k++) sum += squares[k][token];
        scale *= rsqrtf(sum / a.in + a.eps);
      }
      v *= scale;
      if (CODES && !a.scale_stride) {
        int row = EPILOGUE == GATE ? tile * 16 + r : (tile * MT + m) * 16 + r;
        v *= a.scales[min(row, a.out - 1)];
        if (EPILOGUE == GATE) up *= a.scales[half + row];
      }
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

#define KERNEL(NAME, NT, MT, NORM, EPILOGUE, CODES) \
  extern "C" __global__ void __launch_bounds__(256, 2) NAME(const __grid_constant__ SkinnyArgs a) { skinny<NT, MT, NORM, EPILOGUE, CODES>(a); }
KERNEL(skinny_norm_8, 1, 1, true, FLOATS, false)
KERNEL(skinny_norm_16, 2, 1, true, FLOATS, false)
KERNEL(skinny_norm_8_codes, 1, 1, true, FLOATS, true)
KERNEL(skinny_norm_16_codes, 2, 1, true, FLOATS, true)
KERNEL(skinny_wide_8, 1, 2, true, FLOATS, false)
KERNEL(skinny_wide_16, 2, 2, true, FLOATS, false)
KERNEL(skinny_gate_8, 1, 2, true, GATE, false)
KERNEL(skinny_gate_16, 2, 2, true, GATE, false)
KERNEL(skinny_gate_8_codes, 1, 2, true, GATE, true)
KERNEL(skinny_gate_16_codes, 2, 2, true, GATE, true)
KERNEL(skinny_add_8, 1, 1, false, ADD, false)
KERNEL(skinny_add_16, 2, 1, false, ADD, false)
KERNEL(skinny_add_8_codes, 1, 1, false, ADD, true)
KERNEL(skinny_add_16_codes, 2, 1, false, ADD, true)
