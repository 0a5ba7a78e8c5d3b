// What comes between projections and attention, each by itself: where other ops
// stand in between, or not all of it is done. rope.cu does it at once.
// Math:    fp32, rounded once
// Limit:   memory traffic
// Checked: TestRope, TestStore, TestRoundQueries

// rope: turns the leading N elements of heads in place.
//   x         f32 [T, ·]         heads [H, D], stride from row to row
//   angles    f32 [·, N/2, 2]    cosine and sine by position
//   positions i32 [T]
//   x'[i] = x[i]·cos − x[i+N/2]·sin,  x'[i+N/2] = x[i+N/2]·cos + x[i]·sin   i < N/2
// Math:    arXiv:2104.09864
// Launch:  a thread a pair
struct TurnArgs {
  float* x;
  const float* angles;
  const int* positions;
  int tokens, heads, head_dim, dims, stride;
};

extern "C" __global__ void __launch_bounds__(256) rope(const __grid_constant__ TurnArgs a) {
  wait_for_previous();
  let_next_start();
  int i = blockIdx.x * blockDim.x + threadIdx.x, half = a.dims / 2;
  if (i >= a.tokens * a.heads * half) return;
  int pair = i % half, head = i / half % a.heads, t = i / half / a.heads;
  float* x = a.x + (size_t)t * a.stride + head * a.head_dim + pair;
  float2 turn = *(const float2*)(a.angles + ((size_t)a.positions[t] * half + pair) * 2);
  float x0 = x[0], x1 = x[half];
  x[0] = x0 * turn.x - x1 * turn.y;
  x[half] = x1 * turn.x + x0 * turn.y;
}

// store: enters keys and values into pages.
//   keys, values f32 [T, ·]           heads [H, D], strides from row to row
//   positions    i32 [T]
//   slots        i32 [T]              < 0: padding, nothing is entered
//   table        i32 [·, M]           table[slot][p/S] is the page of position p
//   kv           bf16 [P, 2, H, S, D] one layer's pages; written. Without values
//                                     [P, H, S, D]: they are keys' leading elements
//   scales       f32  [P, 2, H, S]    null: none; else kv is E4M3
// Launch:  a thread for eight elements
struct StoreArgs {
  const float* keys;
  const float* values;
  const int* positions;
  const int* slots;
  const int* table;
  void* kv;
  float* scales;
  int tokens, heads, dim, page_size, table_stride, key_stride, value_stride;
  float key_scale, value_scale; // of codes; 0: as each key and value needs it
};

extern "C" __global__ void __launch_bounds__(256) store(const __grid_constant__ StoreArgs a) {
  wait_for_previous();
  let_next_start();
  int i = blockIdx.x * blockDim.x + threadIdx.x, chunks = a.dim / 8, sides = a.values ? 2 : 1;
  if (i >= a.tokens * sides * a.heads * chunks) return;
  int chunk = i % chunks, head = i / chunks % a.heads, side = i / chunks / a.heads % sides, t = i / chunks / a.heads / sides;
  int slot = a.slots[t], position = a.positions[t];
  if (slot < 0) return;
  const float* from = side ? a.values + (size_t)t * a.value_stride : a.keys + (size_t)t * a.key_stride;
  from += head * a.dim;
  float x[8];
  size_t page = a.table[(size_t)slot * a.table_stride + position / a.page_size];
  size_t row = ((page * sides + side) * a.heads + head) * a.page_size + position % a.page_size;
  if (a.scales) { // which needs all of the head
    float most = 0.f;
    for (int c = 0; c < chunks; c++) {
      floats8(load16(from + c * 8), load16(from + c * 8 + 4), x);
#pragma unroll
      for (int j = 0; j < 8; j++) most = fmaxf(most, fabsf(x[j]));
    }
    float scale = cache_scale(most, side ? a.value_scale : a.key_scale);
    floats8(load16(from + chunk * 8), load16(from + chunk * 8 + 4), x);
    store_codes((u8*)a.kv + row * a.dim + chunk * 8, x, 1.f / scale);
    if (chunk == 0) a.scales[row] = scale;
    return;
  }
  floats8(load16(from + chunk * 8), load16(from + chunk * 8 + 4), x);
  store16((bf16*)a.kv + row * a.dim + chunk * 8, pack8(x));
}

// widen_pages: the pages that some spans of tokens look at, as bf16, under the same
// numbers: what attention over prompts reads. It takes them time in proportion to
// what they see once, attention in proportion to that times their tokens.
//   kv     E4M3 [P, 2, H, S, D]   D % 16 == 0
//   scales f32  [P, 2, H, S]
//   spans  Span [N]
//   table  i32  [·, M]
//   out    bf16 [P, 2, H, S, D]   pages that spans see are written; those that several
//                                 see several times, the same
// Launch:  (blocks, N or fewer) of 256
// Limit:   3 bytes of memory traffic an element
// Checked: TestWidenPages
struct WidenArgs {
  const u8* kv;
  const float* scales;
  const Span* spans;
  const int* count; // of spans
  const int* table;
  bf16* out;
  int heads, dim, page_size, table_stride;
  int window; // positions that a token sees; INT_MAX: all
};

__device__ __forceinline__ void widen_span(const WidenArgs& a, const Span& s) {
  int first = max(0, s.start + 1 - a.window) / a.page_size, last = (s.start + s.count - 1) / a.page_size;
  int rows = 2 * a.heads * a.page_size, each = rows * a.dim / 16;
  for (long long i = (long long)blockIdx.x * 256 + threadIdx.x; i < (long long)(last - first + 1) * each; i += gridDim.x * 256) {
    size_t page = a.table[(size_t)s.slot * a.table_stride + first + i / each];
    int at = (int)(i % each) * 16;
    Vec4 codes = load16(a.kv + page * rows * a.dim + at);
    float scale = a.scales[page * rows + at / a.dim], f[16];
    u32 four[4] = {codes.x, codes.y, codes.z, codes.w};
#pragma unroll
    for (int j = 0; j < 4; j++) floats4(four[j], f + j * 4);
#pragma unroll
    for (int j = 0; j < 16; j++) f[j] *= scale;
    bf16* out = a.out + page * rows * a.dim + at;
    store16(out, pack8(f));
    store16(out + 8, pack8(f + 8));
  }
}

extern "C" __global__ void __launch_bounds__(256) widen_pages(const __grid_constant__ WidenArgs a) {
  wait_for_previous();
  let_next_start();
  for (int at_span = blockIdx.y; at_span < *a.count; at_span += gridDim.y) widen_span(a, a.spans[at_span]);
}

// round_queries: y bf16 [T, W] of x f32 [T, ·], stride from row to row.
// Launch:  a thread for eight elements
struct QueriesArgs {
  const float* x;
  bf16* y;
  int tokens, width, stride;
};

extern "C" __global__ void __launch_bounds__(256) round_queries(const __grid_constant__ QueriesArgs a) {
  wait_for_previous();
  let_next_start();
  int i = blockIdx.x * blockDim.x + threadIdx.x, chunks = a.width / 8;
  if (i >= a.tokens * chunks) return;
  const float* from = a.x + (size_t)(i / chunks) * a.stride + i % chunks * 8;
  float x[8];
  floats8(load16(from), load16(from + 4), x);
  store16(a.y + (size_t)i * 8, pack8(x));
}
