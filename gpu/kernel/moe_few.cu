// moe_few_*: the products of experts that have few tokens each, which cost as
// much as reading the weights of those that have any.
//   entries  Entry [N]          tokens at their experts, from moe_route
//   tiles    Tile [*count]      up to 8 entries of one expert each
//   w        bf16 [E, 2I, H]    gates, then ups, of each expert; in moe_few_down
//            bf16 [E, H, I]
//   moe_few_up    x bf16 [T, H], y bf16 [N, I]
//                 y[n] = share·silu(g)·u, where g|u = scale·x[token]·w[expert]ᵀ
//   moe_few_down  x bf16 [N, I], y f32  [N, H]
//                 y[n] = x[n]·w[expert]ᵀ
// H and I are multiples of 64.
// Math:    bf16 products, fp32 sums, in the same order every time
//
// As skinny.cu: weights are the tensor cores' left operand, 16 rows at a time (8
// gates and their ups in moe_few_up, so that a lane has both), a tile's tokens
// the right one; the warps of a block split K in chunks of 64, and a lane copies
// what it will need itself. What experts there are to read is known when the
// kernel runs: an item is 16 rows for one tile, and copies go on from item to
// item. By the time moe_few_down starts, tiles are there, since moe_few_up
// has waited for them: its weights are on their way before moe_few_up has ended.
//
// Launch:  blocks of 8 warps, two a multiprocessor; each takes every
//          so-many-th item
// Limit:   6·I·H bytes of memory traffic for each expert with a token, both
// Checked: TestExperts against ref.Experts
#define WARPS 8

struct alignas(16) ExpertTile {
  int expert, first, count;
  int unused;
};
struct alignas(16) ExpertEntry {
  int token;
  float share, scale;
  int unused;
};

struct ExpertArgs {
  const bf16* x;
  const bf16* w;
  const ExpertEntry* entries;
  const ExpertTile* tiles;
  const int* count;
  void* y;
  int in, out; // out: I or H
};

