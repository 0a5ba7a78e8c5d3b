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
// Launch:  int4_few: blocks of 8 warps, two a multiprocessor or fewer
// Limit:   M·K/2 bytes of memory traffic, and 4 for each group
// Checked: TestInt4 against ref.Product
#define WARPS 8

// TILES of 8 tokens, HALVES of the outputs (2: g and u), GROUPS of 128 inputs.
template <int TILES, int HALVES, int GROUPS>
__device__ __forceinline__ void few(const Int4Args& a) {
  extern __shared__ __align__(16) u8 memory[];
  __shared__ int last;
  constexpr int AHEAD = HALVES == 1 ? 6 : 4, BLOCK = block_bytes(GROUPS), WEIGHTS = WARPS * HALVES * BLOCK, STAGE = WEIGHTS + TILES * 8 * 256;
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, g = lane / 4;
  int panels = a.out / 16 / HALVES; // of 16 outputs
  Portion all{(u32)((panels + WARPS - 1) / WARPS * (a.in / 128)), (u32)a.in / 128};
  u32 begin = all.begin(blockIdx.x), end = all.begin(blockIdx.x + 1);
  u32 shared = shared_address(memory), own = shared + warp * HALVES * BLOCK + lane * 16;

  u32 next = begin, next_tile = begin / all.chunks, next_chunk = begin % all.chunks; // what is copied next, and where to
  int into = 0;
  auto weights = [&] {
    if (next >= end) return;
#pragma unroll
    for (int m = 0; m < HALVES; m++) {
      int panel = min((int)next_tile * WARPS + warp, panels - 1) + m * panels;
      const u8* w = a.w + ((size_t)panel * all.chunks + next_chunk) * BLOCK + lane * 16;
#pragma unroll
      for (int i = 0; i < BLOCK; i += WARP * 16)
        if (i + lane * 16 < BLOCK) copy16(own + into * STAGE + m * BLOCK + i, w + i, true);
    }
  };
  auto advance = [&] {
    next++;
    if (++next_chunk == all.chunks) next_chunk = 0, next_tile++;
    into = into == AHEAD - 1 ? 0 : into + 1;
  };
  // Of a row's 128 inputs a thread copies a sixteenth.
  int row = threadIdx.x / 16, piece = threadIdx.x % 16;
  bool copies = row < a.n;
  const bf16* x = a.x + (size_t)row * a.in + piece * 8;
  u32 value = shared + WEIGHTS + row * 256 + (piece ^ row % 8) * 16;
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
      if (copies && begin + i < end) v[i] = load16(x + (begin + i) % all.chunks * 128);
#pragma unroll
    for (int i = 0; i < AHEAD - 1; i++)
      if (copies && begin + i < end)
        asm volatile("st.shared.v4.u32 [%0], {%1,%2,%3,%4};" ::"r"(value + i * STAGE), "r"(v[i].x), "r"(v[i].y), "r"(v[i].z), "r"(v[i].w) : "memory");
  }

  float acc[HALVES * TILES * 4] = {}; // of g: tokens first; of u
  u32 tile = begin / all.chunks, chunk = begin % all.chunks;
  int from = 0;
  for (u32 unit = begin; unit < end; unit++) {
    copies_wait<AHEAD - 2>();
    __syncthreads();
    weights(); // to where the chunk before this one was
    if (copies && next < end) copy16(value + into * STAGE, x + next_chunk * 128, true);
    copies_commit();
    advance();

    u32 at = shared + from * STAGE, w = at + warp * HALVES * BLOCK;
    Vec4 word[HALVES];
#pragma unroll
    for (int group = 0; group < GROUPS; group++) {
      float sum[HALVES * TILES * 4] = {};
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
      for (int i = 0; i < HALVES * TILES * 4; i++) acc[i] += sum[i] * scale4(scale[i / (TILES * 4)][i / 2 % 2]);
    }
    from = from == AHEAD - 1 ? 0 : from + 1;
    if (++chunk < all.chunks && unit + 1 < end) continue;

    if (unit + 1 == end) let_next_start();
    auto token = [&](int i) { return i / 4 % TILES * 8 + lane % 4 * 2 + i % 2; };
    auto output = [&](int i) { return (tile * WARPS + warp) * 16 + g + i / 2 % 2 * 8; };
    auto live = [&](int i) { return token(i) < a.n; };
    if (whole_sums<HALVES * TILES * 4, WARPS * WARP>(a, acc, all, tile, &last, live, [] { __syncthreads(); }))
      store_sums<HALVES, TILES * 4>(a, acc, [&](int i) { return live(i) && output(i) < a.out / HALVES; }, [&](int i) { return (size_t)token(i) * a.ld + output(i); });
#pragma unroll
    for (int i = 0; i < HALVES * TILES * 4; i++) acc[i] = 0.f;
    chunk = 0, tile++;
  }
  copies_wait<0>();
}

#define KERNEL(NAME, TILES, HALVES, GROUPS) \
  extern "C" __global__ void __launch_bounds__(256, 2) NAME(const __grid_constant__ Int4Args a) { few<TILES, HALVES, GROUPS>(a); }
KERNEL(int4_few_8_1, 1, 1, 1)
KERNEL(int4_few_8_2, 1, 1, 2)
KERNEL(int4_few_8_4, 1, 1, 4)
KERNEL(int4_few_16_1, 2, 1, 1)
KERNEL(int4_few_16_2, 2, 1, 2)
KERNEL(int4_few_16_4, 2, 1, 4)
KERNEL(int4_few_gate_8_1, 1, 2, 1)
KERNEL(int4_few_gate_8_2, 1, 2, 2)
KERNEL(int4_few_gate_8_4, 1, 2, 4)
KERNEL(int4_few_gate_16_1, 2, 2, 1)
KERNEL(int4_few_gate_16_2, 2, 2, 2)
KERNEL(int4_few_gate_16_4, 2, 2, 4)

// A warp widens a block: of two rows each lane has the pairs that it would multiply.
struct Int4WidenArgs {
  const u8* w;
  bf16* y;
  int in, out, groups; // of 128 inputs
};
extern "C" __global__ void __launch_bounds__(256) int4_widen(const __grid_constant__ Int4WidenArgs a) {
  wait_for_previous();
  let_next_start();
  int lane = threadIdx.x % WARP, g = lane / 4, chunks = a.in / 128, bytes = block_bytes(a.groups);
  long long blocks = (long long)(a.out / 16) * chunks;
  for (long long b = (long long)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP; b < blocks; b += (long long)gridDim.x * (blockDim.x / WARP)) {
    const u8* block = a.w + b * bytes;
    bf16* y = a.y + (b / chunks * 16 + g) * a.in + b % chunks * 128 + lane % 4 * 2;
#pragma unroll
    for (int h = 0; h < 2; h++) {
      Vec4 v = load16(block + h * 512 + lane * 16);
      u32 words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
      for (int j = 0; j < 4; j++) {
        int step = h * 4 + j, group = step * a.groups / 8;
        const u32* scales = (const u32*)(block + SIXTEEN_ROWS) + group * 16 + g;
#pragma unroll
        for (int i = 0; i < 4; i++) {
          u32 scale = scales[i % 2 * 8], p = pair4(words[j], i, less_zero(scale));
          float by = scale4(scale);
          *(u32*)(y + (size_t)(i % 2 * 8) * a.in + step * 16 + i / 2 * 8) = pack(low(p) * by, high(p) * by);
        }
      }
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
