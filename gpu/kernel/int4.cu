// int4_few, int4_few_gate, int4_widen, int4_order: products of weights of 4 bits with
// few rows, and what those with others take.
//   int4_few       y = x·wᵀ  [N, M], or added to y   N ≤ 16, K % 128 == 0, M % 16 == 0
//   int4_few_gate  y bf16 [N, M/2] = silu(g)·u, where g|u = x·wᵀ   M % 32 == 0
//   int4_widen     y bf16 [M, K] = w, row by row
//   int4_order     y bf16 [N, K], y[·, k] = x[·, order[k]]: inputs in the order of their
//                  groups
// Arguments and the weights' layout: int4.cuh.
// Math:    bf16 products of whole numbers, fp32 sums, which a group's scale multiplies:
//          weights are exact, but in int4_widen, where they are rounded to bf16
//
// A warp has 16 outputs (of g, and the same of u) of a block's 128. Weights come
// through shared memory, each lane's own word for word; so do 128 inputs of all
// rows, for all warps. Weights are nobody's output: the first of them are on their
// way before the kernel ahead has ended.
//
// Launch:  int4_few: blocks of 8 warps, two or three a multiprocessor or fewer
// Limit:   M·K/2 bytes of memory traffic, and 4 for each group
// Checked: TestInt4 against ref.Product
#define WARPS 8