// Past L1: what the kernel before the last one wrote is read early.
__device__ __forceinline__ int fresh(const int* p) {
  int v;
  asm volatile("ld.global.cg.s32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
  return v;
}
__device__ __forceinline__ Vec4 fresh(const void* p) {
  Vec4 v;
  asm volatile("ld.global.cg.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p) : "memory");
  return v;
}
__device__ __forceinline__ ExpertTile tile_at(const ExpertTile* tiles, int i, bool there) {
  if (!there) return {0, 0, 0, 0};
  Vec4 v = fresh(tiles + i);
  return {(int)v.x, (int)v.y, (int)v.z, 0};
}

template <bool UP>
__device__ __forceinline__ void few(const ExpertArgs& a) {
  extern __shared__ __align__(16) u8 memory[];
  constexpr int AHEAD = 3; // chunks in shared memory; fewShared in moe_few.go makes room for them
  constexpr int PIECE = WARP * 16, CHUNK = 6 * PIECE;
  __shared__ float sums[2][WARPS][8 * 17];
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, g = lane / 4, chunks = a.in / 64;
  int parts = UP ? a.out / 8 : (a.out + 15) / 16;
  u32 shared = shared_address(memory) + warp * AHEAD * CHUNK + lane * 16;
  if (UP) wait_for_previous();
  int items = fresh(a.count) * parts;

  // The chunk copied next, and the place it goes to. Tiles are known two items
  // ahead, rows of x one: no copy waits for them.
  int item = blockIdx.x, chunk = warp, into = 0, row, next_row;
  if (warp >= chunks) item = items;
  auto look = [&](int i) { return tile_at(a.tiles, i / parts, i < items); };
  auto row_in = [&](const ExpertTile& t) {
    if (g >= t.count) return -1;
    return UP ? (int)fresh(a.entries + t.first + g).x : t.first + g;
  };
  ExpertTile tile = look(item), next = look(item + gridDim.x), second = look(item + 2 * gridDim.x);
  row = row_in(tile), next_row = row_in(next);
  const bf16* w[2];
  auto find = [&] {
    const bf16* of = a.w + (size_t)tile.expert * ((UP ? 2 : 1) * a.out) * a.in + lane % 4 * 8;
    int part = item % parts;
    w[0] = of + (size_t)(UP ? part * 8 + g : min(part * 16 + g, a.out - 1)) * a.in;
    w[1] = of + (size_t)(UP ? part * 8 + g + a.out : min(part * 16 + g + 8, a.out - 1)) * a.in;
  };
  find();
  auto load_weights = [&] {
    if (item >= items) return;
#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
      for (int j = 0; j < 2; j++) copy16(shared + into * CHUNK + (h * 2 + j) * PIECE, w[h] + chunk * 64 + j * 32, true);
  };
  auto load_x = [&](int to, const bf16* from) {
#pragma unroll
    for (int j = 0; j < 2; j++) copy16(shared + to * CHUNK + (4 + j) * PIECE, from ? from + j * 32 : a.x, from != nullptr);
  };
  auto x_from = [&]() -> const bf16* {
    return item < items && row >= 0 ? a.x + (size_t)row * a.in + chunk * 64 + lane % 4 * 8 : nullptr;
  };
  auto advance = [&] {
    into = into == AHEAD - 1 ? 0 : into + 1;
    chunk += WARPS;
    if (chunk < chunks || item >= items) return;
    chunk = warp, item += gridDim.x;
    tile = next, row = next_row, next = second;
    next_row = row_in(next);
    second = look(item + 2 * gridDim.x);
    find();
  };
  const bf16* early[AHEAD - 1];
#pragma unroll
  for (int i = 0; i < AHEAD - 1; i++) {
    load_weights();
    early[i] = x_from();
    advance();
  }
  if (!UP) wait_for_previous();
  let_next_start();
#pragma unroll
  for (int i = 0; i < AHEAD - 1; i++) {
    load_x(i, early[i]);
    copies_commit();
  }

  int from = 0, half = 0;
  ExpertTile later = look(blockIdx.x);
  for (int i = blockIdx.x; i < items; i += gridDim.x, half ^= 1) {
    ExpertTile t = later;
    later = look(i + gridDim.x);
    constexpr int ROWS = UP ? 8 : 16; // of the result
    int token = threadIdx.x / ROWS, r = threadIdx.x % ROWS, part = i % parts;
    bool mine = token < t.count && (UP || part * 16 + r < a.out);
    Vec4 entry;
    if (UP && mine) entry = fresh(a.entries + t.first + token);

    float acc[4] = {};
    for (int c = warp; c < chunks; c += WARPS) {
      copies_wait<AHEAD - 2>(); // the lane's own: nobody else reads them
      u32 at = shared + from * CHUNK;
#pragma unroll
      for (int j = 0; j < 2; j++) {
        Vec4 m = load_shared16(at + j * PIECE), n = load_shared16(at + (2 + j) * PIECE), x = load_shared16(at + (4 + j) * PIECE);
        u32 one[4] = {m.x, n.x, m.y, n.y}, two[4] = {m.z, n.z, m.w, n.w};
        multiply_add(acc, one, x.x, x.y);
        multiply_add(acc, two, x.z, x.w);
      }
      load_weights(); // to where the chunk before this one was
      load_x(into, x_from());
      copies_commit();
      advance();
      from = from == AHEAD - 1 ? 0 : from + 1;
    }
#pragma unroll
    for (int n = 0; n < 4; n++) sums[half][warp][(lane % 4 * 2 + n % 2) * 17 + g + n / 2 * 8] = acc[n];
    __syncthreads(); // the other half has been read before the one behind this
    if (!mine) continue;
    float v = 0.f;
#pragma unroll
    for (int k = 0; k < WARPS; k++) v += sums[half][k][token * 17 + r];
    size_t to = (size_t)(t.first + token) * a.out + part * ROWS + r;
    if (UP) {
      float up = 0.f, share = __uint_as_float(entry.y), scale = __uint_as_float(entry.z);
#pragma unroll
      for (int k = 0; k < WARPS; k++) up += sums[half][k][token * 17 + r + 8];
      v *= scale;
      ((bf16*)a.y)[to] = to_bf16(v / (1.f + exp2_fast(-LOG2E * v)) * (up * scale) * share);
    } else {
      ((float*)a.y)[to] = v;
    }
  }
  copies_wait<0>();
}

extern "C" __global__ void __launch_bounds__(256, 2) moe_few_up(const __grid_constant__ ExpertArgs a) { few<true>(a); }
extern "C" __global__ void __launch_bounds__(256, 2) moe_few_down(const __grid_constant__ ExpertArgs a) { few<false>(a); }