// TILES of 8 tokens, HALVES of 8 panels, GROUPS of 128 inputs.
template <int TILES, int HALVES, bool GATE, int GROUPS>
__device__ __forceinline__ void few(const Int4Args& a) {
  extern __shared__ __align__(16) u8 memory[];
  __shared__ int last[2];
  constexpr int AHEAD = HALVES == 1 ? 6 : 3, BLOCK = block_bytes(GROUPS), WEIGHTS = WARPS * HALVES * BLOCK, STAGE = WEIGHTS + TILES * 8 * 256, SUMS = HALVES * TILES * 4;
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, g = lane / 4;
  Panels<HALVES, GATE> panels(a);
  Portion all{panels.tiles() * (a.in / 128), (u32)a.in / 128};
  Shared<SUMS, WARPS * WARP> parts(a, all);
  u32 begin = parts.begin, end = parts.end;
  u32 shared = shared_address(memory), last_stage = shared + (AHEAD - 1) * STAGE;
  let_next_start(); // whose blocks come where those of this one have ended, and copy their weights

  // What is copied next, from where and to which stage. Of a row's 128 inputs a thread
  // copies a sixteenth.
  int row = threadIdx.x / 16, piece = threadIdx.x % 16;
  bool copies = row < a.n;
  const bf16* row_at = a.x + (size_t)row * a.in + piece * 8;
  u32 next = begin, next_tile = begin / all.chunks, next_chunk = begin % all.chunks, into = shared;
  u32 own = warp * HALVES * BLOCK + lane * 16, value = WEIGHTS + row * 256 + (piece ^ row % 8) * 16;
  const u8* w[HALVES];
  auto find = [&] {
#pragma unroll
    for (int m = 0; m < HALVES; m++) w[m] = a.w + ((size_t)panels.at(next_tile, m, warp) * all.chunks + next_chunk) * BLOCK + lane * 16;
  };
  auto weights = [&] {
#pragma unroll
    for (int m = 0; m < HALVES; m++) {
      copy16(into + own + m * BLOCK, w[m], next < end);
      copy16(into + own + m * BLOCK + 512, w[m] + 512, next < end);
      if (lane * 16 < BLOCK - SIXTEEN_ROWS) copy16(into + own + m * BLOCK + SIXTEEN_ROWS, w[m] + SIXTEEN_ROWS, next < end);
      w[m] += BLOCK;
    }
  };
  auto advance = [&] {
    into = into == last_stage ? shared : into + STAGE;
    next++;
    if (++next_chunk == all.chunks) {
      next_chunk = 0, next_tile++;
      find();
    }
  };
  find();
#pragma unroll
  for (int i = 0; i < AHEAD - 1; i++) {
    weights();
    copies_commit();
    advance();
  }
  wait_for_previous();
  {
    Vec4 v[AHEAD - 1];
#pragma unroll
    for (int i = 0; i < AHEAD - 1; i++)
      if (copies && begin + i < end) v[i] = load16(row_at + (begin + i) % all.chunks * 128);
#pragma unroll
    for (int i = 0; i < AHEAD - 1; i++)
      if (copies && begin + i < end)
        asm volatile("st.shared.v4.u32 [%0], {%1,%2,%3,%4};" ::"r"(shared + value + i * STAGE), "r"(v[i].x), "r"(v[i].y), "r"(v[i].z), "r"(v[i].w) : "memory");
  }

  float acc[SUMS] = {}; // of each half, and of that of each 8 tokens
  auto token = [&](int i) { return i / 4 % TILES * 8 + lane % 4 * 2 + i % 2; };
  auto live = [&](int i) { return token(i) < a.n; };
  auto store = [&](u32 tile) { Sums<GATE, HALVES, TILES>(a, panels, tile, warp, 0).store(acc); };
  u32 tile = begin / all.chunks, chunk = begin % all.chunks, at = shared;
  for (u32 unit = begin; unit < end; unit++) {
    copies_wait<AHEAD - 2>();
    __syncthreads();
    weights(); // to where the chunk before this one was
    if (copies) copy16(into + value, row_at + next_chunk * 128, next < end);
    copies_commit();
    advance();

    u32 w = at + warp * HALVES * BLOCK;
    Vec4 word[HALVES];
#pragma unroll
    for (int group = 0; group < GROUPS; group++) {
      float sum[SUMS] = {};
      u32 scale[HALVES][2];
#pragma unroll
      for (int m = 0; m < HALVES; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) scale[m][h] = load_shared4(w + m * BLOCK + SIXTEEN_ROWS + group * 64 + (g + h * 8) * 4);
#pragma unroll
      for (int s = group * 8 / GROUPS; s < (group + 1) * 8 / GROUPS; s += 2) { // 16 inputs each
        u32 b[TILES][4];
#pragma unroll
        for (int t = 0; t < TILES; t++) load_matrices(b[t], at + WEIGHTS + (t * 8 + lane % 8) * 256 + ((s * 2 + lane / 8) ^ lane % 8) * 16);
#pragma unroll
        for (int m = 0; m < HALVES; m++) {
          if (s % 4 == 0) word[m] = load_shared16(w + m * BLOCK + s / 4 * 512 + lane * 16);
          u32 zero[2] = {less_zero(scale[m][0]), less_zero(scale[m][1])};
#pragma unroll
          for (int j = 0; j < 2; j++) {
            u32 v = s % 4 == 0 ? (j ? word[m].y : word[m].x) : j ? word[m].w : word[m].z, r[4];
#pragma unroll
            for (int i = 0; i < 4; i++) r[i] = pair4(v, i, zero[i % 2]);
#pragma unroll
            for (int t = 0; t < TILES; t++) multiply_add(sum + (m * TILES + t) * 4, r, b[t][j * 2], b[t][j * 2 + 1]);
          }
        }
      }
#pragma unroll
      for (int i = 0; i < SUMS; i++) acc[i] += sum[i] * scale4(scale[i / (TILES * 4)][i / 2 % 2]);
    }
    at = at == last_stage ? shared : at + STAGE;
    if (++chunk < all.chunks && unit + 1 < end) continue;

    if (parts.whole(tile)) {
      store(tile);
    } else {
      parts.leave(acc, tile, live);
    }
#pragma unroll
    for (int i = 0; i < SUMS; i++) acc[i] = 0.f;
    chunk = 0, tile++;
  }
  copies_wait<0>();
  parts.count(last, [] { __syncthreads(); });
#pragma unroll 1
  for (int t = 0; t < 2; t++)
    if (last[t]) {
      parts.add_up(acc, parts.tile(t), live);
      store(parts.tile(t));
    }
}

// As many fit on a multiprocessor as there are registers for: more hide more.
#if __CUDA_ARCH__ >= 900
#define FEW_BLOCKS(SIZE) ((SIZE) <= 4 ? 3 : 2)
#else
#define FEW_BLOCKS(SIZE) 2
#endif
#define KERNEL(NAME, TILES, HALVES, GATE, GROUPS) \
  extern "C" __global__ void __launch_bounds__(256, FEW_BLOCKS(TILES* HALVES* GROUPS)) NAME(const __grid_constant__ Int4Args a) { few<TILES, HALVES, GATE, GROUPS>(a); }
KERNEL(int4_few_8_1, 1, 1, false, 1)
KERNEL(int4_few_8_2, 1, 1, false, 2)
KERNEL(int4_few_8_4, 1, 1, false, 4)
KERNEL(int4_few_16_1, 2, 1, false, 1)
KERNEL(int4_few_16_2, 2, 1, false, 2)
KERNEL(int4_few_16_4, 2, 1, false, 4)
KERNEL(int4_few_gate_8_1, 1, 2, true, 1)
KERNEL(int4_few_gate_8_2, 1, 2, true, 2)
KERNEL(int4_few_gate_8_4, 1, 2, true, 4)
KERNEL(int4_few_gate_16_1, 2, 2, true, 1)
KERNEL(int4_few_gate_16_2, 2, 2, true, 2)
KERNEL(int4_few_gate_16_4, 2, 2, true, 4)

// A warp widens a block: it puts the pairs that its lanes would multiply into their
// rows, in shared memory, and stores those.
struct Int4WidenArgs {
  const u8* w;
  bf16* y;
  int in, out, groups; // of 128 inputs
};
extern "C" __global__ void __launch_bounds__(256) int4_widen(const __grid_constant__ Int4WidenArgs a) {
  __shared__ __align__(16) u8 memory[WARPS][16 * 256];
  wait_for_previous();
  let_next_start();
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, g = lane / 4, chunks = a.in / 128, bytes = block_bytes(a.groups);
  u8* own = memory[warp];
  int blocks = a.out / 16 * chunks;
  for (int b = blockIdx.x * WARPS + warp; b < blocks; b += gridDim.x * WARPS) {
    const u8* block = a.w + (size_t)b * bytes;
    Vec4 v[2] = {load16(block + lane * 16), load16(block + 512 + lane * 16)};
    __syncwarp();
#pragma unroll
    for (int step = 0; step < 8; step++) {
      const u32* scales = (const u32*)(block + SIXTEEN_ROWS) + step * a.groups / 8 * 16 + g;
      Vec4 four = v[step / 4];
      u32 word = step % 4 == 0 ? four.x : step % 4 == 1 ? four.y : step % 4 == 2 ? four.z : four.w;
#pragma unroll
      for (int i = 0; i < 4; i++) {
        u32 scale = scales[i % 2 * 8], p = pair4(word, i, less_zero(scale));
        float by = scale4(scale);
        int row = g + i % 2 * 8, piece = (step * 2 + i / 2) ^ g;
        *(u32*)(own + row * 256 + piece * 16 + lane % 4 * 4) = pack(low(p) * by, high(p) * by);
      }
    }
    __syncwarp();
    bf16* y = a.y + (size_t)(b / chunks) * 16 * a.in + b % chunks * 128 + lane % 16 * 8;
#pragma unroll
    for (int i = 0; i < 8; i++) {
      int row = i * 2 + lane / 16;
      store16(y + (size_t)row * a.in, *(const Vec4*)(own + row * 256 + (lane % 16 ^ row % 8) * 16));
    }
  }
}

struct Int4OrderArgs {
  View x;
  const int* order;
  bf16* y;
  int in;
};
extern "C" __global__ void __launch_bounds__(256) int4_order(const __grid_constant__ Int4OrderArgs a) {
  int k = (blockIdx.x * blockDim.x + threadIdx.x) * 2, row = blockIdx.y;
  if (k >= a.in) k = a.in - 2; // in is even
  int one = a.order[k], two = a.order[k + 1];
  wait_for_previous();
  let_next_start();
  size_t at = (size_t)row * a.x.stride;
  u32* y = (u32*)(a.y + (size_t)row * a.in + k);
  if (a.x.half) {
    const bf16* x = (const bf16*)a.x.at + at;
    *y = (u32)x[one] | (u32)x[two] << 16;
  } else {
    const float* x = (const float*)a.x.at + at;
    *y = pack(x[one], x[two]);
  }
}
